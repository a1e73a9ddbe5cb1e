"""genai-prices, wrapped: prices as rates of ours, by an explicit provider, never by a URL.

Its import takes most of a second, so it waits until the first price is asked for, or ``warm``. What is known to be
wrong or missing in it is guarded here and in ``rows.toml``: units without a price are left to ``core.pricing`` (it would
charge 0), an unknown service tier is flagged (it would silently take the standard price), and so are prices by the time
of day (it knows neither weekdays nor a first day).
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.core.errors import InvalidInput
from lava_proxy.core.pricing import Rate, rate
from lava_proxy.prices.names import spellings

if TYPE_CHECKING:
    from genai_prices.types import ConditionalPrice, ModelInfo, ModelPrice, Provider

UNIT_OF_PRICE: Mapping[str, tuple[str, int]] = {
    "input_mtok": ("input_tokens", 1_000_000),
    "cache_read_mtok": ("cached_input_tokens", 1_000_000),
    "cache_write_mtok": ("cache_write_tokens", 1_000_000),
    "cache_write_5m_mtok": ("cache_write_tokens", 1_000_000),
    "cache_write_1h_mtok": ("cache_write_1h_tokens", 1_000_000),
    "input_audio_mtok": ("input_audio_tokens", 1_000_000),
    "cache_audio_read_mtok": ("cached_audio_tokens", 1_000_000),
    "input_image_mtok": ("input_image_tokens", 1_000_000),
    "output_mtok": ("output_tokens", 1_000_000),
    "output_reasoning_mtok": ("reasoning_tokens", 1_000_000),
    "output_audio_mtok": ("output_audio_tokens", 1_000_000),
    "output_image_mtok": ("output_image_tokens", 1_000_000),
    "input_mchars": ("input_characters", 1_000_000),
    "input_audio_hours": ("input_seconds", 3600),
    "output_audio_hours": ("output_seconds", 3600),
    "input_document_kpages": ("pages", 1000),
    "web_searches_kcount": ("searches", 1000),
    "requests_kcount": ("requests", 1000),
}
"""Their price keys and our units. The rest of their keys price what our usage does not tell apart."""

STANDARD_TIERS = frozenset({"", "auto", "default", "standard", "standard_only", "on_demand"})
_APART = re.compile(r"(input|output)_(video|citation|tool|text)(_\w+)?_mtok")
"""Tokens with a price of their own that usage counts among the others: their calls may be priced too low."""
_WHISPERS = ("whisper-large-v3", "whisper-large-v3-turbo")
_WHISPER_SECONDS_MIN = 10


class Found(Struct, frozen=True, kw_only=True):
    """One model's prices at one instant."""

    model: str
    source: str
    price_date: str
    rates: Mapping[str, Rate]
    flags: tuple[str, ...]


class GenaiPrices:
    """The bundled prices. Only reads them; safe for any thread."""

    def __init__(self, file: Path | None = None) -> None:
        """``file``: the ``data.json`` of another release, in the place of the installed one's data."""
        self._file = file
        self._lock = threading.Lock()
        self._all: list[Provider] = []

    @cached_property
    def version(self) -> str:
        return version("genai-prices") if self._file is None else self._file.name

    def warm(self) -> None:
        """Import the package now."""
        self._loaded()

    def find(self, provider_id: str, model: str, at: datetime, *, tier: str) -> Found | None:
        """Prices of a normal model name. ``tier`` is a service tier, speed or ``batch`` in lower case, ``""`` the standard.

        ``None``: the provider or the model is not in it, or has no price at all.
        """
        provider = self._provider(provider_id)
        if provider is None:
            return None
        for name in spellings(model):
            # Not through its snapshot: that remembers every name that anybody ever asked for.
            info = provider.find_model(name, all_providers=self._loaded())
            if info is not None:
                return self._found(provider, info, name, at, tier)
        return None

    def names(self, provider_id: str) -> list[str]:
        """A name that requests use for each of a provider's models; its id in their data is not always one."""
        provider = self._provider(provider_id)
        return [_request_name(info) for info in provider.models] if provider else []

    def newest_date(self, today: date) -> date | None:
        """The latest day, up to ``today``, on which any price in it began. Announced prices make it look fresher than it is."""
        from genai_prices.types import StartDateConstraint

        starts = [
            price.constraint.start_date
            for provider in self._loaded()
            for info in provider.models
            for price in (info.prices if isinstance(info.prices, list) else [])
            if isinstance(price.constraint, StartDateConstraint)
        ]
        return max((start for start in starts if start <= today), default=None)

    def _loaded(self) -> list[Provider]:
        if not self._all:
            with self._lock:
                self._all = _installed() if self._file is None else _read(self._file)
        return self._all

    def _provider(self, provider_id: str) -> Provider | None:
        return next((provider for provider in self._loaded() if provider.id == provider_id), None)

    def _found(self, provider: Provider, info: ModelInfo, name: str, at: datetime, tier: str) -> Found | None:
        owner = next((each for each in self._loaded() if any(info is own for own in each.models)), provider)
        context = _context(tier) if owner is provider else {}
        prices = info.get_prices(at, context)
        rates = _rates(prices)
        if not rates:
            return None
        if provider.id == "groq" and info.id in _WHISPERS and "input_seconds" in rates:
            rates["input_seconds"] = replace(rates["input_seconds"], minimum=_WHISPER_SECONDS_MIN)
        borrower = "" if owner is provider else f", for {provider.id}"
        return Found(
            model=info.id,
            source=f"genai-prices {self.version} {owner.id}/{info.id}{borrower}",
            price_date=_since(info, at),
            rates=rates,
            flags=_flags(info, name, context, at, tier, prices),
        )


