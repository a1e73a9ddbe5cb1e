"""The rows of billing as frozen values: plans, subscriptions, payments, and what a call must know of them.

Amounts are nano-dollars, instants integer UTC microseconds. Prices and payments are whole cents. Percentages are
nano-percent, as of meters: 20 % is 20,000,000,000.
"""

from enum import StrEnum

from msgspec import Struct

from lava_proxy.core.ids import (
    BundleId,
    CustomerId,
    GrantId,
    MeterId,
    PaymentId,
    PlanId,
    SubscriptionId,
)


class Interval(StrEnum):
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


class Rollover(StrEnum):
    """What becomes of unused credit at a cycle's end."""

    NONE = "none"
    FULL = "full"


class AfterGrace(StrEnum):
    """What becomes of a subscription whose payment stays away."""

    BLOCK = "block"
    FREE = "free"
    """It falls back to the free plan."""


class PlanStatus(StrEnum):
    ACTIVE = "active"
    ARCHIVED = "archived"


class Plan(Struct, frozen=True, kw_only=True):
    """A recurring price with included credit. ``amount_nanos`` and ``interval`` never change; the rest may."""

    plan_id: PlanId
    name: str
    amount_nanos: int
    interval: Interval
    included_nanos: int = 0
    rollover: Rollover = Rollover.NONE
    rollover_cap_nanos: int | None = None
    """The most unused cycle credit that is carried over; ``None``: all of it."""
    bundle_rollover: Rollover = Rollover.FULL
    bundle_rollover_cap_nanos: int | None = None
    meter_ids: tuple[MeterId, ...] = ()
    """Only these may draw on the plan's credit and overage; empty: all."""
    top_up_bundle_id: BundleId | None = None
    """What new subscriptions buy by themselves when their credit runs out."""
    trial_days: int = 0
    overage_cap_nanos: int = 0
    """The most that is collected beyond the credit for a cycle, markup included; 0: no overage."""
    overage_markup_nanos: int = 0
    """Nano-percent on top of what overage comes to by the meter."""
    overage_collect_nanos: int | None = None
    """Collect as soon as so much is not yet billed; ``None``: at the cycle's end."""
    grace_days: int = 3
    after_grace: AfterGrace = AfterGrace.BLOCK
    status: PlanStatus = PlanStatus.ACTIVE
    created_us: int


class Bundle(Struct, frozen=True, kw_only=True):
    """Credit that subscribers of a plan can buy beside it."""

    bundle_id: BundleId
    plan_id: PlanId
    name: str
    cost_nanos: int
    credit_nanos: int
    status: PlanStatus = PlanStatus.ACTIVE
    created_us: int


class SubscriptionStatus(StrEnum):
    INCOMPLETE = "incomplete"
    """Its first payment is not in; its first cycle begins when it is."""
    TRIALING = "trialing"
    ACTIVE = "active"
    PAST_DUE = "past_due"
    """A payment failed. Until the grace is over calls go on; then they are blocked, where the plan says so."""
    PAUSED = "paused"
    CANCELLED = "cancelled"


class Subscription(Struct, frozen=True, kw_only=True):
    """A customer on a plan. A customer has at most one that is not cancelled.

    The cycle ends ``intervals`` intervals after ``anchor_us``.
    """

    subscription_id: SubscriptionId
    customer_id: CustomerId
    plan_id: PlanId
    status: SubscriptionStatus
    anchor_us: int
    intervals: int
    cycle: int
    """Counts the cycles from 1; 0 is the trial."""
    cycle_start_us: int
    cycle_end_us: int
    pending_plan_id: PlanId | None = None
    """The plan from the next cycle on."""
    is_cancelling: bool = False
    """It ends with this cycle."""
    own_amount_nanos: int | None = None
    """This customer's price in place of the plan's."""
    discount_nanos: int = 0
    """Nano-percent off the price."""
    minimum_nanos: int = 0
    """What the customer has promised to spend in a cycle; what is missing at its end is due then."""
    awaiting_payment_id: PaymentId | None = None
    """The payment for this cycle, while it is not in."""
    grace_until_us: int | None = None
    is_blocked: bool = False
    """The grace is over."""
    left_us: int | None = None
    """While paused: what is left of the cycle."""
    due_us: int | None = None
    """When something is to be done about it next."""
    started_us: int
    ended_us: int | None = None

    def __post_init__(self) -> None:
        assert self.cycle_start_us <= self.cycle_end_us, self
        assert (self.ended_us is not None) == (self.status is SubscriptionStatus.CANCELLED), self
        assert (self.left_us is not None) == (self.status is SubscriptionStatus.PAUSED), self


class Purpose(StrEnum):
    """What money is for."""

    CYCLE = "cycle"
    UPGRADE = "upgrade"
    BUNDLE = "bundle"
    TOP_UP = "top_up"
    OVERAGE = "overage"
    MINIMUM = "minimum"
    """What is missing to a minimum commitment."""
    REFUND = "refund"
    """The one that goes out."""


