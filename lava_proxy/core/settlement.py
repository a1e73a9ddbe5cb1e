"""How a hold ends: settled at what the call was charged, voided, expired, or charged in full as an orphan.

A hold is resolved exactly once. Settling again changes nothing; settling what expired or was orphaned meanwhile posts the
difference, once. A charge above its hold is drawn from available credit, and only what no credit covers becomes debt.
"""

from fractions import Fraction

from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.core.billing import Terms
from lava_proxy.core.budgets import corrected, released, spent_on
from lava_proxy.core.changes import changed_grants, changed_terms, changed_wallet
from lava_proxy.core.entities import (
    Budget,
    BudgetAllocation,
    Counter,
    Entity,
    Event,
    Grant,
    Hold,
    HoldState,
    MeterVersion,
    Posting,
    RateType,
    RequestRecord,
    RequestStatus,
    TierUnit,
    Transaction,
    Wallet,
)
from lava_proxy.core.ids import GrantId, HoldId
from lava_proxy.core.journal import BREAKAGE, COST, REVENUE, debt_account, free_account, move, provider_account
from lava_proxy.core.meters import AT_COST_ID, AT_COST_VERSION
from lava_proxy.core.money import round_half_up, round_with_carry
from lava_proxy.core.option_rating import Consumed, charge_usage
from lava_proxy.core.option_terms import terms_of
from lava_proxy.core.overage import release_overage, room_nanos, use_overage
from lava_proxy.core.periods import counter_cycle, load_allowance
from lava_proxy.core.ports import Decision, Rows
from lava_proxy.core.rating import MICROS, Charge, rate, units_micros_of
from lava_proxy.core.stamps import Stamp as Stamp
from lava_proxy.core.usage import NO_USAGE, Usage
from lava_proxy.core.wallet import is_open, pay_debt, resolve_allocations, spend_free

SUBSCRIPTION = "subscription"
_OPEN = (HoldState.IN_FLIGHT, HoldState.RESERVED)


class Measured(Struct, frozen=True, kw_only=True):
    """What a call turned out to be. ``cost`` is exact nanos, ``None`` where no price is known."""

    usage: Usage
    cost: Fraction | None
    charge_hold_if_unpriced: bool
    """On a percentage meter, an unknown cost charges the whole hold; else nothing. Flagged either way."""
    status: RequestStatus = RequestStatus.COMPLETED
    model: str | None = None
    http_status: int | None = None
    response_id: str | None = None
    dialect_version: int = 0
    raw_usage: tuple[str, ...] = ()
    service_tier: str = ""
    billed: Usage | None = None
    cost_basis: str = "metered"
    list_cost: Fraction | None = None
    """Of a call by subscription: its cost by the list, exact nanos."""
    text_characters: int | None = None
    """Characters of text in the request and the answer, as we counted them: for a meter by characters, where the
    provider counts tokens alone."""
    units_micros: int | None = None
    """For a meter by a unit of the merchant's own: what a report adds to the count."""
    input_text_characters: int | None = None
    """The request's part of them; ``None``: nobody told them apart."""
    unit_prices: str = ""
    price_source: str = ""
    price_date: str = ""
    flags: tuple[str, ...] = ()
    latency_us: int | None = None
    first_byte_us: int | None = None


def by_subscription(measured: Measured) -> Measured:
    """The same call where its login costs no API money: its cost is 0, and what it would have been stands beside."""
    return replace(
        measured,
        cost=Fraction(0),
        cost_basis=SUBSCRIPTION,
        list_cost=measured.cost,
        flags=tuple(flag for flag in measured.flags if flag != "unpriced"),
    )


class Holding(Struct, frozen=True, kw_only=True):
    """A hold with every row that its resolution may change."""

    hold: Hold
    record: RequestRecord | None
    version: MeterVersion
    counter: Counter
    grants: tuple[Grant, ...]
    wallet: Wallet | None
    budgets: tuple[Budget, ...]
    allowance: Counter | None = None
    """The free units of the hold's cycle, where the meter gives any."""
    terms: Terms | None = None


