"""Starting and stopping the process of the proxy. It is `python -m lava_proxy.process`; what it shall do is in its environment."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from lava_proxy.cli.output import say
from lava_proxy.core.addresses import is_loopback
from lava_proxy.core.errors import Conflict, InvalidSettings, LavaError, LedgerUnavailable, NotReachable

if TYPE_CHECKING:
    from lava_proxy.settings import Home
    from lava_proxy.wiring import House

PROCESS = (sys.executable, "-m", "lava_proxy.process")
READY_SECONDS = 60
STARTING_SECONDS = 10
POLL_SECONDS = 0.05
_SAID_CHARACTERS = 2000
_ERRORS: dict[int, type[LavaError]] = {2: InvalidSettings, 7: Conflict, 9: LedgerUnavailable}
"""By exit code of the process."""

Given = Mapping[str, object]
"""Settings given as options; ``None`` where they were not."""


def check_startable(house: "House") -> None:
    """Refuse a second proxy of the same name, and warn of what is unwise.

    Raises:
        Conflict: one runs already.
    """
    from lava_proxy.services.instances import is_locked
    from lava_proxy.services.presence import read_presence

    name, settings = house.settings.instance, house.settings
    presence = read_presence(house.home.run_folder, name)
    if presence is not None or is_locked(house.home.run_folder / f"{name}.lock"):
        where = f" at {presence.proxy_url} (pid {presence.pid})" if presence else ""
        raise Conflict(
            f"A proxy named {name!r} runs in this home already{where}.",
            hint="`lava down` stops it; --instance NAME starts another one beside it.",
        )
    if not is_loopback(settings.host) and settings.tls_cert is None:
        say(f"warning: keys and prompts reach {settings.host} unencrypted; give --tls-cert and --tls-key")


def become_proxy(home: "Home", given: Given) -> NoReturn:
    """Go on as the proxy, in this very process: its signals and its exit code are ours."""
    os.execve(PROCESS[0], list(PROCESS), environment(home, given))


def start_detached(house: "House", given: Given) -> None:
    """Start the proxy in a session of its own and wait until it is ready.

    Raises:
        NotReachable: it ended, or was not ready in time.
        Conflict, InvalidSettings, LedgerUnavailable: it ended because of that.
    """
    from lava_proxy.cli.standing import standing

    log_file = house.home.log_file(house.settings.instance)
    log_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(log_file, "ab", opener=_private) as log:
        said_from = log.tell()
        process = subprocess.Popen(
            PROCESS,
            env=environment(house.home, given),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + READY_SECONDS
    while not (found := standing(house)).is_ready:
        code = process.poll()
        if code is not None:
            raise _ended(code, log_file, said_from)
        if time.monotonic() > deadline:
            raise NotReachable(
                f"The proxy is not ready after {READY_SECONDS} s: {found.reason}", hint="`lava logs` tells more."
            )
        time.sleep(POLL_SECONDS)


def stop(house: "House", *, force: bool) -> bool:
    """Stop the proxy of this home and instance, and wait for its end; ``False`` where none runs.

    Raises:
        NotReachable: it does not say where it is, or is still stopping after its deadline.
    """
    from lava_proxy.cli.reach import find_proxy
    from lava_proxy.cli.standing import lock_file
    from lava_proxy.services.instances import is_locked

    deadline = time.monotonic() + STARTING_SECONDS
    while (presence := find_proxy(house)) is None:
        if not is_locked(lock_file(house)):
            return False
        if time.monotonic() > deadline:
            raise NotReachable("A proxy is starting or stopping, and does not say where it is.", hint="Try again.")
        time.sleep(POLL_SECONDS)
    try:
        os.kill(presence.pid, signal.SIGKILL if force else signal.SIGTERM)
    except ProcessLookupError:
        return True
    deadline = time.monotonic() + house.settings.drain_seconds + 15
    while is_locked(lock_file(house)):
        if time.monotonic() > deadline:
            raise NotReachable(
                f"The proxy (pid {presence.pid}) is still stopping.", hint="`lava down --force` kills it."
            )
        time.sleep(POLL_SECONDS)
    return True


def environment(home: "Home", given: Given) -> dict[str, str]:
    """Of the process: its home, and options as the variables of the same settings."""
    told = {f"LAVA_{key.upper()}": _variable(value) for key, value in given.items() if value is not None}
    return {**os.environ, "LAVA_HOME": str(home.folder), **told}


def remember_flags(house: "House", given: Given) -> None:
    """For `lava restart`."""
    file = _flags_file(house)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.write_text(json.dumps({key: value for key, value in given.items() if value is not None}))


def remembered_flags(house: "House") -> dict[str, object]:
    """The options of the last `lava up`; a port that was picked is taken again, so that clients find it."""
    from lava_proxy.cli.reach import find_proxy

    try:
        flags: dict[str, object] = json.loads(_flags_file(house).read_text())
    except (FileNotFoundError, ValueError):
        flags = {}
    presence = find_proxy(house)
    if presence is not None and flags.get("port", house.settings.port) == 0:
        flags["port"] = presence.port
    return flags


def _flags_file(house: "House") -> Path:
    return house.home.run_folder / f"{house.settings.instance}.options"


def _variable(value: object) -> str:
    return ",".join(str(part) for part in value) if isinstance(value, tuple | list) else str(value)


def _ended(code: int, log_file: Path, said_from: int) -> LavaError:
    """What the process said before it ended, as our own error."""
    with log_file.open("rb") as log:
        log.seek(said_from)
        said = log.read().decode(errors="replace").strip()[-_SAID_CHARACTERS:]
    errors = [line.partition("error: ")[2] for line in said.splitlines() if line.startswith("error: ")]
    kind = _ERRORS.get(code, NotReachable)
    message = errors[-1] if errors else f"The proxy ended at once (exit code {code}):\n{said}"
    return kind(message, hint=f"Its log is {log_file}.")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