def _installed() -> list[Provider]:
    from genai_prices.data import providers

    return providers


def _read(file: Path) -> list[Provider]:
    """
    Raises:
        InvalidInput: it is no such file.
    """
    from genai_prices.types import _providers_from_raw  # what its own update goes through

    try:
        return _providers_from_raw(json.loads(file.read_bytes()))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is no data.json of genai-prices"
        raise InvalidInput(f"book: {file} cannot be read: {said}", field="book") from error


def _flags(
    info: ModelInfo, name: str, context: Mapping[str, str], at: datetime, tier: str, prices: ModelPrice
) -> tuple[str, ...]:
    doubts = {
        "service_tier_unpriced": tier not in STANDARD_TIERS and not _has_variant(info, context, at),
        "time_of_day_price": _depends_on_the_hour(info),
        "fine_tune_at_base_price": name.startswith("ft:") and not info.id.startswith("ft:"),
        "modality_not_told_apart": any(_APART.fullmatch(key) for key, _ in _stored(prices)),
    }
    return tuple(flag for flag, is_so in doubts.items() if is_so)


def _context(tier: str) -> dict[str, str]:
    """What selects their variants: OpenAI's and Google's service tier, Anthropic's speed, a batch."""
    if not tier:
        return {}
    return {"service_tier": tier, "speed": tier, **({"processing": "batch"} if tier == "batch" else {})}


def _has_variant(info: ModelInfo, context: Mapping[str, str], at: datetime) -> bool:
    return any(
        all(context.get(key) == value for key, value in variant.when.items())
        and (variant.constraint is None or variant.constraint.active(at))
        for variant in info.price_variants or ()
    )


def _rates(prices: ModelPrice) -> dict[str, Rate]:
    from genai_prices.types import TieredPrices

    rates: dict[str, Rate] = {}
    for key, value in _stored(prices):
        if key not in UNIT_OF_PRICE:
            continue
        unit, per = UNIT_OF_PRICE[key]
        if isinstance(value, TieredPrices):
            rates[unit] = rate(value.base, per=per, steps=[(tier.start, tier.price) for tier in value.tiers])
        elif isinstance(value, Decimal):
            rates[unit] = rate(value, per=per)
    hours = dict(_stored(prices)).get("audio_hours")
    if isinstance(hours, Decimal):
        for unit in ("input_seconds", "output_seconds"):
            rates.setdefault(unit, rate(hours, per=3600))
    return rates


def _request_name(info: ModelInfo) -> str:
    if info.is_match(info.id):
        return info.id.lower()
    return next((name for name in _texts(info.match) if info.is_match(name)), info.id.lower())


def _texts(clause: object) -> Iterator[str]:
    """The texts that a match clause compares with, from the outside in."""
    for value in vars(clause).values():
        if isinstance(value, str):
            yield value.lower()
        elif isinstance(value, list):
            for part in value:
                yield from _texts(part)


def _stored(prices: ModelPrice) -> list[tuple[str, object]]:
    return [(key, value) for key, value in vars(prices).items() if value is not None and not key.startswith("_")]


def _conditions(info: ModelInfo) -> list[ConditionalPrice]:
    return info.prices if isinstance(info.prices, list) else []


def _depends_on_the_hour(info: ModelInfo) -> bool:
    from genai_prices.types import TimeOfDateConstraint

    return any(isinstance(price.constraint, TimeOfDateConstraint) for price in _conditions(info))


def _since(info: ModelInfo, at: datetime) -> str:
    """The day since which the standard price of that instant holds, where it has one."""
    from genai_prices.types import StartDateConstraint

    for price in reversed(_conditions(info)):
        if price.constraint is None or price.constraint.active(at):
            return price.constraint.start_date.isoformat() if isinstance(price.constraint, StartDateConstraint) else ""
    return ""
