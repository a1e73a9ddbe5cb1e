"""Credits, told as statements: what came, what went, what is left."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lava_proxy.core.credit import CreditStamp, Payee, expire_grant, grant_credit, void_grant
from lava_proxy.core.entities import AuditEntry, Customer, Event, Grant, GrantSource, GrantStatus, Wallet
from lava_proxy.core.errors import CustomerNotFound, IdempotencyConflict, InvalidInput, MeterNotFound, NotFound, Refused
from lava_proxy.core.ids import CustomerId, EventId, GrantId, MeterId, TransactionId
from lava_proxy.core.journal import BREAKAGE, debt_account, free_account
from lava_proxy.services.credits import GrantTerms
from lava_proxy.services.customer_fields import CustomerFields
from lava_proxy.services.exchange import Refused as RefusedCall
from lava_proxy.services.idempotency import By
from lava_proxy.wiring import House
from tests.services.conftest import AT, DAY_US, ME, TestClock, Traffic

DOLLAR = 10**9
ACME = CustomerId("con_acme")


@pytest.fixture(autouse=True)
def acme(house: House) -> None:
    house.customers.create(CustomerFields(reference_id="acme"), by=ME)


def grant(house: House, dollars: str = "5", **terms: object) -> Grant:
    nanos = int(float(dollars) * DOLLAR)
    return house.credits.grant(GrantTerms(customer="acme", amount_nanos=nanos, **terms), by=ME).value  # type: ignore[arg-type]


def statement(house: House) -> list[tuple[str, int, int]]:
    return [(line.kind, line.amount_nanos, line.balance_nanos) for line in house.credits.statement("acme").lines]


def test_credit_that_was_given_is_available(house: House) -> None:
    made = grant(house, "5", note="welcome", paid_nanos=4 * DOLLAR)
    balance = house.credits.balance("acme")
    assert balance.available_nanos == 5 * DOLLAR
    assert balance.grants == (made,)
    assert statement(house) == [("grant", 5 * DOLLAR, 5 * DOLLAR)]
    assert [event.kind for event in house.ledger.books().rows(Event)][-1] == "credits.granted"
    assert [entry.action for entry in house.ledger.books().rows(AuditEntry)][-1] == "credits.granted"


def test_a_balance_adds_up_while_a_call_is_in_flight_and_after(house: House, traffic: Traffic) -> None:
    grant(house, "1")
    call = traffic.begin("acme")
    during = house.credits.balance("acme")
    assert during.held_nanos > 0 and during.available_nanos + during.held_nanos == DOLLAR
    traffic.end(call)
    after = house.credits.balance("acme")
    assert (after.available_nanos, after.held_nanos, after.spent_nanos) == (DOLLAR - 450_000, 0, 450_000)
    assert statement(house) == [("grant", DOLLAR, DOLLAR), ("settle", -450_000, DOLLAR - 450_000)]


def test_debt_is_paid_from_new_credit_first(house: House, traffic: Traffic) -> None:
    grant(house, "0.001")
    traffic.end(traffic.begin("acme"), input_tokens=10_000_000, output_tokens=0)
    owing = house.credits.balance("acme")
    assert owing.debt_nanos == 1_500_000_000 - 1_000_000
    assert owing.available_nanos == -owing.debt_nanos
    blocked = traffic.ask("acme")
    assert isinstance(blocked, RefusedCall) and blocked.code == "insufficient_credits"

    made = grant(house, "2")

    assert (made.spent_nanos, made.free_nanos) == (owing.debt_nanos, 2 * DOLLAR - owing.debt_nanos)
    balance = house.credits.balance("acme")
    assert (balance.debt_nanos, balance.available_nanos) == (0, made.free_nanos)
    assert [line[2] for line in statement(house)] == [1_000_000, -owing.debt_nanos, made.free_nanos]
    assert house.verify().findings == ()


def test_credit_for_one_meter_pays_no_debt_and_serves_no_other_meter(house: House, traffic: Traffic) -> None:
    from lava_proxy.core.entities import RateType, TierUnit
    from lava_proxy.core.tiers import read_tiers
    from lava_proxy.services.meters import MeterTerms

    house.meters.create(
        MeterTerms(
            name="Chat", rate_type=RateType.PERCENTAGE, tier_unit=TierUnit.TOKENS_1M, tiers=read_tiers((("0", "0"),))
        ),
        by=ME,
    )
    grant(house, "1", meters=("chat",))
    refused = traffic.ask("acme")
    assert isinstance(refused, RefusedCall) and refused.code == "insufficient_credits"
    house.customers.update("acme", CustomerFields(meter="chat"), by=ME)
    traffic.call("acme")
    assert house.credits.balance("acme").spent_nanos == 450_000


def test_a_voided_grant_gives_back_what_is_left_of_it(house: House, traffic: Traffic) -> None:
    made = grant(house, "1")
    call = traffic.begin("acme")
    voided = house.credits.void(made.grant_id, by=ME, reason="granted twice").value
    assert voided.status is GrantStatus.VOIDED and voided.free_nanos == 0 and voided.held_nanos > 0
    traffic.end(call)
    balance = house.credits.balance("acme")
    assert (balance.spent_nanos, balance.available_nanos, balance.held_nanos) == (450_000, 0, 0)
    assert balance.lapsed_nanos == DOLLAR - 450_000
    with pytest.raises(Refused, match="voided already"):
        house.credits.void(made.grant_id, by=ME)
    with pytest.raises(NotFound):
        house.credits.void("grt_nosuch", by=ME)
    assert house.verify().findings == ()


def test_expired_credit_is_gone_at_its_instant_and_booked_by_the_sweep(
    house: House, clock: TestClock, traffic: Traffic
) -> None:
    grant(house, "1", expires_us=AT + DAY_US)
    grant(house, "2")
    clock.at_us = AT + DAY_US
    before = house.credits.balance("acme")
    assert (before.available_nanos, before.lapsed_nanos) == (2 * DOLLAR, DOLLAR)
    assert house.credits.expire_due() == 1
    assert house.credits.expire_due() == 0
    after = house.credits.balance("acme")
    assert (after.available_nanos, after.lapsed_nanos) == (2 * DOLLAR, DOLLAR)
    assert statement(house)[-1] == ("grant_expire", -DOLLAR, 2 * DOLLAR)
    assert house.verify().findings == ()


def test_a_statement_of_a_time_opens_with_what_was_there(house: House, clock: TestClock) -> None:
    grant(house, "1")
    clock.at_us = AT + DAY_US
    grant(house, "2")
    clock.at_us = AT + 2 * DAY_US
    grant(house, "4")
    found = house.credits.statement("acme", since_us=AT + DAY_US, until_us=AT + 2 * DAY_US)
    assert (found.opening_nanos, [line.amount_nanos for line in found.lines], found.closing_nanos) == (
        DOLLAR,
        [2 * DOLLAR],
        3 * DOLLAR,
    )


def test_a_grant_repeated_under_one_key_is_given_once(house: House) -> None:
    by, terms = By(actor="test", idempotency_key="invoice-1"), GrantTerms(customer="acme", amount_nanos=DOLLAR)
    first, again = house.credits.grant(terms, by=by), house.credits.grant(terms, by=by)
    assert again.value == first.value and again.is_repeat
    assert house.credits.balance("acme").granted_nanos == DOLLAR
    with pytest.raises(IdempotencyConflict):
        house.credits.grant(GrantTerms(customer="acme", amount_nanos=2 * DOLLAR), by=by)
    with pytest.raises(IdempotencyConflict):
        house.customers.archive("acme", by=by)


def test_a_write_that_was_refused_leaves_its_key_unused(house: House) -> None:
    by = By(actor="test", idempotency_key="k")
    with pytest.raises(CustomerNotFound):
        house.credits.grant(GrantTerms(customer="nobody", amount_nanos=DOLLAR), by=by)
    house.customers.create(CustomerFields(reference_id="nobody"), by=ME)
    assert not house.credits.grant(GrantTerms(customer="nobody", amount_nanos=DOLLAR), by=by).is_repeat


@pytest.mark.parametrize(
    "terms",
    [
        {"amount_nanos": 0},
        {"amount_nanos": -1},
        {"paid_nanos": -1},
        {"priority": -1},
        {"priority": 1001},
        {"expires_us": AT - 1},
        {"note": "x" * 256},
    ],
)
def test_terms_that_cannot_be_are_refused(house: House, terms: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        house.credits.grant(GrantTerms(**{"customer": "acme", "amount_nanos": DOLLAR, **terms}), by=ME)  # type: ignore[arg-type]


def test_an_archived_customer_and_an_unknown_meter_get_no_credit(house: House) -> None:
    with pytest.raises(MeterNotFound):
        grant(house, meters=("nosuch",))
    house.customers.archive("acme", by=ME)
    with pytest.raises(Refused, match="archived"):
        grant(house)


nanos = st.integers(min_value=1, max_value=10**12)
STAMP = CreditStamp(now_us=AT, transaction_id=TransactionId("txn_1"), event_id=EventId("evt_1"), actor="test")


def new_grant(amount_nanos: int, *, meter_ids: tuple[MeterId, ...] = (), expires_us: int | None = None) -> Grant:
    return Grant(
        grant_id=GrantId("grt_1"),
        customer_id=ACME,
        source=GrantSource.PROMO,
        amount_nanos=amount_nanos,
        free_nanos=amount_nanos,
        meter_ids=meter_ids,
        expires_us=expires_us,
        created_us=AT,
    )


@given(amount=nanos, debt=st.integers(min_value=0, max_value=10**12), scoped=st.booleans())
@settings(max_examples=200)
def test_new_credit_and_debt_meet_exactly(amount: int, debt: int, scoped: bool) -> None:
    payee = Payee(customer=Customer(customer_id=ACME, created_us=0), wallet=Wallet(customer_id=ACME, debt_nanos=debt))
    fresh = new_grant(amount, meter_ids=(MeterId("prd_1"),) if scoped else ())
    decision = grant_credit(payee, fresh, STAMP)
    paid = 0 if scoped else min(amount, debt)
    assert (decision.result.free_nanos, decision.result.spent_nanos) == (amount - paid, paid)
    (transaction,) = decision.transactions
    assert transaction.key == "grant:grt_1"
    moved = {(p.source, p.destination): p.amount_nanos for p in transaction.postings}
    assert moved.pop(("funding:promo", free_account(fresh.grant_id))) == amount
    assert moved == ({(free_account(fresh.grant_id), debt_account(ACME)): paid} if paid else {})


@given(amount=nanos, spent=st.data())
def test_taking_back_moves_what_is_free_and_nothing_else(amount: int, spent: st.DataObject) -> None:
    used = spent.draw(st.integers(min_value=0, max_value=amount))
    held = spent.draw(st.integers(min_value=0, max_value=amount - used))
    fresh = new_grant(amount, expires_us=AT)
    grant_now = Grant(
        grant_id=fresh.grant_id,
        customer_id=ACME,
        source=GrantSource.MANUAL,
        amount_nanos=amount,
        free_nanos=amount - used - held,
        held_nanos=held,
        spent_nanos=used,
        expires_us=AT,
        created_us=AT,
    )
    for decision, status in (
        (void_grant(grant_now, STAMP), GrantStatus.VOIDED),
        (expire_grant(grant_now, STAMP), GrantStatus.EXPIRED),
    ):
        (after,) = [row for row in decision.rows if isinstance(row, Grant)]
        assert (after.status, after.free_nanos, after.held_nanos, after.spent_nanos) == (status, 0, held, used)
        moved = [(p.source, p.destination, p.amount_nanos) for p in decision.transactions[0].postings]
        assert moved == (
            [(free_account(fresh.grant_id), BREAKAGE, grant_now.free_nanos)] if grant_now.free_nanos else []
        )