def load_holding(rows: Rows, hold_id: HoldId) -> Holding | None:
    """The hold and what belongs to it; ``None`` where there is no such hold."""
    hold = rows.get(Hold, hold_id)
    if hold is None:
        return None
    version = (
        AT_COST_VERSION if hold.meter_id == AT_COST_ID else rows.get(MeterVersion, hold.meter_id, hold.meter_version)
    )
    assert version is not None, hold
    customer = hold.customer_id or ""
    cycle = counter_cycle(version, hold.cycle) if hold.cycle else ""
    return Holding(
        hold=hold,
        record=None if hold.state in _OPEN else rows.get(RequestRecord, hold.request_id),
        version=version,
        counter=rows.get(Counter, customer, hold.meter_id, cycle)
        or Counter(customer_id=customer, meter_id=hold.meter_id, cycle=cycle),
        grants=_grants(rows, hold),
        wallet=rows.get(Wallet, hold.customer_id) if hold.customer_id else None,
        budgets=tuple(b for a in hold.budgets if (b := rows.get(Budget, a.budget_id))),
        allowance=load_allowance(rows, version, hold.customer_id, hold.cycle) if version.options is not None else None,
        terms=rows.get(Terms, hold.customer_id) if hold.customer_id else None,
    )


def _grants(rows: Rows, hold: Hold) -> tuple[Grant, ...]:
    if hold.customer_id is None:
        return ()
    found = {g.grant_id: g for g in rows.find(Grant, customer_id=hold.customer_id)}
    for allocation in hold.grants:
        if allocation.grant_id not in found:
            grant = rows.get(Grant, allocation.grant_id)
            assert grant is not None, allocation
            found[grant.grant_id] = grant
    return tuple(found.values())


def settle(holding: Holding, measured: Measured, stamp: Stamp) -> Decision[RequestRecord | None]:
    """Charge what the call consumed. Again for the same hold: the first result, and nothing is written.

    ``None``: the hold was voided and stays so; the call's figures are not booked.
    """
    state = holding.hold.state
    if state is HoldState.SETTLED or state is HoldState.VOIDED:
        return Decision(result=holding.record if state is HoldState.SETTLED else None)
    charge, cost_nanos, counter, flags = rate_measured(holding, measured)
    if state in _OPEN:
        measured = _flagged(measured, flags)
        resolution = _Resolution(state=HoldState.SETTLED, kind="settle", charge=charge, cost_nanos=cost_nanos)
        return _resolve(holding, resolution, measured, stamp, extra=_counters(charge, counter))
    measured = _flagged(measured, (*flags, "late"))
    return _correct(
        holding,
        _Resolution(state=HoldState.SETTLED, kind="late", charge=charge, cost_nanos=cost_nanos),
        measured,
        stamp,
        _counters(charge, counter),
    )


def void(holding: Holding, stamp: Stamp, measured: Measured | None = None) -> Decision[RequestRecord | None]:
    """Give the hold back: the call was never sent, or the provider refused it. A charged orphan is paid back.

    A settled hold stays as it is: its record is the result and nothing is written.
    """
    state = holding.hold.state
    if state in (HoldState.SETTLED, HoldState.VOIDED, HoldState.EXPIRED):
        return Decision(result=holding.record)
    measured = measured or Measured(usage=NO_USAGE, cost=Fraction(0), charge_hold_if_unpriced=False)
    measured = replace(measured, status=RequestStatus.ERROR, cost=Fraction(0))
    resolution = _Resolution(state=HoldState.VOIDED, kind="void", charge=_no_charge(holding), cost_nanos=0)
    if state in _OPEN:
        return _resolve(holding, resolution, measured, stamp)
    return _correct(holding, resolution, _flagged(measured, ("orphaned", "voided")), stamp, ())


def expire(holding: Holding, stamp: Stamp) -> Decision[RequestRecord | None]:
    """A reserved hold whose time ran out: nothing was sent, the credit returns."""
    if holding.hold.state is not HoldState.RESERVED:
        return Decision(result=holding.record)
    measured = Measured(
        usage=NO_USAGE, cost=Fraction(0), charge_hold_if_unpriced=False, status=RequestStatus.ERROR, flags=("expired",)
    )
    return _resolve(
        holding,
        _Resolution(state=HoldState.EXPIRED, kind="expire", charge=_no_charge(holding), cost_nanos=0),
        measured,
        stamp,
    )


def orphan(holding: Holding, stamp: Stamp) -> Decision[RequestRecord | None]:
    """A hold in flight whose process died: nobody knows what the call consumed, so it is charged at its hold."""
    hold = holding.hold
    if hold.state is HoldState.RESERVED:
        return expire(holding, stamp)
    if hold.state is not HoldState.IN_FLIGHT:
        return Decision(result=holding.record)
    unknown = ("unpriced",) if hold.cost_quote_nanos is None else ()
    measured = Measured(
        usage=NO_USAGE, cost=None, charge_hold_if_unpriced=True, model=hold.request.model, flags=("orphaned", *unknown)
    )
    charge = Charge(nanos=hold.amount_nanos, breakdown=(), counter=holding.counter)
    return _resolve(
        holding,
        _Resolution(state=HoldState.ORPHANED, kind="orphan", charge=charge, cost_nanos=hold.cost_quote_nanos),
        measured,
        stamp,
    )


