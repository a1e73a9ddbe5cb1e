from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from lava_proxy.core.entities import Counter, MeterVersion, RateType, Tier, TierUnit
from lava_proxy.core.ids import MeterId
from lava_proxy.core.money import NANOS_PER_DOLLAR, parse_amount, round_up
from lava_proxy.core.rating import MICROS, charge_ceiling, rate, units_micros_of
from lava_proxy.core.usage import Usage

METER = MeterId("prd_test")


def version(unit: TierUnit, *tiers: tuple[int, str], rate_type: RateType = RateType.FIXED) -> MeterVersion:
    made = tuple(Tier(start=start, rate_nanos=parse_amount(text)) for start, text in tiers)
    return MeterVersion(meter_id=METER, version=1, rate_type=rate_type, tier_unit=unit, tiers=made, created_us=0)


def fresh(count: int = 0) -> Counter:
    return Counter(customer_id="con_a", meter_id=METER, count_micros=count * MICROS)


def test_five_million_tokens_over_tiers_of_five_and_three_cost_seventeen() -> None:
    meter = version(TierUnit.TOKENS_1M, (0, "5"), (1_000_000, "3"), (10_000_000, "1"))
    charge = rate(meter, fresh(), units_micros=5_000_000 * MICROS, cost=None)
    assert charge.nanos == 17 * NANOS_PER_DOLLAR
    assert [(line.tier_start, line.units_micros // MICROS, line.charge_nanos) for line in charge.breakdown] == [
        (0, 1_000_000, 5 * NANOS_PER_DOLLAR),
        (1_000_000, 4_000_000, 12 * NANOS_PER_DOLLAR),
    ]


def test_the_counter_goes_on_where_the_last_request_stopped() -> None:
    meter = version(TierUnit.REQUESTS, (0, "0.10"), (2, "0.01"))
    counter = fresh()
    charges: list[int] = []
    for _ in range(4):
        charge = rate(meter, counter, units_micros=MICROS, cost=None)
        counter, charges = charge.counter, [*charges, charge.nanos]
    assert charges == [100_000_000, 100_000_000, 10_000_000, 10_000_000]


def test_minutes_are_seconds_over_sixty_and_tier_starts_are_minutes() -> None:
    meter = version(TierUnit.MINUTES, (0, "0.60"), (1, "0.06"))
    charge = rate(meter, fresh(), units_micros=90 * MICROS, cost=None)
    assert charge.nanos == 600_000_000 + 30_000_000


def test_a_percentage_marks_the_cost_up_and_splits_it_over_a_boundary_by_units() -> None:
    meter = version(TierUnit.TOKENS_1M, (0, "20"), (1_000_000, "0"), rate_type=RateType.PERCENTAGE)
    cost = Fraction(NANOS_PER_DOLLAR)
    assert rate(meter, fresh(), units_micros=1000 * MICROS, cost=cost).nanos == 1_200_000_000
    assert rate(meter, fresh(999_500), units_micros=1000 * MICROS, cost=cost).nanos == 1_100_000_000
    assert rate(meter, fresh(), units_micros=0, cost=cost).nanos == 1_200_000_000


def test_a_million_calls_of_one_token_cost_what_a_million_tokens_cost() -> None:
    meter = version(TierUnit.TOKENS_1M, (0, "0.0004"))
    counter, total = fresh(), 0
    for _ in range(10_000):
        charge = rate(meter, counter, units_micros=MICROS, cost=None)
        counter, total = charge.counter, total + charge.nanos
    assert total == parse_amount("0.0004") // 100


def test_what_usage_does_not_tell_has_no_units() -> None:
    assert units_micros_of(TierUnit.CHARACTERS_1M, Usage(input_tokens=5)) is None
    assert units_micros_of(TierUnit.MINUTES, Usage()) is None
    assert units_micros_of(TierUnit.REQUESTS, Usage()) == MICROS
    assert units_micros_of(TierUnit.TOKENS_1M, Usage(input_tokens=5, cached_input_tokens=4)) == 5 * MICROS


starts = st.lists(st.integers(min_value=1, max_value=10**7), max_size=4, unique=True).map(
    lambda more: [0, *sorted(more)]
)
rates = st.integers(min_value=0, max_value=10**12)


@st.composite
def versions(draw: st.DrawFn) -> MeterVersion:
    tiers = tuple(Tier(start=start, rate_nanos=draw(rates)) for start in draw(starts))
    return MeterVersion(
        meter_id=METER,
        version=1,
        rate_type=draw(st.sampled_from(RateType)),
        tier_unit=draw(st.sampled_from(TierUnit)),
        tiers=tiers,
        created_us=0,
    )


@given(versions(), st.lists(st.integers(min_value=0, max_value=10**13), min_size=1, max_size=8))
def test_splitting_a_request_never_makes_the_sum_cheaper(meter: MeterVersion, parts: list[int]) -> None:
    meter = replace(meter, rate_type=RateType.FIXED)
    whole = rate(meter, fresh(), units_micros=sum(parts), cost=None)
    counter, total = fresh(), 0
    for part in parts:
        charge = rate(meter, counter, units_micros=part, cost=None)
        counter, total = charge.counter, total + charge.nanos
    assert total == whole.nanos and counter == whole.counter


@given(
    versions(),
    st.integers(min_value=0, max_value=10**14),
    st.integers(min_value=0, max_value=10**13),
    st.fractions(min_value=0, max_value=10**12),
)
def test_a_charge_never_passes_its_ceiling_and_its_lines_add_up(
    meter: MeterVersion, count: int, units: int, cost: Fraction
) -> None:
    if meter.tier_unit is TierUnit.REQUESTS:
        units = MICROS
    counter = replace(fresh(), count_micros=count, charge_carry=Fraction(49, 100))
    charge = rate(meter, counter, units_micros=units, cost=cost)
    assert charge.nanos <= round_up(charge_ceiling(meter, counter, units_micros=units, cost=cost))
    assert sum(line.charge_nanos for line in charge.breakdown) == charge.nanos
    assert sum(line.units_micros for line in charge.breakdown) == units
    assert all(line.charge_nanos >= 0 for line in charge.breakdown)
