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


class Upkeep:
    """Runs the chores in turn. ``start`` and ``stop`` once each; ``stop`` waits for the chore that is running."""

    def __init__(self, chores: tuple[Chore, ...], *, name: str = "lava-upkeep") -> None:
        self._chores = chores
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._waits = [chore.every_seconds for chore in chores]

    def start(self) -> None:
        self._thread.start()

    def stop(self, *, timeout_seconds: float = 10.0) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)

    def _run(self) -> None:
        pause = min(chore.every_seconds for chore in self._chores)
        while not self._stopping.wait(pause):
            for index, chore in enumerate(self._chores):
                self._waits[index] -= pause
                if self._waits[index] <= 0:
                    self._waits[index] = chore.every_seconds
                    self._do(chore)

    def _do(self, chore: Chore) -> None:
        try:
            chore.do()
        except Exception:
            log.exception("a chore failed and will be tried again", extra={"chore": chore.name})
