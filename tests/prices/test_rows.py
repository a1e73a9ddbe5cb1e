"""Our own dated rows: written once, never rewritten, each with its source."""

from collections import Counter
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path

import pytest
from pydantic import ValidationError

from lava_proxy.core.pricing import PriceSheet
from lava_proxy.prices import load_price_book
from lava_proxy.prices.rows import load_rows
from lava_proxy.providers import load_providers
from tests.prices.instants import DEEPSEEK, MISTRAL, NOW, OPENAI, OPENROUTER, us

BOOK = load_price_book()

ROW = """
schema = 1
[[row]]
provider = "p"
models = ["m"]
start = 2026-01-01T00:00:00Z
source = "https://example.com"
checked = 2026-01-02
"""


def sheet_at(instant: str, model: str, names: tuple[str, ...] = DEEPSEEK) -> PriceSheet:
    sheet = BOOK.sheet(provider=names, model=model, at_us=us(instant))
    assert sheet is not None, (instant, model)
    return sheet


def dollars(sheet: PriceSheet, unit: str) -> Decimal:
    """Dollars for a million units."""
    nanos = sheet.effective[unit].nanos
    return Decimal(nanos.numerator) / Decimal(nanos.denominator) / 1000


def triple(instant: str, model: str) -> tuple[Decimal, Decimal, Decimal]:
    sheet = sheet_at(instant, model)
    return dollars(sheet, "input_tokens"), dollars(sheet, "cached_input_tokens"), dollars(sheet, "output_tokens")


def of(*texts: str) -> tuple[Decimal, ...]:
    return tuple(Decimal(text) for text in texts)


def test_every_row_belongs_to_a_provider_and_starts_once() -> None:
    rows = load_rows()
    providers = {provider.id for provider in load_providers().providers}
    starts = Counter((row.provider, model, row.start_slot) for row in rows.rows for model in row.models)

    assert {row.provider for row in rows.rows} <= providers
    assert {uplift.provider for uplift in rows.uplifts} <= providers
    assert [start for start, times in starts.items() if times > 1] == []


def test_the_release_day_of_the_installed_genai_prices_is_written_down() -> None:
    assert version("genai-prices") in load_rows().genai_released


def test_every_region_of_a_provider_has_its_factor() -> None:
    rows = load_rows()
    known = {(uplift.provider, uplift.region) for uplift in rows.uplifts}
    named = {(provider.id, region) for provider in load_providers().providers for region in provider.regions.values()}

    assert named <= known


def test_every_alias_leads_to_a_price() -> None:
    for row in load_rows().rows:
        if row.same_as is not None:
            names = (f"lava:{row.provider}", f"genai-prices:{row.provider}")
            assert BOOK.sheet(provider=names, model=row.same_as, at_us=NOW) is not None, row.same_as


# Peak and off-peak, from DeepSeek's pages: 01:00-04:00 and 06:00-10:00 UTC on working days, since 2026-08-16 16:00 UTC.


@pytest.mark.parametrize(
    ("instant", "is_peak"),
    [
        ("2026-11-20T00:59:59Z", False),
        ("2026-11-20T01:00:00Z", True),
        ("2026-11-20T03:59:59Z", True),
        ("2026-11-20T04:00:00Z", False),
        ("2026-11-20T06:00:00Z", True),
        ("2026-11-20T10:00:00Z", False),
        ("2026-11-21T02:00:00Z", False),
        ("2026-11-22T07:00:00Z", False),
        ("2026-10-01T02:00:00Z", False),
        ("2026-10-08T02:00:00Z", True),
        ("2026-09-20T02:00:00Z", False),
    ],
)
def test_fault_13_a_weekend_or_a_holiday_is_off_peak(instant: str, is_peak: bool) -> None:
    flash = of("0.30", "0.006", "1.20") if is_peak else of("0.15", "0.003", "0.60")
    pro = of("1.32", "0.044", "3.96") if is_peak else of("0.66", "0.022", "1.98")

    assert triple(instant, "deepseek-flash") == flash
    assert triple(instant, "deepseek-v4-flash") == flash
    assert triple(instant, "DeepSeek-V4-Flash-0731") == flash
    assert triple(instant, "deepseek-v4-pro") == pro


