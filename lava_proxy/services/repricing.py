"""`lava reprice`: recorded calls at today's prices and readings, corrected by postings, one call a step.

Each correction is one transaction, so that a crash leaves every call either as it was or corrected, and the next run goes on
with the rest: a call that comes to the figures it has is not touched.
"""

import json
from collections import Counter as Tally
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future

from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.core.entities import AuditEntry, Counter, Grant, RequestRecord
from lava_proxy.core.ids import EventId, TransactionId
from lava_proxy.core.instants import format_instant
from lava_proxy.core.money import format_amount
from lava_proxy.core.ports import Clock, Decision, IdSource, Ledger, RequestFilter, Rows
from lava_proxy.core.repricing import Correction, NotReturned, Paid, can_be_repriced, is_same, paid_by, reprice
from lava_proxy.core.settlement import Holding, Stamp, load_holding
from lava_proxy.services.documents import Document, amount
from lava_proxy.services.idempotency import By
from lava_proxy.services.price_again import PriceAgain

_AT_ONCE = 64
"""Corrections on their way to the disk together."""
_TRIES_MAX = 5


class RepricedLine(Struct, frozen=True, kw_only=True):
    """Sums over the calls of a model that come to other figures."""

    provider: str
    model: str
    requests: int = 0
    were_unpriced: int = 0
    """Of them, whose cost nobody knew; it counts as 0 before."""
    cost_before_nanos: int = 0
    cost_nanos: int = 0
    charge_before_nanos: int = 0
    charge_nanos: int = 0
    charge_kept: int = 0
    """Whose charge stays, because how it came about cannot be told from its breakdown."""


class Repriced(Struct, frozen=True, kw_only=True):
    lines: tuple[RepricedLine, ...]
    total: RepricedLine
    looked_at: int
    unchanged: int
    left: dict[str, int]
    """Calls that were left alone, by the reasons of ``price_again.REASONS``."""


class _Sums:
    def __init__(self) -> None:
        self.lines: dict[tuple[str, str], RepricedLine] = {}
        self.looked_at = 0
        self.unchanged = 0
        self.left: Tally[str] = Tally()

    def take(self, done: Correction | None) -> None:
        if done is None:
            self.left["unsettled"] += 1
        elif not done.is_change:
            self.unchanged += 1
        else:
            before, after = done.record_before, done.record
            key = (after.request.provider, after.model or "")
            line = self.lines.get(key) or RepricedLine(provider=key[0], model=key[1])
            self.lines[key] = _added(line, before, after, is_charge_kept=done.is_charge_kept)

    def outcome(self) -> Repriced:
        lines = tuple(self.lines[key] for key in sorted(self.lines))
        total = RepricedLine(provider="", model="")
        for line in lines:
            total = _sum(total, line)
        return Repriced(
            lines=lines, total=total, looked_at=self.looked_at, unchanged=self.unchanged, left=dict(self.left)
        )


class _OutOfDate(Exception):
    """Somebody corrected the call between the reading of its journal and the write."""


