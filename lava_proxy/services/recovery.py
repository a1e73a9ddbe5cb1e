"""Holds that nobody will resolve: those of dead processes, those whose time ran out, those that were lost by a fault.

A process shows that it lives by a lock on a file; the lock falls with it, however it dies. Its holds in flight are then
orphans: their calls may have reached the provider, so they are charged at their hold and flagged.
"""

import logging
from collections.abc import Callable

from msgspec import Struct

from lava_proxy.core.entities import Hold, HoldState, RequestRecord
from lava_proxy.core.errors import LedgerUnavailable
from lava_proxy.core.ids import EventId, HoldId, InstanceId, TransactionId
from lava_proxy.core.ports import Clock, Decision, IdSource, Ledger
from lava_proxy.core.settlement import Holding, Stamp, expire, load_holding, orphan

log = logging.getLogger(__name__)

LOST_US = 120 * 1_000_000
"""A hold of this very process, unknown to its line and older than this, was lost by a fault."""


class Swept(Struct, frozen=True, kw_only=True):
    orphaned: int
    expired: int


class Recovery:
    """Finds and resolves such holds. Any number of processes may sweep at once: a hold is resolved once."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        clock: Clock,
        ids: IdSource,
        own: InstanceId | None,
        is_alive: Callable[[InstanceId], bool],
        is_open: Callable[[str], bool],
    ) -> None:
        """``is_alive``: whether another instance's process lives. ``is_open``: whether our own line has a request in hand."""
        self._ledger, self._clock, self._ids = ledger, clock, ids
        self._own, self._is_alive, self._is_open = own, is_alive, is_open

    def sweep(self) -> Swept:
        """Resolve what is due; gives how many. Waits for the ledger, so it does not belong on an event loop.

        Raises:
            LedgerUnavailable: some may be resolved and the rest not; the next sweep goes on.
        """
        orphaned = expired = 0
        alive: dict[InstanceId, bool] = {}
        for hold in self._open_holds():
            if hold.state is HoldState.RESERVED and hold.expires_us <= self._clock.now_us():
                expired += self._resolve(hold, expire)
            elif hold.state is HoldState.IN_FLIGHT and self._is_orphan(hold, alive):
                orphaned += self._resolve(hold, orphan)
        if orphaned or expired:
            log.warning("holds resolved by the sweep", extra={"orphaned": orphaned, "expired": expired})
        return Swept(orphaned=orphaned, expired=expired)

    def _open_holds(self) -> list[Hold]:
        found: list[Hold] = []
        cursor: str | None = None
        while True:
            page = self._ledger.books().holds(open_only=True, cursor=cursor, limit=500)
            found.extend(page.items)
            cursor = page.next_cursor
            if cursor is None:
                return found

    def _is_orphan(self, hold: Hold, alive: dict[InstanceId, bool]) -> bool:
        if hold.instance_id == self._own:
            return self._clock.now_us() - hold.created_us > LOST_US and not self._is_open(hold.request_id)
        if hold.instance_id not in alive:
            alive[hold.instance_id] = self._is_alive(hold.instance_id)
        return not alive[hold.instance_id]

    def _resolve(self, hold: Hold, how: Callable[[Holding, Stamp], Decision[RequestRecord | None]]) -> int:
        """1 where it was. A fault of ours with one hold is logged and comes again; it must not hold up the others."""
        try:
            return self._resolved(hold, how)
        except LedgerUnavailable:
            raise
        except Exception:
            log.exception("a hold cannot be resolved", extra={"hold_id": hold.hold_id})
            return 0

    def _resolved(self, hold: Hold, how: Callable[[Holding, Stamp], Decision[RequestRecord | None]]) -> int:
        stamp = Stamp(
            now_us=self._clock.now_us(),
            transaction_id=TransactionId(self._ids.new("txn")),
            event_id=EventId(self._ids.new("evt")),
            actor="sweep",
        )
        hold_id: HoldId = hold.hold_id
        decided: list[bool] = []

        def decide(holding: Holding | None) -> Decision[RequestRecord | None]:
            assert holding is not None, hold_id
            decision = how(holding, stamp)
            decided[:] = [bool(decision.transactions)]
            return decision

        self._ledger.transact(lambda rows: load_holding(rows, hold_id), decide).result()
        return int(decided[0])
