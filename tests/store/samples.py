"""A clock, and one full and one bare value of every kind of row."""

from decimal import Decimal
from fractions import Fraction

from lava_proxy.core.billing import (
    Bundle,
    Interval,
    Payment,
    PaymentStatus,
    Plan,
    Purpose,
    Rollover,
    Subscription,
    SubscriptionStatus,
    Terms,
    TopUp,
)
from lava_proxy.core.entities import (
    AuditEntry,
    BreakdownLine,
    Budget,
    BudgetAllocation,
    BudgetMeasure,
    Counter,
    CounterReset,
    Customer,
    CustomerStatus,
    Delivery,
    DeliveryState,
    Entity,
    Event,
    Grant,
    GrantAllocation,
    GrantSource,
    GrantStatus,
    Hold,
    HoldState,
    HomeFact,
    IdempotentResult,
    Instance,
    Key,
    KeyScope,
    Meter,
    MeterStatus,
    MeterVersion,
    Posting,
    RateType,
    Refusal,
    RequestHead,
    RequestRecord,
    RequestStatus,
    Run,
    Tier,
    TierUnit,
    Transaction,
    Wallet,
)
from lava_proxy.core.ids import (
    BudgetId,
    BundleId,
    CustomerId,
    EventId,
    GrantId,
    HoldId,
    InstanceId,
    KeyId,
    MeterId,
    PaymentId,
    PlanId,
    RequestId,
    RunId,
    SubscriptionId,
    TransactionId,
)
from lava_proxy.core.ports import Decision, Ledger
from lava_proxy.core.usage import Usage

NOW_US = 1_790_000_000_000_000
ACME, BOLT = CustomerId("con_acme"), CustomerId("con_bolt")
GRANT, RUN, METER, BUDGET = GrantId("grt_1"), RunId("run_1"), MeterId("prd_1"), BudgetId("bud_1")


class FakeClock:
    def now_us(self) -> int:
        return NOW_US


def customer(customer_id: str = ACME, *, reference_id: str | None = None) -> Customer:
    return Customer(customer_id=CustomerId(customer_id), reference_id=reference_id, created_us=NOW_US)


def grant(
    grant_id: str = GRANT, *, customer_id: CustomerId = ACME, free: int = 1000, held: int = 0, spent: int = 0
) -> Grant:
    return Grant(
        grant_id=GrantId(grant_id),
        customer_id=customer_id,
        source=GrantSource.MANUAL,
        amount_nanos=free + held + spent,
        free_nanos=free,
        held_nanos=held,
        spent_nanos=spent,
        created_us=NOW_US,
    )


def head(*, caller_request_id: str | None = None, metadata: tuple[tuple[str, str], ...] = ()) -> RequestHead:
    return RequestHead(
        provider="openai",
        dialect="openai_chat",
        op="chat",
        method="POST",
        url="https://api.openai.com/v1/chat/completions",
        model="gpt-5",
        metadata=metadata,
        caller_request_id=caller_request_id,
    )


def hold(
    name: str = "1",
    *,
    amount: int = 0,
    state: HoldState = HoldState.IN_FLIGHT,
    customer_id: CustomerId | None = ACME,
    caller_request_id: str | None = None,
) -> Hold:
    is_open = state in (HoldState.IN_FLIGHT, HoldState.RESERVED)
    return Hold(
        hold_id=HoldId(f"hld_{name}"),
        request_id=RequestId(f"req_{name}"),
        instance_id=InstanceId("ins_1"),
        customer_id=customer_id,
        key_id=None,
        run_id=None,
        meter_id=METER,
        meter_version=1,
        meter_rule="home_default",
        amount_nanos=amount,
        cost_quote_nanos=None,
        grants=(GrantAllocation(grant_id=GRANT, amount_nanos=amount),) if amount else (),
        state=state,
        request=head(caller_request_id=caller_request_id),
        created_us=NOW_US,
        expires_us=NOW_US + 1,
        resolved_us=None if is_open else NOW_US,
    )


