"""What genai-prices is known to get wrong, one test each where it concerns prices. (Extraction is the dialects' affair.)"""

from decimal import Decimal

import pytest
from genai_prices import Usage as TheirUsage
from genai_prices import calc_price

from lava_proxy.core.pricing import Cost, PriceSheet, Unpriced, cost_of
from lava_proxy.core.usage import Usage
from lava_proxy.prices import load_price_book
from lava_proxy.providers import load_providers
from tests.prices.instants import ANTHROPIC, AZURE, GOOGLE, GROQ, NOW, OPENAI, VERTEX, XAI

BOOK = load_price_book()


def sheet_of(
    names: tuple[str, ...], model: str, *, tier: str | None = None, batch: bool = False, region: str | None = None
) -> PriceSheet:
    sheet = BOOK.sheet(provider=names, model=model, at_us=NOW, service_tier=tier, batch=batch, region=region)
    assert sheet is not None, model
    return sheet


def test_fault_1_a_unit_without_a_price_is_not_free() -> None:
    assert calc_price(TheirUsage(audio_seconds=60), "gpt-4o", provider_id="openai").total_price == 0

    found = cost_of(sheet_of(OPENAI, "gpt-4o"), Usage(input_seconds=Decimal(60)))

    assert found == Unpriced(reason="unit_without_price", units=("input_seconds",))


def test_fault_1_a_model_whose_entry_has_no_price_at_all_is_unknown() -> None:
    assert BOOK.sheet(provider=("lava:x", "genai-prices:mistral"), model="devstral-small:free", at_us=NOW) is None


@pytest.mark.parametrize("model", ["gpt-4o-nobody-knows", "gpt-99", "my-deployment", "", "x" * 5_000])
def test_fault_2_an_unknown_model_has_no_price(model: str) -> None:
    for names in (OPENAI, AZURE, ANTHROPIC, GOOGLE):
        assert BOOK.sheet(provider=names, model=model, at_us=NOW) is None


def test_fault_2_azure_at_openais_prices_says_so() -> None:
    assert sheet_of(AZURE, "gpt-4o-2024-11-20").source.endswith("openai/gpt-4o, for azure")
    assert sheet_of(AZURE, "gpt-4o-2024-11-20").provider == "azure"


@pytest.mark.parametrize("host", ["api.openai.com.evil.example", "storage.googleapis.com"])
def test_fault_3_a_provider_is_told_by_our_own_host_index(host: str) -> None:
    priced = calc_price(TheirUsage(input_tokens=1), "gpt-4o", provider_api_url="https://api.openai.com.evil.example/v1")

    assert priced.provider.id == "openai"
    assert not load_providers().is_ai_host(host)


@pytest.mark.parametrize("host", ["eu.api.openai.com", "api.together.ai", "codestral.mistral.ai"])
def test_fault_4_the_hosts_that_its_patterns_miss_are_known_to_us(host: str) -> None:
    assert load_providers().is_ai_host(host)


@pytest.mark.parametrize(
    ("names", "model", "tier", "dollars"),
    [
        (OPENAI, "gpt-5", None, "1.25"),
        (OPENAI, "gpt-5", "auto", "1.25"),
        (OPENAI, "gpt-5", "default", "1.25"),
        (OPENAI, "gpt-5", "flex", "0.625"),
        (OPENAI, "gpt-5", "priority", "2.5"),
        (OPENAI, "gpt-5", "Priority", "2.5"),
        (OPENAI, "gpt-5", "batch", "0.625"),
        (ANTHROPIC, "claude-sonnet-4-5", "standard", "3"),
        (ANTHROPIC, "claude-sonnet-4-5", "batch", "1.5"),
        (GOOGLE, "gemini-2.5-pro", "ON_DEMAND", "1.25"),
    ],
)
def test_fault_6_the_service_tier_chooses_the_price(
    names: tuple[str, ...], model: str, tier: str | None, dollars: str
) -> None:
    sheet = sheet_of(names, model, tier=tier)

    assert sheet.rates["input_tokens"].nanos == Decimal(dollars) * 1000
    assert sheet.flags == ()


def test_fault_6_anthropics_fast_mode_is_a_price_of_its_own() -> None:
    standard, fast = sheet_of(ANTHROPIC, "claude-opus-4-8"), sheet_of(ANTHROPIC, "claude-opus-4-8", tier="fast")

    assert fast.flags == ()
    assert fast.rates["output_tokens"].nanos > standard.rates["output_tokens"].nanos


