"""What a running proxy does beside serving calls, on a thread of its own: retries, sweeps, expiry of credit."""

import logging
import threading
from collections.abc import Callable

from msgspec import Struct

log = logging.getLogger(__name__)


class Chore(Struct, frozen=True, kw_only=True):
    """Something to be done again and again. It may wait for the ledger; what it raises is logged and it comes again."""

    name: str
    every_seconds: float
    do: Callable[[], object]
    waits_for_others: bool = False
    """It may wait for somebody else's machine: such chores run on a second thread, so that the others never do."""


class Upkeep:
    """Runs the chores in turn. ``start`` and ``stop`` once each; ``stop`` waits for the chores that are running."""

    def __init__(self, chores: tuple[Chore, ...], *, name: str = "lava-upkeep") -> None:
        self._stopping = threading.Event()
        own = tuple(chore for chore in chores if not chore.waits_for_others)
        others = tuple(chore for chore in chores if chore.waits_for_others)
        self._threads = [
            threading.Thread(target=self._run, args=(group,), name=thread_name, daemon=True)
            for thread_name, group in ((name, own), ("lava-billing", others))
            if group
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, *, timeout_seconds: float = 10.0) -> None:
        self._stopping.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout_seconds)

    def _run(self, chores: tuple[Chore, ...]) -> None:
        pause = min(chore.every_seconds for chore in chores)
        waits = [chore.every_seconds for chore in chores]
        while not self._stopping.wait(pause):
            for index, chore in enumerate(chores):
                waits[index] -= pause
                if waits[index] <= 0:
                    waits[index] = chore.every_seconds
                    self._do(chore)

    def _do(self, chore: Chore) -> None:
        try:
            chore.do()
        except Exception:
            log.exception("a chore failed and will be tried again", extra={"chore": chore.name})
