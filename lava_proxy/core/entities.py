"""The rows of the ledger as frozen values. A change is a new value; the store knows how each kind is kept.

Amounts are nano-dollars, instants integer UTC microseconds (``…_us``). Nothing here knows SQL.
"""

from enum import StrEnum
from fractions import Fraction

from msgspec import Struct

from lava_proxy.core.alert_rows import Alert, AlertRule, AlertState, Destination
from lava_proxy.core.billing import Bundle, Payment, Plan, Subscription, Terms, TopUp
from lava_proxy.core.house_rows import (
    AuditEntry as AuditEntry,
)
from lava_proxy.core.house_rows import (
    Delivery as Delivery,
)
from lava_proxy.core.house_rows import (
    DeliveryState as DeliveryState,
)
from lava_proxy.core.house_rows import (
    Event as Event,
)
from lava_proxy.core.house_rows import (
    HomeFact as HomeFact,
)
from lava_proxy.core.house_rows import (
    IdempotentResult as IdempotentResult,
)
from lava_proxy.core.house_rows import (
    Instance as Instance,
)
from lava_proxy.core.ids import (
    BudgetId,
    CustomerId,
    GrantId,
    HoldId,
    InstanceId,
    KeyId,
    Metadata,
    MeterId,
    RequestId,
    RunId,
    TransactionId,
)
from lava_proxy.core.meter_options import MeterOptions
from lava_proxy.core.usage import NO_USAGE, Usage


class Mode(StrEnum):
    TEST = "test"
    LIVE = "live"


class CustomerStatus(StrEnum):
    ACTIVE = "active"
    ARCHIVED = "archived"
    ERASED = "erased"


class Customer(Struct, frozen=True, kw_only=True):
    """Whom we bill. Found by ``con_…`` or by the merchant's own unique ``reference_id``."""

    customer_id: CustomerId
    reference_id: str | None = None
    name: str | None = None
    email: str | None = None
    phone: str | None = None
    metadata: Metadata = ()
    meter_id: MeterId | None = None
    status: CustomerStatus = CustomerStatus.ACTIVE
    created_us: int


class KeyScope(StrEnum):
    MERCHANT = "merchant"
    CUSTOMER = "customer"
    RUN = "run"


class Key(Struct, frozen=True, kw_only=True):
    """A credential: looked up by its public id, checked against the SHA-256 of its secret, never stored itself."""

    key_id: KeyId
    scope: KeyScope
    secret_sha256: str
    hint: str
    """The first and last characters, for people to recognise it."""
    name: str
    customer_id: CustomerId | None = None
    meter_ids: tuple[MeterId, ...] = ()
    """The meters that the key may use; the first is its default. Empty: no choice of its own."""
    run_id: RunId | None = None
    created_us: int
    expires_us: int | None = None
    revoked_us: int | None = None
    last_used_us: int | None = None


class Run(Struct, frozen=True, kw_only=True):
    """One `lava run` or `lava env`: what its receipt is about. Its caps are budgets with subject ``run:<run_id>``."""

    run_id: RunId
    customer_id: CustomerId | None = None
    meter_id: MeterId | None = None
    created_us: int
    ended_us: int | None = None


class RateType(StrEnum):
    FIXED = "fixed"
    PERCENTAGE = "percentage"


class TierUnit(StrEnum):
    TOKENS_1M = "tokens_1m"
    CHARACTERS_1M = "characters_1m"
    MINUTES = "minutes"
    REQUESTS = "requests"
    CUSTOM = "custom"
    """A unit that the merchant names and reports: see ``MeterOptions``."""


class CounterReset(StrEnum):
    NEVER = "never"
    CYCLE = "cycle"


class Tier(Struct, frozen=True, kw_only=True):
    """From ``start`` on (in whole tokens, characters, minutes or requests, by the meter's unit), this rate.

    ``rate_nanos`` is nano-dollars for one unit of a fixed meter (for 1M tokens, 1M characters, a minute, a request),
    and nano-percent of markup for a percentage meter (20 % is 20,000,000,000).
    """

    start: int
    rate_nanos: int


