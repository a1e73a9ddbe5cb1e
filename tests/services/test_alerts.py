"""Alerts over real books: whoever looks, whenever, each crossing is told once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest
from msgspec.structs import replace

from lava_proxy.core.alert_rows import Alert, AlertKind, AlertRule, AlertState
from lava_proxy.core.alert_units import DAY_US
from lava_proxy.core.alerts import AlertFacts, CycleFacts, PaymentFacts, subject_name
from lava_proxy.core.billing import Interval, Payment
from lava_proxy.core.entities import Event, GrantSource, RateType, Tier, TierUnit
from lava_proxy.core.errors import Conflict, CustomerNotFound, InvalidInput, NotFound
from lava_proxy.core.ids import EventId
from lava_proxy.core.money import parse_amount
from lava_proxy.core.ports import Decision
from lava_proxy.core.subscriptions import OwnTerms
from lava_proxy.services.alert_facts import AlertFactsReader
from lava_proxy.services.alert_rules import AlertTerms
from lava_proxy.services.alert_system import SystemFactsReader
from lava_proxy.services.alerts import REST_FACTOR, Alerts
from lava_proxy.services.credits import GrantTerms
from lava_proxy.services.customer_fields import CustomerFields
from lava_proxy.services.meters import MeterTerms
from lava_proxy.services.plans import PlanChanges, PlanTerms
from lava_proxy.services.subscriptions import Asked
from lava_proxy.wiring import House, make_authority
from tests.services.conftest import ME, TestClock, Traffic


@pytest.fixture(autouse=True)
def sound(house: House) -> None:
    """A home about which nothing is to be told."""
    make_authority(house.home)
    meter = MeterTerms(
        name="Calls",
        slug="calls",
        rate_type=RateType.FIXED,
        tier_unit=TierUnit.REQUESTS,
        tiers=(Tier(start=0, rate_nanos=parse_amount("1")),),
    )
    house.meters.create(meter, by=ME)
    assert house.alerts.look() == 0
    house.alerts._seconds = lambda: 0.0  # no look is followed by a rest


def customer(house: House, reference_id: str = "acme", credit: str = "10") -> str:
    made = house.customers.create(CustomerFields(reference_id=reference_id, meter="calls"), by=ME).value
    grant(house, reference_id, credit)
    return made.customer_id


def grant(house: House, reference_id: str, amount: str, source: GrantSource = GrantSource.MANUAL) -> None:
    terms = GrantTerms(customer=reference_id, amount_nanos=parse_amount(amount), source=source)
    house.credits.grant(terms, by=ME)


def rule(house: House, kind: AlertKind, threshold: str | None = None, **more: object) -> AlertRule:
    terms = replace(AlertTerms(kind=kind, threshold=threshold), **more)
    return house.alert_rules.create(terms, by=ME).value


def fired(house: House) -> list[str]:
    """What fired, oldest first; those that have cleared in brackets."""
    found = house.alert_rules.history()
    names = house.alert_rules.reference_ids(found)
    texts = [(alert, f"{subject_name(alert.subject, names.get(alert.subject))}: {alert.message}") for alert in found]
    return [text if alert.resolved_us is None else f"({text})" for alert, text in reversed(texts)]


def test_each_call_ends_in_a_look_at_its_customer_alone(house: House, traffic: Traffic) -> None:
    customer(house)
    customer(house, "bolt", "2")
    rule(house, AlertKind.BALANCE_BELOW, "9.50")
    house.alerts._seen = house.ledger.outbox().last_sequence()

    traffic.call("acme")
    house.alerts.watch()
    assert fired(house) == ["acme: balance $9.00 (below $9.50)"]
    traffic.call("acme")
    house.alerts.watch()
    assert house.alerts.look() == 1
    assert fired(house)[1:] == ["bolt: balance $2.00 (below $9.50)"]
    grant(house, "acme", "5")
    house.alerts.watch()
    assert fired(house)[0] == "(acme: balance $9.00 (below $9.50))"


def test_what_a_call_in_flight_holds_fires_nothing(house: House, traffic: Traffic) -> None:
    customer(house, credit="10")
    rule(house, AlertKind.BALANCE_BELOW, "9.50")
    call = traffic.begin("acme")
    assert house.credits.balance("acme").available_nanos < parse_amount("9.50")
    assert house.alerts.look() == 0
    traffic.end(call)
    assert house.alerts.look() == 1


def test_a_customer_who_never_had_credit_has_no_balance_that_could_fall(house: House) -> None:
    house.customers.create(CustomerFields(reference_id="new"), by=ME)
    rule(house, AlertKind.BALANCE_BELOW, "5")
    assert house.alerts.look() == 0


def test_a_look_that_changes_nothing_writes_nothing(house: House, traffic: Traffic) -> None:
    customer(house, credit="1")
    rule(house, AlertKind.BALANCE_BELOW, "5")
    assert house.alerts.look() == 1
    before = house.ledger.outbox().last_sequence(), tuple(house.ledger.books().rows(AlertState))
    for _ in range(3):
        assert house.alerts.look() == 0
    assert before == (house.ledger.outbox().last_sequence(), tuple(house.ledger.books().rows(AlertState)))


def new_process(house: House) -> Alerts:
    """Who looks after a restart, or in another process."""
    return Alerts(
        ledger=house.ledger,
        clock=house.clock,
        ids=house.ids,
        facts=AlertFactsReader(ledger=house.ledger, clock=house.clock),
        system=SystemFactsReader(ledger=house.ledger, clock=house.clock, places=house._system_places(None)),
    )


def test_a_restart_tells_nothing_again_and_two_processes_tell_once(house: House) -> None:
    for number in range(5):
        customer(house, f"c{number}", "1")
    rule(house, AlertKind.BALANCE_BELOW, "5")
    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(lambda alerts: alerts.look(), [new_process(house) for _ in range(4)]))
    assert sum(told) == 5
    assert new_process(house).look() == 0
    assert len(list(house.ledger.books().rows(Alert))) == 5


def test_an_alert_its_state_and_its_event_are_written_together(house: House) -> None:
    customer(house, credit="1")
    rule(house, AlertKind.BALANCE_BELOW, "5")
    house.alerts.look()
    (alert,) = house.ledger.books().rows(Alert)
    (state,) = house.ledger.books().rows(AlertState)
    (event,) = [e for e in house.ledger.books().rows(Event) if e.kind == "alert.fired"]
    assert (state.alert_id, state.is_firing) == (alert.alert_id, True)
    assert event.key == f"alert.fired:{alert.alert_id}" and event.created_us == alert.fired_us


def test_spend_is_of_a_day_and_the_total_counts_the_merchants_own_calls(
    house: House, traffic: Traffic, clock: TestClock
) -> None:
    customer(house)
    rule(house, AlertKind.SPEND_PER_DAY, "2", customer="acme")
    rule(house, AlertKind.SPEND_PER_DAY, "3", is_total=True)
    traffic.call("acme")
    assert house.alerts.look() == 0
    traffic.call("acme")
    assert house.alerts.look() == 1
    traffic.call("acme")
    house.alerts.watch()
    assert fired(house) == ["acme: spend today $2.00 (reached $2.00)", "all calls: spend today $3.00 (reached $3.00)"]
    clock.at_us += DAY_US
    assert house.alerts.look() == 2
    assert fired(house)[0] == "(acme: spend today $2.00 (reached $2.00))"


def test_margin_is_of_the_requests_of_today(house: House, traffic: Traffic) -> None:
    customer(house)
    rule(house, AlertKind.MARGIN_BELOW, "99.99")
    traffic.call("acme", input_tokens=1000, output_tokens=500)
    assert house.alerts.look() == 1
    (told,) = fired(house)
    assert told.startswith("acme: margin today 99.9") and told.endswith("(below 99.99 %)")


def test_an_anomaly_is_measured_by_the_days_before(house: House, traffic: Traffic, clock: TestClock) -> None:
    customer(house, credit="100")
    rule(house, AlertKind.SPEND_ANOMALY, "300%")
    for _ in range(7):
        traffic.call("acme")
        assert house.alerts.look() == 0
        clock.at_us += DAY_US
    traffic.call("acme")
    traffic.call("acme")
    assert house.alerts.look() == 0
    traffic.call("acme")
    assert house.alerts.look() == 1
    assert fired(house) == [
        "acme: spend today, of the mean of the 7 days before 300.00 % (reached 300.00 %)",
    ]


def test_cycle_credit_and_spend_are_told_of_a_subscription(house: House, traffic: Traffic, clock: TestClock) -> None:
    customer(house, credit="50")
    house.credits.void(house.credits.balance("acme").grants[0].grant_id, by=ME)
    more = PlanChanges(included_nanos=2 * 10**9)
    house.plans.create(PlanTerms(name="Pro", amount_nanos=10**10, interval=Interval.MONTH, more=more), by=ME)
    house.subscriptions.start("acme", "Pro", OwnTerms(), asked=Asked(by=ME))
    house.ticking.tick(now_us=clock.at_us + 1)
    (due,) = house.ledger.read(lambda rows: rows.find(Payment, customer_id=house.customers.get("acme").customer_id))
    house.payments.mark_paid(due.payment_id, by=ME)
    rule(house, AlertKind.CREDIT_USED, "50")
    rule(house, AlertKind.SPEND_PER_CYCLE, "1")
    assert house.alerts.look() == 0
    traffic.call("acme")
    assert house.alerts.look() == 2
    assert fired(house) == [
        "acme: cycle credit used 50.00 % (reached 50.00 %)",
        "acme: spend in this cycle $1.00 (reached $1.00)",
    ]


def test_plans_and_payments_are_told_by_given_facts(house: House) -> None:
    customer_id = customer(house)
    rules = (
        rule(house, AlertKind.CREDIT_USED, "80", plan="sc_pro"),
        rule(house, AlertKind.PAYMENT_FAILED),
        rule(house, AlertKind.TOP_UP_FAILED, plan="sc_pro"),
    )

    def facts(plan_id: str, payments: PaymentFacts) -> AlertFacts:
        cycle = CycleFacts(cycle="cyc_1", granted_nanos=10, used_nanos=8, charge_nanos=8)
        now_us = house.clock.now_us()
        return AlertFacts(subject=customer_id, plan_id=plan_id, cycle=cycle, payments=payments, read_us=now_us)

    failed = PaymentFacts(failed_payment="pay_1", failed_top_up="pay_2")
    assert house.alerts.take(rules, [facts("sc_free", failed)]) == 1
    assert house.alerts.take(rules, [facts("sc_pro", failed)]) == 2
    assert house.alerts.take(rules, [facts("sc_pro", PaymentFacts())]) == 2
    assert fired(house) == [
        "(acme: failed payment 1 (reached 1))",
        "acme: cycle credit used 80.00 % (reached 80.00 %)",
        "(acme: failed top-up 1 (reached 1))",
    ]


def test_a_deleted_rule_looks_no_more_and_what_it_fired_for_is_resolved(house: House) -> None:
    customer(house, credit="1")
    made = rule(house, AlertKind.BALANCE_BELOW, "5")
    house.alerts.look()
    house.alert_rules.delete("balance-below", by=ME)
    assert fired(house) == ["(acme: balance $1.00 (below $5.00))"]
    assert [e.kind for e in house.ledger.books().rows(Event)][-1] == "alert.resolved"
    assert house.alerts.look() == 0
    assert house.alerts.take((made,), [AlertFacts(subject="con_x", balance_nanos=0, read_us=house.clock.now_us())]) == 0
    with pytest.raises(NotFound):
        house.alert_rules.delete("balance-below", by=ME)


def test_who_is_no_concern_of_a_rule_any_more_is_resolved(house: House) -> None:
    customer(house, credit="1")
    customer(house, "bolt", "1")
    rule(house, AlertKind.BALANCE_BELOW, "5")
    assert house.alerts.look() == 2
    house.customers.archive("acme", by=ME)
    house.alerts.watch()
    assert house.alerts.look() == 1
    assert fired(house) == ["(acme: balance $1.00 (below $5.00))", "bolt: balance $1.00 (below $5.00)"]
    assert house.alerts.look() == 0


def test_another_threshold_is_looked_at_from_then_on(house: House) -> None:
    customer(house, credit="1")
    rule(house, AlertKind.BALANCE_BELOW, "5")
    house.alerts.look()
    house.alert_rules.update("balance-below", "0.50", by=ME)
    assert house.alerts.look() == 1
    assert fired(house) == ["(acme: balance $1.00 (below $5.00))"]
    with pytest.raises(InvalidInput, match="built in"):
        house.alert_rules.update("disk-low", "1GiB", by=ME)


def test_the_system_tells_of_itself(house: House, traffic: Traffic, clock: TestClock) -> None:
    customer(house)
    call = traffic.begin("acme")
    clock.at_us += (3600 + 601) * 1_000_000
    outbox = house.ledger.outbox()
    (event, *_) = outbox.claim("webhooks", now_us=0, lease_us=1, limit=1)
    outbox.failed("webhooks", event.event_id, error="410", retry_at_us=None)
    house.home.spool_folder.mkdir()
    (house.home.spool_folder / "ins_1.jsonl").write_text("{}\n")
    (house.home.ca_folder / "mitmproxy-ca-cert.pem").write_text("damaged")
    assert house.alerts.look() == 4
    assert fired(house) == [
        "this home: holds past their time 1 (reached 1)",
        "this home: undelivered events 1 (reached 1)",
        "this home: a certificate ends in -1 d (below 30 d)",
        "this home: spool files not booked 1 (reached 1)",
    ]
    traffic.end(call)
    house.alert_rules.delete("spool-waiting", by=ME)
    house.alerts.look()
    assert fired(house)[0] == "(this home: holds past their time 1 (reached 1))"
    assert "spool-waiting" not in [each.rule.slug for each in house.alert_rules.all()]


def test_the_lag_of_a_writer_is_told_by_the_proxy_that_has_it(house: House) -> None:
    reader = SystemFactsReader(ledger=house.ledger, clock=house.clock, places=house._system_places("second"))
    shared, own = reader.read()
    assert (shared.subject, shared.writer_lag_us, own.subject, own.writer_lag_us) == (
        "system",
        None,
        "system:second",
        0,
    )
    rules = [each.rule for each in house.alert_rules.all()]
    late = replace(own, writer_lag_us=6_000_000, read_us=house.clock.now_us())
    assert house.alerts.take(rules, [late]) == 1
    assert house.alerts.take(rules, [replace(late, subject="system:main", writer_lag_us=0)]) == 0
    assert house.alerts.look() == 0, "another process knows nothing of it"
    assert fired(house) == ["proxy second: the ledger's writer behind by 6 s (reached 5 s)"]


def test_nothing_that_is_kept_names_a_customer(house: House) -> None:
    customer(house, "jane.doe@example.com", "1")
    rule(house, AlertKind.BALANCE_BELOW, "5")
    house.alerts.look()
    kept = repr([*house.ledger.books().rows(Alert), *house.ledger.books().rows(Event)])
    assert "jane" not in kept
    assert fired(house) == ["jane.doe@example.com: balance $1.00 (below $5.00)"]
    house.customers.erase("jane.doe@example.com", by=ME)
    assert "jane" not in fired(house)[0]


def test_a_look_that_took_long_is_followed_by_a_rest(house: House) -> None:
    times: Iterator[float] = iter([0.0, 10.0, 100.0, 10.0 + 10.0 * REST_FACTOR, 211.0])
    alerts = new_process(house)
    alerts._seconds = lambda: next(times)
    rounds = count()
    alerts.look = lambda: next(rounds)  # type: ignore[method-assign]
    alerts.look_regularly()
    alerts.look_regularly()
    assert next(rounds) == 1
    alerts.look_regularly()
    assert next(rounds) == 3


@pytest.mark.parametrize(
    ("terms", "field"),
    [
        (AlertTerms(kind=AlertKind.BALANCE_BELOW), "threshold"),
        (AlertTerms(kind=AlertKind.SPEND_PER_DAY, threshold="0"), "threshold"),
        (AlertTerms(kind=AlertKind.SPEND_PER_DAY, threshold="-3"), "threshold"),
        (AlertTerms(kind=AlertKind.SPEND_PER_DAY, threshold="1.005 USD"), "threshold"),
        (AlertTerms(kind=AlertKind.CREDIT_USED, threshold="1e9"), "threshold"),
        (AlertTerms(kind=AlertKind.DISK_LOW, customer="acme"), "customer"),
        (AlertTerms(kind=AlertKind.BALANCE_BELOW, threshold="1", is_total=True), "total"),
        (AlertTerms(kind=AlertKind.BALANCE_BELOW, threshold="1", plan="pro"), "plan"),
        (AlertTerms(kind=AlertKind.BALANCE_BELOW, threshold="1", plan="sc_1", customer="acme"), "plan"),
        (AlertTerms(kind=AlertKind.BALANCE_BELOW, threshold="1", slug="No Name"), "name"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_by_field_and_nothing_is_written(
    house: House, terms: AlertTerms, field: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        house.alert_rules.create(terms, by=ME)
    assert caught.value.details["field"] == field
    assert caught.value.message.startswith(f"{field}:") or field == "threshold"
    assert list(house.ledger.books().rows(AlertRule)) == []


def test_a_rule_is_made_once_per_idempotency_key_and_its_name_is_its_own(house: House) -> None:
    terms = AlertTerms(kind=AlertKind.BALANCE_BELOW, threshold="5")
    first = house.alert_rules.create(terms, by=replace(ME, idempotency_key="k"))
    again = house.alert_rules.create(terms, by=replace(ME, idempotency_key="k"))
    assert again.is_repeat and again.value == first.value
    with pytest.raises(Conflict):
        house.alert_rules.create(terms, by=ME)
    with pytest.raises(Conflict):
        house.alert_rules.create(replace(terms, kind=AlertKind.DISK_LOW, threshold="1GiB", slug="disk-low"), by=ME)
    with pytest.raises(CustomerNotFound):
        house.alert_rules.create(replace(terms, customer="nobody"), by=ME)


def test_an_event_that_tells_of_a_request_that_is_gone_harms_nothing(house: House) -> None:
    customer(house, credit="1")
    rule(house, AlertKind.BALANCE_BELOW, "5")
    event = Event(
        event_id=EventId("evt_x"), kind="request.settled", key="x", payload='{"request_id":"req_none"}', created_us=1
    )
    house.ledger.transact(lambda _: None, lambda _: Decision(result=None, rows=(event,))).result()
    house.alerts.watch()
    assert fired(house) == ["acme: balance $1.00 (below $5.00)"], "the grant's own event named the customer"
