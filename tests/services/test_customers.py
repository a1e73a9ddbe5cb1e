"""Customers: made once, changed in part, archived when idle, forgotten for good."""

import pytest

from lava_proxy.core.entities import AuditEntry, CustomerStatus, Event, IdempotentResult, Key
from lava_proxy.core.errors import Conflict, CustomerNotFound, IdempotencyConflict, InvalidInput, MeterNotFound, Refused
from lava_proxy.services.credits import GrantTerms
from lava_proxy.services.customer_fields import CustomerFields
from lava_proxy.services.idempotency import By
from lava_proxy.services.keys import KeyTerms
from lava_proxy.wiring import House
from tests.services.conftest import ME, Traffic

ACME = CustomerFields(reference_id="acme", name="Acme Inc.", email="billing@acme.example", phone="+4915112345678")


def test_a_customer_is_found_by_both_of_their_ids(house: House) -> None:
    made = house.customers.create(ACME, by=ME).value
    assert house.customers.get("acme") == house.customers.get(made.customer_id) == made
    with pytest.raises(CustomerNotFound, match="'nobody'"):
        house.customers.get("nobody")


def test_making_a_customer_again_gives_the_same_one(house: House) -> None:
    first = house.customers.create(ACME, by=ME)
    again = house.customers.create(ACME, by=ME)
    by_reference_alone = house.customers.create(CustomerFields(reference_id="acme"), by=ME)
    assert (first.is_repeat, again.is_repeat, by_reference_alone.is_repeat) == (False, True, True)
    assert first.value == again.value == by_reference_alone.value


def test_a_reference_id_of_another_customer_is_a_conflict(house: House) -> None:
    house.customers.create(ACME, by=ME)
    house.customers.create(CustomerFields(reference_id="other"), by=ME)
    with pytest.raises(Conflict, match="another name"):
        house.customers.create(CustomerFields(reference_id="acme", name="Someone else"), by=ME)
    with pytest.raises(Conflict, match="belongs to con_"):
        house.customers.update("other", CustomerFields(reference_id="acme"), by=ME)


def test_an_update_changes_what_is_given_clears_none_and_keeps_the_rest(house: House) -> None:
    house.customers.create(ACME, by=ME)
    after = house.customers.update("acme", CustomerFields(name="Acme", email=None, metadata=(("a", "1"),)), by=ME).value
    assert (after.name, after.email, after.phone, after.metadata) == ("Acme", None, "+4915112345678", (("a", "1"),))


def test_a_customers_own_meter_must_exist(house: House) -> None:
    with pytest.raises(MeterNotFound):
        house.customers.create(CustomerFields(reference_id="acme", meter="nosuch"), by=ME)
    made = house.customers.create(CustomerFields(reference_id="acme", meter="default"), by=ME).value
    assert made.meter_id == house.meters.get("default").meter.meter_id


@pytest.mark.parametrize(
    "given",
    [
        CustomerFields(reference_id="con_x"),
        CustomerFields(reference_id=""),
        CustomerFields(reference_id=" acme"),
        CustomerFields(reference_id="-"),
        CustomerFields(reference_id="x" * 256),
        CustomerFields(name="a\nb"),
        CustomerFields(email="nobody"),
        CustomerFields(phone="0151"),
    ],
)
def test_what_cannot_be_is_refused(house: House, given: CustomerFields) -> None:
    with pytest.raises(InvalidInput):
        house.customers.create(given, by=ME)


def test_a_customer_with_calls_in_flight_is_neither_archived_nor_erased(house: House, traffic: Traffic) -> None:
    house.customers.create(ACME, by=ME)
    house.credits.grant(GrantTerms(customer="acme", amount_nanos=10**9), by=ME)
    call = traffic.begin("acme")
    for change in (house.customers.archive, house.customers.erase):
        with pytest.raises(Refused, match="calls in flight"):
            change("acme", by=ME)
    traffic.end(call)
    assert house.customers.archive("acme", by=ME).value.status is CustomerStatus.ARCHIVED


def test_an_archived_customer_is_out_of_the_list_and_can_come_back(house: House) -> None:
    house.customers.create(ACME, by=ME)
    house.customers.archive("acme", by=ME)
    assert house.customers.page().items == ()
    assert len(house.customers.page(include_archived=True).items) == 1
    with pytest.raises(Conflict, match="archived"):
        house.customers.create(ACME, by=ME)
    assert house.customers.restore("acme", by=ME).value.status is CustomerStatus.ACTIVE


def test_an_erased_customer_leaves_no_personal_word_anywhere(house: House, traffic: Traffic) -> None:
    made = house.customers.create(ACME, by=By(actor="test", idempotency_key="k")).value
    house.customers.update("acme", CustomerFields(metadata=(("vat", "DE123"),)), by=ME)
    house.credits.grant(GrantTerms(customer="acme", amount_nanos=10**9), by=ME)
    house.keys.create(KeyTerms(customer="acme", name="Ada's laptop"), by=ME)
    request_id = traffic.call("acme")

    erased = house.customers.erase("acme", by=ME).value

    assert erased.status is CustomerStatus.ERASED
    assert (erased.reference_id, erased.name, erased.email, erased.phone, erased.metadata) == (
        None,
        None,
        None,
        None,
        (),
    )
    books = house.ledger.books()
    kept = [str(row) for kind in (AuditEntry, Event, IdempotentResult, Key) for row in books.rows(kind)]
    for word in ("Acme", "acme.example", "4915112345678", "DE123", "Ada"):
        assert not [line for line in kept if word in line], word
    assert all(key.revoked_us for key in house.keys.all(customer=made.customer_id, include_unusable=True))
    call = house.requests.get(request_id)
    assert call.record is not None and call.record.customer_id == made.customer_id
    assert house.verify().findings == ()
    with pytest.raises(Refused, match="erased"):
        house.customers.restore(made.customer_id, by=ME)


def test_every_change_is_in_the_audit_and_in_the_outbox(house: House) -> None:
    house.customers.create(ACME, by=By(actor="cli:ada"))
    house.customers.archive("acme", by=ME)
    house.customers.archive("acme", by=ME)
    actions = [(entry.actor, entry.action) for entry in house.ledger.books().rows(AuditEntry)]
    assert actions[-2:] == [("cli:ada", "customer.created"), ("test", "customer.archived")]
    kinds = [event.kind for event in house.ledger.books().rows(Event)]
    assert kinds == ["customer.created", "customer.archived"]


def test_the_same_idempotency_key_gives_the_first_customer_and_no_other(house: House) -> None:
    by = By(actor="test", idempotency_key="order-1")
    first = house.customers.create(CustomerFields(name="One"), by=by)
    again = house.customers.create(CustomerFields(name="One"), by=by)
    assert (again.value, again.is_repeat) == (first.value, True)
    with pytest.raises(IdempotencyConflict):
        house.customers.create(CustomerFields(name="Two"), by=by)
    assert len(house.customers.page().items) == 1