class _Resolution(Struct, frozen=True, kw_only=True):
    state: HoldState
    kind: str
    charge: Charge
    cost_nanos: int | None


def _no_charge(holding: Holding) -> Charge:
    return Charge(nanos=0, breakdown=(), counter=holding.counter)


def rate_measured(holding: Holding, measured: Measured) -> tuple[Charge, int | None, Counter, tuple[str, ...]]:
    """The charge, the cost in whole nanos, the counter after both, and what is to be flagged."""
    hold, version, counter = holding.hold, holding.version, holding.counter
    cost_nanos: int | None = None
    if measured.cost is not None:
        cost_nanos, carry = round_with_carry(measured.cost, counter.cost_carry)
        if carry != counter.cost_carry:
            counter = replace(counter, cost_carry=carry)
    if not hold.billed or measured.cost_basis == SUBSCRIPTION:
        return Charge(nanos=0, breakdown=(), counter=counter), cost_nanos, counter, ()
    if version.options is not None:
        charge, flags = _rated_with_options(holding, measured, counter)
        return charge, cost_nanos, charge.counter, flags
    units = units_micros_of(version.tier_unit, measured.usage)
    if units is None and version.tier_unit is TierUnit.CHARACTERS_1M and measured.text_characters is not None:
        units = measured.text_characters * MICROS
    flags = ("unit_not_reported",) if units is None else ()
    if version.rate_type is RateType.PERCENTAGE:
        flags = ()
        if measured.cost is None:
            return _unpriced(hold, measured, counter), None, counter, ("unpriced",)
    charge = rate(version, counter, units_micros=units or 0, cost=measured.cost)
    return charge, cost_nanos, charge.counter, flags


def _unpriced(hold: Hold, measured: Measured, counter: Counter) -> Charge:
    return Charge(nanos=hold.amount_nanos if measured.charge_hold_if_unpriced else 0, breakdown=(), counter=counter)


def _rated_with_options(holding: Holding, measured: Measured, counter: Counter) -> tuple[Charge, tuple[str, ...]]:
    """The model that counts is the one that the call asked for, as it did when the hold was taken."""
    hold, version = holding.hold, holding.version
    if version.rate_type is RateType.PERCENTAGE and measured.cost is None:
        return _unpriced(hold, measured, counter), ("unpriced",)
    units, usage = measured.units_micros, measured.usage
    if (
        version.tier_unit is TierUnit.CHARACTERS_1M
        and measured.text_characters is not None
        and units_micros_of(version.tier_unit, measured.usage) is None
    ):
        sent = measured.input_text_characters or 0
        usage = replace(usage, input_characters=sent, output_characters=measured.text_characters - sent)
    rated = charge_usage(
        terms_of(version, hold.request.model),
        counter,
        holding.allowance,
        Consumed(usage=usage, units_micros=units, cost=measured.cost),
        reserved_micros=hold.allowance_micros if hold.state in _OPEN else 0,
    )
    is_told = rated.is_unit_reported or version.rate_type is RateType.PERCENTAGE
    return rated.charge, () if is_told else ("unit_not_reported",)


def _counters(charge: Charge, counter: Counter) -> tuple[Counter, ...]:
    return (counter,) if charge.allowance is None else (counter, charge.allowance)


def _release_allowance(holding: Holding, resolution: "_Resolution") -> tuple[Counter, ...]:
    """Free units that were set aside and not rated: the call was voided, expired or orphaned, or has no price."""
    held = holding.hold.allowance_micros
    if not held or holding.allowance is None or resolution.charge.allowance is not None:
        return ()
    return (replace(holding.allowance, held_micros=holding.allowance.held_micros - held),)


