"""Starts a command in our place: same terminal, same input and output, signals passed on, its exit code ours.

The child stays in our process group, so that the terminal treats both as one job. What a key press makes (Ctrl-C,
Ctrl-\\, a new window size) then reaches the child by itself and must not be sent a second time; what another process
sends to us alone must be passed on. The two are told apart by who sent the signal: the kernel, or a process.
"""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from types import FrameType

EXIT_NOT_RUNNABLE = 126
EXIT_NOT_FOUND = 127

_PASSED_ON = frozenset(
    {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGWINCH, signal.SIGUSR1, signal.SIGUSR2}
)
_AWAITED = _PASSED_ON | {signal.SIGCHLD}
_FROM_KEYS = frozenset({signal.SIGINT, signal.SIGQUIT, signal.SIGWINCH, signal.SIGHUP})
"""What the terminal sends to all of its foreground job."""
_SENT_BY_KERNEL = 128
"""si_code SI_KERNEL. The sender's process id is no help: it is 0 as well for one outside of our container."""


def launch(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run ``command`` to its end and give the exit code that a shell would: 128 + n where signal n ended it.

    126: it cannot be run; 127: there is none. Signals that came meanwhile are passed on, none is lost.
    """
    restore = {number: signal.signal(number, _ignore) for number in (signal.SIGCHLD, signal.SIGWINCH)}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
    try:
        return _attend(_spawn(command, environment, before))
    except FileNotFoundError:
        _say(command, "there is no such command")
        return EXIT_NOT_FOUND
    except OSError as error:
        _say(command, error.strerror or str(error))
        return EXIT_NOT_RUNNABLE
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for number, handler in restore.items():
            signal.signal(number, handler)


def _spawn(command: Sequence[str], environment: Mapping[str, str], mask: set[int]) -> int:
    """A process id. The child starts with the signals that we were started with."""
    return os.posix_spawnp(
        command[0],
        list(command),
        dict(environment),
        setsigmask=list(mask),
        setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],  # Python ignores these two for itself
    )


def _attend(child: int) -> int:
    """Pass signals on until the child has ended."""
    while True:
        code = _ended(child)
        if code is not None:
            return code
        number, is_from_terminal = _next_signal()
        if number != signal.SIGCHLD and not is_from_terminal:
            os.kill(child, number)


def _ended(child: int) -> int | None:
    pid, status = os.waitpid(child, os.WNOHANG)
    if pid == 0:
        return None
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def _next_signal() -> tuple[int, bool]:
    """The next signal and whether the terminal made it, which then gave it to the child as well."""
    if sys.platform == "darwin":  # no sigwaitinfo there: in the foreground, key presses are the likely sender
        number = signal.sigwait(_AWAITED)
        return number, number in _FROM_KEYS and _is_foreground()
    info = signal.sigwaitinfo(_AWAITED)
    return info.si_signo, info.si_signo in _FROM_KEYS and info.si_code == _SENT_BY_KERNEL


def _is_foreground() -> bool:
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """A handler that does nothing: a signal that is ignored by default would not be queued for us."""


def _say(command: Sequence[str], why: str) -> None:
    print(f"lava run: {command[0]}: {why}", file=sys.stderr)
