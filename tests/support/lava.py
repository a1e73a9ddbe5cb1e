"""The `lava` command as a process, as a user types it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LAVA = (sys.executable, "-c", "from lava_proxy.cli import main; main()")
TRUST = (
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


def clean_environment(home: Path, **more: str) -> dict[str, str]:
    """A user's shell that knows no proxy, no bundle and no setting, with this interpreter first on PATH."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("LAVA_") and not name.upper().endswith("_PROXY") and name not in TRUST
    }
    path = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")])
    return {**kept, "PATH": path, "LAVA_HOME": str(home), **more}


def lava(
    home: Path,
    *arguments: str,
    text: str = "",
    environment: Mapping[str, str] | None = None,
    timeout_seconds: float = 90,
) -> Said:
    """Run one command in this home."""
    done = subprocess.run(
        [*LAVA, *arguments],
        env=dict(environment) if environment is not None else clean_environment(home),
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_seconds,
    )
    return Said(code=done.returncode, out=done.stdout, err=done.stderr)
