"""Recorded calls at other prices: what is posted, to whom it goes back, and that the books add up after any order of it."""

import json
from decimal import Decimal
from fractions import Fraction
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from lava_proxy.core.entities import RateType, RequestRecord, Tier, TierUnit
from lava_proxy.core.errors import LedgerUnavailable
from lava_proxy.core.ports import Decision, RequestFilter, Rows
from lava_proxy.core.pricing import rate
from lava_proxy.dialects import DIALECTS
from lava_proxy.prices import PriceBook, PriceOverride
from lava_proxy.services.audit import entries
from lava_proxy.services.credits import GrantTerms
from lava_proxy.services.customer_fields import CustomerFields
from lava_proxy.services.meters import MeterTerms
from lava_proxy.services.price_again import PriceAgain, read_usage_objects
from lava_proxy.services.repricing import Repriced
from lava_proxy.wiring import House
from tests.services.conftest import ME, TestClock, Traffic

DOLLAR = 10**9
ALL = RequestFilter()


@pytest.fixture(autouse=True)
def acme(house: House) -> None:
    house.customers.create(CustomerFields(reference_id="acme"), by=ME)


def give(house: House, nanos: int, *, priority: int = 50) -> str:
    return house.credits.grant(GrantTerms(customer="acme", amount_nanos=nanos, priority=priority), by=ME).value.grant_id


def at(house: House, price_book: PriceBook, usd: str, *, reread: bool = False) -> PriceAgain:
    """The book with gpt-4o-mini at so many dollars a million tokens, in and out."""
    rates = {unit: rate(Decimal(usd), per=1_000_000) for unit in ("input_tokens", "output_tokens")}
    override = PriceOverride(provider="openai", model="gpt-4o-mini", rates=rates)
    return PriceAgain(
        providers=house.providers,
        prices=price_book.with_overrides([override]),
        dialects=DIALECTS,
        settings=house.settings,
        reread_all=reread,
    )


def run(house: House, pricing: PriceAgain, *, preview: bool = False) -> Repriced:
    return house.repricing.run(ALL, pricing, by=ME, preview=preview)


def record_of(house: House, request_id: str) -> RequestRecord:
    found = house.requests.get(request_id).record
    assert found is not None
    return found


def free(house: House) -> int:
    return house.credits.balance("acme").available_nanos


def check(house: House) -> None:
    assert house.verify().findings == ()


def test_a_dearer_price_charges_the_difference_and_nothing_before_is_changed(
    house: House, traffic: Traffic, price_book: PriceBook
) -> None:
    give(house, 5 * DOLLAR)
    request_id = traffic.call("acme", input_tokens=1_000_000, output_tokens=0)
    before, journal, left = record_of(house, request_id), list(house.ledger.books().journal()), free(house)
    done = run(house, at(house, price_book, "1.00"))
    after = record_of(house, request_id)
    assert (before.charge_nanos, after.charge_nanos, after.cost_nanos) == (150_000_000, DOLLAR, DOLLAR)
    assert free(house) == left - 850_000_000
    assert list(house.ledger.books().journal())[: len(journal)] == journal
    assert after.flags[-1] == "repriced" and after.price_source == "operator" and after.reprices == 1
    (line,) = done.lines
    assert (line.requests, line.cost_before_nanos, line.cost_nanos) == (1, 150_000_000, DOLLAR)
    check(house)


def test_a_cheaper_price_gives_credit_back_to_the_grants_that_paid_last_drawn_first(
    house: House, traffic: Traffic, price_book: PriceBook
) -> None:
    first, second = give(house, 100_000_000, priority=1), give(house, 5 * DOLLAR, priority=2)
    traffic.call("acme", input_tokens=1_000_000, output_tokens=0)
    assert [house.credits.get(g).spent_nanos for g in (first, second)] == [100_000_000, 50_000_000]
    run(house, at(house, price_book, "0.03"))
    assert [house.credits.get(g).spent_nanos for g in (first, second)] == [30_000_000, 0]
    check(house)


def test_what_the_preview_tells_is_what_is_posted_and_doing_it_again_does_nothing(
    house: House, traffic: Traffic, price_book: PriceBook
) -> None:
    give(house, 5 * DOLLAR)
    for tokens in (1, 7, 1001, 33, 5):
        traffic.call("acme", input_tokens=tokens, output_tokens=tokens)
    pricing = at(house, price_book, "0.000333")
    sequence = house.ledger.books().last_sequence()
    told = run(house, pricing, preview=True)
    assert house.ledger.books().last_sequence() == sequence
    done = run(house, pricing)
    assert told == done and done.total.requests == 5
    sequence = house.ledger.books().last_sequence()
    again = run(house, pricing)
    assert (again.total.requests, again.unchanged, house.ledger.books().last_sequence()) == (0, 5, sequence)
    check(house)