@pytest.mark.parametrize(
    ("instant", "prices"),
    [
        ("2026-04-25T02:00:00Z", of("0.14", "0.028", "0.28")),
        ("2026-06-01T02:00:00Z", of("0.14", "0.0028", "0.28")),
        ("2026-08-16T15:59:59Z", of("0.14", "0.0028", "0.28")),
        ("2026-08-16T16:00:00Z", of("0.22", "0.007", "0.66")),
        ("2026-08-17T02:00:00Z", of("0.44", "0.014", "1.32")),
        ("2026-09-10T03:59:59Z", of("0.44", "0.014", "1.32")),
        ("2026-09-10T04:00:00Z", of("0.15", "0.003", "0.60")),
    ],
)
def test_fault_13_a_past_hour_is_priced_as_it_was_then(instant: str, prices: tuple[Decimal, ...]) -> None:
    assert triple(instant, "deepseek-v4-flash") == prices


@pytest.mark.parametrize(
    ("instant", "chat", "reasoner"),
    [
        ("2025-02-20T20:00:00Z", of("0.27", "0.07", "1.10"), of("0.55", "0.14", "2.19")),
        ("2025-06-01T12:00:00Z", of("0.27", "0.07", "1.10"), of("0.55", "0.14", "2.19")),
        ("2025-06-01T20:00:00Z", of("0.135", "0.035", "0.55"), of("0.135", "0.035", "0.55")),
        ("2025-06-02T00:15:00Z", of("0.135", "0.035", "0.55"), of("0.135", "0.035", "0.55")),
        ("2025-09-10T20:00:00Z", of("0.56", "0.07", "1.68"), of("0.56", "0.07", "1.68")),
        ("2025-12-01T20:00:00Z", of("0.28", "0.028", "0.42"), of("0.28", "0.028", "0.42")),
        ("2026-06-01T02:00:00Z", of("0.14", "0.0028", "0.28"), of("0.14", "0.0028", "0.28")),
    ],
)
def test_the_old_names_of_deepseek_cost_what_they_cost_then(
    instant: str, chat: tuple[Decimal, ...], reasoner: tuple[Decimal, ...]
) -> None:
    assert triple(instant, "deepseek-chat") == chat
    assert triple(instant, "deepseek-reasoner") == reasoner


def test_a_retired_model_is_priced_as_its_successor_and_flagged() -> None:
    assert sheet_at("2026-07-01T00:00:00Z", "deepseek-chat").flags == ()
    assert sheet_at("2026-11-20T02:00:00Z", "deepseek-chat").flags == ("retired_model",)
    assert triple("2026-11-20T02:00:00Z", "deepseek-chat") == of("0.30", "0.006", "1.20")


def test_beyond_the_known_holidays_a_peak_price_is_flagged() -> None:
    assert sheet_at("2027-10-01T02:00:00Z", "deepseek-flash").flags == ("holidays_unknown",)
    assert sheet_at("2027-10-01T05:00:00Z", "deepseek-flash").flags == ()


@pytest.mark.parametrize(
    ("instant", "model", "input_price", "output_price"),
    [
        ("2025-12-01T00:00:00Z", "mistral-large-latest", "2", "6"),
        ("2025-12-02T00:00:00Z", "mistral-large-latest", "0.5", "1.5"),
        ("2025-11-01T00:00:00Z", "ministral-3b-latest", "0.04", "0.04"),
        ("2026-11-21T00:00:00Z", "ministral-3b-latest", "0.1", "0.1"),
        ("2026-06-01T00:00:00Z", "mistral-medium", "0.4", "2"),
        ("2026-11-21T00:00:00Z", "mistral-medium", "1.5", "7.5"),
        ("2026-06-01T00:00:00Z", "magistral-small-latest", "0.5", "1.5"),
        ("2026-11-21T00:00:00Z", "magistral-small-latest", "0.15", "0.6"),
        ("2026-06-01T00:00:00Z", "magistral-medium-latest", "2", "5"),
        ("2026-11-21T00:00:00Z", "magistral-medium-latest", "1.5", "7.5"),
        ("2026-11-21T00:00:00Z", "devstral-latest", "0.4", "2"),
        ("2026-11-21T00:00:00Z", "mistral-large-4", "0.7", "2.1"),
    ],
)
def test_an_alias_costs_what_it_stood_for_at_the_time(
    instant: str, model: str, input_price: str, output_price: str
) -> None:
    sheet = sheet_at(instant, model, MISTRAL)

    assert (dollars(sheet, "input_tokens"), dollars(sheet, "output_tokens")) == of(input_price, output_price)


