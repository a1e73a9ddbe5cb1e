"""The price book: which prices hold for a model, at an instant, at a provider."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

from lava_proxy.core.pricing import PriceSheet, Rate
from lava_proxy.prices.genai import STANDARD_TIERS, GenaiPrices
from lava_proxy.prices.names import MODEL_LENGTH_MAX, fits, normal_model
from lava_proxy.prices.rows import Row, Rows, load_rows
from lava_proxy.prices.windows import SLOT_US, instant_of

OWN = "lava"
GENAI = "genai-prices"
GLOBAL_REGIONS = frozenset({"", "global", "not_available"})
_REMEMBERED_MAX = 4096
_ALIASES_MAX = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceOverride:
    """A price that the operator knows better, from ``start_us`` until ``end_us`` (not in it). It replaces all units."""

    provider: str
    """A provider's id, or ``*``."""
    model: str
    """A model's name; ``*`` stands for any text."""
    rates: Mapping[str, Rate]
    start_us: int = 0
    end_us: int | None = None
    note: str = ""

    def holds(self, at_us: int) -> bool:
        return self.start_us <= at_us and (self.end_us is None or at_us < self.end_us)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a sheet is compiled for. A slot has one price; see ``windows``."""

    names: tuple[str, ...]
    model: str
    slot: int
    tier: str
    region: str


class _Overrides:
    """The operator's own prices, compiled. Never changes: other overrides are another one of these."""

    def __init__(self, overrides: Sequence[PriceOverride]) -> None:
        self.entries = tuple((override, _sheet_of(override)) for override in overrides)
        self.dressed = lru_cache(maxsize=_REMEMBERED_MAX)(self._dress)

    def _dress(self, number: int, provider: str, model: str, tier: str) -> PriceSheet:
        _, sheet = self.entries[number]
        return replace(sheet, provider=provider, model=model, flags=_tier_flags(tier))