class Repricing:
    def __init__(self, *, ledger: Ledger, clock: Clock, ids: IdSource) -> None:
        self._ledger, self._clock, self._ids = ledger, clock, ids

    def run(self, which: RequestFilter, pricing: PriceAgain, *, by: By, preview: bool = False) -> Repriced:
        """Correct every settled call that ``which`` means and that comes to other figures. Oldest first.

        Raises:
            LedgerUnavailable: what was corrected until then stays so; the same run goes on with the rest.
        """
        sums = _Sums()
        if preview:
            self._preview(which, pricing, sums)
            return sums.outcome()
        self._post_all(which, pricing, by, sums)
        done = sums.outcome()
        entry = self._audited(which, done, by)
        self._ledger.transact(lambda _: None, lambda _: Decision(result=None, rows=(entry,))).result()
        return done

    def _differing(self, which: RequestFilter, pricing: PriceAgain, sums: _Sums) -> Iterator[RequestRecord]:
        for record in self._ledger.books().each_request(which):
            sums.looked_at += 1
            again = pricing.price(record)
            if isinstance(again, str):
                sums.left[again] += 1
            elif is_same(record, again):
                sums.unchanged += 1
            else:
                yield record

    def _preview(self, which: RequestFilter, pricing: PriceAgain, sums: _Sums) -> None:
        """What would be posted; remainders pass from one call to the next as they would then."""
        counters: dict[tuple[str, str, str], Counter] = {}
        for record in self._differing(which, pricing, sums):
            paid, stamp = self._paid(record), self._stamp(By(actor=""))
            found = self._ledger.read(lambda rows, r=record, p=paid: _load(rows, r, p, None))  # type: ignore[misc]
            found = replace(found, holding=_with_counters(found.holding, counters))
            decision = self._decided(found, pricing, paid, stamp)
            for row in decision.rows:
                if isinstance(row, Counter):
                    counters[row.customer_id, row.meter_id, row.cycle] = row
            sums.take(decision.result)

    def _post_all(self, which: RequestFilter, pricing: PriceAgain, by: By, sums: _Sums) -> None:
        waiting: deque[tuple[RequestRecord, Future[Correction | None]]] = deque()
        for record in self._differing(which, pricing, sums):
            waiting.append((record, self._post(record, pricing, by, all_grants=False)))
            if len(waiting) >= _AT_ONCE:
                sums.take(self._outcome(*waiting.popleft(), pricing, by))
        while waiting:
            sums.take(self._outcome(*waiting.popleft(), pricing, by))

    def _outcome(
        self, record: RequestRecord, future: Future[Correction | None], pricing: PriceAgain, by: By
    ) -> Correction | None:
        for _ in range(_TRIES_MAX):
            try:
                return future.result()
            except _OutOfDate:
                future = self._post(record, pricing, by, all_grants=False)
            except NotReturned:
                future = self._post(record, pricing, by, all_grants=True)
        return future.result()

    def _post(
        self, record: RequestRecord, pricing: PriceAgain, by: By, *, all_grants: bool
    ) -> Future[Correction | None]:
        paid, stamp = self._paid(record), self._stamp(by)
        known = self._grant_ids(record) if all_grants else None
        return self._ledger.transact(
            lambda rows: _load(rows, record, paid, known),
            lambda found: self._decided(found, pricing, paid, stamp),
        )

    def _decided(self, found: "_Found", pricing: PriceAgain, paid: Paid, stamp: Stamp) -> Decision[Correction | None]:
        """The record may have changed since it was listed: the one under the lock counts."""
        record = found.holding.record
        if record is None or not can_be_repriced(found.holding):
            return Decision(result=None)
        if record.reprices != paid.reprices:
            raise _OutOfDate
        again = pricing.price(record)
        if isinstance(again, str):
            return Decision(result=Correction(record_before=record, record=record))
        decision = reprice(found.holding, again, paid, found.grants, stamp)
        return Decision(result=decision.result, transactions=decision.transactions, rows=decision.rows)

    def _paid(self, record: RequestRecord) -> Paid:
        if record.customer_id is None:
            return Paid(reprices=record.reprices, shares=())
        transactions = self._ledger.books().transactions_of(record.request_id)
        done = sum(transaction.kind == "reprice" for transaction in transactions)
        return paid_by(transactions, done)

    def _grant_ids(self, record: RequestRecord) -> tuple[str, ...]:
        assert record.customer_id is not None, record
        return tuple(grant.grant_id for grant in self._ledger.books().grants(record.customer_id))

    def _stamp(self, by: By) -> Stamp:
        transaction_id = self._ids.new("txn")
        return Stamp(
            now_us=self._clock.now_us(),
            transaction_id=TransactionId(transaction_id),
            event_id=EventId("evt" + transaction_id.removeprefix("txn")),
            actor=by.actor,
            note="priced again",
        )

    def _audited(self, which: RequestFilter, done: Repriced, by: By) -> AuditEntry:
        total = done.total
        said = {
            "since": format_instant(which.since_us) if which.since_us is not None else None,
            "until": format_instant(which.until_us) if which.until_us is not None else None,
            "provider": which.provider,
            "model": which.model,
            "customer_id": which.customer_id,
        }
        before = {"cost": format_amount(total.cost_before_nanos), "charge": format_amount(total.charge_before_nanos)}
        after = {
            **{name: value for name, value in said.items() if value is not None},
            "requests": total.requests,
            "cost": format_amount(total.cost_nanos),
            "charge": format_amount(total.charge_nanos),
        }
        return AuditEntry(
            at_us=self._clock.now_us(),
            actor=by.actor,
            action="reprice",
            subject="requests",
            before=json.dumps(before),
            after=json.dumps(after),
        )


