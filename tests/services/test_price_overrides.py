"""The operator's own prices: dated, taken up by those who hold the book, and ended without being forgotten."""

import json
import time
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from lava_proxy.core.errors import InvalidInput, NotFound
from lava_proxy.prices import PriceBook, load_price_book
from lava_proxy.services.audit import entries
from lava_proxy.services.price_overrides import PriceOverrides, PriceWatch, differences
from lava_proxy.wiring import House
from tests.services.conftest import AT, DAY_US, ME, TestClock, Traffic

OPENAI = ("lava:openai", "genai-prices:openai")
PER = 1_000_000


@pytest.fixture
def book(price_book: PriceBook) -> PriceBook:
    """A book of its own: the one that tests share keeps no overrides."""
    return price_book.with_overrides(())


@pytest.fixture
def own(house: House, book: PriceBook) -> PriceOverrides:
    return PriceOverrides(ledger=house.ledger, clock=house.clock, book=book, providers=house.providers)


def input_usd(book: PriceBook, at_us: int, model: str = "gpt-4o-mini") -> Fraction | None:
    sheet = book.sheet(provider=OPENAI, model=model, at_us=at_us)
    return sheet.rates["input_tokens"].nanos * PER / 10**9 if sheet else None


def set_input(own: PriceOverrides, usd: str, since_us: int, model: str = "gpt-4o-mini") -> None:
    nanos = int(Decimal(usd) * 10**9)
    own.set("openai", model, {"input_tokens": (nanos, PER)}, since_us=since_us, note="", by=ME)


def test_a_price_holds_from_its_day_on_and_the_later_of_two_wins(own: PriceOverrides, book: PriceBook) -> None:
    before = input_usd(book, AT)
    set_input(own, "0.12", AT + DAY_US)
    set_input(own, "0.10", AT + 2 * DAY_US)
    found = [input_usd(book, AT + days * DAY_US) for days in (0, 1, 2)]
    assert found == [before, Fraction(12, 100), Fraction(10, 100)]


def test_one_with_the_same_begin_is_replaced_and_the_star_means_any_model(own: PriceOverrides, book: PriceBook) -> None:
    set_input(own, "0.12", AT, "My-*")
    set_input(own, "0.11", AT, "my-*")
    assert input_usd(book, AT, "my-own-model") == Fraction(11, 100)
    assert len(own.all()) == 1


def test_an_ended_price_still_holds_for_its_time(own: PriceOverrides, book: PriceBook) -> None:
    before = input_usd(book, AT)
    set_input(own, "9", AT)
    set_input(own, "8", AT + 5 * DAY_US)
    ended = own.unset("openai", "gpt-4o-mini", at_us=AT + DAY_US, by=ME).value
    assert ended.count == 2
    assert [input_usd(book, AT + days * DAY_US) for days in (0, 1, 6)] == [9, before, before]
    with pytest.raises(NotFound):
        own.unset("openai", "gpt-4o-mini", at_us=AT + DAY_US, by=ME)


def test_a_running_process_takes_a_price_up_when_it_looks(
    own: PriceOverrides, house: House, price_book: PriceBook
) -> None:
    elsewhere = price_book.with_overrides(())
    watch = PriceWatch(ledger=house.ledger, book=elsewhere)
    watch.look()
    set_input(own, "7", AT)
    assert input_usd(elsewhere, AT) != 7
    assert (watch.look(), watch.look()) == (1, 0)
    assert input_usd(elsewhere, AT) == 7


def test_calls_are_charged_at_it(own: PriceOverrides, house: House, traffic: Traffic, clock: TestClock) -> None:
    own.set(
        "openai",
        "gpt-4o-mini",
        {"input_tokens": (5 * 10**9, PER), "output_tokens": (0, PER)},
        since_us=AT,
        note="",
        by=ME,
    )
    PriceWatch(ledger=house.ledger, book=house.prices).look()
    try:
        record = house.requests.get(traffic.call(None, input_tokens=PER)).record
        assert record is not None and (record.cost_nanos, record.price_source) == (5 * 10**9, "operator")
    finally:
        house.prices.override(())


def test_what_cannot_be_is_refused_and_nothing_is_written(own: PriceOverrides, house: House) -> None:
    before = house.ledger.books().last_sequence(), own.all()
    with pytest.raises(NotFound):
        own.set("nosuch", "m", {"input_tokens": (1, PER)}, since_us=AT, note="", by=ME)
    for model, units in (("", {"pages": (1, 1)}), ("m", {}), ("m", {"bananas": (1, 1)}), ("m", {"pages": (-1, 1)})):
        with pytest.raises(InvalidInput):
            own.set("openai", model, units, since_us=AT, note="", by=ME)
    assert (house.ledger.books().last_sequence(), own.all()) == before


def test_changes_are_in_the_audit_log(own: PriceOverrides, house: House) -> None:
    set_input(own, "7", AT)
    own.unset("openai", "gpt-4o-mini", at_us=AT + 1, by=ME)
    last, first = entries(house.ledger, action="prices.")
    assert (first.action, last.action, last.subject) == ("prices.set", "prices.unset", "openai/gpt-4o-mini")
    assert json.loads(first.after)[0]["unit_prices"]["input_tokens"]["usd"] == "7"


def test_differences_tell_each_unit_that_changed(own: PriceOverrides, house: House, book: PriceBook) -> None:
    own.set("openai", "gpt-4o-mini", {"input_tokens": (300_000_000, PER)}, since_us=AT, note="", by=ME)
    plain = book.with_overrides(())
    found = differences(plain, book, providers=house.providers, before_us=AT, after_us=AT, only="openai")
    lines = {each.unit: each for each in found if each.model == "gpt-4o-mini"}
    assert (lines["input_tokens"].before, lines["input_tokens"].after) == ("0.15", "0.3")
    assert lines["input_tokens"].change_basis_points == 10_000
    assert (lines["cached_input_tokens"].after, lines["output_tokens"].after) == ("0.3", None)
    assert not differences(plain, plain, providers=house.providers, before_us=AT, after_us=AT, only="openai")


def test_another_release_of_the_book_is_read_from_its_file(house: House, tmp_path: Path, book: PriceBook) -> None:
    model = {"id": "gpt-4o-mini", "match": {"equals": "gpt-4o-mini"}, "prices": {"input_mtok": 0.2, "output_mtok": 0.6}}
    provider = {"id": "openai", "name": "OpenAI", "api_pattern": "https://api\\.openai\\.com", "models": [model]}
    file = tmp_path / "data.json"
    file.write_text(json.dumps([provider]))
    assert input_usd(load_price_book(genai_file=file), AT) == Fraction(1, 5)
    file.write_text("{")
    with pytest.raises(InvalidInput, match="book"):
        input_usd(load_price_book(genai_file=file), AT)


def test_a_running_proxy_takes_a_price_up_by_itself(
    own: PriceOverrides, house: House, price_book: PriceBook, traffic: Traffic
) -> None:
    house.prices = price_book.with_overrides(())
    upkeep = house.upkeep(traffic.registered.instance.instance_id, traffic.line)
    upkeep.start()
    try:
        set_input(own, "7", AT)
        for _ in range(200):
            if input_usd(house.prices, AT) == 7:
                break
            time.sleep(0.05)
    finally:
        upkeep.stop()
    assert input_usd(house.prices, AT) == 7
