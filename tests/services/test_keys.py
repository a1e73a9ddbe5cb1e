"""Keys and runs: told once, good until they are ended."""

import pytest

from lava_proxy.core.entities import IdempotentResult, Key, KeyScope, Run
from lava_proxy.core.errors import InvalidInput, NotFound, Refused
from lava_proxy.core.ids import RunId
from lava_proxy.core.keys import is_usable, parse_key
from lava_proxy.services.customer_fields import CustomerFields
from lava_proxy.services.exchange import Refused as RefusedCall
from lava_proxy.services.idempotency import By
from lava_proxy.services.keys import KeyTerms
from lava_proxy.services.runs import RunTerms
from lava_proxy.wiring import House
from tests.services.conftest import ME, TestClock, Traffic

HOUR_US = 3_600 * 1_000_000


@pytest.fixture
def acme(house: House) -> str:
    house.customers.create(CustomerFields(reference_id="acme"), by=ME)
    return "acme"


def test_a_merchant_key_says_its_mode_and_is_listed_by_its_ends(house: House) -> None:
    made = house.keys.create(KeyTerms(name="laptop"), by=ME).value
    assert made.text is not None and made.text.startswith("aks_test_")
    listed = [key for key in house.keys.all() if key.name == "laptop"]
    assert [key.hint for key in listed] == [f"aks_test_…{made.text[-4:]}"]
    assert house.keys.get(made.text) == house.keys.get(made.key.key_id) == made.key


def test_the_text_of_a_key_is_in_no_row(house: House) -> None:
    made = house.keys.create(KeyTerms(), by=By(actor="test", idempotency_key="k")).value
    assert made.text is not None
    secret = made.text.rsplit("_", 1)[1]
    kept = [str(row) for kind in (Key, IdempotentResult) for row in house.ledger.books().rows(kind)]
    assert not [line for line in kept if secret in line]


def test_a_repeated_creation_gives_the_key_but_cannot_tell_it_again(house: House) -> None:
    by = By(actor="test", idempotency_key="k")
    first, again = house.keys.create(KeyTerms(), by=by), house.keys.create(KeyTerms(), by=by)
    assert again.value.key == first.value.key
    assert again.is_repeat and again.value.text is None


def test_a_customers_key_calls_as_that_customer_alone(house: House, acme: str, traffic: Traffic) -> None:
    made = house.keys.create(KeyTerms(customer=acme, meters=("default",)), by=ME).value
    assert made.text is not None and made.text.startswith("lava_ck_")
    assert made.key.scope is KeyScope.CUSTOMER
    house.customers.create(CustomerFields(reference_id="other"), by=ME)
    answer = traffic.ask("other", key=made.text)
    assert isinstance(answer, RefusedCall) and answer.code == "customer_not_allowed"


def test_meters_belong_to_customers_keys_only(house: House) -> None:
    with pytest.raises(InvalidInput, match="meters"):
        house.keys.create(KeyTerms(meters=("default",)), by=ME)


def test_an_archived_customer_gets_no_key(house: House, acme: str) -> None:
    house.customers.archive(acme, by=ME)
    with pytest.raises(Refused, match="archived"):
        house.keys.create(KeyTerms(customer=acme), by=ME)


def test_a_revoked_key_is_refused_by_the_next_call(house: House, acme: str, traffic: Traffic) -> None:
    made = house.keys.create(KeyTerms(), by=ME).value
    assert made.text is not None
    traffic.call(None, key=made.text)
    house.keys.revoke(made.text, by=ME)
    answer = traffic.ask(None, key=made.text)
    assert isinstance(answer, RefusedCall) and answer.code == "key_revoked"
    revoked = house.keys.get(made.key.key_id)
    assert house.keys.revoke(made.key.key_id, by=ME).value == revoked
    assert revoked not in house.keys.all()
    assert revoked in house.keys.all(include_unusable=True)


def test_a_rotated_key_ends_at_once_or_after_its_grace(house: House, clock: TestClock) -> None:
    old = house.keys.create(KeyTerms(name="ci"), by=ME).value
    new = house.keys.rotate(old.key.key_id, by=ME, grace_us=HOUR_US).value
    assert new.key.name == "ci" and new.text is not None and new.text != old.text
    assert is_usable(house.keys.get(old.key.key_id), clock.at_us)
    assert not is_usable(house.keys.get(old.key.key_id), clock.at_us + 2 * HOUR_US)
    newest = house.keys.rotate(new.key.key_id, by=ME).value
    assert not is_usable(house.keys.get(new.key.key_id), clock.at_us)
    with pytest.raises(Refused, match="revoked or has expired"):
        house.keys.rotate(new.key.key_id, by=ME)
    assert is_usable(newest.key, clock.at_us)


def test_a_key_that_is_not_there_is_not_found_and_its_text_not_repeated(house: House) -> None:
    made = house.keys.create(KeyTerms(), by=ME).value
    assert made.text is not None
    with pytest.raises(NotFound) as caught:
        house.keys.get(made.text.replace("aks_test_0", "aks_test_7"))
    assert made.text.rsplit("_", 1)[1] not in caught.value.message


def test_a_run_key_carries_customer_meter_and_caps_and_ends_with_the_run(
    house: House, acme: str, traffic: Traffic
) -> None:
    started = house.runs.start(RunTerms(customer=None, cost_nanos_max=1_000_000), by=ME)
    parsed = parse_key(started.text)
    assert parsed is not None and parsed.scope is KeyScope.RUN
    traffic.call(None, key=started.text)
    refused = [traffic.ask(None, key=started.text) for _ in range(3)]
    assert {answer.code for answer in refused if isinstance(answer, RefusedCall)} == {"run_limit_reached"}

    house.runs.end(started.run.run_id)
    house.runs.end(started.run.run_id)
    answer = traffic.ask(None, key=started.text)
    assert isinstance(answer, RefusedCall) and answer.code == "key_revoked"
    run = house.ledger.read(lambda rows: rows.get(Run, started.run.run_id))
    assert run is not None and run.ended_us is not None


def test_a_receipt_counts_calls_tokens_cost_blocked_and_pending(house: House, traffic: Traffic) -> None:
    started = house.runs.start(RunTerms(cost_nanos_max=10_000_000), by=ME)
    other = house.runs.start(RunTerms(), by=ME)
    traffic.call(None, key=started.text, input_tokens=1000, output_tokens=500)
    traffic.call(None, key=other.text)
    pending = traffic.begin(None, key=started.text)
    for _ in range(20):
        traffic.ask(None, key=started.text)
    traffic.catch_up()

    receipt = house.runs.receipt(started.run.run_id)

    assert (receipt.requests, receipt.input_tokens, receipt.output_tokens) == (1, 1000, 500)
    assert receipt.cost_nanos == 1000 * 150 + 500 * 600
    assert receipt.charge_nanos == 0
    assert receipt.blocked > 0 and dict(receipt.refusals) == {"run_limit_reached": receipt.blocked}
    assert receipt.pending == 21 - receipt.blocked
    traffic.end(pending)
    with pytest.raises(NotFound):
        house.runs.receipt(RunId("run_nosuch"))


def test_a_run_for_an_unknown_customer_or_meter_is_not_started(house: House) -> None:
    for terms in (RunTerms(customer="nobody"), RunTerms(meter="nosuch")):
        with pytest.raises(NotFound):
            house.runs.start(terms, by=ME)
    assert not list(house.ledger.books().rows(Run))
