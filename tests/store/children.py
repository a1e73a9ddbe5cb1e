"""What child processes of the tests do. Run as ``python -m tests.store.children WHAT PATH …``."""

import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from lava_proxy.core.entities import HomeFact, Mode
from lava_proxy.core.ports import Decision, Ledger
from lava_proxy.store import open_ledger
from lava_proxy.store.ledger import no_probe
from tests.store.samples import FakeClock, event, transaction


def count_up(ledger: Ledger, name: str, number: int) -> None:
    """Add 1 to a number that all share, with a transaction and an event that tell who did."""

    def decide(found: HomeFact | None) -> Decision[None]:
        value = int(found.value) + 1 if found else 1
        moved = transaction(f"{name}:{number}", ("x", "y", value))
        return Decision(
            result=None,
            transactions=(moved,),
            rows=(HomeFact(name="count", value=str(value)), event(f"{name}:{number}")),
        )

    future = ledger.transact(lambda rows: rows.get(HomeFact, "count"), decide)
    if number % 7 == 0:
        future.result(60)


def count(path: Path, name: str, times: int) -> None:
    """Count up many times, in groups and alone, beside others who do the same."""
    with open_ledger(path, mode=Mode.TEST, clock=FakeClock(), synchronous="NORMAL", busy_seconds=60) as ledger:
        for number in range(times):
            count_up(ledger, name, number)


def die(path: Path, label: str) -> None:
    """Commit one step, then die at a labelled point of the next one's group."""
    armed = False

    def probe(here: str) -> None:
        if armed and here == label:
            os.kill(os.getpid(), signal.SIGKILL)

    ledger = open_ledger(path, mode=Mode.TEST, clock=FakeClock(), probe=probe)
    count_up(ledger, "first", 0)
    armed = True
    count_up(ledger, "second", 0)
    sys.exit(f"it passed {label} alive")


def hold_on(path: Path) -> None:
    """Write once, say so, and stay until killed."""
    ledger = open_ledger(path, mode=Mode.TEST, clock=FakeClock(), probe=no_probe)
    count_up(ledger, "held", 0)
    print("ready", flush=True)
    sys.stdin.read()


def come_and_go(path: Path, times: int) -> None:
    """Open the file and close it again, as commands do beside a proxy."""
    for _ in range(times):
        with closing(sqlite3.connect(path, timeout=30)) as connection:
            connection.execute("SELECT count(*) FROM customers").fetchone()


WHAT: dict[str, Callable[..., None]] = {
    "count": lambda path, name, times: count(Path(path), name, int(times)),
    "die": lambda path, label: die(Path(path), label),
    "come_and_go": lambda path, times: come_and_go(Path(path), int(times)),
    "hold_on": lambda path: hold_on(Path(path)),
}

if __name__ == "__main__":
    WHAT[sys.argv[1]](*sys.argv[2:])
