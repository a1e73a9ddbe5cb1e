"""Whether a call may leave: the check and the hold are one decision, written as one transaction.

``load_admission`` reads under the ledger's write lock, ``admit`` decides from what was read. The hold covers the quoted
charge from named grants, and the quoted cost or charge from every budget that the call belongs to.
"""

from enum import StrEnum
from fractions import Fraction
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.core.billing import Terms
from lava_proxy.core.budgets import NOTHING_RESERVED, Caller, Need, Reserved, load_budgets, load_gate, reserve
from lava_proxy.core.entities import (
    AuditEntry,
    Budget,
    BudgetAllocation,
    Counter,
    Customer,
    Entity,
    Event,
    Grant,
    Hold,
    Key,
    MeterVersion,
    RateType,
    Refusal,
    RequestHead,
    TierUnit,
    Transaction,
    Wallet,
)
from lava_proxy.core.identity import Claims, Denial, Identity, IdentityPolicy, identify
from lava_proxy.core.ids import CustomerId, EventId, HoldId, InstanceId, RequestId, TransactionId
from lava_proxy.core.meters import MeterChoice
from lava_proxy.core.money import round_up
from lava_proxy.core.option_ceiling import Limits, ceiling_with_options
from lava_proxy.core.option_rating import reservable_micros
from lava_proxy.core.option_terms import terms_of
from lava_proxy.core.overage import hold_overage, refused_for_credit, room_nanos
from lava_proxy.core.periods import counter_cycle, cycle_key, load_allowance
from lava_proxy.core.ports import Decision, Rows
from lava_proxy.core.rating import charge_ceiling
from lava_proxy.core.wallet import Moved, available_nanos, draw_down_order, hold_credit

REFUSAL_BUCKET_US = 15 * 60 * 1_000_000
LAST_USED_US = 60 * 1_000_000
"""A key's last use is noted at most this often."""


class UnpricedPolicy(StrEnum):
    """What becomes of a call whose cost cannot be known, where the charge depends on it."""

    BLOCK = "block"
    HOLD = "hold"
    ALLOW = "allow"


class Quantities(Struct, frozen=True, kw_only=True):
    """The most that a request can consume, in millionths of each base unit."""

    tokens_micros: int
    characters_micros: int
    seconds_micros: int
    input_tokens_micros: int | None = None
    """The part of the tokens that is input; ``None``: nobody told them apart."""
    images_micros: int = 1_000_000
    searches_micros: int = 5_000_000
    """Searches that a provider's own tool may make for one request: an assumption, for meters that charge them apart."""
    pages_micros: int = 20_000_000
    """Likewise."""

    def of(self, unit: TierUnit) -> int:
        """For a meter's tier unit."""
        if unit is TierUnit.TOKENS_1M:
            return self.tokens_micros
        if unit is TierUnit.CHARACTERS_1M:
            return self.characters_micros
        return self.seconds_micros if unit is TierUnit.MINUTES else 1_000_000

    def limits(self, units_micros: int) -> Limits:
        """For a meter with options; ``units_micros`` are those of its tier unit."""
        return Limits(
            units_micros=units_micros,
            input_tokens_micros=self.input_tokens_micros,
            tokens_micros=self.tokens_micros,
            characters_micros=self.characters_micros,
            seconds_micros=self.seconds_micros,
            images_micros=self.images_micros,
            searches_micros=self.searches_micros,
            pages_micros=self.pages_micros,
        )


class Asked(Struct, frozen=True, kw_only=True):
    """One call that asks to be admitted."""

    claims: Claims
    request: RequestHead
    quantities: Quantities
    cost: Fraction | None
    """The most it can cost, in nanos; ``None``: no price is known."""
    is_charged: bool = True
    """False for a call by subscription: it costs nothing, and nobody is charged for it."""
    quote_note: str
    policy: IdentityPolicy
    unpriced: UnpricedPolicy
    unpriced_hold_nanos: int
    now_us: int
    expires_us: int
    instance_id: InstanceId
    request_id: RequestId
    hold_id: HoldId
    transaction_id: TransactionId
    new_customer_id: CustomerId
    new_event_id: EventId


