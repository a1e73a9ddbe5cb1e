"""A finished call priced again: the difference is posted, and its record brought to the new figures. Pure rules.

=============================  =============================================================================
what it cost us                by the exact difference, rounded with the customer's remainder on the meter
what it was charged            rated twice where it stood in its meter's tiers, with the old figures and the
                               new ones; the exact difference, rounded with the remainder, is the correction
charged too much               goes back the way it came, last drawn first: overage, debt that still stands,
                               the grants that paid (what one that lapsed gets is breakage)
charged too little             free credit, overage, then debt, as with any charge above its hold
``reprice:<request>:<n>``      the key: the n-th correction of this request
=============================  =============================================================================

A call that comes to the same figures is not touched, so that doing it again does nothing.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction

from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.core.billing import Terms
from lava_proxy.core.budgets import corrected
from lava_proxy.core.changes import changed_grants, changed_terms, changed_wallet
from lava_proxy.core.entities import (
    BreakdownLine,
    Budget,
    Counter,
    Entity,
    Event,
    Grant,
    Hold,
    HoldState,
    Posting,
    RequestRecord,
    RequestStatus,
    TierUnit,
    Transaction,
    Wallet,
)
from lava_proxy.core.ids import GrantId
from lava_proxy.core.journal import BREAKAGE, REVENUE, debt_account, free_account, move
from lava_proxy.core.meter_options import TierMode
from lava_proxy.core.money import round_with_carry
from lava_proxy.core.option_rating import PART_FREE, Consumed, charge_usage
from lava_proxy.core.option_terms import Terms as MeterTerms
from lava_proxy.core.option_terms import terms_of
from lava_proxy.core.overage import use_overage
from lava_proxy.core.ports import Decision
from lava_proxy.core.rating import Charge, start_micros, units_micros_of
from lava_proxy.core.settlement import (
    Holding,
    Measured,
    Stamp,
    cost_postings,
    draw_beyond,
    rate_measured,
    spent_of,
)
from lava_proxy.core.usage import Usage
from lava_proxy.core.wallet import is_open

REPRICED = "repriced"
REPRICE_EVENT = "request.repriced"
PRICE_FLAGS = frozenset(
    {
        "unpriced",
        "zero_price",
        "service_tier_unpriced",
        "time_of_day_price",
        "fine_tune_at_base_price",
        "modality_not_told_apart",
        "regional_price_unknown",
        "reported_zero_cost",
    }
)
"""What a price says of itself; the new one says it anew."""
_HALF = Fraction(1, 2)


class NotReturned(Exception):
    """Of the grants that were given, none takes what goes back: all of the customer's are needed."""


class PricedAgain(Struct, frozen=True, kw_only=True):
    """What a call comes to now. ``cost`` is exact nanos."""

    usage: Usage
    billed: Usage | None
    dialect_version: int
    cost: Fraction
    cost_before: Fraction | None
    """The exact cost behind the figure on record; ``None``: it was unpriced."""
    unit_prices: str
    price_source: str
    price_date: str
    flags: tuple[str, ...] = ()


class Paid(Struct, frozen=True, kw_only=True):
    """Who paid a call's charge by the journal, last drawn first: account names and what they paid, net."""

    reprices: int
    """The record's count when this was read: with another one it is out of date."""
    shares: tuple[tuple[str, int], ...]


class Correction(Struct, frozen=True, kw_only=True):
    """What a correction did, or would do."""

    record_before: RequestRecord
    record: RequestRecord
    is_charge_kept: bool = False
    """The charge stayed: how it came about cannot be told from its breakdown."""

    @property
    def is_change(self) -> bool:
        return self.record is not self.record_before


def can_be_repriced(holding: Holding) -> bool:
    """Whether the call was settled by its usage and went by a price; errors and calls charged at their hold did not."""
    record = holding.record
    return record is not None and holding.hold.state is HoldState.SETTLED and record.status is RequestStatus.COMPLETED


