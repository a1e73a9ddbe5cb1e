"""Meters with options over whole calls, and reported usage: what is held, charged, free and owed."""

import pytest
from msgspec.structs import replace

from lava_proxy.core.entities import Counter, CounterReset, RateType, TierUnit
from lava_proxy.core.errors import IdempotencyConflict, InvalidInput
from lava_proxy.core.errors import Refused as NotAllowed
from lava_proxy.core.meter_options import NO_OPTIONS, Aggregation, MeterOptions
from lava_proxy.core.meter_text import read_model_rates, read_unit_rates
from lava_proxy.core.money import parse_amount
from lava_proxy.core.ports import RequestFilter
from lava_proxy.core.tiers import read_tiers
from lava_proxy.services.credits import GrantTerms
from lava_proxy.services.customer_fields import CustomerFields
from lava_proxy.services.exchange import Ending, Refused
from lava_proxy.services.idempotency import By
from lava_proxy.services.meters import MeterChanges, MeterTerms
from lava_proxy.services.usage_records import UsageReported
from lava_proxy.wiring import House
from tests.services.conftest import DAY_US, ME, TestClock, Traffic

FREE_TIER = MeterOptions(allowance=4000)


def make_meter(
    house: House,
    name: str = "m",
    *,
    tiers: tuple[tuple[str, str], ...] | None = (("0", "10"),),
    options: MeterOptions = NO_OPTIONS,
    unit: TierUnit = TierUnit.TOKENS_1M,
    reset: CounterReset = CounterReset.NEVER,
    default: bool = True,
) -> None:
    terms = MeterTerms(
        name=name,
        rate_type=RateType.FIXED,
        tier_unit=unit,
        tiers=read_tiers(tiers) if tiers else None,
        reset=reset,
        options=options,
        is_default=default,
    )
    house.meters.create(terms, by=ME)


def customer(house: House, credit: str | None = "5") -> None:
    house.customers.create(CustomerFields(reference_id="acme"), by=ME)
    if credit:
        house.credits.grant(GrantTerms(customer="acme", amount_nanos=parse_amount(credit)), by=ME)


def charged(house: House, request_id: str) -> int:
    record = house.requests.get(request_id).record
    assert record is not None
    return record.charge_nanos


def assert_sound(house: House) -> None:
    assert house.verify().findings == ()


def test_a_customer_without_credit_can_use_what_is_free_and_no_more(house: House, traffic: Traffic) -> None:
    """4,000 tokens are free; a call is quoted at 1,067 and uses 1,000."""
    make_meter(house, options=FREE_TIER)
    customer(house, credit=None)
    calls = [traffic.begin("acme") for _ in range(3)]
    refused = traffic.ask("acme")
    assert isinstance(refused, Refused) and refused.code == "insufficient_credits"
    assert [charged(house, traffic.end(call, input_tokens=500, output_tokens=500)) for call in calls] == [0, 0, 0]
    assert_sound(house)
    fourth = traffic.ask("acme")
    assert isinstance(fourth, Refused)


def test_what_a_call_set_aside_of_the_allowance_comes_back_when_it_fails(house: House, traffic: Traffic) -> None:
    make_meter(house, options=FREE_TIER)
    customer(house, credit=None)
    for _ in range(5):
        calls = [traffic.begin("acme") for _ in range(3)]
        traffic.end(calls[0], status=500)
        calls[1].close(Ending.NOT_SENT).result()
        traffic.end(calls[2], input_tokens=0, output_tokens=0)
    allowance = [c for c in house.ledger.books().rows(Counter) if c.cycle.startswith("free:")]
    assert [(c.count_micros, c.held_micros) for c in allowance] == [(0, 0)]
    assert_sound(house)


