"""What a call cost us: arithmetic that can be checked by hand."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lava_proxy.core.parts import split
from lava_proxy.core.pricing import (
    Cost,
    PriceSheet,
    Rate,
    Unpriced,
    cost_ceiling,
    cost_from_reported,
    cost_of,
    rate,
    resolve,
)
from lava_proxy.core.usage import NO_USAGE, Usage

MILLION = 1_000_000


def sheet(*flags: str, **dollars: str) -> PriceSheet:
    """Prices in dollars for a million units; searches, pages and requests for a thousand, seconds for an hour."""
    per = {
        "searches": 1000,
        "pages": 1000,
        "requests": 1000,
        "input_seconds": 3600,
        "output_seconds": 3600,
        "images": 1,
    }
    rates = {unit: rate(Decimal(usd), per=per.get(unit, MILLION)) for unit, usd in dollars.items()}
    return PriceSheet(provider="p", model="m", source="test", price_date="2026-01-02", rates=rates, flags=flags)


CHAT = sheet(input_tokens="2.50", cached_input_tokens="1.25", output_tokens="10")
CLAUDE = sheet(
    input_tokens="3",
    cached_input_tokens="0.30",
    cache_write_tokens="3.75",
    cache_write_1h_tokens="6",
    output_tokens="15",
    searches="10",
)
SPEECH = sheet(
    input_tokens="0.30",
    cached_input_tokens="0.03",
    input_audio_tokens="1",
    cached_audio_tokens="0.10",
    output_tokens="2.50",
    output_audio_tokens="10",
    output_image_tokens="30",
)


def nanos(found: Cost | Unpriced) -> Fraction:
    assert isinstance(found, Cost), found
    return found.exact_nanos


def test_input_and_output_cost_their_own_price() -> None:
    cost = cost_of(CHAT, Usage(input_tokens=1000, output_tokens=500))

    assert nanos(cost) == 1000 * 2_500 + 500 * 10_000
    assert isinstance(cost, Cost)
    assert (cost.source, cost.price_date, cost.flags) == ("test", "2026-01-02", ())


def test_a_million_calls_of_one_token_cost_what_one_call_of_a_million_does() -> None:
    cheap = sheet(input_tokens="0.0004", output_tokens="0")

    single = nanos(cost_of(cheap, Usage(input_tokens=1)))

    assert single == Fraction(2, 5)
    assert single * MILLION == nanos(cost_of(cheap, Usage(input_tokens=MILLION))) == 400_000


def test_cached_tokens_are_inside_the_total_and_cost_their_own_price() -> None:
    assert (
        nanos(cost_of(CHAT, Usage(input_tokens=1000, cached_input_tokens=400, output_tokens=0)))
        == 600 * 2_500 + 400 * 1_250
    )


def test_cache_writes_are_told_apart_by_how_long_they_are_kept() -> None:
    usage = Usage(
        input_tokens=10_000,
        cached_input_tokens=4_000,
        cache_write_tokens=5_000,
        cache_write_1h_tokens=2_000,
        output_tokens=100,
        searches=2,
    )

    expected = 1_000 * 3_000 + 4_000 * 300 + 3_000 * 3_750 + 2_000 * 6_000 + 100 * 15_000 + 2 * 10_000_000

    assert nanos(cost_of(CLAUDE, usage)) == expected


def test_a_part_without_a_price_of_its_own_costs_its_parents() -> None:
    usage = Usage(
        input_tokens=100, cached_input_tokens=40, cache_write_tokens=30, cache_write_1h_tokens=10, output_tokens=9
    )
    plain = sheet(input_tokens="2", output_tokens="4")
    writes = sheet(input_tokens="2", cache_write_tokens="3", output_tokens="4")

    assert nanos(cost_of(plain, usage)) == 100 * 2_000 + 9 * 4_000
    assert nanos(cost_of(writes, usage)) == 70 * 2_000 + 30 * 3_000 + 9 * 4_000


def test_cached_audio_without_a_price_costs_the_dearer_of_its_parents() -> None:
    usage = Usage(
        input_tokens=100, cached_input_tokens=60, input_audio_tokens=50, cached_audio_tokens=50, output_tokens=0
    )
    both = sheet(input_tokens="1", cached_input_tokens="0.10", input_audio_tokens="4", output_tokens="1")

    text = sheet(input_tokens="1", cached_input_tokens="0.10", output_tokens="1")

    assert nanos(cost_of(both, usage)) == 40 * 1_000 + 10 * 100 + 50 * 4_000
    assert nanos(cost_of(text, usage)) == 40 * 1_000 + 60 * 100


def test_reasoning_is_part_of_the_output_and_not_charged_again() -> None:
    own = sheet(input_tokens="1", output_tokens="8", reasoning_tokens="3")
    usage = Usage(input_tokens=0, output_tokens=100, reasoning_tokens=60)

    assert nanos(cost_of(CHAT, usage)) == 100 * 10_000
    assert nanos(cost_of(own, usage)) == 40 * 8_000 + 60 * 3_000


def test_audio_and_image_parts_cost_their_own_prices() -> None:
    usage = Usage(
        input_tokens=1_000,
        cached_input_tokens=300,
        input_audio_tokens=500,
        cached_audio_tokens=200,
        output_tokens=900,
        output_audio_tokens=400,
        output_image_tokens=300,
        reasoning_tokens=100,
    )

    fresh_text, fresh_audio, cached_text, cached_audio = 400, 300, 100, 200
    expected = fresh_text * 300 + fresh_audio * 1_000 + cached_text * 30 + cached_audio * 100
    expected += 200 * 2_500 + 400 * 10_000 + 300 * 30_000

    assert nanos(cost_of(SPEECH, usage)) == expected


def test_audio_of_which_nobody_says_how_much_was_cached_is_counted_once() -> None:
    usage = Usage(input_tokens=1_000, cached_input_tokens=500, input_audio_tokens=900, output_tokens=0)

    cost = cost_of(SPEECH, usage)

    assert nanos(cost) == 500 * 1_000 + 500 * 30
    assert "overlapping_parts" in cost.flags


def test_cached_tokens_above_the_total_stand_beside_it_and_are_flagged() -> None:
    cost = cost_of(CHAT, Usage(input_tokens=7, cached_input_tokens=161, output_tokens=1))

    assert nanos(cost) == 7 * 2_500 + 161 * 1_250 + 10_000
    assert cost.flags == ("parts_exceed_total",)


def test_reasoning_above_the_output_is_flagged_and_changes_nothing() -> None:
    cost = cost_of(CHAT, Usage(input_tokens=1, output_tokens=16, reasoning_tokens=19))

    assert nanos(cost) == 2_500 + 16 * 10_000
    assert cost.flags == ("parts_exceed_total",)


def test_parts_without_a_total_are_not_free() -> None:
    assert nanos(cost_of(CLAUDE, Usage(cached_input_tokens=100, cache_write_tokens=10))) == 100 * 300 + 10 * 3_750
    assert nanos(cost_of(CHAT, Usage(reasoning_tokens=10))) == 10 * 10_000


@pytest.mark.parametrize(
    "usage",
    [
        Usage(input_seconds=Decimal(60)),
        Usage(input_tokens=10, input_seconds=Decimal("0.5")),
        Usage(input_tokens=10, images=1),
        Usage(input_tokens=10, searches=1),
        Usage(pages=3),
        Usage(output_characters=5),
    ],
)
def test_fault_1_a_unit_without_a_price_makes_the_call_unpriced_never_free(usage: Usage) -> None:
    found = cost_of(CHAT, usage)

    assert isinstance(found, Unpriced)
    assert found.reason == "unit_without_price"
    assert len(found.units) == 1
    assert found.priced_nanos == (usage.input_tokens or 0) * 2_500


def test_a_second_measure_of_priced_tokens_needs_no_price() -> None:
    speech = Usage(input_tokens=100, input_audio_tokens=80, input_seconds=Decimal(9), output_tokens=1)
    picture = Usage(input_tokens=1, output_tokens=50, output_image_tokens=50, images=1)
    text = Usage(input_tokens=4, input_characters=16, output_tokens=2, output_characters=9)

    assert nanos(cost_of(SPEECH, speech)) == 20 * 300 + 80 * 1_000 + 2_500
    assert nanos(cost_of(SPEECH, picture)) == 300 + 50 * 30_000
    assert nanos(cost_of(CHAT, text)) == 4 * 2_500 + 2 * 10_000


def test_seconds_are_billed_by_the_hour_with_their_minimum() -> None:
    hourly = rate(Decimal("0.111"), per=3600, minimum=10)
    whisper = PriceSheet(provider="p", model="m", source="s", price_date="", rates={"input_seconds": hourly})

    assert (
        nanos(cost_of(whisper, Usage(input_seconds=Decimal("36.5")))) == Fraction(111_000_000) * Fraction("36.5") / 3600
    )
    assert nanos(cost_of(whisper, Usage(input_seconds=Decimal(2)))) == Fraction(111_000_000) * 10 / 3600
    assert nanos(cost_of(whisper, Usage(input_seconds=Decimal(0)))) == 0


def test_a_fee_by_the_request_is_added_once() -> None:
    fee = sheet(requests="12", input_tokens="1", output_tokens="1")

    assert nanos(cost_of(fee, Usage(input_tokens=5, output_tokens=5))) == 12_000_000 + 10_000
    assert nanos(cost_of(fee, Usage(input_tokens=0))) == 12_000_000


@pytest.mark.parametrize(
    ("tokens", "dollars_per_million"), [(0, "1.25"), (200_000, "1.25"), (200_001, "2.50"), (1_000_001, "5")]
)
def test_a_step_re_rates_every_token_of_a_call_above_it(tokens: int, dollars_per_million: str) -> None:
    steps = [(1_000_000, Decimal(5)), (200_000, Decimal("2.50"))]
    long = PriceSheet(
        provider="p",
        model="m",
        source="s",
        price_date="",
        rates={
            "input_tokens": rate(Decimal("1.25"), per=MILLION, steps=steps),
            "output_tokens": rate(Decimal(10), per=MILLION, steps=[(200_000, Decimal(15))]),
        },
    )

    output = 15 if tokens > 200_000 else 10

    assert nanos(cost_of(long, Usage(input_tokens=tokens, output_tokens=7))) == (
        tokens * Fraction(dollars_per_million) * 1000 + 7 * output * 1000
    )


def test_cached_and_written_tokens_count_for_the_step() -> None:
    stepped = rate(Decimal(3), per=MILLION, steps=[(200_000, Decimal(6))])
    claude = PriceSheet(provider="p", model="m", source="s", price_date="", rates={"input_tokens": stepped})

    assert nanos(cost_of(claude, Usage(input_tokens=200_001, cached_input_tokens=200_000))) == 200_001 * 6_000


@pytest.mark.parametrize("usage", [NO_USAGE, Usage()])
def test_nothing_reported_is_not_free(usage: Usage) -> None:
    assert cost_of(CHAT, usage) == Unpriced(reason="no_usage")


def test_a_negative_report_is_not_believed() -> None:
    assert cost_of(CHAT, Usage(input_tokens=10, output_tokens=-1)) == Unpriced(reason="negative_usage")


def test_what_the_book_says_is_free_is_marked() -> None:
    free = sheet("seen", input_tokens="0", output_tokens="0")

    assert nanos(cost_of(free, Usage(input_tokens=10, output_tokens=1))) == 0
    assert cost_of(free, Usage(input_tokens=10, output_tokens=1)).flags == ("seen", "zero_price")
    assert cost_of(CHAT, Usage(input_tokens=0, output_tokens=0)).flags == ()


def test_unit_prices_are_kept_as_exact_decimals() -> None:
    kept = PriceSheet(
        provider="p",
        model="m",
        source="s",
        price_date="",
        rates={
            "output_tokens": rate(Decimal(10), per=MILLION),
            "input_tokens": rate(Decimal("0.003625"), per=MILLION, steps=[(128_000, Decimal(100))]),
            "input_seconds": rate(Decimal("0.111"), per=3600, minimum=10),
        },
    )

    assert kept.unit_prices == (
        '{"input_tokens":{"usd":"0.003625","per":1000000,"above_input_tokens":{"128000":"100"}},'
        '"output_tokens":{"usd":"10","per":1000000},'
        '"input_seconds":{"usd":"0.111","per":3600,"minimum":10}}'
    )


def test_a_reported_cost_wins_over_the_book() -> None:
    cost = resolve(Decimal("0.0123456789"), CHAT, Usage(input_tokens=1, output_tokens=1))

    assert cost == cost_from_reported(Decimal("0.0123456789"))
    assert nanos(cost) == Fraction("12345678.9")
    assert isinstance(cost, Cost)
    assert cost.source == "provider"
    assert cost.unit_prices == '{"reported": {"usd": "0.0123456789"}}'


def test_a_reported_zero_for_real_usage_falls_through_to_the_book_and_is_flagged() -> None:
    usage = Usage(input_tokens=10, output_tokens=1)

    assert nanos(resolve(Decimal(0), CHAT, usage)) == 10 * 2_500 + 10_000
    assert resolve(Decimal(0), CHAT, usage).flags == ("reported_zero_cost",)
    assert resolve(Decimal(0), None, usage) == Unpriced(reason="no_price", flags=("reported_zero_cost",))


def test_a_reported_zero_for_no_usage_is_believed() -> None:
    assert nanos(resolve(Decimal(0), CHAT, Usage(input_tokens=0, output_tokens=0))) == 0
    assert nanos(resolve(Decimal(0), None, NO_USAGE)) == 0


@pytest.mark.parametrize("reported", [Decimal("-0.01"), Decimal("NaN"), Decimal("Infinity")])
def test_a_reported_cost_that_cannot_be_is_not_believed(reported: Decimal) -> None:
    found = resolve(reported, CHAT, Usage(input_tokens=2))

    assert nanos(found) == 5_000
    assert found.flags == ("reported_cost_unreadable",)


def test_no_report_and_no_sheet_is_unpriced() -> None:
    assert resolve(None, None, Usage(input_tokens=2)) == Unpriced(reason="no_price")
    assert nanos(resolve(None, CHAT, Usage(input_tokens=2))) == 5_000


def test_the_ceiling_takes_the_dearest_kind_of_token_and_step() -> None:
    assert cost_ceiling(CHAT, input_tokens=100, output_tokens=10) == 100 * 2_500 + 10 * 10_000
    assert cost_ceiling(CLAUDE, input_tokens=100, output_tokens=10) == 100 * 6_000 + 10 * 15_000
    assert cost_ceiling(SPEECH, input_tokens=100, output_tokens=10) == 100 * 1_000 + 10 * 30_000


def test_the_ceiling_of_an_embedding_needs_no_output_price() -> None:
    embedding = sheet(input_tokens="0.02")

    assert cost_ceiling(embedding, input_tokens=100, output_tokens=0) == 2_000
    assert cost_ceiling(embedding, input_tokens=100, output_tokens=1) == Unpriced(
        reason="unit_without_price", units=("output_tokens",), priced_nanos=Fraction(2_000)
    )


prices = st.decimals(min_value=0, max_value=1000, places=6)
counts = st.integers(min_value=0, max_value=500_000)


@st.composite
def sheets(draw: st.DrawFn) -> PriceSheet:
    rates: dict[str, Rate] = {}
    optional = ["cached_input_tokens", "cache_write_tokens", "cache_write_1h_tokens", "input_audio_tokens"]
    optional += [
        "cached_audio_tokens",
        "input_image_tokens",
        "reasoning_tokens",
        "output_audio_tokens",
        "output_image_tokens",
    ]
    for unit in ["input_tokens", "output_tokens", *draw(st.lists(st.sampled_from(optional), unique=True))]:
        steps = draw(st.lists(st.tuples(st.integers(1, 400_000), prices), max_size=2, unique_by=lambda step: step[0]))
        rates[unit] = rate(draw(prices), per=MILLION, steps=steps)
    return PriceSheet(provider="p", model="m", source="s", price_date="", rates=rates)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """Usage that does not contradict itself."""

    def parts(total: int, count: int) -> list[int]:
        marks = sorted(draw(st.lists(st.integers(0, total), min_size=count, max_size=count)))
        return [end - begin for begin, end in zip([0, *marks], [*marks, total], strict=True)][:count]

    total, output = draw(counts), draw(counts)
    cached, write, audio, image = parts(total, 4)
    reasoning, spoken, drawn = parts(output, 3)
    cached_audio = draw(st.integers(0, cached))
    return Usage(
        input_tokens=total,
        cached_input_tokens=cached,
        cache_write_tokens=write,
        cache_write_1h_tokens=draw(st.integers(0, write)),
        input_audio_tokens=audio + cached_audio,
        cached_audio_tokens=cached_audio,
        input_image_tokens=image,
        output_tokens=output,
        reasoning_tokens=reasoning,
        output_audio_tokens=spoken,
        output_image_tokens=drawn,
    )


@given(usages())
def test_the_parts_of_a_consistent_report_are_its_total_again(usage: Usage) -> None:
    parts = split(usage)
    output = {"output_tokens", "reasoning_tokens", "output_audio_tokens", "output_image_tokens"}

    assert sum(count for unit, count in parts.quantities.items() if unit in output) == usage.output_tokens
    assert sum(count for unit, count in parts.quantities.items() if unit not in output) == usage.input_tokens
    assert parts.input_total == usage.input_tokens
    assert parts.flags == ()


@given(sheets(), usages())
def test_no_consistent_report_costs_more_than_its_ceiling(prices: PriceSheet, usage: Usage) -> None:
    ceiling = cost_ceiling(prices, input_tokens=usage.input_tokens or 0, output_tokens=usage.output_tokens or 0)

    assert not isinstance(ceiling, Unpriced)
    assert 0 <= nanos(cost_of(prices, usage)) <= ceiling


@given(
    sheets(),
    st.builds(Usage, input_tokens=counts, cached_input_tokens=counts, input_audio_tokens=counts, output_tokens=counts),
)
def test_whatever_a_report_says_it_is_priced_and_never_negative(prices: PriceSheet, usage: Usage) -> None:
    assert nanos(cost_of(prices, usage)) >= 0


@given(sheets(), usages(), st.integers(1, 50))
def test_more_of_a_total_never_costs_less_where_prices_have_no_steps(
    prices: PriceSheet, usage: Usage, more: int
) -> None:
    flat = {unit: Rate(nanos=price.nanos, per=price.per) for unit, price in prices.rates.items()}
    plain = PriceSheet(provider="p", model="m", source="s", price_date="", rates=flat)
    grown = Usage(input_tokens=(usage.input_tokens or 0) + more, output_tokens=(usage.output_tokens or 0) + more)
    small = Usage(input_tokens=usage.input_tokens, output_tokens=usage.output_tokens)

    assert nanos(cost_of(plain, grown)) >= nanos(cost_of(plain, small))
