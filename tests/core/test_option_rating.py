"""Meters with options, worked like a bank statement; and what holds for all of them."""

from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from lava_proxy.core.admission import Quantities
from lava_proxy.core.entities import Counter, CounterReset, MeterVersion, RateType, Tier, TierUnit
from lava_proxy.core.ids import MeterId
from lava_proxy.core.meter_options import MeterOptions, ModelRate, TierMode, UnitRate
from lava_proxy.core.money import NANOS_PER_DOLLAR, format_amount, parse_amount, round_up
from lava_proxy.core.option_ceiling import ceiling_with_options
from lava_proxy.core.option_rating import Consumed, charge_usage, reservable_micros
from lava_proxy.core.option_terms import terms_of
from lava_proxy.core.rating import MICROS, Charge, rate
from lava_proxy.core.usage import Usage

METER = MeterId("prd_test")
M = 1_000_000


def units(**rates: str) -> tuple[UnitRate, ...]:
    return tuple(UnitRate(unit=unit, rate_nanos=parse_amount(text)) for unit, text in rates.items())


def meter(
    options: MeterOptions,
    *tiers: tuple[int, str],
    unit: TierUnit = TierUnit.TOKENS_1M,
    kind: RateType = RateType.FIXED,
) -> MeterVersion:
    made = tuple(Tier(start=start, rate_nanos=parse_amount(text)) for start, text in tiers or ((0, "0"),))
    return MeterVersion(
        meter_id=METER, version=1, rate_type=kind, tier_unit=unit, tiers=made, options=options, created_us=0
    )