class _Found(Struct, frozen=True, kw_only=True):
    holding: Holding
    grants: tuple[Grant, ...]


def _load(rows: Rows, record: RequestRecord, paid: Paid, all_grants: tuple[str, ...] | None) -> _Found:
    holding = load_holding(rows, record.hold_id)
    assert holding is not None, record
    wanted = all_grants
    if wanted is None:
        wanted = tuple(account.partition(":")[2] for account, _ in paid.shares if account.startswith("grant:"))
    known = {grant.grant_id for grant in holding.grants}
    found = (rows.get(Grant, grant_id) for grant_id in dict.fromkeys(wanted) if grant_id not in known)
    return _Found(holding=holding, grants=tuple(grant for grant in found if grant is not None))


def _with_counters(holding: Holding, counters: dict[tuple[str, str, str], Counter]) -> Holding:
    def latest(counter: Counter) -> Counter:
        return counters.get((counter.customer_id, counter.meter_id, counter.cycle), counter)

    allowance = latest(holding.allowance) if holding.allowance is not None else None
    return replace(holding, counter=latest(holding.counter), allowance=allowance)


def repriced_document(done: Repriced, *, is_preview: bool) -> Document:
    return {
        "is_preview": is_preview,
        "looked_at": done.looked_at,
        "unchanged": done.unchanged,
        "left": dict(sorted(done.left.items())),
        "items": [{"provider": line.provider, "model": line.model, **_figures(line)} for line in done.lines],
        "totals": _figures(done.total),
    }


def _figures(line: RepricedLine) -> Document:
    return {
        "requests": line.requests,
        "were_unpriced": line.were_unpriced,
        "cost_before": amount(line.cost_before_nanos),
        "cost": amount(line.cost_nanos),
        "charge_before": amount(line.charge_before_nanos),
        "charge": amount(line.charge_nanos),
        "charge_kept": line.charge_kept,
    }


def _added(line: RepricedLine, before: RequestRecord, after: RequestRecord, *, is_charge_kept: bool) -> RepricedLine:
    return replace(
        line,
        requests=line.requests + 1,
        were_unpriced=line.were_unpriced + (before.cost_nanos is None),
        cost_before_nanos=line.cost_before_nanos + (before.cost_nanos or 0),
        cost_nanos=line.cost_nanos + (after.cost_nanos or 0),
        charge_before_nanos=line.charge_before_nanos + before.charge_nanos,
        charge_nanos=line.charge_nanos + after.charge_nanos,
        charge_kept=line.charge_kept + is_charge_kept,
    )


def _sum(total: RepricedLine, line: RepricedLine) -> RepricedLine:
    return replace(
        total,
        requests=total.requests + line.requests,
        were_unpriced=total.were_unpriced + line.were_unpriced,
        cost_before_nanos=total.cost_before_nanos + line.cost_before_nanos,
        cost_nanos=total.cost_nanos + line.cost_nanos,
        charge_before_nanos=total.charge_before_nanos + line.charge_before_nanos,
        charge_nanos=total.charge_nanos + line.charge_nanos,
        charge_kept=total.charge_kept + line.charge_kept,
    )