class Loaded(Struct, frozen=True, kw_only=True):
    """What the ledger knows about a call that asks."""

    asked: Asked
    identity: Identity | Denial
    grants: tuple[Grant, ...] = ()
    wallet: Wallet | None = None
    counter: Counter | None = None
    cycle: str = ""
    allowance: Counter | None = None
    budgets: tuple[Budget, ...] = ()
    terms: Terms | None = None


class Admitted(Struct, frozen=True, kw_only=True):
    hold: Hold
    meter: MeterChoice


def load_admission(rows: Rows, asked: Asked) -> Loaded:
    """Everything that ``admit`` needs."""
    identity = identify(rows, asked.claims, asked.policy, now_us=asked.now_us)
    if isinstance(identity, Denial):
        return Loaded(asked=asked, identity=identity)
    customer_id = identity.customer.customer_id if identity.customer else None
    version = identity.meter.version
    cycle = cycle_key(version, rows, customer_id, asked.now_us)
    return Loaded(
        asked=asked,
        identity=identity,
        grants=rows.find(Grant, customer_id=customer_id) if customer_id else (),
        wallet=rows.get(Wallet, customer_id) if customer_id else None,
        counter=rows.get(Counter, customer_id or "", version.meter_id, counter_cycle(version, cycle) if cycle else ""),
        cycle=cycle,
        allowance=load_allowance(rows, version, customer_id, cycle) if cycle else None,
        budgets=_budgets(rows, asked, identity),
        terms=rows.get(Terms, customer_id) if customer_id else None,
    )


def _budgets(rows: Rows, asked: Asked, identity: Identity) -> tuple[Budget, ...]:
    gate = load_gate(rows)
    if gate is None and identity.run is None:
        return ()
    customer_id = identity.customer.customer_id if identity.customer else None
    caller = Caller(
        customer_id=asked.new_customer_id if identity.new_reference is not None else customer_id,
        key_id=identity.key.key_id if identity.key else None,
        run_id=identity.run.run_id if identity.run else None,
        metadata=asked.request.metadata,
    )
    return load_budgets(rows, caller, gate, now_us=asked.now_us)


def admit(loaded: Loaded) -> Decision[Admitted | Denial]:
    """Admit with a hold, or deny. A denial writes nothing but the customer whom the call itself brought into being."""
    identity = loaded.identity
    if isinstance(identity, Denial):
        return Decision(result=identity)
    if loaded.terms is not None and loaded.terms.block:
        return Decision(result=_blocked(loaded.terms, identity))
    quoted = _quoted_charge(loaded, identity)
    if isinstance(quoted, Denial):
        return Decision(result=quoted)
    amount = quoted.amount_nanos
    reserved = _reserve(loaded, identity, amount)
    if isinstance(reserved, Denial):
        return Decision(result=reserved)
    customer, made = _customer(loaded, identity)
    credit = _hold_credit(loaded, identity, customer, amount)
    if isinstance(credit, Denial):
        return Decision(result=credit, rows=(*made, *refused_for_credit(loaded.terms, amount)))
    hold = _hold(loaded, identity, customer, quoted, credit, reserved.allocations)
    terms = (hold_overage(loaded.terms, hold.overage_nanos),) if loaded.terms and hold.overage_nanos else ()
    transaction = Transaction(
        transaction_id=loaded.asked.transaction_id,
        kind="hold",
        key=f"hold:{hold.request_id}",
        at_us=loaded.asked.now_us,
        customer_id=hold.customer_id,
        request_id=hold.request_id,
        postings=credit.postings,
    )
    used = _key_used(identity.key, loaded.asked.now_us)
    return Decision(
        result=Admitted(hold=hold, meter=identity.meter),
        transactions=(transaction,),
        rows=(
            *made,
            *credit.grants,
            *terms,
            *reserved.budgets,
            *_set_aside(loaded, customer, quoted.free_micros),
            hold,
            *used,
        ),
    )


def load_refusal(rows: Rows, denial: Denial, *, now_us: int) -> Refusal:
    """The count of this kind of refusal in this quarter of an hour, so far."""
    bucket_us = now_us - now_us % REFUSAL_BUCKET_US
    customer_id, run_id = denial.customer_id or "", denial.run_id or ""
    found = rows.get(Refusal, bucket_us, customer_id, run_id, denial.code)
    return found or Refusal(bucket_us=bucket_us, customer_id=customer_id, run_id=run_id, code=denial.code, count=0)


