"""The machine of holds with all that limits: an allowance by cycle, budgets by day and in total, a rate; over days, and back.

What the other machine proves of credit must hold here too; on top, counts are those of their period and never above a cap.
"""

from collections import Counter as Tally
from fractions import Fraction
from typing import cast

from hypothesis import strategies as st
from hypothesis.stateful import consumes, initialize, invariant, multiple, rule
from msgspec.structs import replace

from lava_proxy.core.admission import Asked, Quantities, UnpricedPolicy, admit, load_admission
from lava_proxy.core.budgets import COUNTED, GATE_FACT, current, spent_on
from lava_proxy.core.entities import (
    Budget,
    BudgetMeasure,
    Counter,
    CounterReset,
    Hold,
    HoldState,
    HomeFact,
    Meter,
    MeterVersion,
    RateType,
    RequestHead,
    RequestRecord,
    Tier,
    TierUnit,
)
from lava_proxy.core.identity import Claims, Denial, IdentityPolicy
from lava_proxy.core.ids import BudgetId, CustomerId, EventId, HoldId, InstanceId, MeterId, RequestId, TransactionId
from lava_proxy.core.instants import format_instant
from lava_proxy.core.meter_options import Aggregation, MeterOptions, UnitRate
from lava_proxy.core.periods import period_start_us
from lava_proxy.core.ports import Decision, Ledger
from lava_proxy.core.settlement import Measured, settle
from lava_proxy.core.usage import Usage
from lava_proxy.core.verify import verify
from lava_proxy.services.idempotency import By
from lava_proxy.services.usage_records import UsageRecords, UsageReported
from lava_proxy.store.ledger import WritingLedger
from tests.ledger.test_hold_machine import (
    COST_METER,
    CUSTOMERS,
    TOKENS_METER,
    MemoryHoldMachine,
    SqliteHoldMachine,
    _case,
)

FREE_METER, PEAK_METER = MeterId("prd_free"), MeterId("prd_peak")
ALLOWANCE = 10_000
DAY_US = 86_400 * 1_000_000
OPTIONS = MeterOptions(
    allowance=ALLOWANCE, minimum_nanos=50, units=(UnitRate(unit="output_tokens", rate_nanos=3_000_000),)
)
CAPS = (
    ("customer:*", BudgetMeasure.CHARGE, 90_000, "day"),
    ("customer:con_a", BudgetMeasure.REQUESTS, 6, "week"),
    ("customer:con_b", BudgetMeasure.COST, 60_000, "total"),
    ("metadata:team=*", BudgetMeasure.REQUESTS, 4, "day"),
    ("customer:con_b", BudgetMeasure.RATE, 600, "total"),
)
CODES = {"insufficient_credits", "budget_exceeded", "request_limit_reached", "rate_limited", "unpriced_model"}


class At:
    """A clock that stands."""

    def __init__(self, now_us: int) -> None:
        self._now_us = now_us

    def now_us(self) -> int:
        return self._now_us