class MeterStatus(StrEnum):
    ACTIVE = "active"
    ARCHIVED = "archived"


class Meter(Struct, frozen=True, kw_only=True):
    """Our pricing rule under its name; what it charges stands in its versions."""

    meter_id: MeterId
    slug: str
    name: str
    rate_type: RateType
    tier_unit: TierUnit
    version: int
    """The version that new holds take."""
    status: MeterStatus = MeterStatus.ACTIVE
    created_us: int


class MeterVersion(Struct, frozen=True, kw_only=True):
    """What a meter charges, from ``created_us`` on until the next version. Never changed."""

    meter_id: MeterId
    version: int
    rate_type: RateType
    tier_unit: TierUnit
    tiers: tuple[Tier, ...]
    reset: CounterReset = CounterReset.NEVER
    options: MeterOptions | None = None
    """``None``: tiers and nothing else."""
    created_us: int


class Counter(Struct, frozen=True, kw_only=True):
    """How far a customer has come on a meter, and the sub-nano remainders not yet charged.

    ``customer_id`` is ``""`` for the merchant's own calls; ``cycle`` is ``""`` where the counter never resets, else the
    cycle's first instant. The free units of an allowance have a counter of their own, whose cycle begins with ``free:``.
    """

    customer_id: str
    meter_id: MeterId
    cycle: str = ""
    count_micros: int = 0
    """Millionths of the base unit counted so far: tokens, characters, seconds (for a meter by minutes), requests."""
    held_micros: int = 0
    """Of an allowance: what is set aside for calls in flight."""
    charge_carry: Fraction = Fraction(0)
    cost_carry: Fraction = Fraction(0)


class UniqueValue(Struct, frozen=True, kw_only=True):
    """A value that was reported to a meter of different values, in a cycle: the SHA-256 of its text."""

    customer_id: CustomerId
    meter_id: MeterId
    cycle: str
    value_sha256: str
    created_us: int


class GrantSource(StrEnum):
    MANUAL = "manual"
    PROMO = "promo"
    CYCLE = "cycle"
    BUNDLE = "bundle"
    TOP_UP = "top_up"
    REFUND = "refund"


class GrantStatus(StrEnum):
    ACTIVE = "active"
    EXPIRED = "expired"
    VOIDED = "voided"


class Grant(Struct, frozen=True, kw_only=True):
    """Credit given with terms. ``amount = free + held + spent + lapsed`` always."""

    grant_id: GrantId
    customer_id: CustomerId
    source: GrantSource
    amount_nanos: int
    paid_nanos: int = 0
    """What was paid for it; 0 for gifts."""
    free_nanos: int
    held_nanos: int = 0
    spent_nanos: int = 0
    lapsed_nanos: int = 0
    """Breakage (expired) and voided credit."""
    priority: int = 50
    """Lower is drawn first."""
    expires_us: int | None = None
    meter_ids: tuple[MeterId, ...] = ()
    """Only these meters may draw on it; empty: all."""
    status: GrantStatus = GrantStatus.ACTIVE
    note: str = ""
    created_us: int

    def __post_init__(self) -> None:
        parts = (self.free_nanos, self.held_nanos, self.spent_nanos, self.lapsed_nanos)
        assert min(parts) >= 0 and sum(parts) == self.amount_nanos, self


class Wallet(Struct, frozen=True, kw_only=True):
    """What a customer owes beyond all credit. New credit pays it off first; while it stands, calls are blocked."""

    customer_id: CustomerId
    debt_nanos: int = 0

    def __post_init__(self) -> None:
        assert self.debt_nanos >= 0, self


class BudgetMeasure(StrEnum):
    COST = "cost"
    CHARGE = "charge"
    REQUESTS = "requests"
    RATE = "rate"
    """Requests a minute."""
    MODELS = "models"
    """No amount: which models may be asked for."""
    PROVIDERS = "providers"