def record(
    name: str = "1",
    *,
    customer_id: CustomerId | None = ACME,
    created_us: int = NOW_US,
    charge: int = 0,
    cost: int | None = 0,
    model: str | None = "gpt-5",
    status: RequestStatus = RequestStatus.COMPLETED,
    flags: tuple[str, ...] = (),
    metadata: tuple[tuple[str, str], ...] = (),
    caller_request_id: str | None = None,
    run_id: RunId | None = None,
    usage: Usage | None = None,
) -> RequestRecord:
    return RequestRecord(
        request_id=RequestId(f"req_{name}"),
        hold_id=HoldId(f"hld_{name}"),
        customer_id=customer_id,
        key_id=None,
        run_id=run_id,
        meter_id=METER,
        meter_version=1,
        meter_rule="home_default",
        request=head(caller_request_id=caller_request_id, metadata=metadata),
        model=model,
        status=status,
        usage=usage or Usage(input_tokens=10, output_tokens=5, cached_input_tokens=4),
        cost_nanos=cost,
        charge_nanos=charge,
        flags=flags,
        created_us=created_us,
        settled_us=created_us + 1,
    )


def transaction(key: str, *postings: tuple[str, str, int], customer_id: CustomerId | None = None) -> Transaction:
    return Transaction(
        transaction_id=TransactionId(f"txn_{key}"),
        kind="adjust",
        key=key,
        at_us=NOW_US,
        customer_id=customer_id,
        postings=tuple(Posting(source=s, destination=d, amount_nanos=a) for s, d, a in postings),
    )


def event(key: str) -> Event:
    return Event(event_id=EventId(f"evt_{key}"), kind="test", key=key, payload='{"a":1}', created_us=NOW_US)


def write(ledger: Ledger, *rows: Entity, transactions: tuple[Transaction, ...] = ()) -> None:
    """Put these rows in one step, and wait."""
    decision = Decision(result=None, rows=rows, transactions=transactions)
    ledger.transact(lambda _: None, lambda _: decision).result(30)


FOUNDATION: tuple[Entity, ...] = (
    Customer(customer_id=ACME, reference_id="acme", created_us=NOW_US),
    Run(run_id=RUN, created_us=NOW_US),
    grant(),
    Budget(budget_id=BUDGET, subject="run:run_1", measure=BudgetMeasure.COST, limit=10, created_us=NOW_US),
)
"""What other rows refer to."""

