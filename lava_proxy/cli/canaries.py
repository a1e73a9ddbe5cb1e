"""One request per runtime to a host that exists nowhere: whoever gets an answer got it from the proxy.

A canary runs as a child with the environment of `lava run`, in the runtimes that the user's own PATH names. It prints
what it was answered, or ends with ``EXIT_ABSENT`` where the runtime lacks the library.
"""

import re
import shutil
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum

from lava_proxy.core.names import PROVE_HOST

PROVE_URL = f"https://{PROVE_HOST}/"
EXIT_ABSENT = 97
TIMEOUT_SECONDS = 20

_PYTHON = f"""
import importlib.util, sys
if importlib.util.find_spec({{module!r}}) is None:
    sys.exit({EXIT_ABSENT})
url = {PROVE_URL!r}
{{ask}}
"""
_REQUESTS = "import requests; print(requests.get(url, timeout=10).text)"
_HTTPX = "import httpx; print(httpx.get(url, timeout=10).text)"
_URLLIB = "import urllib.request; print(urllib.request.urlopen(url, timeout=10).read().decode())"
_AIOHTTP = """
import asyncio, aiohttp
async def ask():
    async with aiohttp.ClientSession({options}) as session, session.get(url) as answer:
        print(await answer.text())
asyncio.run(ask())
"""
_NODE_FETCH = f"fetch('{PROVE_URL}').then((a) => a.text()).then(console.log, (e) => {{ console.error(e.cause ?? e); process.exit(1); }})"
_NODE_HTTPS = (
    "const https = require('node:https');"
    f"https.get('{PROVE_URL}', {{ agent: new https.Agent({{ keepAlive: true }}) }}, (a) => a.pipe(process.stdout))"
    ".on('error', (e) => { console.error(e); process.exit(1); })"
)

_USE_RUN = "start the program with `lava run -- …`, or set what `lava env` prints in the shell that starts it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """``program`` is looked for on PATH under each of its names; ``arguments`` follow it."""

    name: str
    program: tuple[str, ...]
    arguments: tuple[str, ...]
    proof: str = '"ok": ?true'
    """A regular expression that only our answer fits; searched in what the canary prints."""
    is_proved_by_success: bool = False
    """It prints nothing of an answer, but without one it would have failed."""
    fix: str = _USE_RUN
    is_known_to_escape: bool = False
    """Its makers decided so; the next canary shows the remedy."""


class Outcome(StrEnum):
    INTERCEPTED = "intercepted"
    UNTRUSTED = "untrusted"
    """It went through the proxy and did not trust our certificate."""
    AROUND = "around"
    """It never reached the proxy: its calls are not metered."""
    ABSENT = "absent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What became of a canary. ``said`` is the last line of what it printed, for people."""

    name: str
    program: str
    outcome: Outcome
    fix: str = ""
    said: str = ""
    is_known: bool = False
    """It escaped as it was known to."""


def _python(name: str, module: str, ask: str) -> Canary:
    script = _PYTHON.format(module=module, ask=ask)
    return Canary(name=name, program=("python", "python3"), arguments=("-c", script))


CANARIES = (
    _python("python urllib", "urllib", _URLLIB),
    _python("python requests", "requests", _REQUESTS),
    _python("python httpx", "httpx", _HTTPX),
    replace(
        _python("python aiohttp", "aiohttp", _AIOHTTP.format(options="")),
        fix="aiohttp ignores HTTPS_PROXY unless told: write aiohttp.ClientSession(trust_env=True)",
        is_known_to_escape=True,
    ),
    _python("python aiohttp with trust_env=True", "aiohttp", _AIOHTTP.format(options="trust_env=True")),
    Canary(
        name="node fetch",
        program=("node",),
        arguments=("-e", _NODE_FETCH),
        fix="Node before 22.21 and 24.5 ignores HTTPS_PROXY: keep the --require that `lava run` puts into NODE_OPTIONS",
    ),
    Canary(
        name="node https",
        program=("node",),
        arguments=("-e", _NODE_HTTPS),
        fix="Node's own agents ignore HTTPS_PROXY: keep the --require that `lava run` puts into NODE_OPTIONS",
    ),
    Canary(name="curl", program=("curl",), arguments=("--silent", "--show-error", "--max-time", "10", PROVE_URL)),
    Canary(
        name="git",
        program=("git",),
        arguments=("ls-remote", f"{PROVE_URL}proof.git"),
        proof="not valid: is this a git repository",  # it got an answer, and no repository
        is_proved_by_success=True,
        fix="git config --global --get http.proxy, http.sslCAInfo: what is set there wins over the environment; unset it",
    ),
)


def prove(canary: Canary, environment: Mapping[str, str]) -> Proof:
    """Send one canary with this environment."""
    program = next(filter(None, (shutil.which(name, path=environment.get("PATH")) for name in canary.program)), None)
    if program is None:
        return Proof(name=canary.name, program="", outcome=Outcome.ABSENT)
    code, said = _run([program, *canary.arguments], {**environment, "LC_ALL": "C"})
    if code == EXIT_ABSENT:
        return Proof(name=canary.name, program=program, outcome=Outcome.ABSENT)
    outcome = judge(canary, said, code)
    fix = "" if outcome is Outcome.INTERCEPTED else canary.fix
    is_known = canary.is_known_to_escape and outcome is Outcome.AROUND
    return Proof(name=canary.name, program=program, outcome=outcome, fix=fix, said=_last_line(said), is_known=is_known)


def prove_all(environment: Mapping[str, str]) -> list[Proof]:
    """Every canary, some at a time, in their order."""
    with ThreadPoolExecutor(max_workers=4) as pool:
        return list(pool.map(lambda canary: prove(canary, environment), CANARIES))


def judge(canary: Canary, said: str, code: int) -> Outcome:
    """What happened to a canary that printed this and ended with this exit code."""
    if re.search(canary.proof, said) or (code == 0 and canary.is_proved_by_success):
        return Outcome.INTERCEPTED
    if re.search(r"certificate|SSL|issuer", said, re.IGNORECASE) and not re.search(_NO_SUCH_HOST, said):
        return Outcome.UNTRUSTED
    return Outcome.AROUND


_NO_SUCH_HOST = (
    r"ENOTFOUND|EAI_AGAIN|[Nn]ame or service not known|nodename nor servname|[Cc]ould not resolve host|name resolution"
)


def _run(command: list[str], environment: Mapping[str, str]) -> tuple[int, str]:
    try:
        done = subprocess.run(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return 124, f"no answer within {TIMEOUT_SECONDS} seconds"
    except OSError as error:
        return 126, str(error)
    return done.returncode, (done.stdout + b"\n" + done.stderr).decode(errors="replace")


def _last_line(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""
