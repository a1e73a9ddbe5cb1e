"""How the proxy of a home stands, and what it logged."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lava_proxy.core.instants import format_instant

if TYPE_CHECKING:
    from lava_proxy.services.presence import Presence
    from lava_proxy.wiring import House


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """``presence``: a process lives and has said where it is. It is ready when it also takes calls."""

    presence: "Presence | None"
    reason: str = ""
    """Why it is not ready; empty when it is."""

    @property
    def is_ready(self) -> bool:
        return not self.reason


NO_HOME = Standing(presence=None, reason="there is no home here; `lava init` makes one, `lava up` too")


def lock_file(house: "House") -> Path:
    """The lock that the proxy of this home and instance keeps while it lives."""
    return house.home.run_folder / f"{house.settings.instance}.lock"


def standing(house: "House") -> Standing:
    """Look at the proxy of this home and instance."""
    from lava_proxy.cli.reach import find_proxy, why_not_ready
    from lava_proxy.services.instances import is_locked

    presence = find_proxy(house)
    if presence is None:
        is_starting = is_locked(lock_file(house))
        reason = "it is starting or stopping" if is_starting else "no proxy runs; `lava up` starts one"
        return Standing(presence=None, reason=reason)
    return Standing(presence=presence, reason=why_not_ready(presence) or "")


def standing_document(found: Standing) -> dict[str, object]:
    presence = found.presence
    document: dict[str, object] = {"ready": found.is_ready, "reason": found.reason or None}
    if presence is None:
        names = ("instance", "pid", "host", "port", "proxy_url", "ca_file", "database", "version", "started_at")
        return {**document, **dict.fromkeys(names)}
    return {
        **document,
        "instance": presence.name,
        "pid": presence.pid,
        "host": presence.host,
        "port": presence.port,
        "proxy_url": presence.proxy_url,
        "ca_file": presence.ca_file,
        "database": presence.database,
        "version": presence.version,
        "started_at": format_instant(presence.started_us),
    }


def last_lines(file: Path, count: int) -> list[str]:
    with file.open(encoding="utf-8", errors="replace") as log:
        return [line.rstrip("\n") for line in deque(log, maxlen=count)]


def grow(file: Path, *, pause: Callable[[], None]) -> Iterator[str]:
    """Lines as they are written from now on, without end. A file that was cut or replaced is read from its start."""
    log = file.open(encoding="utf-8", errors="replace")
    log.seek(0, os.SEEK_END)
    rest = ""
    while True:
        rest += log.read()
        *whole, rest = rest.split("\n")
        yield from whole
        if _is_other(log.fileno(), log.tell(), file):
            log.close()
            log, rest = file.open(encoding="utf-8", errors="replace"), ""
        pause()


def _is_other(descriptor: int, position: int, file: Path) -> bool:
    try:
        now = file.stat()
    except FileNotFoundError:
        return False
    opened = os.fstat(descriptor)
    return (now.st_ino, now.st_dev) != (opened.st_ino, opened.st_dev) or now.st_size < position
