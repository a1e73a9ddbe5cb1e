"""Grants, holds, settlements, voids, orphans, late settlements, expiry, in any order, against a model of six numbers."""

import itertools
from collections import Counter as Tally
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)
from msgspec.structs import replace

from lava_proxy.core.admission import Asked, Quantities, UnpricedPolicy, admit, load_admission
from lava_proxy.core.credit import CreditStamp, Payee, expire_grant, grant_credit, is_due, load_wallet, void_grant
from lava_proxy.core.entities import (
    Budget,
    BudgetMeasure,
    Customer,
    Entity,
    Grant,
    GrantSource,
    GrantStatus,
    Hold,
    HoldState,
    HomeFact,
    Key,
    KeyScope,
    Meter,
    MeterVersion,
    Mode,
    RateType,
    RequestHead,
    RequestRecord,
    Run,
    Tier,
    TierUnit,
    Transaction,
    Wallet,
)
from lava_proxy.core.identity import DEFAULT_METER_FACT, Claims, Denial, IdentityPolicy
from lava_proxy.core.ids import (
    BudgetId,
    CustomerId,
    EventId,
    GrantId,
    HoldId,
    InstanceId,
    KeyId,
    MeterId,
    RequestId,
    RunId,
    TransactionId,
)
from lava_proxy.core.journal import BREAKAGE, COST, REVENUE, debt_account, free_account, held_account
from lava_proxy.core.keys import new_key
from lava_proxy.core.ports import Decision, Rows
from lava_proxy.core.repricing import PricedAgain, can_be_repriced, paid_by, reprice
from lava_proxy.core.settlement import Holding, Measured, Stamp, expire, load_holding, orphan, settle, void
from lava_proxy.core.usage import Usage
from lava_proxy.core.verify import verify
from lava_proxy.core.wallet import is_open
from lava_proxy.store import MemoryLedger, open_ledger
from lava_proxy.store.ledger import WritingLedger
from tests.support.paper import PaperLedger

CUSTOMERS = [CustomerId("con_a"), CustomerId("con_b")]
TOKENS_METER = MeterId("prd_tokens")
COST_METER = MeterId("prd_cost")
CAPS = {BudgetMeasure.COST: 60_000, BudgetMeasure.CHARGE: 60_000, BudgetMeasure.REQUESTS: 12}
"""Of each of the runs, one for each customer and one for the merchant."""
amounts = st.integers(min_value=1, max_value=50_000)


Resolve = Callable[[Holding], Decision[RequestRecord | None]]


def _settle_again(holding: Holding, stamp: Stamp) -> Decision[RequestRecord | None]:
    measured = Measured(usage=Usage(input_tokens=7), cost=Fraction(7), charge_hold_if_unpriced=True)
    return settle(holding, measured, stamp)


@dataclass
class Expected:
    """What a customer was given, charged, lost and owes: everything else follows."""

    given: int = 0
    charged: int = 0
    requests: dict[str, int] = field(default_factory=dict)


