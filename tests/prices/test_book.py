"""The order of the books, names as they come, and what the book says about itself."""

import gzip
import json
import threading
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from msgspec.structs import replace

from lava_proxy.core.pricing import PriceSheet, rate
from lava_proxy.prices import PriceBook, PriceOverride, load_price_book
from lava_proxy.prices.genai import GenaiPrices
from lava_proxy.prices.rows import load_rows
from lava_proxy.providers import load_providers
from lava_proxy.services.catalogue import by_maker
from tests.prices.instants import ANTHROPIC, DEEPSEEK, GOOGLE, MISTRAL, NOW, OPENAI, OPENROUTER, VERTEX, us

BOOK = load_price_book()
MINE = {"input_tokens": rate(Decimal(1), per=1_000_000), "output_tokens": rate(Decimal(2), per=1_000_000)}


def sheet_of(
    names: tuple[str, ...], model: str, *, book: PriceBook = BOOK, at_us: int = NOW, tier: str | None = None
) -> PriceSheet:
    sheet = book.sheet(provider=names, model=model, at_us=at_us, service_tier=tier)
    assert sheet is not None, model
    return sheet


def test_the_operators_price_goes_before_ours_and_ours_before_genai_prices() -> None:
    book = load_price_book([PriceOverride(provider="deepseek", model="deepseek-flash", rates=MINE)])

    assert sheet_of(DEEPSEEK, "deepseek-flash", book=book).source == "operator"
    assert sheet_of(DEEPSEEK, "deepseek-flash").source.startswith("lava https://")
    assert sheet_of(DEEPSEEK, "deepseek-v3.2").source.startswith("genai-prices ")


def test_an_operators_price_holds_from_its_start_until_its_end_to_the_microsecond() -> None:
    start, end = us("2026-11-01T00:07:00Z") + 1, us("2026-11-02T00:00:00Z")
    book = load_price_book([PriceOverride(provider="openai", model="gpt-4o", rates=MINE, start_us=start, end_us=end)])

    def source(at_us: int) -> str:
        return sheet_of(OPENAI, "gpt-4o", book=book, at_us=at_us).source

    assert source(start - 1).startswith("genai-prices")
    assert source(start) == source(end - 1) == "operator"
    assert source(end).startswith("genai-prices")
    assert sheet_of(OPENAI, "gpt-4o", book=book, at_us=start).price_date == "2026-11-01"


def test_the_latest_begun_of_the_operators_prices_holds() -> None:
    dearer = {unit: price.times(Fraction(3)) for unit, price in MINE.items()}
    book = BOOK.with_overrides(
        [
            PriceOverride(provider="*", model="*", rates=MINE, start_us=us("2026-11-10T00:00:00Z")),
            PriceOverride(provider="openai", model="gpt-4o*", rates=dearer, start_us=us("2026-11-20T00:00:00Z")),
        ]
    )

    assert sheet_of(OPENAI, "GPT-4o-mini", book=book).rates["input_tokens"].nanos == 3_000
    assert sheet_of(("lava:self-hosted",), "anything", book=book).rates["input_tokens"].nanos == 1_000
    assert sheet_of(("lava:self-hosted",), "anything", book=book).provider == "self-hosted"
    assert book.sheet(provider=("lava:self-hosted",), model="anything", at_us=us("2026-11-09T00:00:00Z")) is None


def test_an_operators_price_for_another_tier_is_flagged() -> None:
    book = load_price_book([PriceOverride(provider="openai", model="gpt-5", rates=MINE)])

    assert sheet_of(OPENAI, "gpt-5", book=book, tier="flex").flags == ("service_tier_unpriced",)
    assert sheet_of(OPENAI, "gpt-5", book=book, tier="default").flags == ()