def reprice(
    holding: Holding, again: PricedAgain, paid: Paid, others: tuple[Grant, ...], stamp: Stamp
) -> Decision[Correction]:
    """Bring a settled call to what it comes to now. ``others``: spent grants of the customer that paid, or all of them.

    Raises:
        NotReturned: what was charged too much does not fit into ``others``.
    """
    record = holding.record
    assert record is not None and can_be_repriced(holding), holding.hold
    assert paid.reprices == record.reprices, (paid, record)
    if is_same(record, again):
        return Decision(result=Correction(record_before=record, record=record))
    cost_nanos, counter = _new_cost(record, again, holding.counter)
    holding = replace(holding, counter=counter)
    charge = _new_charge(holding, again) if holding.hold.billed else None
    back, more = 0, 0
    if charge is not None:
        back, more = max(record.charge_nanos - charge.nanos, 0), max(charge.nanos - record.charge_nanos, 0)
    wallets = _Wallets(holding, others)
    returned = wallets.give_back(back, paid, stamp.now_us)
    holding = replace(holding, grants=tuple(wallets.before), wallet=wallets.wallet_before)
    drawing = replace(holding, wallet=wallets.wallet)
    drawn, wallet, terms, uncovered = draw_beyond(drawing, wallets.grants, wallets.terms, more, stamp.now_us)
    after = _record(record, again, cost_nanos, charge, uncovered - wallets.debt_returned)
    rows: tuple[Entity, ...] = (
        *changed_grants(holding.grants, wallets.grants),
        *changed_wallet(holding.wallet, wallet),
        *changed_terms(
            holding.terms, terms, wallets.grants, wallet, meter_id=holding.hold.meter_id, now_us=stamp.now_us
        ),
        *_budgets(holding, record, after),
        *_counters(holding, charge),
    )
    cost = cost_postings(holding.hold, (cost_nanos or 0) - (record.cost_nanos or 0))
    correction = Correction(record_before=record, record=after, is_charge_kept=charge is None and holding.hold.billed)
    return _written(holding, correction, stamp, (*returned, *drawn, *cost), rows)


def paid_by(transactions: Sequence[Transaction], reprices: int) -> Paid:
    """Who paid a call, from its transactions in their order."""
    net: dict[str, int] = {}
    for posting in (p for t in transactions for p in t.postings):
        if posting.destination == REVENUE:
            account = _payer(posting.source)
            net[account] = net.pop(account, 0) + posting.amount_nanos
        elif posting.source == REVENUE:
            account = _payer(posting.destination)
            net[account] = net.get(account, 0) - posting.amount_nanos
    return Paid(reprices=reprices, shares=tuple((a, n) for a, n in reversed(net.items()) if n > 0))


def _payer(account: str) -> str:
    """A grant's free and held credit are one payer."""
    return account.rpartition(":")[0] if account.startswith("grant:") else account


def is_same(record: RequestRecord, again: PricedAgain) -> bool:
    """Whether the call comes to the figures that it has."""
    return (
        record.cost_nanos is not None
        and again.cost == again.cost_before
        and again.usage == record.usage
        and again.billed == record.billed
    )


def _new_cost(record: RequestRecord, again: PricedAgain, counter: Counter) -> tuple[int, Counter]:
    before = again.cost_before if record.cost_nanos is not None else None
    nanos, carry = _moved(record.cost_nanos or 0, again.cost - (before or 0), counter.cost_carry)
    return nanos, replace(counter, cost_carry=carry)


def _moved(nanos: int, difference: Fraction, carry: Fraction) -> tuple[int, Fraction]:
    """An amount and the remainder after an exact difference; never below 0."""
    step, rest = round_with_carry(difference, carry)
    after = max(nanos + step, 0)
    return after, max(min(rest - (after - nanos - step), _HALF), -_HALF)


def _new_charge(holding: Holding, again: PricedAgain) -> Charge | None:
    """The charge with its counters; ``None``: it stays as it is."""
    record = holding.record
    assert record is not None
    if record.cost_nanos is None and not record.breakdown:
        measured = Measured(usage=again.usage, cost=again.cost, charge_hold_if_unpriced=False)
        # Its cost is in the counter already: only what it is charged is wanted here.
        charge, _, _, _ = rate_measured(holding, measured)
        return replace(charge, counter=replace(charge.counter, cost_carry=holding.counter.cost_carry))
    terms = terms_of(holding.version, holding.hold.request.model)
    own_units = _units_not_in_usage(holding, record)
    before = Consumed(usage=record.usage, units_micros=own_units, cost=_cost_before(record, again))
    after = Consumed(usage=again.usage, units_micros=own_units, cost=again.cost)
    free, left = _of_part(record, PART_FREE), _allowance_left(terms, holding)
    for position in _positions(terms, record):
        place = Counter(customer_id="", meter_id=holding.version.meter_id, count_micros=position)
        old = charge_usage(terms, place, _with_left(terms, place, free), before).charge
        if _shape(old.breakdown) == _shape(record.breakdown):
            new = charge_usage(terms, place, _with_left(terms, place, free + left), after).charge
            return _difference(holding, record, old, new)
    return None


