"""Our arithmetic against genai-prices' own, over every model of the listed providers where its prices are right."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import pytest
from genai_prices import Usage as TheirUsage
from genai_prices.data import providers as their_providers
from genai_prices.types import ModelInfo, TimeOfDateConstraint

from lava_proxy.core.money import NANOS_PER_DOLLAR, round_half_up
from lava_proxy.core.pricing import Cost, PriceSheet, cost_of
from lava_proxy.core.usage import Usage
from lava_proxy.prices import load_price_book
from tests.prices.instants import us

BOOK = load_price_book()
LISTED = (
    *("openai", "anthropic", "google", "mistral", "groq", "deepseek", "x-ai"),
    *("together", "fireworks", "openrouter", "perplexity", "cerebras", "azure"),
)
INSTANTS = ("2025-05-01T12:00:00Z", "2026-03-01T12:00:00Z", "2026-11-21T12:00:00Z")

MIXES = {
    "plain": Usage(input_tokens=1_234, output_tokens=567),
    "one token": Usage(input_tokens=1, output_tokens=1),
    "input only": Usage(input_tokens=8_191, output_tokens=0),
    "cached": Usage(input_tokens=10_000, cached_input_tokens=7_777, output_tokens=99),
    "all cached": Usage(input_tokens=10_000, cached_input_tokens=10_000, output_tokens=1),
    "written": Usage(
        input_tokens=50_000,
        cached_input_tokens=20_000,
        cache_write_tokens=15_000,
        cache_write_1h_tokens=5_000,
        output_tokens=1_000,
    ),
    "reasoned": Usage(input_tokens=500, output_tokens=9_999, reasoning_tokens=9_000),
    "long": Usage(input_tokens=300_001, cached_input_tokens=100_000, output_tokens=4_321),
    "at a step": Usage(input_tokens=200_000, output_tokens=10),
    "above a step": Usage(input_tokens=200_001, output_tokens=10),
    "searched": Usage(input_tokens=1_000, output_tokens=1_000, searches=3),
    "spoken": Usage(
        input_tokens=2_000,
        cached_input_tokens=600,
        input_audio_tokens=1_000,
        cached_audio_tokens=400,
        output_tokens=800,
        output_audio_tokens=500,
    ),
    "drawn": Usage(input_tokens=900, input_image_tokens=300, output_tokens=1_290, output_image_tokens=1_290),
}


def theirs(usage: Usage) -> TheirUsage:
    return TheirUsage(
        input_tokens=usage.input_tokens,
        cache_read_tokens=usage.cached_input_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        cache_write_1h_tokens=usage.cache_write_1h_tokens,
        input_audio_tokens=usage.input_audio_tokens,
        cache_audio_read_tokens=usage.cached_audio_tokens,
        input_image_tokens=usage.input_image_tokens,
        cache_image_read_tokens=0 if usage.input_image_tokens else None,
        output_tokens=usage.output_tokens,
        output_reasoning_tokens=usage.reasoning_tokens,
        output_audio_tokens=usage.output_audio_tokens,
        output_image_tokens=usage.output_image_tokens,
        web_searches=usage.searches,
    )


def is_told_apart(usage: Usage, sheet: PriceSheet) -> bool:
    """Not where their decomposition is known to count cached audio twice, for want of a price of its own."""
    return (
        not usage.cached_audio_tokens or "cached_audio_tokens" in sheet.rates or "input_audio_tokens" not in sheet.rates
    )


def request_name(info: ModelInfo) -> str:
    """A name that the model goes by: its id, or else what its own matching rule compares with."""
    texts = [info.id, *re.findall(r"(?:equals|starts_with|contains)='([^']+)'", str(info.match))]
    return next((text for text in texts if info.is_match(text)), info.id)


def has_hours(info: ModelInfo) -> bool:
    prices = info.prices if isinstance(info.prices, list) else []
    return any(isinstance(price.constraint, TimeOfDateConstraint) for price in prices)


def models() -> Iterator[tuple[str, ModelInfo]]:
    for provider in their_providers:
        if provider.id in LISTED:
            step = 9 if provider.id == "openrouter" else 1
            yield from ((provider.id, info) for info in provider.models[::step] if not has_hours(info))


@pytest.mark.parametrize("provider", LISTED)
def test_every_mix_costs_what_genai_prices_says_to_the_nano_dollar(provider: str) -> None:
    compared = 0
    by_id = {each.id: each for each in their_providers}
    for instant in INSTANTS:
        at = datetime.fromisoformat(instant)
        for name, info in models():
            if name != provider:
                continue
            sheet = BOOK.sheet(
                provider=("lava:none", f"genai-prices:{provider}"), model=request_name(info), at_us=us(instant)
            )
            if sheet is None or sheet.model != info.id:
                continue
            for label, usage in MIXES.items():
                ours = cost_of(sheet, usage)
                if not isinstance(ours, Cost) or not is_told_apart(usage, sheet):
                    continue
                their_price = info.calc_price(theirs(usage), by_id[provider], genai_request_timestamp=at).total_price
                assert round_half_up(ours.exact_nanos) == round_half_up(Fraction(their_price) * NANOS_PER_DOLLAR), (
                    f"{provider}/{info.id} at {instant}: {label}"
                )
                assert abs(ours.exact_nanos - Fraction(their_price) * NANOS_PER_DOLLAR) < Fraction(1, 10**6)
                compared += 1
    assert compared >= 60


@pytest.mark.parametrize("provider", ["openai", "anthropic", "google", "mistral", "groq", "x-ai"])
def test_every_service_tier_costs_what_its_variant_says(provider: str) -> None:
    at = datetime(2026, 11, 21, 12, tzinfo=UTC)
    source = next(each for each in their_providers if each.id == provider)
    compared = 0
    for info in source.models:
        for variant in info.price_variants or ():
            if variant.constraint is not None and not variant.constraint.active(at):
                continue
            (tier,) = variant.when.values()
            sheet = BOOK.sheet(
                provider=("lava:none", f"genai-prices:{provider}"),
                model=request_name(info),
                at_us=us("2026-11-21T12:00:00Z"),
                service_tier=tier,
            )
            assert sheet is not None and "service_tier_unpriced" not in sheet.flags
            for usage in (MIXES["plain"], MIXES["cached"], MIXES["long"], MIXES["written"]):
                ours = cost_of(sheet, usage)
                if isinstance(ours, Cost):
                    priced = info.calc_price(
                        theirs(usage), source, genai_request_timestamp=at, price_context=variant.when
                    )
                    assert abs(ours.exact_nanos - Fraction(priced.total_price) * NANOS_PER_DOLLAR) < Fraction(1, 10**6)
                    compared += 1
    assert compared > 0


# Regression prices, written out: dollars for a million tokens, from the providers' pages.


@pytest.mark.parametrize(
    ("names", "model", "usage", "dollars"),
    [
        (("lava:openai", "genai-prices:openai"), "gpt-4o-2024-08-06", MIXES["cached"], "0.01626875"),
        (("lava:anthropic", "genai-prices:anthropic"), "claude-sonnet-4-6", MIXES["written"], "0.1335"),
        (("lava:google", "genai-prices:google"), "gemini-2.5-pro", MIXES["long"], "0.5898175"),
        (("lava:openai", "genai-prices:openai"), "text-embedding-3-small", MIXES["input only"], "0.00016382"),
    ],
)
def test_a_price_worked_out_by_hand(names: tuple[str, ...], model: str, usage: Usage, dollars: str) -> None:
    sheet = BOOK.sheet(provider=names, model=model, at_us=us("2026-11-21T12:00:00Z"))
    assert sheet is not None

    cost = cost_of(sheet, usage)

    assert isinstance(cost, Cost)
    assert cost.exact_nanos == Fraction(Decimal(dollars)) * NANOS_PER_DOLLAR