EVERY_KIND: tuple[Entity, ...] = (
    Customer(
        customer_id=BOLT,
        reference_id="bolt-✓",
        name="Bolt & Söhne",
        email="a@b.example",
        phone="+1",
        metadata=(("a", "1"), ("b", '"quoted" ☃')),
        meter_id=METER,
        status=CustomerStatus.ARCHIVED,
        created_us=NOW_US,
    ),
    Customer(customer_id=CustomerId("con_bare"), created_us=0),
    Key(
        key_id=KeyId("key_1"),
        scope=KeyScope.RUN,
        secret_sha256="0" * 64,
        hint="lava_…x",
        name="a run",
        customer_id=ACME,
        meter_ids=(METER, MeterId("prd_2")),
        run_id=RUN,
        created_us=1,
        expires_us=2,
        revoked_us=3,
        last_used_us=4,
    ),
    Key(key_id=KeyId("key_2"), scope=KeyScope.MERCHANT, secret_sha256="1", hint="", name="", created_us=1),
    Run(run_id=RunId("run_2"), customer_id=ACME, meter_id=METER, created_us=1, ended_us=2),
    Meter(
        meter_id=METER,
        slug="default",
        name="Default",
        rate_type=RateType.FIXED,
        tier_unit=TierUnit.MINUTES,
        version=3,
        status=MeterStatus.ARCHIVED,
        created_us=1,
    ),
    MeterVersion(
        meter_id=METER,
        version=3,
        rate_type=RateType.PERCENTAGE,
        tier_unit=TierUnit.TOKENS_1M,
        tiers=(Tier(start=0, rate_nanos=-5), Tier(start=10**9, rate_nanos=10**18)),
        reset=CounterReset.CYCLE,
        created_us=1,
    ),
    Counter(
        customer_id="",
        meter_id=METER,
        cycle="2026-11",
        count_micros=10**17,
        charge_carry=Fraction(-1, 3),
        cost_carry=Fraction(10**20, 10**21 + 1),
    ),
    Counter(customer_id=ACME, meter_id=METER),
    Grant(
        grant_id=GrantId("grt_full"),
        customer_id=ACME,
        source=GrantSource.TOP_UP,
        amount_nanos=10,
        paid_nanos=9,
        free_nanos=1,
        held_nanos=2,
        spent_nanos=3,
        lapsed_nanos=4,
        priority=7,
        expires_us=NOW_US,
        meter_ids=(METER,),
        status=GrantStatus.EXPIRED,
        note="ta",
        created_us=5,
    ),
    Wallet(customer_id=ACME, debt_nanos=12),
    Budget(
        budget_id=BudgetId("bud_full"),
        subject="run:run_2",
        measure=BudgetMeasure.REQUESTS,
        limit=9,
        spent=1,
        held=2,
        period="day",
        period_start_us=4,
        created_us=5,
    ),
    Hold(
        hold_id=HoldId("hld_full"),
        request_id=RequestId("req_full"),
        instance_id=InstanceId("ins_1"),
        customer_id=ACME,
        key_id=KeyId("key_1"),
        run_id=RUN,
        meter_id=METER,
        meter_version=3,
        meter_rule="named",
        billed=True,
        amount_nanos=10,
        cost_quote_nanos=6,
        grants=(GrantAllocation(grant_id=GRANT, amount_nanos=7),),
        budgets=(BudgetAllocation(budget_id=BUDGET, amount=6),),
        overage_nanos=3,
        state=HoldState.RESERVED,
        request=RequestHead(
            provider="p",
            dialect="d",
            op="chat",
            method="POST",
            url="https://u",
            model=None,
            provider_key_type="stored",
            is_stream=True,
            metadata=(("k", "v"),),
            caller_request_id="mine",
        ),
        quote='{"a":1}',
        created_us=1,
        expires_us=2,
    ),
    hold("merchant", customer_id=None, state=HoldState.ORPHANED),
    RequestRecord(
        request_id=RequestId("req_full"),
        hold_id=HoldId("hld_full"),
        customer_id=ACME,
        key_id=KeyId("key_1"),
        run_id=RUN,
        meter_id=METER,
        meter_version=3,
        meter_rule="named",
        request=head(caller_request_id="mine", metadata=(("a", "b"),)),
        model="gpt-5-2026",
        status=RequestStatus.ERROR,
        http_status=500,
        response_id="resp",
        dialect_version=4,
        usage=Usage(input_tokens=1, output_tokens=0, input_seconds=Decimal("1.25"), images=2, pages=0),
        raw_usage=('{"a":1}', '{"b":2}'),
        quote_nanos=1,
        cost_nanos=None,
        charge_nanos=3,
        uncovered_nanos=2,
        breakdown=(BreakdownLine(tier_start=0, rate_nanos=1, units_micros=2, charge_nanos=3),),
        unit_prices='{"input_tokens":"2.5"}',
        price_source="book",
        price_date="2026-01-01",
        cost_basis="metered",
        flags=("estimated", "aborted"),
        latency_us=5,
        first_byte_us=4,
        created_us=1,
        settled_us=2,
    ),
    Refusal(bucket_us=900, customer_id=ACME, run_id="", code="insufficient_credits", count=3),
    Instance(instance_id=InstanceId("ins_1"), name="main", pid=5, version="0.1", started_us=1, ended_us=None),
    IdempotentResult(key="k", content_sha256="s", result='{"id":1}', created_us=1),
    Delivery(
        consumer="hook",
        event_id=EventId("evt_first"),
        state=DeliveryState.DEAD,
        attempts=3,
        leased_until_us=4,
        next_attempt_us=5,
        last_error="no",
    ),
    Plan(
        plan_id=PlanId("sc_1"),
        name="Pro",
        amount_nanos=25 * 10**9,
        interval=Interval.MONTH,
        included_nanos=20 * 10**9,
        rollover=Rollover.FULL,
        rollover_cap_nanos=5,
        meter_ids=(METER, MeterId("prd_2")),
        top_up_bundle_id=BundleId("cb_1"),
        overage_collect_nanos=7,
        created_us=1,
    ),
    Bundle(
        bundle_id=BundleId("cb_1"), plan_id=PlanId("sc_1"), name="Ten", cost_nanos=10**10, credit_nanos=11, created_us=1
    ),
    Subscription(
        subscription_id=SubscriptionId("sub_1"),
        customer_id=ACME,
        plan_id=PlanId("sc_1"),
        status=SubscriptionStatus.ACTIVE,
        anchor_us=1,
        intervals=2,
        cycle=3,
        cycle_start_us=4,
        cycle_end_us=5,
        pending_plan_id=PlanId("sc_2"),
        is_cancelling=True,
        own_amount_nanos=0,
        discount_nanos=6,
        minimum_nanos=7,
        awaiting_payment_id=PaymentId("pay_1"),
        grace_until_us=8,
        is_blocked=True,
        due_us=9,
        started_us=1,
    ),
    Subscription(
        subscription_id=SubscriptionId("sub_0"),
        customer_id=ACME,
        plan_id=PlanId("sc_1"),
        status=SubscriptionStatus.CANCELLED,
        anchor_us=1,
        intervals=0,
        cycle=0,
        cycle_start_us=1,
        cycle_end_us=1,
        started_us=1,
        ended_us=2,
    ),
    Payment(
        payment_id=PaymentId("pay_1"),
        customer_id=ACME,
        subscription_id=SubscriptionId("sub_1"),
        purpose=Purpose.CYCLE,
        amount_nanos=25 * 10**9,
        status=PaymentStatus.PAID,
        gateway="manual",
        plan_id=PlanId("sc_1"),
        bundle_id=BundleId("cb_1"),
        cycle=3,
        credit_nanos=4,
        grant_id=GRANT,
        refund_of=PaymentId("pay_0"),
        refunded_nanos=5,
        rule="sub_1",
        attempts=2,
        repeats=1,
        reference="bank-1",
        url="https://pay.example/1",
        reason="by transfer",
        created_us=1,
        due_us=2,
        paid_us=3,
    ),
    Payment(
        payment_id=PaymentId("pay_2"),
        customer_id=ACME,
        purpose=Purpose.TOP_UP,
        amount_nanos=1,
        gateway="manual",
        created_us=1,
    ),
    TopUp(subject=ACME, customer_id=ACME, below_nanos=1, amount_nanos=2, cooldown_us=3, is_on=False, last_us=4),
    Terms(
        customer_id=ACME,
        subscription_id=SubscriptionId("sub_1"),
        plan_id=PlanId("sc_1"),
        cycle_start_us=1,
        cycle_end_us=2,
        meter_ids=(METER,),
        block="subscription_paused",
        overage_limit_nanos=3,
        overage_markup_nanos=4,
        overage_collect_nanos=5,
        overage_used_nanos=-6,
        overage_billed_nanos=7,
        overage_held_nanos=8,
        top_up_below_nanos=9,
        wanted_nanos=10,
        needs_look=True,
    ),
    HomeFact(name="default_meter_id", value=METER),
)
"""At least one value of every kind that is found by its key."""

APPENDED: tuple[Entity, ...] = (
    event("first"),
    AuditEntry(at_us=1, actor="cli", action="grant", subject=ACME, before="", after='{"a":1}'),
)