class HoldMachine(RuleBasedStateMachine):
    open_holds = Bundle("open_holds")
    orphans = Bundle("orphans")
    closed = Bundle("closed")

    def __init__(self) -> None:
        super().__init__()
        self.ledger = self.open_ledger()
        self.now_us = 1_000_000
        self.serial = itertools.count(1)
        self.expected = {customer: Expected() for customer in CUSTOMERS}
        self.run_keys: dict[CustomerId | None, str] = {}

    def open_ledger(self) -> PaperLedger | WritingLedger:
        """Each store has its own subclass."""
        return PaperLedger()

    def rows[T: Entity](self, kind: type[T]) -> list[T]:
        if isinstance(self.ledger, PaperLedger):
            return cast("list[T]", list(self.ledger.tables.get(kind, {}).values()))
        return list(self.ledger.books().rows(kind))

    def get[T: Entity](self, kind: type[T], *key: str) -> T | None:
        if isinstance(self.ledger, PaperLedger):
            return self.ledger.get(kind, *key)
        return self.ledger.read(lambda rows: rows.get(kind, *key))

    def journal(self) -> list[Transaction]:
        if isinstance(self.ledger, PaperLedger):
            return self.ledger.journal
        return [entry.transaction for entry in self.ledger.books().journal()]

    def balances(self) -> Tally[str]:
        tally: Tally[str] = Tally()
        for transaction in self.journal():
            for posting in transaction.postings:
                tally[posting.destination] += posting.amount_nanos
                tally[posting.source] -= posting.amount_nanos
        return tally

    def do[S, R](self, load: Callable[[Rows], S], decide: Callable[[S], Decision[R]]) -> R:
        return self.ledger.transact(load, decide).result(20)

    @initialize()
    def open_the_books(self) -> None:
        rates = {RateType.FIXED: (1_500_000, 700_000), RateType.PERCENTAGE: (1_500_000_000, 0)}
        rows: list[Customer | Meter | MeterVersion | HomeFact] = [
            Customer(customer_id=c, created_us=0) for c in CUSTOMERS
        ]
        for meter_id, rate_type in ((TOKENS_METER, RateType.FIXED), (COST_METER, RateType.PERCENTAGE)):
            rows.append(
                Meter(
                    meter_id=meter_id,
                    slug=meter_id,
                    name="",
                    rate_type=rate_type,
                    tier_unit=TierUnit.TOKENS_1M,
                    version=1,
                    created_us=0,
                )
            )
            tiers = (Tier(start=0, rate_nanos=rates[rate_type][0]), Tier(start=5_000, rate_nanos=rates[rate_type][1]))
            rows.append(
                MeterVersion(
                    meter_id=meter_id,
                    version=1,
                    rate_type=rate_type,
                    tier_unit=TierUnit.TOKENS_1M,
                    tiers=tiers,
                    created_us=0,
                )
            )
        rows.append(HomeFact(name=DEFAULT_METER_FACT, value=TOKENS_METER))
        runs = [row for number, payer in enumerate((*CUSTOMERS, None)) for row in self.run_of(number, payer)]
        self.do(lambda _: None, lambda _: Decision(result=None, rows=(*rows, *runs)))

    def run_of(self, number: int, payer: CustomerId | None) -> tuple[Run | Key | Budget, ...]:
        run_id = RunId(f"run_{number}")
        key, self.run_keys[payer] = new_key(
            key_id=KeyId(f"key_{number:026d}"),
            scope=KeyScope.RUN,
            mode=Mode.TEST,
            random_bytes=bytes([number]) * 32,
            name="",
            created_us=0,
            customer_id=payer,
            meter_ids=(TOKENS_METER, COST_METER),
            run_id=run_id,
        )
        budgets = [
            Budget(budget_id=BudgetId(f"bud_{number}_{m}"), subject=f"run:{run_id}", measure=m, limit=c, created_us=0)
            for m, c in CAPS.items()
        ]
        return Run(run_id=run_id, customer_id=payer, created_us=0), key, *budgets

    def new(self, prefix: str) -> str:
        return f"{prefix}_{next(self.serial):06d}"

    def stamp(self) -> Stamp:
        return Stamp(
            now_us=self.now_us, transaction_id=TransactionId(self.new("txn")), event_id=EventId(self.new("evt"))
        )

    def credit_stamp(self) -> CreditStamp:
        return CreditStamp(
            now_us=self.now_us,
            transaction_id=TransactionId(self.new("txn")),
            event_id=EventId(self.new("evt")),
            actor="test",
        )

    @rule(
        customer=st.sampled_from(CUSTOMERS),
        amount=amounts,
        lives=st.none() | st.integers(1, 60),
        priority=st.sampled_from([10, 50]),
        scoped=st.booleans(),
    )
    def grant(self, customer: CustomerId, amount: int, lives: int | None, priority: int, scoped: bool) -> None:
        grant = Grant(
            grant_id=GrantId(self.new("grt")),
            customer_id=customer,
            source=GrantSource.MANUAL,
            amount_nanos=amount,
            free_nanos=amount,
            priority=priority,
            expires_us=None if lives is None else self.now_us + lives,
            meter_ids=(TOKENS_METER,) if scoped else (),
            created_us=self.now_us,
        )

        def load(rows: Rows) -> Payee:
            found = rows.get(Customer, customer)
            assert found
            return Payee(customer=found, wallet=load_wallet(rows, customer))

        stamp = self.credit_stamp()
        self.do(load, lambda payee: grant_credit(payee, grant, stamp))
        self.expected[customer].given += amount

    @rule(
        target=open_holds,
        customer=st.sampled_from([*CUSTOMERS, None]),
        meter=st.sampled_from([TOKENS_METER, COST_METER]),
        tokens=st.integers(0, 8_000),
        cost=st.none() | st.fractions(min_value=0, max_value=9_000),
        is_run=st.booleans(),
    )
    def ask(
        self,
        customer: CustomerId | None,
        meter: MeterId,
        tokens: int,
        cost: Fraction | None,
        is_run: bool = False,
    ) -> object:
        asked = Asked(
            claims=Claims(customer=customer, meter=meter, key=self.run_keys[customer] if is_run else None),
            request=RequestHead(
                provider="openai", dialect="openai_chat", op="chat", method="POST", url="https://api.openai.com/v1"
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
        before = self.available(customer, meter) if customer else 0
        outcome = self.do(lambda rows: load_admission(rows, asked), admit)
        if isinstance(outcome, Denial):
            assert outcome.code == "insufficient_credits" or is_run, outcome
            assert outcome.code in ("insufficient_credits", "run_limit_reached", "unpriced_model"), outcome
            return multiple()
        assert len(outcome.hold.budgets) == (len(CAPS) if is_run else 0)
        for share in outcome.hold.budgets:
            budget = self.get(Budget, share.budget_id)
            assert budget and budget.spent + budget.held <= budget.limit, "admitted beyond a cap"
        if customer:
            assert outcome.hold.amount_nanos <= before, "admitted beyond the available credit"
        return outcome.hold.hold_id

    def available(self, customer: CustomerId, meter: MeterId) -> int:
        grants = [g for g in self.rows(Grant) if g.customer_id == customer and is_open(g, now_us=self.now_us)]
        wallet = self.get(Wallet, customer)
        usable = [g.free_nanos for g in grants if not g.meter_ids or meter in g.meter_ids]
        return sum(usable) - (wallet.debt_nanos if wallet else 0)

    def measured(self, tokens: int | None, cost: Fraction | None) -> Measured:
        return Measured(usage=Usage(input_tokens=tokens), cost=cost, charge_hold_if_unpriced=True)

    def resolve(self, hold_id: HoldId, how: Resolve) -> RequestRecord | None:
        def load(rows: Rows) -> Holding:
            holding = load_holding(rows, hold_id)
            assert holding
            return holding

        record = self.do(load, how)
        if record is not None and record.customer_id is not None:
            self.expected[record.customer_id].requests[record.request_id] = record.charge_nanos
        return record

    @rule(
        target=closed,
        hold_id=consumes(open_holds),
        tokens=st.none() | st.integers(0, 20_000),
        cost=st.none() | st.fractions(min_value=0, max_value=20_000),
    )
    def settle_it(self, hold_id: HoldId, tokens: int | None, cost: Fraction | None) -> HoldId:
        stamp = self.stamp()
        record = self.resolve(hold_id, lambda holding: settle(holding, self.measured(tokens, cost), stamp))
        assert record is not None
        return hold_id

    @rule(target=closed, hold_id=consumes(open_holds))
    def void_it(self, hold_id: HoldId) -> HoldId:
        stamp = self.stamp()
        record = self.resolve(hold_id, lambda holding: void(holding, stamp))
        assert record is not None and record.charge_nanos == 0
        return hold_id

    @rule(target=orphans, hold_id=consumes(open_holds))
    def orphan_it(self, hold_id: HoldId) -> HoldId:
        stamp = self.stamp()
        record = self.resolve(hold_id, lambda holding: orphan(holding, stamp))
        assert record is not None and "orphaned" in record.flags and record.charge_nanos == record.quote_nanos
        return hold_id

    @rule(
        target=closed,
        hold_id=consumes(orphans),
        tokens=st.integers(0, 20_000),
        cost=st.fractions(min_value=0, max_value=20_000),
    )
    def settle_late(self, hold_id: HoldId, tokens: int, cost: Fraction) -> HoldId:
        stamp = self.stamp()
        record = self.resolve(hold_id, lambda holding: settle(holding, self.measured(tokens, cost), stamp))
        assert record is not None and "late" in record.flags
        return hold_id

    @rule(target=closed, hold_id=consumes(orphans))
    def void_orphan(self, hold_id: HoldId) -> HoldId:
        stamp = self.stamp()
        record = self.resolve(hold_id, lambda holding: void(holding, stamp))
        assert record is not None and record.charge_nanos == 0
        return hold_id

    @rule(hold_id=closed, again=st.sampled_from([_settle_again, void, orphan, expire]))
    def resolve_again(self, hold_id: HoldId, again: Callable[[Holding, Stamp], Decision[RequestRecord | None]]) -> None:
        before = len(self.journal()), self.rows(Hold)
        stamp = self.stamp()
        self.resolve(hold_id, lambda holding: again(holding, stamp))
        assert before == (len(self.journal()), self.rows(Hold)), "a second resolution wrote something"

    @rule(
        hold_id=closed,
        tokens=st.integers(0, 20_000),
        cost=st.fractions(min_value=0, max_value=20_000),
    )
    def price_it_again(self, hold_id: HoldId, tokens: int, cost: Fraction) -> None:
        hold, stamp = self.get(Hold, hold_id), self.stamp()
        record = self.get(RequestRecord, hold.request_id) if hold else None
        assert hold is not None and record is not None
        paid = paid_by([t for t in self.journal() if t.request_id == hold.request_id], record.reprices)
        own = tuple(g for g in self.rows(Grant) if g.customer_id == hold.customer_id)
        again = PricedAgain(
            usage=self.measured(tokens, cost).usage,
            billed=None,
            dialect_version=1,
            cost=cost,
            cost_before=None if record.cost_nanos is None else Fraction(record.cost_nanos),
            unit_prices="",
            price_source="test",
            price_date="",
        )

        def load(rows: Rows) -> Holding:
            holding = load_holding(rows, hold_id)
            assert holding is not None
            return holding

        def decide(holding: Holding) -> Decision[RequestRecord | None]:
            if not can_be_repriced(holding):
                return Decision(result=None)
            decision = reprice(holding, again, paid, own, stamp)
            return Decision(result=decision.result.record, transactions=decision.transactions, rows=decision.rows)

        after = self.do(load, decide)
        if after is None:
            return
        assert after.usage == again.usage and after.reprices - record.reprices in (0, 1)
        if hold.customer_id is not None:
            self.expected[hold.customer_id].requests[hold.request_id] = after.charge_nanos

    @rule(steps=st.integers(1, 40))
    def wait(self, steps: int) -> None:
        self.now_us += steps

    @precondition(lambda self: any(is_due(g, now_us=self.now_us) for g in self.rows(Grant)))
    @rule()
    def expire_grants(self) -> None:
        for grant in [g for g in self.rows(Grant) if is_due(g, now_us=self.now_us)]:
            self.change_grant(grant.grant_id, expire_grant)

    @precondition(lambda self: any(g.status is GrantStatus.ACTIVE for g in self.rows(Grant)))
    @rule(data=st.data())
    def void_a_grant(self, data: st.DataObject) -> None:
        active = sorted(g.grant_id for g in self.rows(Grant) if g.status is GrantStatus.ACTIVE)
        self.change_grant(data.draw(st.sampled_from(active)), void_grant)

    def change_grant[R](self, grant_id: GrantId, change: Callable[[Grant, CreditStamp], Decision[R]]) -> None:
        stamp = self.credit_stamp()

        def decide(grant: Grant | None) -> Decision[R]:
            assert grant is not None
            return change(grant, stamp)

        self.do(lambda rows: rows.get(Grant, grant_id), decide)

    @invariant()
    def the_books_agree(self) -> None:
        balances, grants, records = self.balances(), self.rows(Grant), self.rows(RequestRecord)
        assert sum(balances.values()) == 0
        for grant in grants:
            assert balances[free_account(grant.grant_id)] == grant.free_nanos
            assert balances[held_account(grant.grant_id)] == grant.held_nanos
        assert balances[REVENUE] == sum(r.charge_nanos for r in records)
        assert balances[COST] == sum(r.cost_nanos or 0 for r in records)
        assert balances[BREAKAGE] == sum(g.lapsed_nanos for g in grants)
        for customer, expected in self.expected.items():
            wallet = self.get(Wallet, customer)
            debt = wallet.debt_nanos if wallet else 0
            assert balances[debt_account(customer)] == -debt
            own = [g for g in grants if g.customer_id == customer]
            assert sum(g.amount_nanos for g in own) == expected.given
            left = sum(g.free_nanos + g.held_nanos + g.lapsed_nanos for g in own)
            assert expected.given - left - sum(expected.requests.values()) == -debt

    @invariant()
    def what_is_held_belongs_to_open_holds(self) -> None:
        open_holds = [h for h in self.rows(Hold) if h.state in (HoldState.IN_FLIGHT, HoldState.RESERVED)]
        grants = self.rows(Grant)
        for customer in CUSTOMERS:
            held = sum(h.amount_nanos for h in open_holds if h.customer_id == customer)
            assert held == sum(g.held_nanos for g in grants if g.customer_id == customer)

    @invariant()
    def budgets_are_what_their_calls_come_to(self) -> None:
        records = {record.hold_id: record for record in self.rows(RequestRecord)}
        held: Tally[str] = Tally()
        spent: Tally[str] = Tally()
        for hold in self.rows(Hold):
            for share in hold.budgets:
                if hold.state in (HoldState.IN_FLIGHT, HoldState.RESERVED):
                    held[share.budget_id] += share.amount
                elif hold.state in (HoldState.SETTLED, HoldState.ORPHANED):
                    record = records[hold.hold_id]
                    cost = share.amount if record.cost_nanos is None else record.cost_nanos
                    amounts = {BudgetMeasure.COST: cost, BudgetMeasure.CHARGE: record.charge_nanos}
                    spent[share.budget_id] += amounts.get(BudgetMeasure(share.budget_id.split("_")[2]), 1)
        for budget in self.rows(Budget):
            assert (budget.held, budget.spent) == (held[budget.budget_id], spent[budget.budget_id]), budget

    def teardown(self) -> None:
        """At the end the books are proven again from the journal alone, and the file is closed."""
        if isinstance(self.ledger, WritingLedger):
            report = verify(self.ledger.books(), now_us=self.now_us)
            assert report.is_sound, report.findings
            self.ledger.close()


class MemoryHoldMachine(HoldMachine):
    def open_ledger(self) -> WritingLedger:
        return MemoryLedger(mode=Mode.TEST, clock=StillClock())


class SqliteHoldMachine(HoldMachine):
    def open_ledger(self) -> WritingLedger:
        self.folder = TemporaryDirectory()
        path = Path(self.folder.name) / "ledger.db"
        return open_ledger(path, mode=Mode.TEST, clock=StillClock(), synchronous="NORMAL")

    def teardown(self) -> None:
        super().teardown()
        self.folder.cleanup()


class StillClock:
    def now_us(self) -> int:
        return 1


def _case(machine: type[HoldMachine], *, examples: int, steps: int) -> type:
    case = machine.TestCase
    case.settings = settings(
        max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    return case


TestOnPaper = _case(HoldMachine, examples=60, steps=60)
TestInMemory = _case(MemoryHoldMachine, examples=15, steps=40)
TestOnSqlite = _case(SqliteHoldMachine, examples=10, steps=40)


def test_a_reserved_hold_that_expires_gives_its_credit_back_and_is_charged_if_it_settles_late() -> None:
    machine = HoldMachine()
    machine.open_the_books()
    machine.grant(CUSTOMERS[0], 50_000, None, 50, False)
    hold_id = machine.ask(CUSTOMERS[0], COST_METER, 10, Fraction(9_000))
    assert isinstance(hold_id, str)
    hold = machine.get(Hold, hold_id)
    assert hold
    reserved = replace(hold, state=HoldState.RESERVED)
    machine.do(lambda _: None, lambda _: Decision(result=None, rows=(reserved,)))
    stamp = machine.stamp()
    record = machine.resolve(hold.hold_id, lambda holding: expire(holding, stamp))
    assert record and record.charge_nanos == 0 and record.flags == ("expired",)
    machine.the_books_agree()
    late = machine.settle_late(hold.hold_id, 10, Fraction(9_000))
    machine.the_books_agree()
    assert machine.expected[CUSTOMERS[0]].requests == {hold.request_id: 9_135}
    machine.resolve_again(late, _settle_again)