def _resolve(
    holding: Holding, resolution: _Resolution, measured: Measured, stamp: Stamp, extra: tuple[Entity, ...] = ()
) -> Decision[RequestRecord | None]:
    """Resolve an open hold: spend from its allocations, release the rest, draw on other credit for what is over."""
    hold = holding.hold
    charge = resolution.charge.nanos
    grants = {g.grant_id: g for g in holding.grants}
    covered = min(charge, hold.amount_nanos) if hold.billed else 0
    by_credit = min(covered, hold.amount_nanos - hold.overage_nanos)
    postings = resolve_allocations(grants, hold.grants, spend_nanos=by_credit, destination=REVENUE, now_us=stamp.now_us)
    beyond, terms = release_overage(holding.terms, hold, covered - by_credit)
    more, wallet, terms, uncovered = draw_beyond(holding, grants, terms, charge - covered, stamp.now_us)
    if charge > hold.amount_nanos:
        measured = _flagged(measured, ("over_hold",))
    record = _record(holding, resolution, measured, stamp, uncovered)
    rows: tuple[Entity, ...] = (
        *changed_grants(holding.grants, grants),
        *changed_wallet(holding.wallet, wallet),
        *changed_terms(holding.terms, terms, grants, wallet, meter_id=holding.hold.meter_id, now_us=stamp.now_us),
        *_release_budgets(holding, resolution),
        *_release_allowance(holding, resolution),
        *extra,
        replace(hold, state=resolution.state, resolved_us=stamp.now_us),
    )
    return _written(
        holding,
        resolution,
        stamp,
        record,
        (*postings, *beyond, *more, *cost_postings(hold, resolution.cost_nanos or 0)),
        rows,
    )


def _correct(
    holding: Holding, resolution: _Resolution, measured: Measured, stamp: Stamp, extra: tuple[Entity, ...]
) -> Decision[RequestRecord | None]:
    """Bring a request that was closed without its figures to its true charge and cost, by the difference."""
    before = holding.record
    assert before is not None, holding.hold
    grants = {g.grant_id: g for g in holding.grants}
    difference = resolution.charge.nanos - before.charge_nanos
    back_overage = min(max(-difference, 0), holding.hold.overage_nanos)
    back = _pay_back(grants, holding.hold, max(-difference, 0) - back_overage, stamp.now_us)
    terms = holding.terms
    if terms is not None and back_overage:
        lessened, terms = use_overage(terms, -back_overage)
        back = (*lessened, *back)
    more, wallet, terms, uncovered = draw_beyond(holding, grants, terms, max(difference, 0), stamp.now_us)
    cost = cost_postings(holding.hold, (resolution.cost_nanos or 0) - (before.cost_nanos or 0))
    record = _record(holding, resolution, measured, stamp, uncovered)
    rows: tuple[Entity, ...] = (
        *changed_grants(holding.grants, grants),
        *changed_wallet(holding.wallet, wallet),
        *changed_terms(holding.terms, terms, grants, wallet, meter_id=holding.hold.meter_id, now_us=stamp.now_us),
        *_correct_budgets(holding, before, resolution),
        *extra,
        replace(holding.hold, state=resolution.state, resolved_us=stamp.now_us),
    )
    return _written(holding, resolution, stamp, record, (*back, *more, *cost), rows)


def draw_beyond(
    holding: Holding, grants: dict[GrantId, Grant], terms: Terms | None, amount_nanos: int, now_us: int
) -> tuple[tuple[Posting, ...], Wallet | None, Terms | None, int]:
    """Charge beyond the hold from free credit, then from overage, then as debt; and let released credit pay older debt."""
    customer_id = holding.hold.customer_id
    if customer_id is None:
        return (), None, None, 0
    wallet = holding.wallet or Wallet(customer_id=customer_id)
    if not amount_nanos and not wallet.debt_nanos:
        return (), wallet, terms, 0
    postings, uncovered = spend_free(
        grants, amount_nanos=amount_nanos, destination=REVENUE, meter_id=holding.hold.meter_id, now_us=now_us
    )
    beyond = min(uncovered, room_nanos(terms, wallet, meter_id=holding.hold.meter_id)) if uncovered else 0
    if terms is not None and beyond:
        used, terms = use_overage(terms, beyond)
        postings, uncovered = postings + used, uncovered - beyond
    postings += move(debt_account(customer_id), REVENUE, uncovered)
    paid, wallet = pay_debt(grants, replace(wallet, debt_nanos=wallet.debt_nanos + uncovered), now_us=now_us)
    return postings + paid, wallet, terms, uncovered


def _pay_back(grants: dict[GrantId, Grant], hold: Hold, amount_nanos: int, now_us: int) -> tuple[Posting, ...]:
    """Return what was charged too much to the grants that paid it, last drawn first; what one that lapsed gets is breakage."""
    postings: tuple[Posting, ...] = ()
    left = amount_nanos
    for allocation in reversed(hold.grants):
        part = min(left, allocation.amount_nanos)
        if not part:
            continue
        grant = grants[allocation.grant_id]
        lapses = not is_open(grant, now_us=now_us)
        free = free_account(grant.grant_id)
        postings += move(REVENUE, free, part)
        postings += move(free, BREAKAGE, part if lapses else 0)
        grants[grant.grant_id] = replace(
            grant,
            spent_nanos=grant.spent_nanos - part,
            free_nanos=grant.free_nanos + (0 if lapses else part),
            lapsed_nanos=grant.lapsed_nanos + (part if lapses else 0),
        )
        left -= part
    assert not left, (hold, amount_nanos)
    return postings