def _cost_before(record: RequestRecord, again: PricedAgain) -> Fraction | None:
    return again.cost_before if record.cost_nanos is not None else None


def _units_not_in_usage(holding: Holding, record: RequestRecord) -> int | None:
    """Characters as we counted them, where usage does not tell any."""
    unit = holding.version.tier_unit
    if unit is not TierUnit.CHARACTERS_1M or units_micros_of(unit, record.usage) is not None:
        return None
    return _of_part(record, "") + _of_part(record, PART_FREE)


def _of_part(record: RequestRecord, part: str) -> int:
    return sum(line.units_micros for line in record.breakdown if line.part == part)


def _allowance_left(terms: MeterTerms, holding: Holding) -> int:
    if holding.allowance is None or not terms.allowance_micros:
        return 0
    return max(terms.allowance_micros - holding.allowance.count_micros - holding.allowance.held_micros, 0)


def _with_left(terms: MeterTerms, place: Counter, left: int) -> Counter | None:
    """An allowance of which so much is left."""
    return replace(place, count_micros=terms.allowance_micros - left) if terms.allowance_micros else None


def _positions(terms: MeterTerms, record: RequestRecord) -> Iterator[int]:
    """Where in the tiers the call may have begun. Exact where it crossed a boundary, else the first place of its tier."""
    lines = [line for line in record.breakdown if not line.part]
    if not lines:
        yield 0
        return
    starts = [start_micros(terms.version.tier_unit, line.tier_start) for line in lines]
    if len(lines) > 1:
        yield max(starts[1] - lines[0].units_micros, 0)
    yield starts[0]
    if terms.options.tier_mode is not TierMode.GRADUATED:
        yield max(starts[0] - lines[0].units_micros + 1, 0)


def _shape(lines: tuple[BreakdownLine, ...]) -> list[tuple[int, int, int, str]]:
    return [(line.tier_start, line.rate_nanos, line.units_micros, line.part) for line in lines]


def _difference(holding: Holding, record: RequestRecord, old: Charge, new: Charge) -> Charge:
    """From both ratings to what is charged now, with the customer's own counters moved by the difference."""
    exact = new.nanos + new.counter.charge_carry - old.nanos - old.counter.charge_carry
    nanos, carry = _moved(record.charge_nanos, exact, holding.counter.charge_carry)
    units = new.counter.count_micros - old.counter.count_micros
    counter = replace(holding.counter, count_micros=holding.counter.count_micros + units, charge_carry=carry)
    free = _free_of(new) - _free_of(old)
    allowance = holding.allowance
    if allowance is not None and free:
        allowance = replace(allowance, count_micros=allowance.count_micros + free)
    return Charge(
        nanos=nanos,
        breakdown=_summing_to(nanos, new.breakdown),
        counter=counter,
        allowance=allowance if free else None,
    )


def _free_of(charge: Charge) -> int:
    return sum(line.units_micros for line in charge.breakdown if line.part == PART_FREE)


def _summing_to(nanos: int, lines: tuple[BreakdownLine, ...]) -> tuple[BreakdownLine, ...]:
    """The lines, of which the largest takes the nano that rounding in a series moved from one call to another."""
    rest = nanos - sum(line.charge_nanos for line in lines)
    if not rest or not lines:
        return lines
    largest = max(range(len(lines)), key=lambda place: lines[place].charge_nanos)
    changed = replace(lines[largest], charge_nanos=lines[largest].charge_nanos + rest)
    return (*lines[:largest], changed, *lines[largest + 1 :])


