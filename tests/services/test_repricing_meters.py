"""Usage read again, on meters of every make: charges, counts, free units and remainders follow, and the books add up."""

import json
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from lava_proxy.core.entities import Counter, CounterReset, RateType, RequestRecord, TierUnit
from lava_proxy.core.meter_options import NO_OPTIONS, MeterOptions, TierMode, UnitRate
from lava_proxy.core.ports import Decision, RequestFilter, Rows
from lava_proxy.core.tiers import read_tiers
from lava_proxy.dialects import DIALECTS
from lava_proxy.prices import PriceBook
from lava_proxy.services.credits import GrantTerms
from lava_proxy.services.customer_fields import CustomerFields
from lava_proxy.services.meters import MeterTerms
from lava_proxy.services.price_again import PriceAgain
from lava_proxy.services.repricing import Repriced
from lava_proxy.wiring import House
from tests.services.conftest import ME, Traffic

DOLLAR = 10**9
NUMBERS = count(1)
TOKENS = st.tuples(st.integers(0, 4000), st.integers(0, 2000))
METERS: dict[str, tuple[RateType, MeterOptions, CounterReset]] = {
    "graduated": (RateType.FIXED, NO_OPTIONS, CounterReset.NEVER),
    "volume": (RateType.FIXED, MeterOptions(tier_mode=TierMode.VOLUME), CounterReset.NEVER),
    "markup": (RateType.PERCENTAGE, NO_OPTIONS, CounterReset.NEVER),
    "free": (RateType.FIXED, MeterOptions(allowance=5000), CounterReset.CYCLE),
    "least": (RateType.FIXED, MeterOptions(minimum_nanos=20_000), CounterReset.NEVER),
    "parts": (
        RateType.FIXED,
        MeterOptions(units=(UnitRate(unit="output_tokens", rate_nanos=7 * DOLLAR),), allowance=3000),
        CounterReset.CYCLE,
    ),
}


def make(house: House, make_of: str) -> tuple[str, str]:
    """A meter of this make, and a customer on it."""
    name = f"{make_of}-{next(NUMBERS)}"
    rate_type, options, reset = METERS[make_of]
    tiers = read_tiers((("0", "10"), ("6000", "3"), ("9000", "1")))
    terms = MeterTerms(
        name=name,
        slug=name,
        rate_type=rate_type,
        tier_unit=TierUnit.TOKENS_1M,
        tiers=tiers,
        reset=reset,
        options=options,
    )
    house.meters.create(terms, by=ME)
    house.customers.create(CustomerFields(reference_id=name, meter=name), by=ME)
    house.credits.grant(GrantTerms(customer=name, amount_nanos=DOLLAR), by=ME)
    return name, house.meters.get(name).meter.meter_id


def misread(house: House, request_id: str, tokens: tuple[int, int]) -> None:
    """As if the provider had told these tokens, and a reader had made something else of them."""
    told = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)}

    def load(rows: Rows) -> RequestRecord:
        found = rows.get(RequestRecord, request_id)
        assert found is not None
        return replace(found, raw_usage=(json.dumps(told),))

    house.ledger.transact(load, lambda row: Decision(result=None, rows=(row,))).result()


def read_again(house: House, price_book: PriceBook) -> Repriced:
    pricing = PriceAgain(
        providers=house.providers, prices=price_book, dialects=DIALECTS, settings=house.settings, reread_all=True
    )
    return house.repricing.run(RequestFilter(), pricing, by=ME)


def charges(house: House, ids: list[str]) -> list[int]:
    found = [house.requests.get(each).record for each in ids]
    return [record.charge_nanos for record in found if record is not None]


@pytest.mark.parametrize("make_of", METERS)
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(calls=st.lists(st.tuples(TOKENS, TOKENS), min_size=1, max_size=5))
def test_after_any_misreading_the_books_add_up_and_what_was_right_again_is_charged_as_before(
    house: House,
    traffic: Traffic,
    price_book: PriceBook,
    make_of: str,
    calls: list[tuple[tuple[int, int], tuple[int, int]]],
) -> None:
    customer, meter_id = make(house, make_of)
    ids = [traffic.call(customer, input_tokens=read[0], output_tokens=read[1]) for read, _ in calls]
    before = charges(house, ids)
    for request_id, (_, told) in zip(ids, calls, strict=True):
        misread(house, request_id, told)
    assert read_again(house, price_book).total.charge_kept == 0
    assert house.verify().findings == ()
    records = [house.requests.get(each).record for each in ids]
    assert [(r.usage.input_tokens, r.usage.output_tokens) for r in records if r] == [told for _, told in calls]
    counters = [c for c in house.ledger.books().rows(Counter) if c.meter_id == meter_id]
    if make_of != "parts":
        assert sum(c.count_micros for c in counters) == sum(sum(told) for _, told in calls) * 1_000_000
    if make_of in ("markup", "least"):
        return  # a place in the tiers that is not known any more may be another one
    for request_id, (read, _) in zip(ids, calls, strict=True):
        misread(house, request_id, read)
    read_again(house, price_book)
    assert house.verify().findings == ()
    if len(calls) == 1:
        assert charges(house, ids) == before


@pytest.mark.parametrize(
    ("make_of", "read", "told", "charge"),
    [
        ("graduated", (1000, 0), (3000, 0), 3000 * 10_000),
        ("graduated", (7000, 0), (6500, 0), 6000 * 10_000 + 500 * 3_000),
        ("free", (4000, 0), (6000, 0), 1000 * 10_000),
        ("free", (6000, 0), (4000, 0), 0),
        ("least", (1000, 0), (1, 0), 20_000),
        ("parts", (1000, 1000), (1000, 2000), 0),
        ("volume", (1000, 0), (2000, 0), 2000 * 10_000),
    ],
)
def test_the_corrected_charge_is_what_the_right_figures_would_have_been_charged(
    house: House,
    traffic: Traffic,
    price_book: PriceBook,
    make_of: str,
    read: tuple[int, int],
    told: tuple[int, int],
    charge: int,
) -> None:
    customer, _ = make(house, make_of)
    request_id = traffic.call(customer, input_tokens=read[0], output_tokens=read[1])
    misread(house, request_id, told)
    read_again(house, price_book)
    fresh, _ = make(house, make_of)
    assert charges(house, [request_id]) == charges(
        house, [traffic.call(fresh, input_tokens=told[0], output_tokens=told[1])]
    )
    if charge:
        assert charges(house, [request_id]) == [charge]
    assert house.verify().findings == ()