def test_an_alias_says_what_it_stands_for_and_who_says_so() -> None:
    sheet = sheet_at("2026-11-21T00:00:00Z", "mistral-large-latest", MISTRAL)

    assert sheet.model == "mistral-large-2512"
    assert sheet.source == (
        "lava https://docs.mistral.ai/models/mistral-large-3-25-12 (2026-11-21): "
        f"mistral-large-latest is genai-prices {version('genai-prices')} mistral/mistral-large-2512"
    )


def test_a_row_says_its_source_and_its_first_day() -> None:
    sheet = sheet_at("2026-11-21T00:00:00Z", "deepseek-flash")

    assert sheet.source == "lava https://api-docs.deepseek.com/news/news260910/ (2026-11-21)"
    assert sheet.price_date == "2026-09-10"


@pytest.mark.parametrize(
    ("model", "input_price", "cached_price", "output_price"),
    [
        ("ft:gpt-4.1-2025-04-14:acme::abc", "3", "0.75", "12"),
        ("ft:gpt-4.1-mini-2025-04-14:acme:bot:abc", "0.8", "0.2", "3.2"),
        ("ft:gpt-4o-mini:acme::abc", "0.3", "0.15", "1.2"),
        ("ft:gpt-4o-mini-2024-07-18:acme::abc", "0.3", "0.15", "1.2"),
        ("ft:gpt-4o-2024-08-06:acme::abc", "3.75", "1.875", "15"),
        ("ft:o4-mini-2025-04-16:acme::abc", "4", "1", "16"),
    ],
)
def test_a_fine_tuned_model_costs_more_than_the_one_under_it(
    model: str, input_price: str, cached_price: str, output_price: str
) -> None:
    sheet = sheet_at("2026-11-21T00:00:00Z", model, OPENAI)

    assert sheet.flags == ()
    assert dollars(sheet, "input_tokens") == Decimal(input_price)
    assert dollars(sheet, "cached_input_tokens") == Decimal(cached_price)
    assert dollars(sheet, "output_tokens") == Decimal(output_price)


def test_a_fine_tuned_model_at_the_price_of_the_one_under_it_is_flagged() -> None:
    assert "fine_tune_at_base_price" in sheet_at("2026-11-21T00:00:00Z", "ft:gpt-4-0613:acme::abc", OPENAI).flags


def test_an_unknown_fine_tuned_model_has_no_price() -> None:
    assert BOOK.sheet(provider=OPENAI, model="ft:gpt-9:acme::abc", at_us=NOW) is None


def test_a_model_that_is_free_by_its_name_costs_nothing() -> None:
    assert dollars(sheet_at("2026-11-21T00:00:00Z", "vendor/any-model:free", OPENROUTER), "input_tokens") == 0


def load(tmp_path: Path, text: str) -> None:
    file = tmp_path / "rows.toml"
    file.write_text(text, encoding="utf-8")
    load_rows(file)


def test_a_proper_row_loads(tmp_path: Path) -> None:
    load(tmp_path, ROW + 'usd = { input_tokens = "1", input_seconds = "0.36" }\n')


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("", "either prices"),
        ('usd = { input_tokens = "1" }\nsame_as = "n"\n', "either prices"),
        ("usd = { input_tokens = 1.0 }\n", "valid string"),
        ('usd = { input_token = "1" }\n', "is not a unit"),
        ('usd = { input_tokens = "-1" }\n', "not a price"),
        ('usd = { input_tokens = "NaN" }\n', "not a price"),
        ('usd = { input_tokens = "one" }\n', "not a price"),
        ('usd = { input_tokens = "1" }\nprice = "1"\n', "not permitted"),
        (
            'usd = { input_tokens = "1" }\n[[row.window]]\nhours = ["01:10-02:00"]\nusd = { input_tokens = "1" }\n',
            "quarter",
        ),
    ],
)
def test_a_row_that_cannot_be_is_refused(tmp_path: Path, change: str, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        load(tmp_path, ROW + change)


def test_a_row_may_not_start_inside_a_slot(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="quarter of an hour"):
        load(tmp_path, ROW.replace("T00:00:00Z", "T00:07:00Z") + 'usd = { input_tokens = "1" }\n')
