"""A ledger on paper: rows in a dict, postings in a list, every step checked. For testing the rules without a store."""

from collections import Counter as Tally
from collections.abc import Callable
from concurrent.futures import Future
from typing import cast

from lava_proxy.core.billing import Bundle, Payment, Plan, Subscription, Terms, TopUp
from lava_proxy.core.entities import (
    AuditEntry,
    Budget,
    Counter,
    Customer,
    Entity,
    Event,
    Grant,
    Hold,
    HoldState,
    HomeFact,
    Instance,
    Key,
    Meter,
    MeterVersion,
    Refusal,
    RequestRecord,
    Run,
    Transaction,
    Wallet,
)
from lava_proxy.core.ports import Decision, Rows

_KEYS: dict[type, tuple[str, ...]] = {
    Customer: ("customer_id",),
    Key: ("key_id",),
    Run: ("run_id",),
    Meter: ("meter_id",),
    MeterVersion: ("meter_id", "version"),
    Counter: ("customer_id", "meter_id", "cycle"),
    Grant: ("grant_id",),
    Wallet: ("customer_id",),
    Budget: ("budget_id",),
    Hold: ("hold_id",),
    RequestRecord: ("request_id",),
    Refusal: ("bucket_us", "customer_id", "run_id", "code"),
    Event: ("key",),
    Instance: ("instance_id",),
    HomeFact: ("name",),
    Plan: ("plan_id",),
    Bundle: ("bundle_id",),
    Subscription: ("subscription_id",),
    Payment: ("payment_id",),
    TopUp: ("subject",),
    Terms: ("customer_id",),
}
_OPEN_HOLDS = (HoldState.IN_FLIGHT, HoldState.RESERVED)


class PaperLedger:
    """Does each step at once, on the caller's thread."""

    def __init__(self) -> None:
        self.tables: dict[type, dict[tuple[str | int, ...], Entity]] = {}
        self.journal: list[Transaction] = []

    def get[T: Entity](self, kind: type[T], *key: str | int) -> T | None:
        return cast("T | None", self.tables.get(kind, {}).get(key))

    def find[T: Entity](self, kind: type[T], **where: str | int | None) -> tuple[T, ...]:
        rows = cast("list[T]", [row for _, row in sorted(self.tables.get(kind, {}).items())])
        found = [row for row in rows if all(getattr(row, name) == value for name, value in where.items())]
        if kind is Grant:
            found = [row for row in found if isinstance(row, Grant) and row.free_nanos + row.held_nanos > 0]
        if kind is Hold and "customer_id" in where:
            found = [row for row in found if isinstance(row, Hold) and row.state in _OPEN_HOLDS]
        return tuple(found)

    def transact[S, R](
        self, load: Callable[[Rows], S], decide: Callable[[S], Decision[R]], *, can_wait: bool = False
    ) -> Future[R]:
        future: Future[R] = Future()
        decision = decide(load(self))
        keys = {transaction.key for transaction in self.journal}
        for transaction in decision.transactions:
            assert transaction.key not in keys, f"posted twice: {transaction.key}"
            self.journal.append(transaction)
        for row in decision.rows:
            if isinstance(row, AuditEntry):
                continue
            key = tuple(getattr(row, name) for name in _KEYS[type(row)])
            table = self.tables.setdefault(type(row), {})
            assert not (isinstance(row, Event) and key in table), f"an event twice: {key}"
            table[key] = row
        future.set_result(decision.result)
        return future

    def balances(self) -> Tally[str]:
        """What moved into each account less what moved out."""
        tally: Tally[str] = Tally()
        for transaction in self.journal:
            for posting in transaction.postings:
                tally[posting.destination] += posting.amount_nanos
                tally[posting.source] -= posting.amount_nanos
        return tally