@pytest.mark.parametrize(
    ("names", "model", "tier"),
    [
        (OPENAI, "gpt-4o", "scale"),
        (ANTHROPIC, "claude-sonnet-4-5", "priority"),
        (GOOGLE, "gemini-2.5-pro", "provisioned_throughput"),
        (AZURE, "gpt-4o", "priority"),
        (("lava:deepseek",), "deepseek-flash", "priority"),
    ],
)
def test_fault_6_a_tier_without_a_price_takes_the_standard_one_but_not_silently(
    names: tuple[str, ...], model: str, tier: str
) -> None:
    assert "service_tier_unpriced" in sheet_of(names, model, tier=tier).flags
    assert sheet_of(names, model, tier=tier).rates == sheet_of(names, model).rates


def test_fault_6_a_batch_costs_half() -> None:
    usage = Usage(input_tokens=1_000_000, output_tokens=1_000_000)
    standard, batch = (cost_of(sheet_of(OPENAI, "gpt-4.1-mini", batch=is_batch), usage) for is_batch in (False, True))

    assert isinstance(standard, Cost) and isinstance(batch, Cost)
    assert batch.exact_nanos * 2 == standard.exact_nanos


@pytest.mark.parametrize(
    ("names", "model", "region", "factor"),
    [
        (OPENAI, "gpt-5.4", "regional", "1.1"),
        (OPENAI, "gpt-4o", "regional", "1"),
        (OPENAI, "gpt-5", "regional", "1"),
        (OPENAI, "gpt-5.4", None, "1"),
        (ANTHROPIC, "claude-opus-4-6", "us", "1.1"),
        (ANTHROPIC, "claude-opus-4-6", "global", "1"),
        (ANTHROPIC, "claude-opus-4-6", "not_available", "1"),
        (XAI, "grok-4.6", "us", "1.1"),
        (VERTEX, "claude-sonnet-4-5@20250929", "regional", "1.1"),
        (VERTEX, "gemini-2.5-pro", "regional", "1"),
    ],
)
def test_fault_7_a_region_lifts_the_price_of_tokens(
    names: tuple[str, ...], model: str, region: str | None, factor: str
) -> None:
    plain, lifted = sheet_of(names, model), sheet_of(names, model, region=region)

    for unit, price in plain.rates.items():
        expected = price.nanos * Decimal(factor).as_integer_ratio()[0] / Decimal(factor).as_integer_ratio()[1]
        assert lifted.rates[unit].nanos == (expected if unit.endswith("_tokens") else price.nanos)
        assert len(lifted.rates[unit].steps) == len(price.steps)
    assert "regional_price_unknown" not in lifted.flags


def test_fault_7_a_region_of_which_nobody_knows_the_price_is_flagged() -> None:
    assert "regional_price_unknown" in sheet_of(ANTHROPIC, "claude-opus-4-6", region="mars").flags
    assert "regional_price_unknown" in sheet_of(VERTEX, "gemini-3.1-pro-preview", region="regional").flags


def test_fault_11_audio_of_which_nobody_says_how_much_was_cached_is_priced_all_the_same() -> None:
    usage = Usage(input_tokens=1_000, cached_input_tokens=200, input_audio_tokens=500, output_tokens=10)
    with pytest.raises(ValueError, match="cache_audio_read_tokens"):
        calc_price(
            TheirUsage(input_tokens=1_000, cache_read_tokens=200, input_audio_tokens=500, output_tokens=10),
            "gemini-2.5-flash",
            provider_id="google",
        )

    cost = cost_of(sheet_of(GOOGLE, "gemini-2.5-flash"), usage)

    assert isinstance(cost, Cost)
    assert cost.exact_nanos == 300 * 300 + 200 * 30 + 500 * 1_000 + 10 * 2_500


def test_fault_13_a_price_by_the_hour_that_is_not_ours_is_flagged() -> None:
    assert "time_of_day_price" in sheet_of(("lava:other", "genai-prices:deepseek"), "deepseek-chat").flags
    assert "time_of_day_price" not in sheet_of(("lava:deepseek", "genai-prices:deepseek"), "deepseek-chat").flags


def test_groqs_ten_seconds_are_kept() -> None:
    cost = cost_of(sheet_of(GROQ, "whisper-large-v3"), Usage(input_seconds=Decimal(3)))

    assert isinstance(cost, Cost)
    assert cost.exact_nanos == sheet_of(GROQ, "whisper-large-v3").rates["input_seconds"].nanos * 10


def test_tokens_that_usage_does_not_tell_apart_are_flagged() -> None:
    assert "modality_not_told_apart" in sheet_of(GOOGLE, "gemini-omni-1.1-flash").flags
    assert "modality_not_told_apart" not in sheet_of(GOOGLE, "gemini-2.5-flash").flags
