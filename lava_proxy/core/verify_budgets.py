"""What the calls of each budget came to: holds, which name their budgets, joined with the records of their requests.

Both are read in the order of their keys, which is that of time, so that few rows wait for their partner.
"""

from collections.abc import Iterator
from typing import Protocol

from lava_proxy.core.budgets import RUN
from lava_proxy.core.entities import Budget, BudgetAllocation, Entity, Hold, HoldState, RequestRecord
from lava_proxy.core.ports import Books

_COUNTED_STATES = (HoldState.SETTLED, HoldState.ORPHANED)
_OPEN_STATES = (HoldState.IN_FLIGHT, HoldState.RESERVED)


class Spending(Protocol):
    def spending(self, share: BudgetAllocation, *, charge_nanos: int, cost_nanos: int | None) -> None: ...


def spending_of_budgets(books: Books, proof: Spending) -> None:
    """Tell of every call that a budget which is no run's has counted. Rows that cannot be read were told of before."""
    if all(budget.subject.startswith(RUN) for budget in _readable(books, Budget)):
        return
    records = _readable(books, RequestRecord)
    waiting: dict[str, RequestRecord] = {}
    for hold in _readable(books, Hold):
        if hold.state in _OPEN_STATES:
            continue
        record = _partner(hold.request_id, waiting, records)
        if record is not None and hold.state in _COUNTED_STATES:
            for share in hold.budgets:
                proof.spending(share, charge_nanos=record.charge_nanos, cost_nanos=record.cost_nanos)


def _partner(
    request_id: str, waiting: dict[str, RequestRecord], records: Iterator[RequestRecord]
) -> RequestRecord | None:
    if request_id in waiting:
        return waiting.pop(request_id)
    for record in records:
        if record.request_id == request_id:
            return record
        waiting[record.request_id] = record
    return None


def _readable[T: Entity](books: Books, kind: type[T]) -> Iterator[T]:
    try:
        yield from books.rows(kind)
    except (AssertionError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return