class _Wallets:
    """Where a charge goes back to."""

    def __init__(self, holding: Holding, others: tuple[Grant, ...]) -> None:
        self._hold: Hold = holding.hold
        known = {grant.grant_id: grant for grant in (*others, *holding.grants)}
        self.before = list(known.values())
        self.grants: dict[GrantId, Grant] = dict(known)
        self.wallet_before = holding.wallet
        self.wallet: Wallet | None = holding.wallet
        self.terms: Terms | None = holding.terms
        self.debt_returned = 0

    def give_back(self, amount_nanos: int, paid: Paid, now_us: int) -> tuple[Posting, ...]:
        """The way it came, as far as that goes; then to whatever else of the customer's credit was spent, newest first.

        The latter is where a debt was paid since: by these grants. All charges of a customer are paid by grants, overage
        and debt, so nothing can be left over.
        """
        postings: tuple[Posting, ...] = ()
        left = amount_nanos
        for account, share in paid.shares:
            part, moved = self._return_to(account, min(left, share), now_us)
            left, postings = left - part, postings + moved
        for grant_id in sorted(self.grants, reverse=True):
            part, moved = self._to_grant(grant_id, left, now_us)
            left, postings = left - part, postings + moved
        if left:
            raise NotReturned(self._hold.request_id)
        return postings

    def _return_to(self, account: str, amount_nanos: int, now_us: int) -> tuple[int, tuple[Posting, ...]]:
        kind, _, name = account.partition(":")
        if kind == "grant":
            return self._to_grant(GrantId(name), amount_nanos, now_us)
        if kind == "overage" and self.terms is not None and amount_nanos:
            postings, self.terms = use_overage(self.terms, -amount_nanos)
            return amount_nanos, postings
        if kind == "debt" and self.wallet is not None:
            part = min(amount_nanos, self.wallet.debt_nanos)
            self.wallet = replace(self.wallet, debt_nanos=self.wallet.debt_nanos - part)
            self.debt_returned += part
            return part, move(REVENUE, debt_account(self.wallet.customer_id), part)
        return 0, ()

    def _to_grant(self, grant_id: GrantId, amount_nanos: int, now_us: int) -> tuple[int, tuple[Posting, ...]]:
        grant = self.grants[grant_id]
        part = min(amount_nanos, grant.spent_nanos)
        if not part:
            return 0, ()
        lapses = not is_open(grant, now_us=now_us)
        free = free_account(grant_id)
        self.grants[grant_id] = replace(
            grant,
            spent_nanos=grant.spent_nanos - part,
            free_nanos=grant.free_nanos + (0 if lapses else part),
            lapsed_nanos=grant.lapsed_nanos + (part if lapses else 0),
        )
        return part, move(REVENUE, free, part) + move(free, BREAKAGE, part if lapses else 0)


def _counters(holding: Holding, charge: Charge | None) -> tuple[Counter, ...]:
    counter = holding.counter if charge is None else charge.counter
    allowance = charge.allowance if charge is not None else None
    return (counter,) if allowance is None else (counter, allowance)


def _budgets(holding: Holding, before: RequestRecord, after: RequestRecord) -> tuple[Budget, ...]:
    allocations = {a.budget_id: a for a in holding.hold.budgets}
    changed = []
    for budget in holding.budgets:
        share = allocations[budget.budget_id]
        old = spent_of(budget, share, before.charge_nanos, before.cost_nanos)
        new = spent_of(budget, share, after.charge_nanos, after.cost_nanos)
        if new != old:
            changed.append(corrected(budget, share, difference=new - old))
    return tuple(changed)


def _record(
    record: RequestRecord, again: PricedAgain, cost_nanos: int, charge: Charge | None, uncovered_nanos: int
) -> RequestRecord:
    kept = (flag for flag in record.flags if flag not in PRICE_FLAGS)
    return replace(
        record,
        usage=again.usage,
        billed=again.billed,
        dialect_version=again.dialect_version,
        cost_nanos=cost_nanos,
        charge_nanos=record.charge_nanos if charge is None else charge.nanos,
        breakdown=record.breakdown if charge is None else charge.breakdown,
        uncovered_nanos=record.uncovered_nanos + uncovered_nanos,
        unit_prices=again.unit_prices,
        price_source=again.price_source,
        price_date=again.price_date,
        flags=tuple(dict.fromkeys((*kept, *again.flags, REPRICED))),
        reprices=record.reprices + 1,
    )


def _written(
    holding: Holding,
    correction: Correction,
    stamp: Stamp,
    postings: tuple[Posting, ...],
    rows: tuple[Entity, ...],
) -> Decision[Correction]:
    hold, record = holding.hold, correction.record
    transaction = Transaction(
        transaction_id=stamp.transaction_id,
        kind="reprice",
        key=f"reprice:{hold.request_id}:{record.reprices}",
        at_us=stamp.now_us,
        customer_id=hold.customer_id,
        request_id=hold.request_id,
        postings=postings,
        note=stamp.note,
        actor=stamp.actor,
    )
    event = Event(
        event_id=stamp.event_id,
        kind=REPRICE_EVENT,
        key=transaction.key,
        payload=f'{{"request_id":"{hold.request_id}"}}',
        created_us=stamp.now_us,
    )
    return Decision(result=correction, transactions=(transaction,), rows=(*rows, record, event))


__all__ = [
    "REPRICED",
    "REPRICE_EVENT",
    "Correction",
    "NotReturned",
    "Paid",
    "PricedAgain",
    "can_be_repriced",
    "is_same",
    "paid_by",
    "reprice",
]
