"""Corrections post what their preview says, once, and the books add up after each."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from lava_proxy.core.adjustment import Wallets, add_credit, take_credit
from lava_proxy.core.credit import CreditStamp, Payee
from lava_proxy.core.entities import AuditEntry, Customer, Grant, GrantSource, Wallet
from lava_proxy.core.errors import Conflict, IdempotencyConflict, InsufficientCredits, InvalidInput, NotFound, Refused
from lava_proxy.core.ids import CustomerId, EventId, GrantId, InstanceId, TransactionId
from lava_proxy.services.credits import GrantTerms
from lava_proxy.services.customer_fields import CustomerFields
from lava_proxy.wiring import House
from tests.services.conftest import ME, TestClock, Traffic

DOLLAR = 10**9


@pytest.fixture(autouse=True)
def acme(house: House) -> None:
    house.customers.create(CustomerFields(reference_id="acme"), by=ME)
    house.credits.grant(GrantTerms(customer="acme", amount_nanos=2 * DOLLAR, priority=10), by=ME)
    house.credits.grant(GrantTerms(customer="acme", amount_nanos=3 * DOLLAR), by=ME)


def available(house: House) -> int:
    return house.credits.balance("acme").available_nanos


def check_books(house: House) -> None:
    assert house.verify().findings == ()


def test_credit_is_added_as_its_preview_says(house: House) -> None:
    before = house.ledger.books().last_sequence()
    preview = house.adjustments.adjust("acme", DOLLAR, reason="outage", by=ME, preview=True).value
    assert (house.ledger.books().last_sequence(), available(house)) == (before, 5 * DOLLAR)
    done = house.adjustments.adjust("acme", DOLLAR, reason="outage", by=ME).value
    assert (preview.available_before_nanos, preview.available_after_nanos) == (5 * DOLLAR, 6 * DOLLAR)
    assert replace(done, transaction_id=preview.transaction_id, grant_id=preview.grant_id) == preview
    assert available(house) == done.available_after_nanos
    line = house.credits.statement("acme").lines[-1]
    assert (line.kind, line.amount_nanos, line.note) == ("adjust", DOLLAR, "outage")
    check_books(house)


def test_credit_is_taken_in_draw_down_order_and_lapses(house: House) -> None:
    done = house.adjustments.adjust("acme", -int(2.5 * DOLLAR), reason="too much", by=ME).value
    assert done.amount_nanos == -2_500_000_000 and done.grant_id is None
    first, second = house.credits.balance("acme").grants
    assert (first.free_nanos, first.lapsed_nanos) == (0, 2 * DOLLAR)
    assert (second.free_nanos, second.lapsed_nanos) == (2_500_000_000, 500_000_000)
    assert available(house) == done.available_after_nanos
    check_books(house)


def test_no_more_is_taken_than_is_free(house: House, traffic: Traffic) -> None:
    call = traffic.begin("acme")
    free = available(house)
    with pytest.raises(InsufficientCredits) as caught:
        house.adjustments.adjust("acme", -free - 1, reason="all", by=ME)
    assert caught.value.details["available"] == free
    house.adjustments.adjust("acme", -free, reason="all", by=ME)
    traffic.end(call)
    check_books(house)


def test_what_is_owed_is_paid_from_added_credit_first(house: House, traffic: Traffic) -> None:
    call = traffic.begin("acme")
    house.adjustments.adjust("acme", -available(house), reason="all", by=ME)
    traffic.end(call, input_tokens=50_000_000)
    owed = house.credits.balance("acme").debt_nanos
    assert owed > 0
    done = house.adjustments.adjust("acme", 100 * DOLLAR, reason="sorry", by=ME).value
    assert done.debt_paid_nanos == owed
    assert available(house) == done.available_after_nanos == 100 * DOLLAR - owed
    check_books(house)


def test_a_disputed_charge_comes_back_as_credit_and_the_record_stays(house: House, traffic: Traffic) -> None:
    request_id = traffic.call("acme", input_tokens=1_000_000)
    record = house.requests.get(request_id).record
    assert record is not None and record.charge_nanos > 0
    before = available(house)
    preview = house.adjustments.dispute(request_id, None, reason="empty answer", by=ME, preview=True).value
    assert available(house) == before
    done = house.adjustments.dispute(request_id, None, reason="empty answer", by=ME).value
    assert done.amount_nanos == preview.amount_nanos == record.charge_nanos
    assert available(house) == before + record.charge_nanos
    assert house.requests.get(request_id).record == record
    grant = house.credits.get(str(done.grant_id))
    assert (grant.source, grant.note) == (GrantSource.REFUND, "empty answer")
    assert house.credits.statement("acme").lines[-1].kind == "dispute"
    check_books(house)


def test_a_request_is_disputed_once_and_for_no_more_than_its_charge(house: House, traffic: Traffic) -> None:
    request_id = traffic.call("acme", input_tokens=1_000_000)
    charge = house.requests.get(request_id).record.charge_nanos  # type: ignore[union-attr]
    with pytest.raises(InvalidInput, match="amount"):
        house.adjustments.dispute(request_id, charge + 1, reason="r", by=ME)
    house.adjustments.dispute(request_id, charge - 1, reason="r", by=ME)
    for preview in (True, False):
        with pytest.raises(Conflict, match="already"):
            house.adjustments.dispute(request_id, 1, reason="r", by=ME, preview=preview)
    check_books(house)


def test_what_nobody_was_charged_for_cannot_be_disputed(house: House, traffic: Traffic, clock: TestClock) -> None:
    own = traffic.call(None)
    failed = traffic.end(traffic.begin("acme"), status=500)
    for request_id in (own, failed):
        with pytest.raises(Refused, match="Nobody was charged"):
            house.adjustments.dispute(request_id, None, reason="r", by=ME)
    with pytest.raises(NotFound):
        house.adjustments.dispute("req_none", None, reason="r", by=ME)
    call = traffic.begin("acme")
    clock.at_us += 500 * 1_000_000
    assert house.recovery(InstanceId(traffic.registered.instance.instance_id)).sweep().orphaned == 1
    with pytest.raises(Refused, match="at its hold"):
        house.adjustments.dispute(call.request_id, None, reason="r", by=ME)
    check_books(house)


@pytest.mark.parametrize("reason", ["", "  ", "x" * 256, "two\nlines"])
def test_a_reason_is_needed(house: House, reason: str) -> None:
    with pytest.raises(InvalidInput, match="reason"):
        house.adjustments.adjust("acme", 1, reason=reason, by=ME)
    with pytest.raises(InvalidInput, match="reason"):
        house.adjustments.dispute("req_x", None, reason=reason, by=ME)


def test_a_repetition_under_a_key_is_the_first_result(house: House, traffic: Traffic) -> None:
    request_id = traffic.call("acme")
    by = replace(ME, idempotency_key="k")
    first = house.adjustments.adjust("acme", 5, reason="r", by=by)
    assert house.adjustments.adjust("acme", 5, reason="r", by=by) == replace(first, is_repeat=True)
    with pytest.raises(IdempotencyConflict):
        house.adjustments.adjust("acme", 6, reason="r", by=by)
    by = replace(ME, idempotency_key="d")
    disputed = house.adjustments.dispute(request_id, None, reason="r", by=by)
    assert house.adjustments.dispute(request_id, None, reason="r", by=by) == replace(disputed, is_repeat=True)
    actions = [entry.action for entry in house.ledger.books().rows(AuditEntry)]
    assert actions[-2:] == ["credits.adjust", "requests.dispute"]
    check_books(house)


ACME = CustomerId("con_acme")
amounts = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20), st.booleans()), min_size=1, max_size=5)


@given(grants=amounts, take=st.integers(1, 200), debt=st.integers(0, 20))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_taking_moves_exactly_the_amount_or_nothing(grants: list[tuple[int, int, bool]], take: int, debt: int) -> None:
    wallets = Wallets(
        payee=Payee(
            customer=Customer(customer_id=ACME, created_us=0), wallet=Wallet(customer_id=ACME, debt_nanos=debt)
        ),
        grants=tuple(
            Grant(
                grant_id=GrantId(f"grt_{number}"),
                customer_id=ACME,
                source=GrantSource.MANUAL,
                amount_nanos=free + held,
                free_nanos=free,
                held_nanos=held,
                expires_us=5 if is_expired else None,
                created_us=number,
            )
            for number, (free, held, is_expired) in enumerate(grants)
        ),
    )
    stamp = CreditStamp(now_us=10, transaction_id=TransactionId("t"), event_id=EventId("e"), actor="a", note="n")
    before = wallets.available_nanos(10)
    try:
        decision = take_credit(wallets, take, stamp)
    except InsufficientCredits:
        assert take > before
        return
    after = {grant.grant_id: grant for grant in wallets.grants} | {
        row.grant_id: row for row in decision.rows if isinstance(row, Grant)
    }
    assert sum(p.amount_nanos for t in decision.transactions for p in t.postings) == take
    assert replace(wallets, grants=tuple(after.values())).available_nanos(10) == before - take
    added = add_credit(wallets, take, stamp, grant_id=GrantId("new")).result
    assert added.available_after_nanos == before + take