class Budget(Struct, frozen=True, kw_only=True):
    """A cap. ``limit``, ``spent`` and ``held`` are nano-dollars, or a number of requests."""

    budget_id: BudgetId
    subject: str
    """Whom it caps: see ``core.budgets``."""
    measure: BudgetMeasure
    limit: int
    spent: int = 0
    held: int = 0
    period: str = "total"
    """``day``, ``week``, ``month`` (in UTC) or ``total``."""
    period_start_us: int = 0
    """Of the period that ``spent`` and ``held`` are about."""
    burst: int = 0
    """Of a rate: how many may come at once."""
    arrival_ns: int = 0
    """Of a rate: when the next request would come if all came evenly."""
    allowed: tuple[str, ...] = ()
    """Of models and providers: their names, in which ``*`` stands for any characters."""
    template_id: str = ""
    """The budget for each of a kind whose count for one of them this is."""
    ended_us: int | None = None
    created_us: int


class HoldState(StrEnum):
    IN_FLIGHT = "in_flight"
    """The call is on its way; if its process dies it is charged at its hold."""
    RESERVED = "reserved"
    """Nothing was sent yet; if it expires the credit returns."""
    SETTLED = "settled"
    VOIDED = "voided"
    EXPIRED = "expired"
    """A reserved hold whose time ran out."""
    ORPHANED = "orphaned"
    """In flight when its process died: charged at its hold."""


class GrantAllocation(Struct, frozen=True, kw_only=True):
    grant_id: GrantId
    amount_nanos: int


class BudgetAllocation(Struct, frozen=True, kw_only=True):
    budget_id: BudgetId
    amount: int
    period_start_us: int = 0
    """The period that it was reserved in."""


class RequestHead(Struct, frozen=True, kw_only=True):
    """What is known of a request when its hold is taken."""

    provider: str
    dialect: str
    op: str
    """The endpoint's kind: chat, messages, embeddings …; ``unknown`` where nobody described it."""
    method: str
    url: str
    """Scheme, host and path, without the query."""
    model: str | None = None
    provider_key_type: str = "unmanaged"
    """unmanaged: the caller's own provider key; stored: one of ours."""
    is_stream: bool = False
    metadata: Metadata = ()
    caller_request_id: str | None = None


class Hold(Struct, frozen=True, kw_only=True):
    """Credit set aside for a request, from named grants; resolved exactly once."""

    hold_id: HoldId
    request_id: RequestId
    instance_id: InstanceId
    customer_id: CustomerId | None
    """``None``: the merchant's own call, tracked and never blocked for credit."""
    key_id: KeyId | None
    run_id: RunId | None
    meter_id: MeterId
    meter_version: int
    meter_rule: str
    """Why this meter: named, key, customer, plan, home_default, at_cost."""
    cycle: str = ""
    """The cycle of the counters that the call moves, where the meter has counters by cycle."""
    allowance_micros: int = 0
    """Free units set aside for it."""
    billed: bool = True
    """False where the caller may and did switch billing off: tracked, not charged."""
    amount_nanos: int
    """The quoted charge, all of it covered by the allocations."""
    cost_quote_nanos: int | None
    """The quoted cost; ``None`` where the price is unknown."""
    grants: tuple[GrantAllocation, ...] = ()
    budgets: tuple[BudgetAllocation, ...] = ()
    overage_nanos: int = 0
    """The part that no grant covers and the plan's overage does."""
    state: HoldState = HoldState.IN_FLIGHT
    request: RequestHead
    quote: str = ""
    """How the quote was made, JSON, for people: assumed tokens, rates, flags."""
    created_us: int
    expires_us: int
    resolved_us: int | None = None

    def __post_init__(self) -> None:
        assert self.amount_nanos >= 0, self
        covered = sum(g.amount_nanos for g in self.grants) + self.overage_nanos
        assert self.overage_nanos >= 0 and (
            self.customer_id is None or not self.billed or covered == self.amount_nanos
        ), self


class RequestStatus(StrEnum):
    PENDING = "pending"
    COMPLETED = "completed"
    ERROR = "error"