def count_refusal(refusal: Refusal) -> Decision[None]:
    """One more."""
    return Decision(result=None, rows=(replace(refusal, count=refusal.count + 1),))


def _quoted_charge(loaded: Loaded, identity: Identity) -> "_Quoted | Denial":
    """Nanos to hold for the charge; 0 for the merchant's own calls, which are tracked and not charged."""
    if not loaded.asked.is_charged or (identity.customer is None and identity.new_reference is None):
        return _NOTHING_QUOTED
    version = identity.meter.version
    asked = loaded.asked
    if version.tier_unit is TierUnit.CUSTOM:
        return _counts_no_calls(identity)
    if version.rate_type is RateType.PERCENTAGE and asked.cost is None:
        if asked.unpriced is UnpricedPolicy.BLOCK:
            return _unpriced(asked, identity)
        return _Quoted(asked.unpriced_hold_nanos if asked.unpriced is UnpricedPolicy.HOLD else 0)
    counter = loaded.counter or Counter(customer_id="", meter_id=version.meter_id)
    units = asked.quantities.of(version.tier_unit)
    if version.options is not None:
        return _quoted_with_options(loaded, version, counter, units)
    return _Quoted(round_up(charge_ceiling(version, counter, units_micros=units, cost=asked.cost)))


class _Quoted(NamedTuple):
    amount_nanos: int
    free_micros: int = 0
    """Free units to set aside."""


_NOTHING_QUOTED = _Quoted(0)


def _quoted_with_options(loaded: Loaded, version: MeterVersion, counter: Counter, units_micros: int) -> _Quoted:
    asked = loaded.asked
    terms = terms_of(version, asked.request.model)
    free = reservable_micros(terms, loaded.allowance, units_micros)
    limits = asked.quantities.limits(units_micros)
    return _Quoted(round_up(ceiling_with_options(terms, counter, limits, cost=asked.cost, reserved_micros=free)), free)


def _set_aside(loaded: Loaded, customer: Customer | None, free_micros: int) -> tuple[Counter, ...]:
    """The allowance with the call's free units set aside."""
    if not free_micros or customer is None or loaded.allowance is None:
        return ()
    held_micros = loaded.allowance.held_micros + free_micros
    return (replace(loaded.allowance, customer_id=customer.customer_id, held_micros=held_micros),)


def _counts_no_calls(identity: Identity) -> Denial:
    return Denial(
        code="meter_without_calls",
        message=f"The meter {identity.meter.meter.slug!r} charges what is reported to it, not calls.",
        customer_id=identity.customer.customer_id if identity.customer else None,
        run_id=identity.run.run_id if identity.run else None,
    )


def _unpriced(asked: Asked, identity: Identity) -> Denial:
    model = asked.request.model or "(unknown)"
    return Denial(
        code="unpriced_model",
        message=f"No price is known for the model {model!r} of {asked.request.provider}, and this meter charges by cost.",
        customer_id=identity.customer.customer_id if identity.customer else None,
        run_id=identity.run.run_id if identity.run else None,
    )


def _reserve(loaded: Loaded, identity: Identity, charge_nanos: int) -> Reserved | Denial:
    """Reserve the call in every budget; a cap that would be passed denies it."""
    if not loaded.budgets:
        return NOTHING_RESERVED
    asked = loaded.asked
    need = Need(
        charge_nanos=charge_nanos,
        cost_nanos=None if asked.cost is None else round_up(asked.cost),
        provider=asked.request.provider,
        model=asked.request.model,
        now_us=asked.now_us,
    )
    reserved = reserve(loaded.budgets, need)
    if isinstance(reserved, Reserved):
        return reserved
    if reserved.code == "unpriced_model":
        return _unpriced(asked, identity)
    return Denial(
        code=reserved.code,
        message=reserved.message,
        details=reserved.details,
        customer_id=identity.customer.customer_id if identity.customer else None,
        run_id=identity.run.run_id if identity.run else None,
    )