class PaymentStatus(StrEnum):
    DUE = "due"
    """To be asked for, at ``due_us``."""
    SENT = "sent"
    """Asked for; if the process dies now, its outcome is unknown."""
    UNKNOWN = "unknown"
    """Nobody knows whether it was paid: asked for again under the same key, and never treated as failed."""
    PENDING = "pending"
    """The gateway waits for the customer, or for a person to note the payment."""
    PAID = "paid"
    DECLINED = "declined"
    """Given up after the last attempt."""
    VOID = "void"
    """No longer wanted."""


OPEN_PAYMENTS = (PaymentStatus.DUE, PaymentStatus.SENT, PaymentStatus.UNKNOWN, PaymentStatus.PENDING)
IN_DOUBT = (PaymentStatus.SENT, PaymentStatus.UNKNOWN)


class Payment(Struct, frozen=True, kw_only=True):
    """Money that is due or was paid, and what it buys. Posted at most once, whoever reports it and how often."""

    payment_id: PaymentId
    customer_id: CustomerId
    subscription_id: SubscriptionId | None = None
    purpose: Purpose
    amount_nanos: int
    status: PaymentStatus = PaymentStatus.DUE
    gateway: str
    plan_id: PlanId | None = None
    """Of a cycle or an upgrade: the plan that is paid for."""
    bundle_id: BundleId | None = None
    cycle: int = 0
    credit_nanos: int = 0
    """The credit that it buys; granted in the transaction that books the payment."""
    grant_id: GrantId | None = None
    """The grant that it bought."""
    refund_of: PaymentId | None = None
    refunded_nanos: int = 0
    """How much of it goes or went back."""
    rule: str | None = None
    """Of a top-up: the rule that asked for it."""
    attempts: int = 0
    """How often it was asked for under a new key; a decline ends an attempt, an unknown outcome does not."""
    repeats: int = 0
    """How often the present attempt was repeated because its outcome was unknown."""
    reference: str | None = None
    """The gateway's own name for it, unique."""
    url: str | None = None
    """Where the customer can pay, while it is pending."""
    reason: str = ""
    """Why it was declined, or what a person wrote."""
    created_us: int
    due_us: int | None = None
    """When it is to be asked for, or asked about, next."""
    paid_us: int | None = None

    def __post_init__(self) -> None:
        assert self.amount_nanos > 0 and 0 <= self.refunded_nanos <= self.amount_nanos, self
        assert (self.paid_us is not None) == (self.status is PaymentStatus.PAID), self


class TopUp(Struct, frozen=True, kw_only=True):
    """A rule that buys credit when it runs low. ``subject`` is a subscription or a customer; the former's goes first."""

    subject: str
    customer_id: CustomerId
    below_nanos: int
    """Buy when less than this is available."""
    bundle_id: BundleId | None = None
    amount_nanos: int | None = None
    """As much credit for as much money; either this or a bundle."""
    month_cap_nanos: int | None = None
    """The most that it pays in a month (UTC)."""
    cooldown_us: int
    """So long after one top-up, paid or not, before the next."""
    is_on: bool = True
    last_us: int | None = None
    failures: int = 0
    """Declined one after the other; at three the rule is switched off."""
    reason: str = ""
    """Why it was switched off by itself."""

    def __post_init__(self) -> None:
        assert (self.bundle_id is None) != (self.amount_nanos is None), self


class Terms(Struct, frozen=True, kw_only=True):
    """What a call must know of its customer's subscription: one row, read by its key. No row: no plan, no overage.

    Overage is counted here before its markup.
    """

    customer_id: CustomerId
    subscription_id: SubscriptionId | None = None
    plan_id: PlanId | None = None
    cycle_start_us: int = 0
    cycle_end_us: int = 0
    cycle: int = 0
    """The number of the subscription's cycle."""
    counted_from_us: int = 0
    """When that cycle began. Unlike ``cycle_start_us`` it does not move when a pause ends: counters and allowances go by it."""
    meter_ids: tuple[MeterId, ...] = ()
    block: str = ""
    """The code with which calls are refused, if they are."""
    overage_limit_nanos: int = 0
    """What the plan's cap is before the markup."""
    overage_markup_nanos: int = 0
    overage_collect_nanos: int | None = None
    overage_used_nanos: int = 0
    """Of this cycle. Below 0 where a correction paid back more than was used."""
    overage_billed_nanos: int = 0
    """The part of it that a payment was made for."""
    overage_held_nanos: int = 0
    """Set aside for calls in flight."""
    top_up_below_nanos: int | None = None
    wanted_nanos: int = 0
    """What the last call needed that was refused for want of credit, where a top-up could help."""
    needs_look: bool = False
    """Credit has run low, or overage reached its threshold: the scheduler looks at it."""

    def __post_init__(self) -> None:
        assert self.overage_held_nanos >= 0 and self.overage_billed_nanos >= 0, self