class Account:
    """One customer on one meter: charges as they come."""

    def __init__(self, version: MeterVersion) -> None:
        self.version = version
        self.counter = Counter(customer_id="con_a", meter_id=METER)
        self.allowance = Counter(customer_id="con_a", meter_id=METER, cycle="free:now")

    def charge(self, model: str | None = None, *, cost: str | None = None, **usage: int | Decimal) -> Charge:
        exact = None if cost is None else Fraction(parse_amount(cost))
        consumed = Consumed(usage=Usage(**usage), cost=exact)  # type: ignore[arg-type] # quantities of either kind
        rated = charge_usage(terms_of(self.version, model), self.counter, self.allowance, consumed)
        self.counter = rated.charge.counter
        self.allowance = rated.charge.allowance or self.allowance
        return rated.charge

    def statement(self, charge: Charge) -> list[tuple[str, int, str]]:
        """Part, units, amount."""
        return [
            (line.part, line.units_micros // MICROS, format_amount(line.charge_nanos, decimals=2))
            for line in charge.breakdown
        ]


def test_cached_tokens_inside_the_input_are_charged_once_at_their_own_rate() -> None:
    """A million input tokens, of which 800,000 came from the cache; 100,000 output tokens, of which 40,000 reasoning."""
    account = Account(
        meter(MeterOptions(units=units(input_tokens="3", output_tokens="15", cached_input_tokens="0.30")))
    )
    charge = account.charge(input_tokens=M, cached_input_tokens=800_000, output_tokens=100_000, reasoning_tokens=40_000)
    assert account.statement(charge) == [
        ("input_tokens", 200_000, "0.60"),
        ("cached_input_tokens", 800_000, "0.24"),
        ("output_tokens", 60_000, "0.90"),
        ("reasoning_tokens", 40_000, "0.60"),
    ]
    assert charge.nanos == parse_amount("2.34")
    assert charge.counter.count_micros == 0


def test_every_part_may_have_its_rate_and_is_then_in_no_total() -> None:
    options = MeterOptions(
        units=units(
            cached_input_tokens="1",
            cache_write_tokens="4",
            reasoning_tokens="20",
            input_audio_tokens="30",
            output_image_tokens="40",
            searches="0.01",
            requests="0.001",
        )
    )
    account = Account(meter(options, (0, "10")))
    charge = account.charge(
        input_tokens=M,
        cached_input_tokens=100_000,
        cache_write_tokens=100_000,
        cache_write_1h_tokens=50_000,
        input_audio_tokens=100_000,
        output_tokens=M,
        reasoning_tokens=100_000,
        output_image_tokens=100_000,
        searches=3,
    )
    by_part = {part: (count, amount) for part, count, amount in account.statement(charge)}
    assert by_part == {
        "": (1_500_000, "15.00"),
        "cached_input_tokens": (100_000, "0.10"),
        "cache_write_tokens": (50_000, "0.20"),
        "cache_write_1h_tokens": (50_000, "0.20"),
        "input_audio_tokens": (100_000, "3.00"),
        "reasoning_tokens": (100_000, "2.00"),
        "output_image_tokens": (100_000, "4.00"),
        "searches": (3, "0.03"),
        "requests": (1, "0.00"),
    }
    assert charge.nanos == parse_amount("24.531")
    assert charge.counter.count_micros == 1_500_000 * MICROS


def test_an_image_with_a_rate_of_its_own_is_not_charged_as_tokens_too() -> None:
    account = Account(meter(MeterOptions(units=units(images="0.04")), (0, "10")))
    charge = account.charge(input_tokens=100_000, output_tokens=200_000, output_image_tokens=200_000, images=2)
    assert account.statement(charge) == [("", 100_000, "1.00"), ("images", 2, "0.08")]


def test_volume_tiers_charge_a_whole_request_at_the_rate_that_the_count_reaches_with_it() -> None:
    tiers = ((0, "5"), (1_000_000, "3"), (10_000_000, "1"))
    account = Account(meter(MeterOptions(tier_mode=TierMode.VOLUME), *tiers))
    assert account.statement(account.charge(input_tokens=5 * M)) == [("", 5 * M, "15.00")]
    assert account.statement(account.charge(input_tokens=5 * M)) == [("", 5 * M, "15.00")]
    assert account.statement(account.charge(input_tokens=1 * M)) == [("", 1 * M, "1.00")]
    small = Account(meter(MeterOptions(tier_mode=TierMode.VOLUME), *tiers))
    assert [small.charge(input_tokens=M).nanos // NANOS_PER_DOLLAR for _ in range(3)] == [5, 3, 3]


def test_an_allowance_comes_first_and_the_tiers_count_what_is_charged() -> None:
    """A million free, then 5 to a million more, then 3."""
    account = Account(meter(MeterOptions(allowance=M), (0, "5"), (M, "3")))
    assert account.statement(account.charge(input_tokens=600_000)) == [("free", 600_000, "0.00")]
    assert account.statement(account.charge(input_tokens=600_000)) == [("free", 400_000, "0.00"), ("", 200_000, "1.00")]
    assert account.statement(account.charge(input_tokens=M)) == [("", 800_000, "4.00"), ("", 200_000, "0.60")]
    assert account.allowance.count_micros == M * MICROS and account.counter.count_micros == 1_200_000 * MICROS


def test_what_is_free_of_a_request_is_free_in_each_of_its_parts() -> None:
    account = Account(meter(MeterOptions(allowance=500_000, units=units(input_tokens="2", output_tokens="8"))))
    charge = account.charge(input_tokens=750_000, output_tokens=250_000)
    assert account.statement(charge) == [
        ("free", 500_000, "0.00"),
        ("input_tokens", 375_000, "0.75"),
        ("output_tokens", 125_000, "1.00"),
    ]


def test_the_least_charge_of_a_request_is_made_up_for_in_a_line_of_its_own() -> None:
    account = Account(meter(MeterOptions(minimum_nanos=parse_amount("0.01")), (0, "5")))
    assert account.statement(account.charge(input_tokens=1000)) == [("", 1000, "0.01"), ("minimum", 0, "0.01")]
    assert account.charge(input_tokens=1000).nanos == parse_amount("0.01")
    assert account.charge(input_tokens=M).nanos == parse_amount("5")
    marked_up = Account(meter(MeterOptions(minimum_nanos=parse_amount("0.01")), (0, "20"), kind=RateType.PERCENTAGE))
    assert marked_up.charge(cost="0.001", input_tokens=10).nanos == parse_amount("0.01")
    assert marked_up.charge(cost="1", input_tokens=10).nanos == parse_amount("1.20")


def test_a_request_that_the_allowance_covers_whole_has_no_least_charge() -> None:
    account = Account(meter(MeterOptions(minimum_nanos=parse_amount("0.01"), allowance=1000), (0, "5")))
    assert [account.charge(input_tokens=600).nanos for _ in range(2)] == [0, parse_amount("0.01")]


def test_a_model_may_have_rates_of_its_own_by_the_first_pattern_that_fits() -> None:
    models = (
        ModelRate(model="gpt-4o-mini*", rate_nanos=parse_amount("1")),
        ModelRate(model="gpt-4o*", units=units(output_tokens="30")),
    )
    version = meter(MeterOptions(models=models, units=units(images="0.04")), (0, "5"), (M, "3"))
    account = Account(version)
    assert account.statement(account.charge("gpt-4o-mini", input_tokens=2 * M)) == [("", 2 * M, "2.00")]
    assert account.statement(account.charge("o3", input_tokens=M)) == [("", M, "3.00")]
    assert account.statement(account.charge("gpt-4o", output_tokens=M, images=1)) == [
        ("output_tokens", M, "30.00"),
        ("images", 1, "0.04"),
    ]


def test_what_nobody_reported_is_told() -> None:
    tokens = terms_of(meter(MeterOptions(units=units(images="1")), (0, "5")), None)
    counter = Counter(customer_id="con_a", meter_id=METER)
    assert not charge_usage(tokens, counter, None, Consumed(usage=Usage(input_seconds=Decimal(3)))).is_unit_reported
    assert charge_usage(tokens, counter, None, Consumed(usage=Usage(images=1))).is_unit_reported
    fee = terms_of(meter(MeterOptions(units=units(requests="1")), (0, "5")), None)
    rated = charge_usage(fee, counter, None, Consumed(usage=Usage()))
    assert rated.charge.nanos == NANOS_PER_DOLLAR and not rated.is_unit_reported, "a fee tells nothing of the tokens"


rates = st.integers(min_value=0, max_value=10**11)
own_units = ("input_tokens", "cached_input_tokens", "cache_write_tokens", "input_audio_tokens", "output_tokens")
more_units = ("reasoning_tokens", "output_audio_tokens", "output_image_tokens", "images", "searches", "requests")
parts = st.sampled_from((*own_units, *more_units))
small = st.integers(min_value=0, max_value=10**7)


@st.composite
def versions(draw: st.DrawFn) -> MeterVersion:
    mode = draw(st.sampled_from(TierMode))
    kind = draw(st.sampled_from(RateType))
    starts = [0, *sorted(draw(st.lists(st.integers(1, 10**7), max_size=3, unique=True)))]
    amounts = [draw(rates) for _ in starts]
    if mode is TierMode.VOLUME:
        amounts.sort(reverse=True)
    own = draw(st.lists(st.builds(UnitRate, unit=parts, rate_nanos=rates), max_size=4, unique_by=lambda r: r.unit))
    is_fixed = kind is RateType.FIXED
    models = draw(st.lists(st.builds(ModelRate, model=st.sampled_from(["a*", "b"]), rate_nanos=rates), max_size=2))
    options = MeterOptions(
        tier_mode=mode,
        units=tuple(own) if is_fixed else (),
        models=tuple(models),
        minimum_nanos=draw(st.one_of(st.just(0), st.integers(0, 10**9))),
        allowance=draw(st.one_of(st.just(0), st.integers(0, 10**7))) if is_fixed else 0,
    )
    return MeterVersion(
        meter_id=METER,
        version=1,
        rate_type=kind,
        tier_unit=TierUnit.TOKENS_1M if own else draw(st.sampled_from([TierUnit.TOKENS_1M, TierUnit.REQUESTS])),
        tiers=tuple(Tier(start=s, rate_nanos=a) for s, a in zip(starts, amounts, strict=True)),
        reset=CounterReset.CYCLE,
        options=options,
        created_us=0,
    )


@st.composite
def usages(draw: st.DrawFn) -> tuple[Usage, int, int]:
    """A usage, and an upper estimate of its input and its output tokens."""
    fresh, cached, written, audio = (draw(small) for _ in range(4))
    text, reasoning, spoken, drawn = (draw(small) for _ in range(4))
    usage = Usage(
        input_tokens=fresh + cached + written + audio,
        cached_input_tokens=cached,
        cache_write_tokens=written,
        input_audio_tokens=audio,
        output_tokens=text + reasoning + spoken + drawn,
        reasoning_tokens=reasoning,
        output_audio_tokens=spoken,
        output_image_tokens=drawn,
        images=draw(st.integers(0, 1)),
        searches=draw(st.integers(0, 5)),
    )
    inputs, outputs = usage.input_tokens or 0, usage.output_tokens or 0
    return usage, inputs + draw(small), outputs + draw(small)


@given(
    versions(),
    usages(),
    st.sampled_from(["a1", "b", "c", None]),
    st.integers(0, 10**14),
    st.integers(0, 10**13),
    st.integers(0, 10**13),
    st.fractions(min_value=0, max_value=10**12),
    st.integers(0, 10**14),
)
def test_a_charge_never_passes_the_ceiling_of_its_quote_whatever_others_did_meanwhile(
    version: MeterVersion,
    given_usage: tuple[Usage, int, int],
    model: str | None,
    count: int,
    free_used: int,
    free_held: int,
    cost: Fraction,
    counted_meanwhile: int,
) -> None:
    usage, input_max, output_max = given_usage
    terms = terms_of(version, model)
    counter = Counter(customer_id="", meter_id=METER, count_micros=count, charge_carry=Fraction(49, 100))
    allowance = replace(counter, cycle="free:x", count_micros=free_used, held_micros=free_held)
    quantities = Quantities(
        tokens_micros=(input_max + output_max) * MICROS,
        characters_micros=0,
        seconds_micros=0,
        input_tokens_micros=input_max * MICROS,
    )
    units_max = quantities.of(version.tier_unit)
    reserved = reservable_micros(terms, allowance, units_max)
    ceiling = ceiling_with_options(terms, counter, quantities.limits(units_max), cost=cost, reserved_micros=reserved)
    # Others take what is left of the allowance and move the count on.
    left = max(0, terms.allowance_micros - free_used - free_held - reserved)
    allowance = replace(allowance, held_micros=free_held + reserved, count_micros=free_used + left)
    counter = replace(counter, count_micros=count + counted_meanwhile)
    consumed = Consumed(usage=usage, cost=cost)
    charge = charge_usage(terms, counter, allowance, consumed, reserved_micros=reserved).charge
    assert 0 <= charge.nanos <= round_up(ceiling)
    assert sum(line.charge_nanos for line in charge.breakdown) == charge.nanos
    counted = sum(line.units_micros for line in charge.breakdown if line.part in ("", "free"))
    after = charge.allowance or allowance
    moved = charge.counter.count_micros - counter.count_micros + after.count_micros - allowance.count_micros
    assert counted == moved
    assert after.held_micros == (free_held if charge.allowance else free_held + reserved)


@given(versions(), st.lists(usages(), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_the_sum_of_graduated_charges_is_the_same_in_any_order(
    version: MeterVersion, given_usages: list[tuple[Usage, int, int]], random: object
) -> None:
    """Promised for fixed meters without a minimum, with an allowance only where no part has a rate of its own."""
    assert version.options is not None
    allowance = 0 if version.options.units else version.options.allowance
    options = replace(version.options, tier_mode=TierMode.GRADUATED, minimum_nanos=0, allowance=allowance, models=())
    version = replace(version, rate_type=RateType.FIXED, options=options)

    def total(usages_in_order: list[Usage]) -> int:
        terms = terms_of(version, None)
        counter = Counter(customer_id="", meter_id=METER)
        free = replace(counter, cycle="free:x")
        nanos = 0
        for usage in usages_in_order:
            charge = charge_usage(terms, counter, free, Consumed(usage=usage)).charge
            counter, free, nanos = charge.counter, charge.allowance or free, nanos + charge.nanos
        return nanos

    found = [usage for usage, _, _ in given_usages]
    shuffled = found.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined] # hypothesis gives a Random
    assert total(found) == total(shuffled)


@given(versions(), usages(), st.integers(0, 10**13))
def test_a_meter_whose_options_say_nothing_charges_what_one_without_options_does(
    version: MeterVersion, given_usage: tuple[Usage, int, int], count: int
) -> None:
    usage, _, _ = given_usage
    plain = replace(version, options=None, tier_unit=TierUnit.TOKENS_1M)
    counter = Counter(customer_id="", meter_id=METER, count_micros=count)
    cost = Fraction(12345, 7)
    charge = charge_usage(terms_of(plain, "a1"), counter, None, Consumed(usage=usage, cost=cost)).charge
    assert charge == rate(plain, counter, units_micros=usage.total_tokens() * MICROS, cost=cost)
