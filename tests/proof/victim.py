"""The proxy as a process that can be made to die, or to wait, at a labelled point of its own work.

``python -m tests.proof.victim`` takes the settings of ``lava_proxy.process``, and beside them

- ``PROOF_DIE_AT=KIND:LABEL:N`` SIGKILL to itself when the N-th commit group with a journal entry of that kind (hold,
  settle, orphan …) is at that point of the ledger's writer: before_flush, before_commit, after_commit. ``settle:asked``
  is earlier: the answer has been read to its end and measured, and its settlement is about to be queued.
- ``PROOF_GATE=FILE`` the writer waits before each commit while this file is there, as behind a slow disk; ``FILE.at``
  is written when it does.
- ``PROOF_SWEEP_SECONDS=S`` how often holds are swept, instead of every ten seconds.
"""

import os
from collections.abc import Callable
from concurrent.futures import Future
from functools import cached_property
from typing import TYPE_CHECKING

from lava_proxy import process
from lava_proxy.addons.logs import start_logging
from lava_proxy.core.ids import InstanceId
from lava_proxy.core.ports import Decision, Ledger, Rows
from lava_proxy.settings import Home, Settings, load_settings, resolve_home
from lava_proxy.store import SqliteLedger
from lava_proxy.wiring import House, Ulids
from tests.proof.fate import SWEEP_SECONDS, Fate

if TYPE_CHECKING:
    from lava_proxy.services.calls import Calls
    from lava_proxy.services.spool import Spool
    from lava_proxy.services.upkeep import Upkeep


class WatchedLedger(SqliteLedger):
    """Knows of what kinds the entries of each commit group are."""

    def __init__(self, house: House, fate: Fate) -> None:
        self._kinds: set[str] = set()
        self._fate = fate
        super().__init__(
            house.home.ledger_file,
            mode=None,
            clock=house.clock,
            synchronous=house.settings.synchronous,
            create=False,
            probe=self._reach,
        )

    def transact[S, R](
        self, load: Callable[[Rows], S], decide: Callable[[S], Decision[R]], *, can_wait: bool = False
    ) -> Future[R]:
        def watched(state: S) -> Decision[R]:
            decision = decide(state)
            self._kinds.update(transaction.kind for transaction in decision.transactions)
            return decision

        return super().transact(load, watched)

    def _reach(self, label: str) -> None:
        """Called by the writer's thread, which also runs ``decide``."""
        if label == "after_begin":
            self._kinds.clear()
        self._fate.reach(self._kinds, label)


class WatchedIds(Ulids):
    """Of a line at work, the id of a journal entry is taken when a call is to be settled."""

    def __init__(self, fate: Fate) -> None:
        super().__init__()
        self._fate = fate
        self._is_at_work = False

    def new(self, prefix: str) -> str:
        self._is_at_work = self._is_at_work or prefix == "req"
        if prefix == "txn" and self._is_at_work:
            self._fate.reach({"settle"}, "asked")
        return super().new(prefix)


class WatchedHouse(House):
    def __init__(self, home: Home, settings: Settings) -> None:
        self._fate = Fate.from_environment()
        super().__init__(home, settings, ids=WatchedIds(self._fate))

    @cached_property
    def ledger(self) -> Ledger:
        return WatchedLedger(self, self._fate)

    def upkeep(
        self, instance_id: InstanceId, calls: "Calls", spool: "Spool | None" = None, *, sweep_seconds: float = 10
    ) -> "Upkeep":
        seconds = float(os.environ.get(SWEEP_SECONDS, sweep_seconds))
        return super().upkeep(instance_id, calls, spool, sweep_seconds=seconds)


def main() -> None:
    home = resolve_home()
    settings = load_settings(home)
    start_logging(settings.log_level, settings.log_file)
    process.run(home, settings, open_house=WatchedHouse)


if __name__ == "__main__":
    main()
