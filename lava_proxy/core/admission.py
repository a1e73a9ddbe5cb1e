"""Whether a call may leave: the check and the hold are one decision, written as one transaction.

``load_admission`` reads under the ledger's write lock, ``admit`` decides from what was read. The hold covers the quoted
charge from named grants, and the quoted cost or charge from every budget that the call belongs to.
"""

from enum import StrEnum
from fractions import Fraction

from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.core.billing import Terms
from lava_proxy.core.entities import (
    AuditEntry,
    Budget,
    BudgetAllocation,
    BudgetMeasure,
    Counter,
    Customer,
    Entity,
    Event,
    Grant,
    Hold,
    Key,
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
from lava_proxy.core.overage import hold_overage, refused_for_credit, room_nanos
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

    def of(self, unit: TierUnit) -> int:
        """For a meter's tier unit."""
        if unit is TierUnit.TOKENS_1M:
            return self.tokens_micros
        if unit is TierUnit.CHARACTERS_1M:
            return self.characters_micros
        return self.seconds_micros if unit is TierUnit.MINUTES else 1_000_000


class Asked(Struct, frozen=True, kw_only=True):
    """One call that asks to be admitted."""

    claims: Claims
    request: RequestHead
    quantities: Quantities
    cost: Fraction | None
    """The most it can cost, in nanos; ``None``: no price is known."""
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
    run_id = identity.run.run_id if identity.run else None
    meter_id = identity.meter.meter.meter_id
    return Loaded(
        asked=asked,
        identity=identity,
        grants=rows.find(Grant, customer_id=customer_id) if customer_id else (),
        wallet=rows.get(Wallet, customer_id) if customer_id else None,
        counter=rows.get(Counter, customer_id or "", meter_id, ""),
        budgets=rows.find(Budget, subject=f"run:{run_id}") if run_id else (),
        terms=rows.get(Terms, customer_id) if customer_id else None,
    )


def admit(loaded: Loaded) -> Decision[Admitted | Denial]:
    """Admit with a hold, or deny. A denial writes nothing but the customer whom the call itself brought into being."""
    identity = loaded.identity
    if isinstance(identity, Denial):
        return Decision(result=identity)
    if loaded.terms is not None and loaded.terms.block:
        return Decision(result=_blocked(loaded.terms, identity))
    amount = _quoted_charge(loaded, identity)
    if isinstance(amount, Denial):
        return Decision(result=amount)
    reserved = _reserve(loaded, identity, amount)
    if isinstance(reserved, Denial):
        return Decision(result=reserved)
    customer, made = _customer(loaded, identity)
    credit = _hold_credit(loaded, identity, customer, amount)
    if isinstance(credit, Denial):
        return Decision(result=credit, rows=(*made, *refused_for_credit(loaded.terms, amount)))
    hold = _hold(loaded, identity, customer, amount, credit, reserved.allocations)
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
        rows=(*made, *credit.grants, *terms, *reserved.budgets, hold, *used),
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


def _quoted_charge(loaded: Loaded, identity: Identity) -> int | Denial:
    """Nanos to hold for the charge; 0 for the merchant's own calls, which are tracked and not charged."""
    if identity.customer is None and identity.new_reference is None:
        return 0
    version = identity.meter.version
    asked = loaded.asked
    if version.rate_type is RateType.PERCENTAGE and asked.cost is None:
        if asked.unpriced is UnpricedPolicy.BLOCK:
            return _unpriced(asked, identity)
        return asked.unpriced_hold_nanos if asked.unpriced is UnpricedPolicy.HOLD else 0
    counter = loaded.counter or Counter(customer_id="", meter_id=version.meter_id)
    units = asked.quantities.of(version.tier_unit)
    return round_up(charge_ceiling(version, counter, units_micros=units, cost=asked.cost))


def _unpriced(asked: Asked, identity: Identity) -> Denial:
    model = asked.request.model or "(unknown)"
    return Denial(
        code="unpriced_model",
        message=f"No price is known for the model {model!r} of {asked.request.provider}, and this meter charges by cost.",
        customer_id=identity.customer.customer_id if identity.customer else None,
        run_id=identity.run.run_id if identity.run else None,
    )


class _Reserved(Struct, frozen=True, kw_only=True):
    allocations: tuple[BudgetAllocation, ...]
    budgets: tuple[Budget, ...]


def _reserve(loaded: Loaded, identity: Identity, charge_nanos: int) -> _Reserved | Denial:
    """Reserve the call in every budget; a cap that would be passed denies it."""
    allocations: list[BudgetAllocation] = []
    changed: list[Budget] = []
    for budget in loaded.budgets:
        need = _need(budget, loaded.asked, charge_nanos)
        if need is None:
            return _unpriced(loaded.asked, identity)
        if budget.spent + budget.held + need > budget.limit:
            return _over_budget(budget, identity, need)
        allocations.append(BudgetAllocation(budget_id=budget.budget_id, amount=need))
        changed.append(replace(budget, held=budget.held + need))
    return _Reserved(allocations=tuple(allocations), budgets=tuple(changed))


def _need(budget: Budget, asked: Asked, charge_nanos: int) -> int | None:
    if budget.measure is BudgetMeasure.REQUESTS:
        return 1
    if budget.measure is BudgetMeasure.CHARGE:
        return charge_nanos
    return None if asked.cost is None else round_up(asked.cost)


def _over_budget(budget: Budget, identity: Identity, need: int) -> Denial:
    return Denial(
        code="run_limit_reached" if budget.subject.startswith("run:") else "budget_exceeded",
        message=f"This call could pass the limit on {budget.measure.value}.",
        details=(
            ("measure", budget.measure.value),
            ("needed_nanos", need),
            ("limit_nanos", budget.limit),
            ("spent_nanos", budget.spent),
            ("held_nanos", budget.held),
        ),
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
    amount: int,
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
        billed=customer is not None,
        amount_nanos=amount,
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