class PriceBook:
    """Operator's overrides, then our rows, then genai-prices. Safe for any thread; only its overrides can be exchanged."""

    def __init__(self, *, rows: Rows, genai: GenaiPrices, overrides: Sequence[PriceOverride] = ()) -> None:
        self._rows, self._genai = rows, genai
        self._overrides = _Overrides(overrides)
        self._compiled = lru_cache(maxsize=_REMEMBERED_MAX)(self._compile)

    def sheet(
        self,
        *,
        provider: tuple[str, ...],
        model: str,
        at_us: int,
        service_tier: str | None = None,
        batch: bool = False,
        region: str | None = None,
    ) -> PriceSheet | None:
        """The prices of ``model`` at ``at_us``; ``None``: nobody knows any.

        Args:
            provider: the provider's names in books, in the order to ask: ``lava:<id>``, ``genai-prices:<id>``.
            service_tier: as the answer names it (``flex``, ``priority``, ``fast`` …); ``None`` is the standard rate.
            batch: the call is part of a batch.
            region: where the provider computed it, if it was asked to; ``None`` is anywhere.
        """
        tier = "batch" if batch else service_tier or ""
        if self._overrides.entries:
            sheet = self._overridden(provider, model, at_us, tier)
            if sheet is not None:
                return sheet
        return self._compiled(provider, model, at_us // SLOT_US, tier, region or "")

    def with_overrides(self, overrides: Sequence[PriceOverride]) -> "PriceBook":
        """The same book with these overrides in place of its own."""
        return PriceBook(rows=self._rows, genai=self._genai, overrides=overrides)

    def override(self, overrides: Sequence[PriceOverride]) -> None:
        """Put these overrides in the place of its own, for everybody who holds this book, from the next question on."""
        self._overrides = _Overrides(overrides)

    @property
    def overrides(self) -> tuple[PriceOverride, ...]:
        """The operator's own prices."""
        return tuple(override for override, _ in self._overrides.entries)

    def names(self, provider: tuple[str, ...]) -> tuple[str, ...]:
        """The models of a provider, by the names that requests use."""
        return tuple(self._known(provider))

    def warm(self) -> None:
        """Load what is slow to load, before the first call needs it."""
        self._genai.warm()

    def search(
        self, text: str, *, providers: Iterable[tuple[str, ...]], at_us: int, limit: int = 50
    ) -> tuple[PriceSheet, ...]:
        """Sheets of models whose name contains ``text``, at these providers (each by its names), as they would be charged.

        A price that several of them have out of the same book, as gateways do, is told once: of the first.
        """
        wanted = normal_model(text)
        found: dict[tuple[str, str], PriceSheet] = {}
        for names in providers:
            for model in self._known(names):
                if wanted in model and len(found) < limit:
                    sheet = self.sheet(provider=names, model=model, at_us=at_us)
                    if sheet is not None:
                        is_shared = sheet.source.startswith(GENAI)
                        key = sheet.source if is_shared else f"{sheet.provider} {sheet.source}"
                        found.setdefault((key, model), replace(sheet, model=model))
        return tuple(found.values())

    @property
    def version(self) -> str:
        """What the prices are made of: packages and days."""
        return f"genai-prices {self._genai.version}, own rows of {self._rows.checked.isoformat()}"

    def age_days(self, now_us: int) -> int:
        """Days since the bulk of the prices was published; past some weeks, new models and price cuts are missing."""
        today = instant_of(now_us // SLOT_US).date()
        published = self._rows.genai_released.get(self._genai.version) or self._genai.newest_date(today)
        return max((today - (published or self._rows.checked)).days, 0)

    def _known(self, names: tuple[str, ...]) -> list[str]:
        known: list[str] = []
        for book, _, name in (full.partition(":") for full in names):
            if book == OWN:
                mine = (override for override, _ in self._overrides.entries if override.provider in (name, "*"))
                known += [override.model.lower() for override in mine if "*" not in override.model]
                known += self._rows.names(name)
            elif book == GENAI:
                known += self._genai.names(name)
        return sorted(dict.fromkeys(known))

    def _compile(self, names: tuple[str, ...], model: str, slot: int, tier: str, region: str) -> PriceSheet | None:
        if not model or len(model) > MODEL_LENGTH_MAX:
            return None
        asked = _Asked(names=names, model=normal_model(model), slot=slot, tier=tier.lower(), region=region.lower())
        own = _own(names)
        sheet = self._found(asked, own)
        return sheet if sheet is None or asked.region in GLOBAL_REGIONS else self._in_region(sheet, asked, own)

    def _found(self, asked: _Asked, own: str, depth: int = 0) -> PriceSheet | None:
        for book, _, name in (full.partition(":") for full in asked.names):
            if book == OWN:
                sheet = self._from_rows(asked, name, own, depth)
            else:
                sheet = self._from_genai(asked, name, own) if book == GENAI else None
            if sheet is not None:
                return sheet
        return None

    def _overridden(self, names: tuple[str, ...], model: str, at_us: int, tier: str) -> PriceSheet | None:
        """The operator's own price, to the microsecond. It is what they say in any region."""
        name, asked, own = _own(names), normal_model(model), self._overrides
        holding = [
            number
            for number, (override, _) in enumerate(own.entries)
            if override.provider in (name, "*") and fits(override.model, asked) and override.holds(at_us)
        ]
        if not holding:
            return None
        return own.dressed(max(holding, key=lambda number: own.entries[number][0].start_us), name, asked, tier)

    def _from_rows(self, asked: _Asked, provider: str, own: str, depth: int) -> PriceSheet | None:
        row = self._rows.find(provider, asked.model, asked.slot)
        if row is None:
            return None
        if row.same_as is not None:
            return self._aliased(row, asked, own, depth)
        rates, flags = row.rates_at(instant_of(asked.slot))
        return PriceSheet(
            provider=provider,
            model=asked.model,
            source=f"lava {row.source} ({row.checked.isoformat()})",
            price_date=row.start.isoformat(),
            rates=rates,
            flags=(*flags, *_tier_flags(asked.tier)),
        )

    def _aliased(self, row: Row, asked: _Asked, own: str, depth: int) -> PriceSheet | None:
        if row.same_as is None or depth >= _ALIASES_MAX:
            return None
        sheet = self._found(replace(asked, model=row.same_as), own, depth + 1)
        if sheet is None:
            return None
        source = f"lava {row.source} ({row.checked.isoformat()}): {asked.model} is {sheet.source}"
        return replace(sheet, source=source, flags=tuple(dict.fromkeys((*sheet.flags, *row.flags))))

    def _from_genai(self, asked: _Asked, name: str, own: str) -> PriceSheet | None:
        found = self._genai.find(name, asked.model, instant_of(asked.slot), tier=asked.tier)
        if found is None:
            return None
        return PriceSheet(
            provider=own or name,
            model=found.model,
            source=found.source,
            price_date=found.price_date,
            rates=found.rates,
            flags=found.flags,
        )

    def _in_region(self, sheet: PriceSheet, asked: _Asked, own: str) -> PriceSheet:
        factor = self._rows.uplift(own, asked.region, asked.model)
        if factor is None:
            return replace(sheet, flags=(*sheet.flags, "regional_price_unknown"))
        if factor == 1:
            return sheet
        return replace(sheet, rates={unit: _lifted(unit, rate, factor) for unit, rate in sheet.rates.items()})


def load_price_book(overrides: Sequence[PriceOverride] = (), *, genai_file: Path | None = None) -> PriceBook:
    """The price book with the operator's ``overrides``. Quick: what is slow waits for the first question, or ``warm``.

    ``genai_file``: other data of genai-prices than those of the installed package: its ``data.json`` of any release.
    """
    return PriceBook(rows=load_rows(), genai=GenaiPrices(genai_file), overrides=overrides)


def _own(names: tuple[str, ...]) -> str:
    """The provider's own id: by convention its first name is ``lava:<id>``."""
    return names[0].partition(":")[2] if names else ""


def _sheet_of(override: PriceOverride) -> PriceSheet:
    since = instant_of(override.start_us // SLOT_US).date().isoformat() if override.start_us else ""
    return PriceSheet(
        provider=override.provider, model=override.model, source="operator", price_date=since, rates=override.rates
    )


def _tier_flags(tier: str) -> tuple[str, ...]:
    return () if tier.lower() in STANDARD_TIERS else ("service_tier_unpriced",)


def _lifted(unit: str, rate: Rate, factor: Fraction) -> Rate:
    """Regions lift the price of tokens, not of tools."""
    return rate.times(factor) if unit.endswith("_tokens") else rate