def _hold_credit(loaded: Loaded, identity: Identity, customer: Customer | None, amount: int) -> Moved | Denial:
    if customer is None:
        return Moved(grants=(), postings=(), wallet=Wallet(customer_id=CustomerId("")))
    wallet = loaded.wallet or Wallet(customer_id=customer.customer_id)
    meter_id = identity.meter.meter.meter_id
    available = available_nanos(loaded.grants, wallet, meter_id=meter_id, now_us=loaded.asked.now_us)
    if amount > available and amount > available + room_nanos(loaded.terms, wallet, meter_id=meter_id):
        return _insufficient(loaded, identity, customer, amount, available)
    return hold_credit(loaded.grants, wallet, amount_nanos=amount, meter_id=meter_id, now_us=loaded.asked.now_us)


def _blocked(terms: Terms, identity: Identity) -> Denial:
    is_paused = terms.block == "subscription_paused"
    return Denial(
        code=terms.block,
        message="The subscription is paused." if is_paused else "A payment for the subscription is overdue.",
        customer_id=terms.customer_id,
        run_id=identity.run.run_id if identity.run else None,
    )


def _insufficient(loaded: Loaded, identity: Identity, customer: Customer, needed: int, available: int) -> Denial:
    usable = draw_down_order(loaded.grants, meter_id=identity.meter.meter.meter_id, now_us=loaded.asked.now_us)
    held = sum(g.held_nanos for g in usable)
    reason = "held_by_calls_in_flight" if held and available + held >= needed else "spent"
    wallet = loaded.wallet or Wallet(customer_id=customer.customer_id)
    room = room_nanos(loaded.terms, wallet, meter_id=identity.meter.meter.meter_id)
    overage = (("overage_left_nanos", room),) if loaded.terms and loaded.terms.overage_limit_nanos else ()
    return Denial(
        code="insufficient_credits",
        message="There is not enough credit." if reason == "spent" else "The credit is set aside for calls in flight.",
        details=(
            ("reason", reason),
            ("needed_nanos", needed),
            ("available_nanos", available),
            ("held_nanos", held),
            *overage,
        ),
        customer_id=customer.customer_id,
        run_id=identity.run.run_id if identity.run else None,
    )


def _customer(loaded: Loaded, identity: Identity) -> tuple[Customer | None, tuple[Entity, ...]]:
    """The paying customer, and the rows that make a new one."""
    if identity.new_reference is None:
        return identity.customer, ()
    asked = loaded.asked
    customer = Customer(customer_id=asked.new_customer_id, reference_id=identity.new_reference, created_us=asked.now_us)
    event = Event(
        event_id=asked.new_event_id,
        kind="customer.created",
        key=f"customer.created:{customer.customer_id}",
        payload=f'{{"customer_id":"{customer.customer_id}"}}',
        created_us=asked.now_us,
    )
    audit = AuditEntry(at_us=asked.now_us, actor="proxy", action="customer.create", subject=customer.customer_id)
    return customer, (customer, event, audit)


def _hold(
    loaded: Loaded,
    identity: Identity,
    customer: Customer | None,
    quoted: _Quoted,
    credit: Moved,
    budgets: tuple[BudgetAllocation, ...],
) -> Hold:
    asked = loaded.asked
    return Hold(
        hold_id=asked.hold_id,
        request_id=asked.request_id,
        instance_id=asked.instance_id,
        customer_id=customer.customer_id if customer else None,
        key_id=identity.key.key_id if identity.key else None,
        run_id=identity.run.run_id if identity.run else None,
        meter_id=identity.meter.meter.meter_id,
        meter_version=identity.meter.version.version,
        meter_rule=identity.meter.rule.value,
        cycle=loaded.cycle,
        allowance_micros=quoted.free_micros,
        billed=customer is not None and asked.is_charged,
        amount_nanos=quoted.amount_nanos,
        cost_quote_nanos=None if asked.cost is None else round_up(asked.cost),
        grants=credit.allocations,
        budgets=budgets,
        overage_nanos=credit.left_nanos,
        request=asked.request,
        quote=asked.quote_note,
        created_us=asked.now_us,
        expires_us=asked.expires_us,
    )


def _key_used(key: Key | None, now_us: int) -> tuple[Entity, ...]:
    if key is None or (key.last_used_us is not None and now_us - key.last_used_us < LAST_USED_US):
        return ()
    return (replace(key, last_used_us=now_us),)