def test_a_debt_that_stands_is_lessened_and_one_that_was_paid_comes_back_as_credit(
    house: House, traffic: Traffic, price_book: PriceBook
) -> None:
    for is_paid in (False, True):
        give(house, 2 * DOLLAR)
        request_id = traffic.call("acme", input_tokens=50_000_000, output_tokens=0)
        owed = house.credits.balance("acme").debt_nanos
        assert owed == 5_500_000_000 == record_of(house, request_id).uncovered_nanos
        if is_paid:
            give(house, owed)
            give(house, DOLLAR)
        pricing = at(house, price_book, "0.01")
        run(house, pricing)
        assert record_of(house, request_id).charge_nanos == 500_000_000
        assert house.credits.balance("acme").debt_nanos == 0
        check(house)
        # Spend what came back, so that the second round begins with nothing.
        house.adjustments.adjust("acme", -free(house), reason="all", by=ME)


def test_a_call_that_nobody_could_price_is_priced_and_charged(
    house: House, traffic: Traffic, price_book: PriceBook
) -> None:
    give(house, 5 * DOLLAR)
    call = traffic.begin(None, model="nobody-knows-this")
    request_id = traffic.end(call, input_tokens=1_000_000, output_tokens=0)
    record = record_of(house, request_id)
    run(house, at(house, price_book, "2.00"))
    after = record_of(house, request_id)
    assert (record.customer_id, after.charge_nanos, after.cost_nanos) == (None, 0, 2 * DOLLAR)
    check(house)


def test_a_call_keeps_its_place_in_the_tiers(house: House, traffic: Traffic, price_book: PriceBook) -> None:
    tiers = (Tier(start=0, rate_nanos=100 * DOLLAR), Tier(start=1_000_000, rate_nanos=0))
    house.meters.create(
        MeterTerms(
            slug="falling", name="Falling", rate_type=RateType.PERCENTAGE, tier_unit=TierUnit.TOKENS_1M, tiers=tiers
        ),
        by=ME,
    )
    house.customers.update("acme", CustomerFields(meter="falling"), by=ME)
    give(house, 50 * DOLLAR)
    ids = [traffic.call("acme", input_tokens=750_000, output_tokens=0) for _ in range(3)]
    pricing = at(house, price_book, "1.00")
    run(house, pricing)
    # 750,000 at +100 %; 250,000 at +100 % and 500,000 at cost; 750,000 at cost.
    assert [record_of(house, i).charge_nanos for i in ids] == [1_500_000_000, DOLLAR, 750_000_000]
    check(house)


def test_usage_that_was_read_wrongly_is_read_again(house: House, traffic: Traffic, price_book: PriceBook) -> None:
    give(house, 5 * DOLLAR)
    own = DIALECTS["openai_chat"]
    request_id = traffic.call("acme", input_tokens=2_000, output_tokens=1_000)
    record = record_of(house, request_id)
    reading = read_usage_objects(own, record)
    assert reading is not None and reading.usage == record.usage

    def misread(record: RequestRecord) -> RequestRecord:
        return replace(record, raw_usage=('{"prompt_tokens":3000,"completion_tokens":1000,"total_tokens":4000}',))

    def load(rows: Rows) -> RequestRecord:
        found = rows.get(RequestRecord, request_id)
        assert found is not None
        return misread(found)

    house.ledger.transact(load, lambda row: Decision(result=None, rows=(row,))).result()
    pricing = PriceAgain(
        providers=house.providers, prices=price_book, dialects=DIALECTS, settings=house.settings, reread_all=True
    )
    run(house, pricing)
    after = record_of(house, request_id)
    assert (record.usage.input_tokens, after.usage.input_tokens) == (2000, 3000)
    assert after.charge_nanos - record.charge_nanos == 1000 * 150
    check(house)


def test_errors_orphans_and_figures_of_the_provider_stay(
    house: House, traffic: Traffic, price_book: PriceBook, clock: TestClock
) -> None:
    give(house, 5 * DOLLAR)
    failed = traffic.end(traffic.begin("acme"), status=500)
    done = run(house, at(house, price_book, "1.00"))
    assert done.total.requests == 0 and record_of(house, failed).reprices == 0
    check(house)