class BreakdownLine(Struct, frozen=True, kw_only=True):
    """The part of a request that fell into one tier. ``units_micros``: millionths of the base unit, as in ``Counter``."""

    tier_start: int
    rate_nanos: int
    units_micros: int
    charge_nanos: int
    part: str = ""
    """``""``: counted in the meter's tiers. ``free``: of the allowance. ``minimum``: up to the least charge. Else the unit
    with a rate of its own, which no tier counts."""


class RequestRecord(Struct, frozen=True, kw_only=True):
    """One finished call. Written when its hold is resolved; a correction is a new posting, and shows here as its outcome."""

    request_id: RequestId
    hold_id: HoldId
    customer_id: CustomerId | None
    key_id: KeyId | None
    run_id: RunId | None
    meter_id: MeterId
    meter_version: int
    meter_rule: str
    request: RequestHead
    model: str | None
    """The answer's own model, else the requested one."""
    status: RequestStatus
    http_status: int | None = None
    response_id: str | None = None
    dialect_version: int = 0
    usage: Usage = NO_USAGE
    raw_usage: tuple[str, ...] = ()
    quote_nanos: int = 0
    cost_nanos: int | None = None
    """What the provider charges us; ``None``: unknown (unpriced)."""
    charge_nanos: int = 0
    uncovered_nanos: int = 0
    """The part of the charge that no credit covered: the wallet's debt grew by it."""
    breakdown: tuple[BreakdownLine, ...] = ()
    unit_prices: str = ""
    price_source: str = ""
    price_date: str = ""
    cost_basis: str = "metered"
    """``metered``, or ``subscription``: it cost no API money, and ``list_nanos`` tells what it would have cost."""
    list_nanos: int | None = None
    service_tier: str = ""
    billed: Usage | None = None
    """What the provider charges, where it said so and that is not what was consumed."""
    reprices: int = 0
    flags: tuple[str, ...] = ()
    """estimated, unpriced, unknown, orphaned, aborted, late, over_hold, malformed_body …"""
    latency_us: int | None = None
    first_byte_us: int | None = None
    created_us: int
    """The instant of the hold: the request belongs to it."""
    settled_us: int


class Refusal(Struct, frozen=True, kw_only=True):
    """How often calls were refused, by quarter of an hour, customer, run and code."""

    bucket_us: int
    customer_id: str
    run_id: str
    code: str
    count: int


class Posting(Struct, frozen=True, kw_only=True):
    """One move of an amount from an account to another: it cannot be unbalanced."""

    source: str
    destination: str
    amount_nanos: int

    def __post_init__(self) -> None:
        assert self.amount_nanos > 0 and self.source != self.destination, self


class Transaction(Struct, frozen=True, kw_only=True):
    """Postings that happen together. ``key`` is unique in the journal: the same thing is never posted twice.

    A transaction may have no postings (a hold of 0, a void of the same): the journal still tells that it happened.
    """

    transaction_id: TransactionId
    kind: str
    """grant, hold, settle, void, orphan, expire, grant_expire, grant_void, late, adjust …"""
    key: str
    at_us: int
    customer_id: CustomerId | None = None
    request_id: RequestId | None = None
    postings: tuple[Posting, ...] = ()
    note: str = ""
    actor: str = ""


class JournalEntry(Struct, frozen=True, kw_only=True):
    """A transaction in its place: its sequence number and its link in the hash chain (hex SHA-256)."""

    sequence: int
    transaction: Transaction
    previous_hash: str
    hash: str


Entity = (
    Customer
    | Key
    | Run
    | Meter
    | MeterVersion
    | Counter
    | UniqueValue
    | Grant
    | Wallet
    | Budget
    | Hold
    | RequestRecord
    | Refusal
    | Event
    | Delivery
    | Instance
    | IdempotentResult
    | AuditEntry
    | HomeFact
    | AlertRule
    | AlertState
    | Alert
    | Destination
    | Plan
    | Bundle
    | Subscription
    | Payment
    | TopUp
    | Terms
)