def test_an_orphan_gives_its_free_units_back_and_a_late_settlement_takes_them_again(
    house: House, traffic: Traffic, clock: TestClock
) -> None:
    from lava_proxy.core.ids import EventId, TransactionId
    from lava_proxy.core.settlement import Holding, Stamp, load_holding, orphan

    make_meter(house, options=FREE_TIER)
    customer(house, credit=None)
    call = traffic.begin("acme")
    hold_id = call.request_id.replace("req", "hld")
    stamp = Stamp(now_us=clock.now_us(), transaction_id=TransactionId("txn_o"), event_id=EventId("evt_o"))

    def load(rows: object) -> Holding:
        holding = load_holding(rows, hold_id)  # type: ignore[arg-type]
        assert holding is not None
        return holding

    house.ledger.transact(load, lambda holding: orphan(holding, stamp)).result()
    assert_sound(house)
    assert charged(house, traffic.end(call, input_tokens=500, output_tokens=500)) == 0
    allowance = next(c for c in house.ledger.books().rows(Counter) if c.cycle.startswith("free:"))
    assert (allowance.count_micros, allowance.held_micros) == (1000 * 10**6, 0)
    assert_sound(house)


def test_the_allowance_and_a_counter_by_cycle_begin_anew_with_the_calendar_month(
    house: House, traffic: Traffic, clock: TestClock
) -> None:
    """1,000 tokens a month free, then $10 a million to 1,000 more, then $1: September, then October."""
    make_meter(
        house, tiers=(("0", "10"), ("1000", "1")), options=MeterOptions(allowance=1000), reset=CounterReset.CYCLE
    )
    customer(house)
    september = [charged(house, traffic.call("acme", input_tokens=600, output_tokens=400)) for _ in range(3)]
    clock.at_us += 20 * DAY_US
    october = [charged(house, traffic.call("acme", input_tokens=600, output_tokens=400)) for _ in range(3)]
    assert september == october == [0, parse_amount("0.01"), parse_amount("0.001")]
    assert_sound(house)


def test_a_counter_that_never_resets_goes_on_over_the_months(house: House, traffic: Traffic, clock: TestClock) -> None:
    make_meter(house, tiers=(("0", "10"), ("1000", "1")))
    customer(house)
    charges = []
    for _ in range(2):
        charges.append(charged(house, traffic.call("acme", input_tokens=600, output_tokens=400)))
        clock.at_us += 40 * DAY_US
    assert charges == [parse_amount("0.01"), parse_amount("0.001")]


def test_a_change_of_options_is_a_new_version_and_calls_in_flight_keep_theirs(house: House, traffic: Traffic) -> None:
    make_meter(house, options=MeterOptions(units=read_unit_rates(("output_tokens:100",))))
    customer(house)
    before = traffic.begin("acme")
    after = house.meters.update("m", MeterChanges(minimum_nanos=parse_amount("0.5")), by=ME).value
    assert after.version.version == 2 and after.version.options is not None
    assert after.version.options.units and after.version.options.minimum_nanos == parse_amount("0.5")
    assert charged(house, traffic.end(before, input_tokens=1000, output_tokens=100)) == parse_amount("0.02")
    assert charged(house, traffic.call("acme", input_tokens=1000, output_tokens=100)) == parse_amount("0.5")
    plain = house.meters.update("m", MeterChanges(minimum_nanos=0, units=()), by=ME).value
    assert plain.version.options is None
    assert_sound(house)


def test_a_model_is_charged_by_the_name_that_the_call_asked_for(house: House, traffic: Traffic) -> None:
    make_meter(house, options=MeterOptions(models=read_model_rates(("gpt-4o-m*=100", "gpt-4o*=1"))))
    customer(house)
    assert charged(house, traffic.call("acme", input_tokens=1000, output_tokens=0)) == parse_amount("0.1")


