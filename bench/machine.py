"""Processes of the bench: started on one core, watched from outside, ended by their id."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_PIN = "import os, sys; os.sched_setaffinity(0, {int(sys.argv[1])}); os.execvp(sys.argv[2], sys.argv[2:])"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a process and its children have used up to now."""

    cpu_seconds: float
    """User and system time, in steps of a tick (mostly 10 ms)."""
    loop_seconds: float
    """The part of its main thread, where the event loop runs."""
    rss_bytes: int


def can_pin() -> bool:
    return hasattr(os, "sched_setaffinity") and len(os.sched_getaffinity(0)) > 1


def cores() -> tuple[int, int]:
    """The core of the gateway, and the core of load and stand-in."""
    free = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0, 1]
    return free[0], free[-1]


def pinned(command: Sequence[str], core: int) -> list[str]:
    """The same command, on one core for all of its life; unchanged where the system cannot do that."""
    return [sys.executable, "-c", _PIN, str(core), *command] if can_pin() else list(command)


def start(
    command: Sequence[str], *, log: Path, folder: Path, env: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """A process in a session of its own; what it says goes to ``log``."""
    with log.open("wb") as file:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )


def stop(process: subprocess.Popen[bytes], *, patience_seconds: float = 15) -> None:
    """End a process that we started: asked first, then killed."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience_seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # its session is its own: this reaches nobody else
    process.wait()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def answers(port: int) -> bool:
    """Whether somebody listens."""
    with socket.socket() as client:
        client.settimeout(0.5)
        return client.connect_ex(("127.0.0.1", port)) == 0


def spent(pid: int) -> Spent:
    """Read from /proc; zeros where there is none."""
    ticks = loop_ticks = pages = 0
    for process in _tree(pid):
        fields, main_thread = _stat(Path(f"/proc/{process}")), _stat(Path(f"/proc/{process}/task/{process}"))
        if fields and main_thread:
            ticks += int(fields[11]) + int(fields[12])
            loop_ticks += int(main_thread[11]) + int(main_thread[12])
            pages += int(fields[21])
    return Spent(
        cpu_seconds=ticks / _TICKS_PER_SECOND,
        loop_seconds=loop_ticks / _TICKS_PER_SECOND,
        rss_bytes=pages * _PAGE_BYTES,
    )


def _tree(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        fields = _stat(folder)
        if fields:
            children.setdefault(int(fields[1]), []).append(int(folder.name))
    found, rest = [], [pid]
    while rest:
        process = rest.pop()
        found.append(process)
        rest += children.get(process, [])
    return found


def _stat(folder: Path) -> list[str] | None:
    """The fields of ``stat`` after the name, so that [1] is the parent, [11] and [12] are ticks, [21] pages."""
    try:
        text = (folder / "stat").read_text()
    except OSError:
        return None
    return text[text.rindex(")") + 2 :].split()