def cost_postings(hold: Hold, cost_nanos: int) -> tuple[Posting, ...]:
    account = provider_account(hold.request.provider)
    return move(account, COST, cost_nanos) if cost_nanos >= 0 else move(COST, account, -cost_nanos)


def _release_budgets(holding: Holding, resolution: _Resolution) -> tuple[Budget, ...]:
    allocations = {a.budget_id: a for a in holding.hold.budgets}
    is_void = resolution.state in (HoldState.VOIDED, HoldState.EXPIRED)
    changed = []
    for budget in holding.budgets:
        allocation = allocations[budget.budget_id]
        spent = 0 if is_void else spent_of(budget, allocation, resolution.charge.nanos, resolution.cost_nanos)
        changed.append(released(budget, allocation, spent=spent))
    return tuple(changed)


def spent_of(budget: Budget, allocation: BudgetAllocation, charge_nanos: int, cost_nanos: int | None) -> int:
    return spent_on(budget.measure, allocation.amount, charge_nanos=charge_nanos, cost_nanos=cost_nanos)


def _correct_budgets(holding: Holding, before: RequestRecord, resolution: _Resolution) -> tuple[Budget, ...]:
    allocations = {a.budget_id: a for a in holding.hold.budgets}
    is_void = resolution.state is HoldState.VOIDED
    was_counted = holding.hold.state is HoldState.ORPHANED
    changed = []
    for budget in holding.budgets:
        allocation = allocations[budget.budget_id]
        old = spent_of(budget, allocation, before.charge_nanos, before.cost_nanos) if was_counted else 0
        new = 0 if is_void else spent_of(budget, allocation, resolution.charge.nanos, resolution.cost_nanos)
        changed.append(corrected(budget, allocation, difference=new - old))
    return tuple(changed)


def _record(
    holding: Holding, resolution: _Resolution, measured: Measured, stamp: Stamp, uncovered_nanos: int
) -> RequestRecord:
    hold = holding.hold
    return RequestRecord(
        request_id=hold.request_id,
        hold_id=hold.hold_id,
        customer_id=hold.customer_id,
        key_id=hold.key_id,
        run_id=hold.run_id,
        meter_id=hold.meter_id,
        meter_version=hold.meter_version,
        meter_rule=hold.meter_rule,
        request=hold.request,
        model=measured.model or hold.request.model,
        status=measured.status,
        http_status=measured.http_status,
        response_id=measured.response_id,
        dialect_version=measured.dialect_version,
        usage=measured.usage,
        raw_usage=measured.raw_usage,
        quote_nanos=hold.amount_nanos,
        cost_nanos=resolution.cost_nanos,
        charge_nanos=resolution.charge.nanos,
        uncovered_nanos=uncovered_nanos,
        breakdown=resolution.charge.breakdown,
        unit_prices=measured.unit_prices,
        price_source=measured.price_source,
        price_date=measured.price_date,
        cost_basis=measured.cost_basis,
        list_nanos=None if measured.list_cost is None else round_half_up(measured.list_cost),
        service_tier=measured.service_tier,
        billed=measured.billed,
        flags=measured.flags,
        latency_us=measured.latency_us,
        first_byte_us=measured.first_byte_us,
        created_us=hold.created_us,
        settled_us=stamp.now_us,
    )


def _written(
    holding: Holding,
    resolution: _Resolution,
    stamp: Stamp,
    record: RequestRecord,
    postings: tuple[Posting, ...],
    rows: tuple[Entity, ...],
) -> Decision[RequestRecord | None]:
    hold = holding.hold
    transaction = Transaction(
        transaction_id=stamp.transaction_id,
        kind=resolution.kind,
        key=f"{resolution.kind}:{hold.request_id}",
        at_us=stamp.now_us,
        customer_id=hold.customer_id,
        request_id=hold.request_id,
        postings=postings,
        note=stamp.note,
        actor=stamp.actor,
    )
    event = Event(
        event_id=stamp.event_id,
        kind="request.settled",
        key=transaction.key,
        payload=f'{{"request_id":"{hold.request_id}"}}',
        created_us=stamp.now_us,
    )
    return Decision(result=record, transactions=(transaction,), rows=(*rows, record, event))


def _flagged(measured: Measured, flags: tuple[str, ...]) -> Measured:
    return replace(measured, flags=tuple(dict.fromkeys((*measured.flags, *flags)))) if flags else measured