@pytest.mark.parametrize(
    ("names", "model", "same_as"),
    [
        (OPENAI, "GPT-4o", "gpt-4o"),
        (OPENAI, "gpt-4o-2024-08-06", "gpt-4o"),
        (OPENAI, "gpt-5-2025-08-07", "gpt-5"),
        (ANTHROPIC, "claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        (GOOGLE, "models/gemini-2.5-flash", "gemini-2.5-flash"),
        (GOOGLE, "models/Gemini-2.5-Flash", "gemini-2.5-flash"),
        (VERTEX, "google/gemini-2.5-flash", "gemini-2.5-flash"),
        (VERTEX, "publishers/google/models/gemini-2.5-flash", "gemini-2.5-flash"),
        (VERTEX, "claude-sonnet-4-5@20250929", "claude-sonnet-4-5"),
        (OPENROUTER, "openai/gpt-4o-2024-08-06", "openai/gpt-4o"),
        (OPENROUTER, "anthropic/claude-4.5-sonnet-20250929", "anthropic/claude-sonnet-4.5"),
        (MISTRAL, "mistral-large-latest", "mistral-large-2512"),
    ],
)
def test_a_model_goes_by_many_names(names: tuple[str, ...], model: str, same_as: str) -> None:
    assert sheet_of(names, model).rates == sheet_of(names, same_as).rates


def test_a_price_that_changed_is_the_one_of_its_day() -> None:
    before, after = (
        sheet_of(OPENAI, "o3", at_us=us(day)).rates["input_tokens"].nanos
        for day in ("2025-06-09T23:59:59Z", "2025-06-10T00:00:00Z")
    )

    assert before == 10_000
    assert after == 2_000
    assert sheet_of(OPENAI, "o3", at_us=us("2025-06-10T00:00:00Z")).price_date == "2025-06-10"


def test_no_name_or_an_unknown_book_gives_no_price() -> None:
    assert BOOK.sheet(provider=(), model="gpt-4o", at_us=NOW) is None
    assert (
        BOOK.sheet(provider=("lava:nobody", "genai-prices:nobody", "other:openai"), model="gpt-4o", at_us=NOW) is None
    )


def test_the_same_question_is_answered_from_memory_and_memory_is_bounded() -> None:
    assert sheet_of(OPENAI, "gpt-4o") is sheet_of(OPENAI, "gpt-4o")
    for number in range(5_000):
        assert BOOK.sheet(provider=("lava:nobody",), model=f"strange-{number}", at_us=NOW) is None

    assert sheet_of(OPENAI, "gpt-4o").rates["input_tokens"].nanos == 2_500


def test_many_threads_may_ask_a_cold_book() -> None:
    book = load_price_book()
    models = ["gpt-4o", "gpt-5", "o3", "gpt-4.1-mini"] * 8
    found: list[PriceSheet] = []
    threads = [
        threading.Thread(target=lambda model=model: found.append(sheet_of(OPENAI, model, book=book)))
        for model in models
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)

    assert Counter(sheet.model for sheet in found) == {"gpt-4o": 8, "gpt-5": 8, "o3": 8, "gpt-4.1-mini": 8}


def test_the_book_tells_its_age_and_what_it_is_made_of() -> None:
    BOOK.warm()

    assert BOOK.version.startswith("genai-prices 0.")
    assert "own rows of 2026-11-21" in BOOK.version
    assert BOOK.age_days(us("2026-11-21T12:00:00Z")) == 11
    assert BOOK.age_days(us("2027-11-10T12:00:00Z")) == 365
    assert BOOK.age_days(us("2020-01-01T00:00:00Z")) == 0


def test_a_search_finds_models_as_they_would_be_charged() -> None:
    providers = [provider.prices for provider in by_maker(load_providers())]
    book = load_price_book([PriceOverride(provider="openai", model="house-gpt", rates=MINE)])

    sheets = book.search("GPT-4o", providers=providers, at_us=NOW, limit=1000)
    found = {(sheet.provider, sheet.model): sheet for sheet in sheets}

    assert len({(sheet.source, sheet.model) for sheet in sheets}) == len(sheets)
    assert found["openai", "gpt-4o"].rates["input_tokens"].nanos == 2_500
    assert ("openrouter", "openai/gpt-4o") in found
    assert [sheet.source for sheet in book.search("house-gpt", providers=providers, at_us=NOW)] == ["operator"]
    assert [sheet.model for sheet in book.search("codestral-2501", providers=[MISTRAL], at_us=NOW)] == []
    assert "codestral-latest" in [sheet.model for sheet in book.search("codestral", providers=[MISTRAL], at_us=NOW)]
    assert {sheet.model for sheet in book.search("mistral-large-latest", providers=[MISTRAL], at_us=NOW)} == {
        "mistral-large-latest"
    }
    assert len(book.search("", providers=providers, at_us=NOW, limit=7)) == 7


METERED = {
    "chat.completions",
    "completions",
    "responses",
    "embeddings",
    "messages",
    "generateContent",
    "streamGenerateContent",
}
COVERED = {
    *("openai", "anthropic", "google", "google-vertex", "azure", "mistral", "groq", "deepseek", "xai", "together"),
    *("fireworks", "openrouter", "perplexity", "cerebras"),
}
"""Providers whose every recorded model is to have a price."""
KNOWN_GAPS = {
    "azure": {"azure_deployment-2025-04-14", "openllmetry-testing", "embed-english-v3.0"},
    "cerebras": {"qwen-3-coder-480b"},
    "google": {"gemini"},
    "groq": {"allam-2-7b"},
    "mistral": {"llama-3.2-90b-vision-preview", "mistral-small-2402"},
    "openai": {"qwen/qwen3-0.6b", "gpt-5-2026-01-01", "gpt-5.4-2025-04-14", "llama-cpp-reasoning-model"},
    "openrouter": {"openai/o1-preview", "x-ai/grok-4", "text-embedding-3-small", "text-embedding-ada-002-v2"},
}
"""Names that recorders put in, models of others behind an OpenAI address, and a few that are gone or cost by contract."""


@pytest.mark.recorded
def test_every_recorded_model_has_a_price_but_for_known_gaps(shared: Path) -> None:
    index = load_providers()
    priced, gaps = 0, Counter[tuple[str, str]]()
    with gzip.open(shared / "traffic" / "recorded.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            provider = index.get(row["provider_guess"]) if row["provider_guess"] in COVERED else None
            model = (row["expected"] or {}).get("model") or row["url_model"] or row["request_model"]
            if provider is None or row["endpoint"] not in METERED or model is None:
                continue
            if BOOK.sheet(provider=provider.prices, model=model, at_us=NOW) is not None:
                priced += 1
            else:
                gaps[provider.id, model.lower()] += 1

    unexpected = {gap: count for gap, count in gaps.items() if gap[1] not in KNOWN_GAPS.get(gap[0], set())}
    assert unexpected == {}
    assert priced > 4_000
    assert sum(gaps.values()) < priced / 100


def test_the_age_of_an_unknown_version_is_guessed_from_its_newest_price() -> None:
    rows = replace(load_rows(), genai_released={})
    book = PriceBook(rows=rows, genai=GenaiPrices())

    assert 0 <= book.age_days(us("2026-11-21T12:00:00Z")) < 60
    assert book.age_days(us("2030-01-01T00:00:00Z")) > 365