def test_a_run_that_breaks_off_is_finished_by_the_next(
    house: House, traffic: Traffic, price_book: PriceBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(house, 5 * DOLLAR)
    ids = [traffic.call("acme", input_tokens=10_000) for _ in range(6)]
    pricing, steps = at(house, price_book, "1.00"), count(1)
    transact = house.ledger.transact

    def broken(*step: Any, **how: Any) -> Any:
        if next(steps) > 3:
            raise LedgerUnavailable("the disk is full")
        return transact(*step, **how)

    with monkeypatch.context() as patch:
        patch.setattr(house.ledger, "transact", broken)
        with pytest.raises(LedgerUnavailable):
            run(house, pricing)
    check(house)
    done = run(house, pricing)
    assert (done.total.requests, done.unchanged) == (3, 3)
    assert {record_of(house, each).reprices for each in ids} == {1}
    check(house)


def test_usage_objects_of_recordings_read_alone_give_what_their_answers_gave(house: House, traffic: Traffic) -> None:
    """The reader of a stored usage object is the reader of the answer."""
    request_id = traffic.call("acme" if give(house, DOLLAR) else None, input_tokens=12, output_tokens=3)
    record = record_of(house, request_id)
    two = ('{"input_tokens":9,"cache_read_input_tokens":4,"output_tokens":1}', '{"output_tokens":21}')
    anthropic = replace(record, raw_usage=two, request=replace(record.request, op="messages"))
    reading = read_usage_objects(DIALECTS["anthropic_messages"], anthropic)
    assert reading is not None
    usage = reading.usage
    assert (usage.input_tokens, usage.cached_input_tokens, usage.output_tokens) == (13, 4, 21)
    told = '{"promptTokenCount":7,"candidatesTokenCount":5,"thoughtsTokenCount":2,"totalTokenCount":14}'
    gemini = replace(record, raw_usage=(told,), request=replace(record.request, op="generate"))
    reading = read_usage_objects(DIALECTS["gemini_generate"], gemini)
    assert reading is not None and (reading.usage.input_tokens, reading.usage.output_tokens) == (7, 7)


def test_a_run_is_in_the_audit_log(house: House, traffic: Traffic, price_book: PriceBook) -> None:
    give(house, 5 * DOLLAR)
    traffic.call("acme")
    run(house, at(house, price_book, "1.00"))
    (entry,) = entries(house.ledger, action="reprice")
    assert entry.actor == ME.actor and json.loads(entry.after)["requests"] == 1


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    calls=st.lists(st.tuples(st.integers(0, 3_000_000), st.integers(0, 500_000)), min_size=1, max_size=5),
    prices=st.lists(st.decimals(min_value=0, max_value=20, places=6), min_size=1, max_size=4),
    credit=st.integers(1, 8 * DOLLAR),
    more=st.integers(1, 8 * DOLLAR),
)
def test_after_any_prices_the_books_add_up_and_the_last_price_is_what_was_charged(
    house: House,
    traffic: Traffic,
    price_book: PriceBook,
    calls: list[tuple[int, int]],
    prices: list[Decimal],
    credit: int,
    more: int,
) -> None:
    name = f"c{house.ledger.books().last_sequence()}"
    house.customers.create(CustomerFields(reference_id=name), by=ME)
    for nanos in (credit, DOLLAR):
        house.credits.grant(GrantTerms(customer=name, amount_nanos=nanos), by=ME)
    ids = []
    for input_tokens, output_tokens in calls:
        if house.credits.balance(name).available_nanos < 10_000_000:
            house.credits.grant(GrantTerms(customer=name, amount_nanos=30 * DOLLAR), by=ME)
        ids.append(traffic.call(name, input_tokens=input_tokens, output_tokens=output_tokens))
    for number, usd in enumerate(prices):
        if number == 1:
            house.credits.grant(GrantTerms(customer=name, amount_nanos=more), by=ME)
        run(house, at(house, price_book, str(usd)))
        check(house)
    records = [record_of(house, each) for each in ids]
    exact = sum((Fraction(sum(tokens)) * Fraction(prices[-1]) * 1000 for tokens in calls), Fraction(0))
    assert abs(sum(r.cost_nanos or 0 for r in records) - exact) <= 1 + len(calls) * len(prices) / 2
    assert all(r.charge_nanos == sum(line.charge_nanos for line in r.breakdown) for r in records if r.breakdown)
