"""Our own dated prices, from ``rows.toml``: see there for how they are kept."""

import tomllib
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Struct
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from lava_proxy.core.pricing import UNITS, Rate, rate
from lava_proxy.prices.names import any_fits
from lava_proxy.prices.windows import Holidays, Window, minutes_of, slot_of

ROWS_FILE = Path(__file__).parent / "rows.toml"
PER: Mapping[str, int] = {
    "input_seconds": 3600,
    "output_seconds": 3600,
    "images": 1,
    "searches": 1000,
    "pages": 1000,
    "requests": 1000,
    "video_seconds": 1,
    "credits": 1,
}
"""For how many units a price is written; a million where nothing is said here (tokens, characters)."""


def _unit(text: str) -> str:
    if text not in UNITS:
        raise ValueError(f"{text!r} is not a unit: {', '.join(UNITS)}")
    return text


def _dollars(text: str) -> str:
    try:
        price = Decimal(text)
    except InvalidOperation as fault:
        raise ValueError(f"{text!r} is not a price in dollars") from fault
    if not price.is_finite() or price < 0:
        raise ValueError(f"{text!r} is not a price in dollars")
    return text


def _at_slot(instant: datetime) -> datetime:
    slot_of(instant)
    return instant


def _hours(text: str) -> str:
    minutes_of(text)
    return text


Prices = dict[Annotated[str, AfterValidator(_unit)], Annotated[str, AfterValidator(_dollars)]]
Source = Annotated[str, Field(pattern=r"^https://\S+$")]
Models = Annotated[list[Annotated[str, Field(pattern=r"^[^A-Z\s]+$")]], Field(min_length=1)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _WindowTable(_Table):
    hours: Annotated[list[Annotated[str, AfterValidator(_hours)]], Field(min_length=1)]
    days: Literal["all", "weekdays"] = "all"
    holidays: str | None = None
    usd: Prices


class _RowTable(_Table):
    provider: str
    models: Models
    start: Annotated[datetime, AfterValidator(_at_slot)]
    source: Source
    checked: date
    flags: list[str] = []
    usd: Prices = {}
    same_as: str | None = None
    window: list[_WindowTable] = []

    @model_validator(mode="after")
    def _has_one_price(self) -> "_RowTable":
        if bool(self.usd) == bool(self.same_as):
            raise ValueError("a row has either prices (usd) or another model's (same_as)")
        return self


class _UpliftTable(_Table):
    provider: str
    region: str
    models: Models
    factor: Annotated[str, AfterValidator(_dollars)]
    source: Source
    checked: date


class _HolidaysTable(_Table):
    source: Source
    checked: date
    through: date
    days: list[date]


class _PackageTable(_Table):
    version: str
    released: date


class _RowsFile(_Table):
    schema_version: Literal[1] = Field(alias="schema")
    genai_prices: _PackageTable | None = Field(default=None, alias="genai-prices")
    holidays: dict[str, _HolidaysTable] = {}
    row: list[_RowTable] = []
    uplift: list[_UpliftTable] = []


class Row(Struct, frozen=True, kw_only=True):
    """A price of some models from ``start_slot`` on, or whose price they share."""

    provider: str
    models: tuple[str, ...]
    start_slot: int
    start: date
    source: str
    checked: date
    flags: tuple[str, ...]
    rates: Mapping[str, Rate]
    same_as: str | None
    windows: tuple[tuple[Window, Mapping[str, Rate]], ...]

    def rates_at(self, instant: datetime) -> tuple[Mapping[str, Rate], tuple[str, ...]]:
        """The rates of that instant, and the flags to go with them."""
        for window, rates in self.windows:
            if window.holds(instant):
                return rates, (*self.flags, "holidays_unknown") if window.is_guess(instant) else self.flags
        return self.rates, self.flags


class Uplift(Struct, frozen=True, kw_only=True):
    """By how much a region's prices are above the global ones."""

    provider: str
    region: str
    models: tuple[str, ...]
    factor: Fraction


class Rows(Struct, frozen=True, kw_only=True):
    """All rows and uplifts of the file."""

    rows: tuple[Row, ...]
    uplifts: tuple[Uplift, ...]
    genai_released: Mapping[str, date]
    """Version of genai-prices to the day of its release, as far as we know."""

    def find(self, provider: str, model: str, slot: int) -> Row | None:
        """The row that holds for a normal model name: the latest begun one; of those, an exact name's before a pattern's."""
        begun = (row for row in self.rows if row.provider == provider and row.start_slot <= slot)
        fitting = [row for row in begun if any_fits(row.models, model)]
        exact = [row for row in fitting if model in row.models]
        return max(exact or fitting, key=lambda row: row.start_slot, default=None)

    def uplift(self, provider: str, region: str, model: str) -> Fraction | None:
        """What to multiply with; ``None``: nobody knows."""
        for uplift in self.uplifts:
            if (uplift.provider, uplift.region) == (provider, region) and any_fits(uplift.models, model):
                return uplift.factor
        return None

    def names(self, provider: str) -> list[str]:
        """The models with a price of their own here, patterns left out."""
        found = (name for row in self.rows if row.provider == provider for name in row.models)
        return list(dict.fromkeys(name for name in found if "*" not in name))

    @property
    def checked(self) -> date:
        """The day when anything in the file was last compared with its source."""
        return max(row.checked for row in self.rows)


def load_rows(file: Path = ROWS_FILE) -> Rows:
    """The rows of ``file``.

    Raises:
        pydantic.ValidationError, tomllib.TOMLDecodeError: the file is wrong; it is ours, so that is a fault of ours.
    """
    table = _RowsFile.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    holidays = {
        name: Holidays(days=frozenset(found.days), through=found.through) for name, found in table.holidays.items()
    }
    rows = tuple(_row(row, holidays) for row in table.row)
    uplifts = tuple(
        Uplift(
            provider=uplift.provider,
            region=uplift.region,
            models=tuple(uplift.models),
            factor=Fraction(Decimal(uplift.factor)),
        )
        for uplift in table.uplift
    )
    package = table.genai_prices
    released = {package.version: package.released} if package is not None else {}
    return Rows(rows=rows, uplifts=uplifts, genai_released=released)


def _row(table: _RowTable, holidays: Mapping[str, Holidays]) -> Row:
    windows = tuple((_window(window, holidays), rates_of(window.usd)) for window in table.window)
    return Row(
        provider=table.provider,
        models=tuple(table.models),
        start_slot=slot_of(table.start),
        start=table.start.date(),
        source=table.source,
        checked=table.checked,
        flags=tuple(table.flags),
        rates=rates_of(table.usd),
        same_as=table.same_as,
        windows=windows,
    )


def _window(table: _WindowTable, holidays: Mapping[str, Holidays]) -> Window:
    return Window(
        hours=tuple(minutes_of(text) for text in table.hours),
        weekdays_only=table.days == "weekdays",
        holidays=holidays[table.holidays] if table.holidays is not None else None,
    )


def rates_of(usd: Mapping[str, str]) -> dict[str, Rate]:
    """Rates from prices as they are written: dollars for a million, or for what ``PER`` says."""
    return {unit: rate(Decimal(price), per=PER.get(unit, 1_000_000)) for unit, price in usd.items()}
