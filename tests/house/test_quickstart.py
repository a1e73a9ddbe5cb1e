"""The quickstart does what it says: every line of it, in a fresh home, with a stand-in in the provider's place."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from lava_proxy.demo.provider import running_stand_in
from tests.house.project import page
from tests.support.certificates import make_authority

BLOCK = re.compile(r"^```(sh|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "@@ step"

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Lines to type, and what the page says that one then sees; ``…`` stands for anything."""

    lines: str
    seen: tuple[str, ...]


def steps(text: str) -> list[Step]:
    found: list[Step] = []
    for kind, content in BLOCK.findall(text):
        if kind == "sh":
            found.append(Step(lines=content, seen=()))
        else:
            found[-1] = Step(lines=found[-1].lines, seen=tuple(content.splitlines()))
    return found


def script(parts: list[Step]) -> str:
    """All steps in one shell, which stops at the first command that fails."""
    typed = "".join(f"printf '\\n{MARK} {number}\\n'\n{part.lines}" for number, part in enumerate(parts))
    return f"set -euo pipefail\nexec 2>&1 </dev/null\ntrap 'lava down >/dev/null 2>&1 || true' EXIT\n{typed}"


def matches(expected: str, line: str) -> bool:
    pattern = r"\s*".join(re.escape(word).replace("…", ".*?") for word in expected.split())
    return re.search(pattern, line) is not None


def not_seen(step: Step, output: str) -> list[str]:
    """The promised lines that did not come, in their order."""
    lines, missing = iter(output.splitlines()), []
    for expected in step.seen:
        if not any(matches(expected, line) for line in lines):
            missing.append(expected)
            lines = iter(output.splitlines())
    return missing


def environment(folder: Path, *, port: int, ca: Path) -> dict[str, str]:
    """A shell of a newcomer's, but for the way to the provider. The page's own commands stay as they are."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TERM", "TMPDIR") if name in os.environ}
    programs = str(Path(sys.executable).parent)
    return {
        **kept,
        "PATH": f"{programs}{os.pathsep}{kept['PATH']}",
        "HOME": str(folder),
        "LAVA_HOME": str(folder / "home"),
        "LAVA_PORT": "0",
        "LAVA_CONNECT_TO": f"api.openai.com:443:127.0.0.1:{port}",
        "LAVA_UPSTREAM_CA": str(ca),
        "OPENAI_API_KEY": "sk-quickstart",
        "COLUMNS": "160",
    }


@pytest.mark.timeout(180)
def test_the_quickstart_does_what_it_says_line_by_line(tmp_path: Path) -> None:
    parts = steps(page("quickstart.md"))
    work = tmp_path / "project"
    work.mkdir()
    authority = make_authority(tmp_path)
    with running_stand_in(tls=authority.issue("api.openai.com")) as provider:
        shell = subprocess.run(
            ["bash", "-c", script(parts)],
            cwd=work,
            env=environment(tmp_path, port=provider.port, ca=authority.certificate_file),
            capture_output=True,
            text=True,
            check=False,
        )
    outputs = re.split(rf"^{MARK} \d+\n", shell.stdout, flags=re.MULTILINE)[1:]

    assert shell.returncode == 0, shell.stdout
    assert len(outputs) == len(parts)
    for part, output in zip(parts, outputs, strict=True):
        assert not_seen(part, output) == [], output
    assert provider.counters.requests > 0


def test_a_promised_line_that_does_not_come_is_found() -> None:
    step = Step(lines="", seen=("calls … 2", "charge  $0.…"))

    assert not_seen(step, "calls   blocked 2\ncharge $0.01\n") == []
    assert not_seen(step, "charge $0.01\ncalls 2\n") == ["charge  $0.…"]
    assert not_seen(step, "calls 3\ncharge $0.01\n") == ["calls … 2"]
