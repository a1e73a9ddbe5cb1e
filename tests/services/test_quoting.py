"""What a call can cost at most, in tokens and in what the request counts of itself."""

from decimal import Decimal
from fractions import Fraction

from lava_proxy.core.pricing import PriceSheet, rate
from lava_proxy.core.usage import NO_USAGE, RequestFacts, Usage
from lava_proxy.services.quoting import ASSUMED_SECONDS, FRAME_TOKENS, quote

DOLLAR = 1_000_000_000


def sheet(**dollars: str) -> PriceSheet:
    rates = {unit: rate(Decimal(usd), per=1) for unit, usd in dollars.items()}
    return PriceSheet(provider="p", model="m", source="test", price_date="", rates=rates)


def facts(counted: Usage = NO_USAGE, *, has_output: bool = False) -> RequestFacts:
    return RequestFacts(
        model="m", is_stream=False, input_text_characters=4, input_text_bytes=4, has_output=has_output, counted=counted
    )


def test_pictures_are_quoted_as_many_as_were_asked_for() -> None:
    found = quote(facts(Usage(images=3)), sheet(images="0.04"), assumed_output_tokens=100)
    assert found.cost == Fraction(12, 100) * DOLLAR
    assert found.as_usage() == Usage(images=3)


def test_what_has_a_price_by_token_and_by_picture_is_quoted_by_both() -> None:
    found = quote(facts(Usage(images=1)), sheet(images="0.04", input_tokens="0.001"), assumed_output_tokens=100)
    assert found.cost == Fraction(4, 100) * DOLLAR + (2 + FRAME_TOKENS) * Fraction(DOLLAR, 1000)


def test_characters_and_seconds_reach_the_meters_that_count_them() -> None:
    spoken = quote(facts(Usage(input_characters=900)), sheet(input_characters="0.00003"), assumed_output_tokens=0)
    assert spoken.quantities.characters_micros == 900 * 1_000_000
    assert spoken.cost == Fraction(27, 1000) * DOLLAR
    made = quote(facts(Usage(video_seconds=Decimal("90.5"))), None, assumed_output_tokens=0)
    assert made.quantities.seconds_micros == 90_500_000
    assert made.cost is None
    short = quote(facts(Usage(input_seconds=Decimal(2))), None, assumed_output_tokens=0)
    assert short.quantities.seconds_micros == ASSUMED_SECONDS * 1_000_000


def test_a_unit_without_a_price_leaves_the_quote_in_tokens() -> None:
    found = quote(
        facts(Usage(pages=2), has_output=True), sheet(input_tokens="1", output_tokens="2"), assumed_output_tokens=10
    )
    assert found.cost == (2 + FRAME_TOKENS + 20) * DOLLAR
    assert quote(facts(Usage(pages=2)), sheet(images="1"), assumed_output_tokens=0).cost is None
