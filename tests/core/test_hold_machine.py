"""Grants, holds, settlements, voids, orphans, late settlements, expiry, in any order, against a model of six numbers."""

import itertools
from dataclasses import dataclass, field, replace
from fractions import Fraction

from hypothesis import settings
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

from lava_proxy.core.admission import Admitted, Asked, Quantities, UnpricedPolicy, admit, load_admission
from lava_proxy.core.credit import CreditStamp, Payee, expire_grant, grant_credit, is_due, load_wallet, void_grant
from lava_proxy.core.entities import (
    Customer,
    Grant,
    GrantSource,
    GrantStatus,
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
    Wallet,
)
from lava_proxy.core.identity import DEFAULT_METER_FACT, Claims, Denial, IdentityPolicy
from lava_proxy.core.ids import CustomerId, EventId, GrantId, HoldId, InstanceId, MeterId, RequestId, TransactionId
from lava_proxy.core.journal import BREAKAGE, COST, REVENUE, debt_account, free_account, held_account
from lava_proxy.core.ports import Decision, Rows
from lava_proxy.core.settlement import Holding, Measured, Stamp, expire, load_holding, orphan, settle, void
from lava_proxy.core.usage import Usage
from lava_proxy.core.wallet import is_open
from tests.support.paper import PaperLedger