def test_a_request_over_three_grants_and_a_tier_boundary(house: House, traffic: Traffic) -> None:
    """1,500 tokens at $1,000 a million for the first 1,000 and then $500: $1.25, out of $0.50, $0.50 and $5.00."""
    make_meter(house, tiers=(("0", "1000"), ("1000", "500")))
    customer(house, credit=None)
    for amount, priority in (("5", 30), ("0.5", 20), ("0.5", 10)):
        house.credits.grant(GrantTerms(customer="acme", amount_nanos=parse_amount(amount), priority=priority), by=ME)
    record = house.requests.get(traffic.call("acme", input_tokens=1000, output_tokens=500)).record
    assert record is not None and record.charge_nanos == parse_amount("1.25")
    assert [(line.tier_start, line.units_micros // 10**6, line.charge_nanos) for line in record.breakdown] == [
        (0, 1000, parse_amount("1")),
        (1000, 500, parse_amount("0.25")),
    ]
    spent = {grant.priority: grant.spent_nanos for grant in house.credits.balance("acme").grants}
    assert spent == {10: parse_amount("0.5"), 20: parse_amount("0.5"), 30: parse_amount("0.25")}
    assert_sound(house)


def own_unit(aggregation: Aggregation = Aggregation.SUM) -> MeterOptions:
    return MeterOptions(unit="gb_hours", aggregation=aggregation)


def report(house: House, quantity: str | None = None, *, value: str | None = None, key: str | None = None) -> int:
    from lava_proxy.services.usage_records import read_quantity

    said = UsageReported(
        customer="acme", meter="m", quantity_micros=read_quantity(quantity) if quantity else None, value=value
    )
    return charged(house, house.usage_records.record(said, by=By(actor="test", idempotency_key=key)).value)


def test_reported_quantities_add_up_through_the_tiers_and_what_no_credit_covers_is_owed(house: House) -> None:
    """$2 each to 3, then $1: 1.5, 2.25 and 4 units against $8."""
    make_meter(house, tiers=(("0", "2"), ("3", "1")), options=own_unit(), unit=TierUnit.CUSTOM, default=False)
    customer(house, credit="8")
    assert [report(house, q) for q in ("1.5", "2.25", "4")] == [parse_amount(a) for a in ("3", "3.75", "4")]
    balance = house.credits.balance("acme")
    assert (balance.available_nanos, balance.debt_nanos) == (-parse_amount("2.75"), parse_amount("2.75"))
    assert_sound(house)


def test_a_maximum_is_charged_by_what_it_grows_in_the_cycle(house: House, clock: TestClock) -> None:
    options = own_unit(Aggregation.MAX)
    make_meter(
        house, tiers=(("0", "1"),), options=options, unit=TierUnit.CUSTOM, reset=CounterReset.CYCLE, default=False
    )
    customer(house, credit="20")
    assert [report(house, q) for q in ("3", "2", "5.5")] == [parse_amount("3"), 0, parse_amount("2.5")]
    clock.at_us += 20 * DAY_US
    assert report(house, "2") == parse_amount("2")
    assert_sound(house)


def test_each_different_value_is_charged_once_in_a_cycle(house: House, clock: TestClock) -> None:
    options = replace(own_unit(Aggregation.UNIQUE), allowance=1)
    make_meter(
        house, tiers=(("0", "2"),), options=options, unit=TierUnit.CUSTOM, reset=CounterReset.CYCLE, default=False
    )
    customer(house, credit="20")
    two = parse_amount("2")
    assert [report(house, value=v) for v in ("ann", "bob", "ann", "bob", "cy")] == [0, two, 0, 0, two]
    clock.at_us += 20 * DAY_US
    assert [report(house, value=v) for v in ("bob", "ann")] == [0, two]
    assert_sound(house)


def test_a_report_under_one_key_is_charged_once(house: House) -> None:
    make_meter(house, options=own_unit(), unit=TierUnit.CUSTOM, default=False)
    customer(house, credit="100")
    assert [report(house, "1", key="k") for _ in range(3)] == [parse_amount("10")] * 3
    assert house.credits.balance("acme").available_nanos == parse_amount("90")
    with pytest.raises(IdempotencyConflict):
        report(house, "2", key="k")


def test_calls_are_refused_on_a_meter_of_reports_and_reports_on_one_of_calls(house: House, traffic: Traffic) -> None:
    make_meter(house, options=own_unit(), unit=TierUnit.CUSTOM, default=False)
    customer(house)
    refused = traffic.ask("acme", headers=(("x-lava-meter", "m"),))
    assert isinstance(refused, Refused) and (refused.code, refused.status) == ("meter_without_calls", 400)
    with pytest.raises(InvalidInput, match="charges calls"):
        house.usage_records.record(UsageReported(customer="acme", meter="default", quantity_micros=1), by=ME)
    house.meters.archive("m", by=ME)
    with pytest.raises(NotAllowed, match="archived"):
        house.usage_records.record(UsageReported(customer="acme", meter=_id(house), quantity_micros=1), by=ME)


def _id(house: House) -> str:
    return next(m.meter.meter_id for m in house.meters.all(include_archived=True) if m.meter.slug == "m")


def test_a_simulation_tells_what_the_calls_would_have_been_charged_and_writes_nothing(
    house: House, traffic: Traffic
) -> None:
    """Three calls at cost; then on a meter by parts, which charges them as it says when it is switched on."""
    make_meter(
        house, "dear", tiers=None, options=MeterOptions(units=read_unit_rates(("input_tokens:3", "output_tokens:15")))
    )
    house.meters.update("default", MeterChanges(is_default=True), by=ME)
    customer(house)
    at_cost = [charged(house, traffic.call("acme", input_tokens=n, output_tokens=100)) for n in (1000, 2000, 3000)]
    traffic.call(None)
    before = house.ledger.books().last_sequence()
    simulated = house.simulations.run(house.meters.get("dear"), RequestFilter())
    assert house.ledger.books().last_sequence() == before
    wanted = parse_amount("0.018") + parse_amount("0.0045")
    total = simulated.total
    assert (total.requests, total.charged_nanos, total.simulated_nanos) == (3, sum(at_cost), wanted)
    assert (total.margin_nanos, total.difference_nanos) == (wanted - sum(at_cost), wanted - sum(at_cost))
    assert [line.group for line in simulated.lines] == ["gpt-4o-mini"]
    house.meters.update("dear", MeterChanges(is_default=True), by=ME)
    real = [charged(house, traffic.call("acme", input_tokens=n, output_tokens=100)) for n in (1000, 2000, 3000)]
    assert sum(real) == wanted


def test_a_simulation_of_every_kind_of_meter_on_its_own_requests_is_what_was_charged(
    house: House, traffic: Traffic, clock: TestClock
) -> None:
    options = MeterOptions(
        allowance=1500,
        minimum_nanos=parse_amount("0.001"),
        units=read_unit_rates(("output_tokens:40", "requests:0.002")),
    )
    make_meter(house, "calls", tiers=(("0", "10"), ("1000", "5")), options=options, reset=CounterReset.CYCLE)
    make_meter(
        house,
        tiers=(("0", "2"), ("2", "1")),
        options=own_unit(Aggregation.MAX),
        unit=TierUnit.CUSTOM,
        reset=CounterReset.CYCLE,
        default=False,
    )
    customer(house)
    charges = []
    for _ in range(2):
        charges += [charged(house, traffic.call("acme", input_tokens=n, output_tokens=n)) for n in (400, 500, 600, 700)]
        clock.at_us += 20 * DAY_US
    reports = [report(house, q) for q in ("1", "2.5", "2", "3")]
    for slug, wanted in (("calls", sum(charges)), ("m", sum(reports))):
        total = house.simulations.run(house.meters.get(slug), RequestFilter()).total
        assert (total.simulated_nanos, total.difference_nanos, total.unit_not_reported) == (wanted, 0, 0)
    assert_sound(house)