class LimitsMachine(MemoryHoldMachine):
    def __init__(self) -> None:
        super().__init__()
        self.quoted: dict[str, tuple[int, Fraction | None]] = {}
        self.peaks: dict[tuple[str, str], int] = {}

    @initialize()
    def open_the_books(self) -> None:
        super().open_the_books()
        self.now_us = 1_790_000_000_000_000
        tiers = (Tier(start=0, rate_nanos=1_500_000), Tier(start=5_000, rate_nanos=700_000))
        meter = Meter(
            meter_id=FREE_METER,
            slug="free",
            name="",
            rate_type=RateType.FIXED,
            tier_unit=TierUnit.TOKENS_1M,
            version=1,
            created_us=0,
        )
        version = MeterVersion(
            meter_id=FREE_METER,
            version=1,
            rate_type=RateType.FIXED,
            tier_unit=TierUnit.TOKENS_1M,
            tiers=tiers,
            reset=CounterReset.CYCLE,
            options=OPTIONS,
            created_us=0,
        )
        peak = replace(meter, meter_id=PEAK_METER, slug="peak", tier_unit=TierUnit.CUSTOM)
        peak_version = replace(
            version,
            meter_id=PEAK_METER,
            tier_unit=TierUnit.CUSTOM,
            tiers=(Tier(start=0, rate_nanos=900), Tier(start=10, rate_nanos=400)),
            options=MeterOptions(unit="gigabytes", aggregation=Aggregation.MAX),
        )
        budgets = [
            Budget(
                budget_id=BudgetId(f"bud_cap{number}"),
                subject=subject,
                measure=measure,
                limit=limit,
                period=period,
                burst=5,
                created_us=0,
            )
            for number, (subject, measure, limit, period) in enumerate(CAPS)
        ]
        gate = HomeFact(name=GATE_FACT, value="customer customer* metadata:team*")
        self.do(
            lambda _: None, lambda _: Decision(result=None, rows=(meter, version, peak, peak_version, *budgets, gate))
        )

    @rule(
        target=MemoryHoldMachine.open_holds,
        customer=st.sampled_from([*CUSTOMERS, None]),
        meter=st.sampled_from([TOKENS_METER, COST_METER, FREE_METER, FREE_METER]),
        tokens=st.integers(0, 8_000),
        cost=st.none() | st.fractions(min_value=0, max_value=9_000),
        team=st.sampled_from(["a", "b", None]),
    )
    def ask(
        self, customer: CustomerId | None, meter: MeterId, tokens: int, cost: Fraction | None, team: str | None
    ) -> object:
        asked = Asked(
            claims=Claims(customer=customer, meter=meter),
            request=RequestHead(
                provider="openai",
                dialect="openai_chat",
                op="chat",
                method="POST",
                url="https://api.openai.com/v1",
                metadata=(("team", team),) if team else (),
            ),
            quantities=Quantities(tokens_micros=tokens * 1_000_000, characters_micros=0, seconds_micros=0),
            cost=cost,
            quote_note="",
            policy=IdentityPolicy(require_key=False),
            unpriced=UnpricedPolicy.HOLD,
            unpriced_hold_nanos=100,
            now_us=self.now_us,
            expires_us=self.now_us + 30,
            instance_id=InstanceId("ins_1"),
            request_id=RequestId(self.new("req")),
            hold_id=HoldId(self.new("hld")),
            transaction_id=TransactionId(self.new("txn")),
            new_customer_id=CustomerId(self.new("con")),
            new_event_id=EventId(self.new("evt")),
        )
        outcome = self.do(lambda rows: load_admission(rows, asked), admit)
        if isinstance(outcome, Denial):
            assert outcome.code in CODES, outcome
            return multiple()
        assert bool(outcome.hold.budgets) >= bool(customer)
        for share in outcome.hold.budgets:
            budget = self.get(Budget, share.budget_id)
            assert budget and budget.spent + budget.held <= budget.limit, "admitted beyond a cap"
            assert budget.period_start_us == share.period_start_us == current(budget, self.now_us).period_start_us
        self.quoted[outcome.hold.hold_id] = (tokens, cost)
        return outcome.hold.hold_id

    @rule(customer=st.sampled_from(CUSTOMERS), gigabytes=st.integers(1, 40))
    def report(self, customer: CustomerId, gigabytes: int) -> None:
        """A peak of the month: what credit does not cover is owed."""
        records = UsageRecords(ledger=cast("Ledger", self.ledger), clock=At(self.now_us), ids=self)
        said = UsageReported(customer=customer, meter=PEAK_METER, quantity_micros=gigabytes * 1_000_000)
        request_id = records.record(said, by=By(actor="test")).value
        record = self.get(RequestRecord, request_id)
        assert record is not None
        self.expected[customer].requests[record.request_id] = record.charge_nanos
        most = max(gigabytes, self.peaks.get((customer, self.month()), 0))
        self.peaks[customer, self.month()] = most
        counted = self.get(Counter, customer, PEAK_METER, self.month())
        assert counted is not None and counted.count_micros == most * 1_000_000

    def month(self) -> str:
        return format_instant(period_start_us("month", self.now_us))

    @rule(days=st.integers(1, 9))
    def days_pass(self, days: int) -> None:
        self.now_us += days * DAY_US

    @rule(hours=st.integers(1, 60))
    def the_clock_goes_back(self, hours: int) -> None:
        self.now_us -= hours * 3600 * 1_000_000

    @rule(number=st.integers(0, len(CAPS) - 1), percent=st.sampled_from([50, 100, 150]))
    def change_a_limit(self, number: int, percent: int) -> None:
        limit = CAPS[number][2] * percent // 100

        def decide(budget: Budget | None) -> Decision[None]:
            assert budget is not None
            return Decision(result=None, rows=(replace(budget, limit=limit),))

        self.do(lambda rows: rows.get(Budget, f"bud_cap{number}"), decide)

    @rule(
        target=MemoryHoldMachine.closed,
        hold_id=consumes(MemoryHoldMachine.open_holds),
        percent=st.integers(0, 100),
        input_percent=st.integers(0, 100),
    )
    def settle_within_the_quote(self, hold_id: HoldId, percent: int, input_percent: int) -> HoldId:
        """Never charged above the hold, whatever others took of the allowance and the tiers meanwhile."""
        quoted_tokens, quoted_cost = self.quoted[hold_id]
        tokens = quoted_tokens * percent // 100
        inputs = tokens * input_percent // 100
        measured = Measured(
            usage=Usage(input_tokens=inputs, output_tokens=tokens - inputs),
            cost=None if quoted_cost is None else quoted_cost * percent / 100,
            charge_hold_if_unpriced=True,
        )
        stamp = self.stamp()
        record = self.resolve(hold_id, lambda holding: settle(holding, measured, stamp))
        assert record is not None and record.charge_nanos <= record.quote_nanos
        assert "over_hold" not in record.flags
        return hold_id

    @invariant()
    def budgets_are_what_their_calls_come_to(self) -> None:
        records = {record.hold_id: record for record in self.rows(RequestRecord)}
        counted: Tally[tuple[str, int, str]] = Tally()
        budgets = {budget.budget_id: budget for budget in self.rows(Budget)}
        for hold in self.rows(Hold):
            for share in hold.budgets:
                key = (share.budget_id, share.period_start_us)
                if hold.state in (HoldState.IN_FLIGHT, HoldState.RESERVED):
                    counted[*key, "held"] += share.amount
                elif hold.state in (HoldState.SETTLED, HoldState.ORPHANED):
                    record = records[hold.hold_id]
                    measure = budgets[share.budget_id].measure
                    counted[*key, "spent"] += spent_on(
                        measure, share.amount, charge_nanos=record.charge_nanos, cost_nanos=record.cost_nanos
                    )
        for budget in budgets.values():
            if budget.measure in COUNTED:
                key = (budget.budget_id, budget.period_start_us)
                assert (budget.held, budget.spent) == (counted[*key, "held"], counted[*key, "spent"]), budget

    @invariant()
    def no_more_is_free_than_the_allowance(self) -> None:
        for counter in self.rows(Counter):
            if counter.cycle.startswith("free:"):
                assert counter.held_micros >= 0
                assert counter.count_micros + counter.held_micros <= ALLOWANCE * 1_000_000

    @invariant()
    def the_books_prove_themselves(self) -> None:
        if isinstance(self.ledger, WritingLedger) and len(self.rows(RequestRecord)) % 5 == 4:
            report = verify(self.ledger.books(), now_us=self.now_us)
            assert report.is_sound, report.findings


class SqliteLimitsMachine(LimitsMachine, SqliteHoldMachine):
    def open_ledger(self) -> WritingLedger:
        return SqliteHoldMachine.open_ledger(self)

    def teardown(self) -> None:
        SqliteHoldMachine.teardown(self)


TestLimitsInMemory = _case(LimitsMachine, examples=25, steps=50)
TestLimitsOnSqlite = _case(SqliteLimitsMachine, examples=8, steps=40)