CUSTOMERS = [CustomerId("con_a"), CustomerId("con_b")]
TOKENS_METER = MeterId("prd_tokens")
COST_METER = MeterId("prd_cost")
amounts = st.integers(min_value=1, max_value=50_000)


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
        self.ledger = PaperLedger()
        self.now_us = 1_000_000
        self.serial = itertools.count(1)
        self.expected = {customer: Expected() for customer in CUSTOMERS}
        self.cost_total = 0

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
        self.ledger.transact(lambda _: None, lambda _: Decision(result=None, rows=tuple(rows)))

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

        self.ledger.transact(load, lambda payee: grant_credit(payee, grant, self.credit_stamp()))
        self.expected[customer].given += amount

    @rule(
        target=open_holds,
        customer=st.sampled_from([*CUSTOMERS, None]),
        meter=st.sampled_from([TOKENS_METER, COST_METER]),
        tokens=st.integers(0, 8_000),
        cost=st.fractions(min_value=0, max_value=9_000),
    )
    def ask(self, customer: CustomerId | None, meter: MeterId, tokens: int, cost: Fraction) -> object:
        asked = Asked(
            claims=Claims(customer=customer, meter=meter),
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
        outcome = self.ledger.transact(lambda rows: load_admission(rows, asked), admit).result()
        if isinstance(outcome, Denial):
            assert outcome.code == "insufficient_credits", outcome
            return multiple()
        assert isinstance(outcome, Admitted)
        if customer:
            assert outcome.hold.amount_nanos <= before, "admitted beyond the available credit"
        return outcome.hold.hold_id

    def available(self, customer: CustomerId, meter: MeterId) -> int:
        grants = [g for g in self.ledger.find(Grant, customer_id=customer) if is_open(g, now_us=self.now_us)]
        wallet = self.ledger.get(Wallet, customer)
        usable = [g.free_nanos for g in grants if not g.meter_ids or meter in g.meter_ids]
        return sum(usable) - (wallet.debt_nanos if wallet else 0)

    def measured(self, tokens: int | None, cost: Fraction | None) -> Measured:
        return Measured(usage=Usage(input_tokens=tokens), cost=cost, charge_hold_if_unpriced=True)

    def resolve(self, hold_id: HoldId, how: object) -> RequestRecord | None:
        def load(rows: Rows) -> Holding:
            holding = load_holding(rows, hold_id)
            assert holding
            return holding

        record: RequestRecord | None = self.ledger.transact(load, how).result()  # type: ignore[arg-type]
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

    @rule(hold_id=closed, again=st.sampled_from([settle, void, orphan, expire]))
    def resolve_again(self, hold_id: HoldId, again: object) -> None:
        before = len(self.ledger.journal), dict(self.ledger.tables[Hold])
        stamp = self.stamp()
        if again is settle:
            self.resolve(hold_id, lambda holding: settle(holding, self.measured(7, Fraction(7)), stamp))
        else:
            self.resolve(hold_id, lambda holding: again(holding, stamp))  # type: ignore[operator]
        assert before == (len(self.ledger.journal), self.ledger.tables[Hold]), "a second resolution wrote something"

    @rule(steps=st.integers(1, 40))
    def wait(self, steps: int) -> None:
        self.now_us += steps

    @precondition(lambda self: any(is_due(g, now_us=self.now_us) for g in self.ledger.tables.get(Grant, {}).values()))
    @rule()
    def expire_grants(self) -> None:
        for grant_id in [g.grant_id for g in self.ledger.tables[Grant].values() if is_due(g, now_us=self.now_us)]:  # type: ignore[union-attr,arg-type]
            stamp = self.credit_stamp()
            self.ledger.transact(
                lambda rows, i=grant_id: rows.get(Grant, i), lambda grant, s=stamp: expire_grant(grant, s)
            )  # type: ignore[misc,arg-type]

    @precondition(lambda self: any(g.status is GrantStatus.ACTIVE for g in self.ledger.tables.get(Grant, {}).values()))
    @rule(data=st.data())
    def void_a_grant(self, data: st.DataObject) -> None:
        active = sorted(
            g.grant_id
            for g in self.ledger.tables[Grant].values()
            if isinstance(g, Grant) and g.status is GrantStatus.ACTIVE
        )
        grant_id = data.draw(st.sampled_from(active))
        stamp = self.credit_stamp()
        self.ledger.transact(lambda rows: rows.get(Grant, grant_id), lambda grant: void_grant(grant, stamp))  # type: ignore[arg-type]

    @invariant()
    def the_books_agree(self) -> None:
        balances = self.ledger.balances()
        assert sum(balances.values()) == 0
        for grant in self.ledger.tables.get(Grant, {}).values():
            assert isinstance(grant, Grant)
            assert balances[free_account(grant.grant_id)] == grant.free_nanos
            assert balances[held_account(grant.grant_id)] == grant.held_nanos
        records = [r for r in self.ledger.tables.get(RequestRecord, {}).values() if isinstance(r, RequestRecord)]
        assert balances[REVENUE] == sum(r.charge_nanos for r in records)
        assert balances[COST] == sum(r.cost_nanos or 0 for r in records)
        grants = [g for g in self.ledger.tables.get(Grant, {}).values() if isinstance(g, Grant)]
        assert balances[BREAKAGE] == sum(g.lapsed_nanos for g in grants)
        for customer, expected in self.expected.items():
            wallet = self.ledger.get(Wallet, customer)
            debt = wallet.debt_nanos if wallet else 0
            assert balances[debt_account(customer)] == -debt
            own = [g for g in grants if g.customer_id == customer]
            assert sum(g.amount_nanos for g in own) == expected.given
            left = sum(g.free_nanos + g.held_nanos + g.lapsed_nanos for g in own)
            assert expected.given - left - sum(expected.requests.values()) == -debt

    @invariant()
    def what_is_held_belongs_to_open_holds(self) -> None:
        holds = [h for h in self.ledger.tables.get(Hold, {}).values() if isinstance(h, Hold)]
        for customer in CUSTOMERS:
            held = sum(
                h.amount_nanos
                for h in holds
                if h.customer_id == customer and h.state in (HoldState.IN_FLIGHT, HoldState.RESERVED)
            )
            grants = [
                g
                for g in self.ledger.tables.get(Grant, {}).values()
                if isinstance(g, Grant) and g.customer_id == customer
            ]
            assert held == sum(g.held_nanos for g in grants)


TestHoldMachine = HoldMachine.TestCase
TestHoldMachine.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)


def test_a_reserved_hold_that_expires_gives_its_credit_back_and_is_charged_if_it_settles_late() -> None:
    machine = HoldMachine()
    machine.open_the_books()
    machine.grant(CUSTOMERS[0], 50_000, None, 50, False)
    hold_id = machine.ask(CUSTOMERS[0], COST_METER, 10, Fraction(9_000))
    assert isinstance(hold_id, str)
    hold = machine.ledger.get(Hold, hold_id)
    assert hold
    reserved = replace(hold, state=HoldState.RESERVED)
    machine.ledger.transact(lambda _: None, lambda _: Decision(result=None, rows=(reserved,)))
    stamp = machine.stamp()
    record = machine.resolve(hold.hold_id, lambda holding: expire(holding, stamp))
    assert record and record.charge_nanos == 0 and record.flags == ("expired",)
    machine.the_books_agree()
    late = machine.settle_late(hold.hold_id, 10, Fraction(9_000))
    machine.the_books_agree()
    assert machine.expected[CUSTOMERS[0]].requests == {hold.request_id: 9_135}
    machine.resolve_again(late, settle)
