"""The operator's own prices, kept in the home: dated, audited, and taken up by running proxies.

They stand as one fact of the home in its ledger. A price that ends keeps its dates, so that what was priced by it can be
understood, and priced again, later.
"""

import json
import threading
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.core.entities import AuditEntry, HomeFact
from lava_proxy.core.errors import InvalidInput, NotFound
from lava_proxy.core.instants import format_instant
from lava_proxy.core.money import NANOS_PER_DOLLAR
from lava_proxy.core.ports import Clock, Decision, Ledger, Rows
from lava_proxy.core.pricing import UNITS, PriceSheet, Rate, rate
from lava_proxy.prices import PriceBook, PriceOverride
from lava_proxy.providers import ProviderIndex
from lava_proxy.services.documents import Document
from lava_proxy.services.idempotency import Answer, By, once

FACT = "price_overrides"
ANY = "*"
MODEL_CHARACTERS_MAX = 200
OVERRIDES_MAX = 5000


class UnitPrice(Struct, frozen=True):
    """Nano-dollars for ``per`` of a unit."""

    unit: str
    nanos: int
    per: int


class StoredPrice(Struct, frozen=True, kw_only=True):
    """A price of the operator's, from ``start_us`` until ``end_us`` (not in it)."""

    provider: str
    model: str
    units: tuple[UnitPrice, ...]
    start_us: int
    end_us: int | None = None
    note: str = ""


class Ended(Struct, frozen=True, kw_only=True):
    """How many prices of the operator's were ended."""

    count: int


class PriceDifference(Struct, frozen=True, kw_only=True):
    """A unit of a model that two books price differently; ``None``: it has no price."""

    provider: str
    model: str
    unit: str
    before: str | None
    after: str | None
    per: int
    change_basis_points: int | None
    """In hundredths of a percent of the price before; ``None`` where one of the two is missing or 0."""


class PriceOverrides:
    def __init__(self, *, ledger: Ledger, clock: Clock, book: PriceBook, providers: ProviderIndex) -> None:
        self._ledger, self._clock, self._book, self._providers = ledger, clock, book, providers

    def all(self) -> tuple[StoredPrice, ...]:
        """Every one, past ones too, by provider, model and begin."""
        return self._ledger.read(lambda rows: _stored(_text(rows)))

    def set(
        self, provider: str, model: str, units: Mapping[str, tuple[int, int]], *, since_us: int, note: str, by: By
    ) -> Answer[StoredPrice]:
        """A price from ``since_us`` on, in the place of all units' prices; one with the same begin is replaced.

        ``units``: nano-dollars and for how many, by unit.

        Raises:
            NotFound: there is no such provider.
            InvalidInput: the model or a unit cannot be, or there is no unit.
        """
        known = ANY if provider == ANY else self._provider(provider)
        made = StoredPrice(
            provider=known,
            model=_model(model),
            units=tuple(UnitPrice(unit, *_checked(unit, units[unit])) for unit in UNITS if unit in units),
            start_us=since_us,
            note=note,
        )
        unknown = sorted(set(units) - set(UNITS))
        if unknown:
            raise InvalidInput(f"unit: {unknown[0]!r} is none; choose of {', '.join(UNITS)}", field="unit")
        if not made.units:
            raise InvalidInput("unit: give the price of a unit, such as --input 2.50", field="unit")

        def decide(text: str) -> Decision[StoredPrice]:
            others = [each for each in _stored(text) if _place(each) != _place(made)]
            if len(others) >= OVERRIDES_MAX:
                raise InvalidInput(f"model: there are {OVERRIDES_MAX} prices of your own, and no more can be kept")
            entry = self._entry(by, "prices.set", made, before="")
            return Decision(result=made, rows=(_fact([*others, made]), entry))

        content = ("prices.set", known, made.model, tuple(made.units), since_us, note)
        return self._written(decide, by, StoredPrice, content)

    def unset(self, provider: str, model: str, *, at_us: int, by: By) -> Answer[Ended]:
        """The price ends at ``at_us``; what would have begun then or later is taken away.

        Raises:
            NotFound: no price of the operator's holds for this model of this provider then or later.
        """
        model = _model(model)

        def decide(text: str) -> Decision[Ended]:
            stored = _stored(text)
            meant = [
                each
                for each in stored
                if (each.provider, each.model) == (provider, model) and (each.end_us is None or each.end_us > at_us)
            ]
            if not meant:
                raise NotFound(
                    f"There is no price of yours for {model!r} at {provider!r}.", hint="`lava prices diff` shows them."
                )
            ended = [replace(each, end_us=at_us) for each in meant if each.start_us < at_us]
            kept = [each for each in stored if each not in meant]
            entry = self._entry(by, "prices.unset", meant[-1], before=_json(meant))
            return Decision(result=Ended(count=len(meant)), rows=(_fact([*kept, *ended]), entry))

        return self._written(decide, by, Ended, ("prices.unset", provider, model, at_us if by.idempotency_key else 0))

    def _written[R](
        self, decide: Callable[[str], Decision[R]], by: By, kind: type[R], content: tuple[object, ...]
    ) -> Answer[R]:
        answer = once(self._ledger, _text, decide, by=by, now_us=self._clock.now_us(), kind=kind, content=content)
        take_up(self._ledger, self._book)
        return answer

    def _provider(self, name: str) -> str:
        found = self._providers.get(name)
        if found is None:
            raise NotFound(f"There is no provider {name!r}.", hint="`lava providers list` shows them all.")
        return found.id

    def _entry(self, by: By, action: str, price: StoredPrice, *, before: str) -> AuditEntry:
        return AuditEntry(
            at_us=self._clock.now_us(),
            actor=by.actor,
            action=action,
            subject=f"{price.provider}/{price.model}",
            before=before,
            after="" if action == "prices.unset" else _json([price]),
        )


class PriceWatch:
    """Brings a running process's book to the operator's prices whenever they change."""

    def __init__(self, *, ledger: Ledger, book: PriceBook) -> None:
        self._ledger, self._book = ledger, book
        self._text: str | None = None
        self._lock = threading.Lock()

    def look(self) -> int:
        """Take up what changed; gives 1 where something did."""
        text = self._ledger.read(_text)
        with self._lock:
            if text == self._text:
                return 0
            self._book.override(overrides_of(text))
            self._text = text
        return 1


def take_up(ledger: Ledger, book: PriceBook) -> None:
    """The operator's prices as they stand now, put into the book."""
    book.override(overrides_of(ledger.read(_text)))


def overrides_of(text: str) -> tuple[PriceOverride, ...]:
    """What the price book makes of the stored text."""
    return tuple(
        PriceOverride(
            provider=each.provider,
            model=each.model,
            rates={unit.unit: _rate(unit) for unit in each.units},
            start_us=each.start_us,
            end_us=each.end_us,
            note=each.note,
        )
        for each in _stored(text)
    )


def differences(
    before: PriceBook, after: PriceBook, *, providers: ProviderIndex, before_us: int, after_us: int, only: str | None
) -> tuple[PriceDifference, ...]:
    """Every unit of every model that the two price differently; models that neither has by their own name are not seen."""
    found: list[PriceDifference] = []
    told: set[tuple[str, str, str]] = set()
    for provider in sorted(providers.providers, key=lambda each: each.id):
        if only is not None and provider.id != only:
            continue
        for model in sorted({*before.names(provider.prices), *after.names(provider.prices)}):
            old = before.sheet(provider=provider.prices, model=model, at_us=before_us)
            new = after.sheet(provider=provider.prices, model=model, at_us=after_us)
            for difference in _compared(provider.id, model, old, new):
                shared = (_shared(old, new) or provider.id, model, difference.unit)
                if shared not in told:
                    told.add(shared)
                    found.append(difference)
    return tuple(found)


def stored_document(price: StoredPrice) -> Document:
    return {
        "provider": price.provider,
        "model": price.model,
        "unit_prices": {unit.unit: {"usd": _usd(unit.nanos), "per": unit.per} for unit in price.units},
        "since": format_instant(price.start_us),
        "until": format_instant(price.end_us) if price.end_us is not None else None,
        "note": price.note,
    }


def difference_document(difference: PriceDifference) -> Document:
    basis = difference.change_basis_points
    return {
        "provider": difference.provider,
        "model": difference.model,
        "unit": difference.unit,
        "before": difference.before,
        "after": difference.after,
        "per": difference.per,
        "change_percent": None if basis is None else f"{Decimal(basis) / 100:f}",
    }


def _shared(old: PriceSheet | None, new: PriceSheet | None) -> str | None:
    """The model of genai-prices that gateways have their price from: it is told once, of the first of them."""
    sources = [sheet.source for sheet in (old, new) if sheet is not None]
    if not sources or not all(source.startswith("genai-prices ") for source in sources):
        return None
    return " ".join(source.split(" ")[2] for source in sources)


def _compared(provider: str, model: str, old: PriceSheet | None, new: PriceSheet | None) -> list[PriceDifference]:
    before, after = (old.effective if old else {}), (new.effective if new else {})
    priced = {*(old.rates if old else ()), *(new.rates if new else ())}
    lines = []
    for unit in (unit for unit in UNITS if unit in priced):
        one, other = before.get(unit), after.get(unit)
        if one == other or (one is not None and other is not None and _is_same(one, other)):
            continue
        per = (other or one or rate(Decimal(0), per=1)).per
        lines.append(
            PriceDifference(
                provider=provider,
                model=model,
                unit=unit,
                before=_said(one, per),
                after=_said(other, per),
                per=per,
                change_basis_points=_change(one, other),
            )
        )
    return lines


def _is_same(one: Rate, other: Rate) -> bool:
    return (one.nanos, one.steps, one.minimum) == (other.nanos, other.steps, other.minimum)


def _change(one: Rate | None, other: Rate | None) -> int | None:
    if one is None or other is None or not one.nanos:
        return None
    return round((other.nanos - one.nanos) * 10_000 / one.nanos)


def _said(found: Rate | None, per: int) -> str | None:
    if found is None:
        return None
    steps = "".join(f", above {step.above:,}: {_for(step.nanos, per)}" for step in found.steps)
    return f"{_for(found.nanos, per)}{steps}"


def _for(nanos: Fraction, per: int) -> str:
    usd = nanos * per / NANOS_PER_DOLLAR
    return f"{(Decimal(usd.numerator) / Decimal(usd.denominator)).normalize():f}"


def _usd(nanos: int) -> str:
    return f"{(Decimal(nanos) / NANOS_PER_DOLLAR).normalize():f}"


def _rate(unit: UnitPrice) -> Rate:
    return Rate(nanos=Fraction(unit.nanos, unit.per), per=unit.per)


def _text(rows: Rows) -> str:
    fact = rows.get(HomeFact, FACT)
    return fact.value if fact is not None else ""


def _stored(text: str) -> tuple[StoredPrice, ...]:
    return msgspec.json.decode(text, type=tuple[StoredPrice, ...]) if text else ()


def _fact(prices: list[StoredPrice]) -> HomeFact:
    ordered = sorted(prices, key=_place)
    return HomeFact(name=FACT, value=msgspec.json.encode(ordered).decode())


def _place(price: StoredPrice) -> tuple[str, str, int]:
    return price.provider, price.model, price.start_us


def _json(prices: list[StoredPrice]) -> str:
    return json.dumps([stored_document(price) for price in prices])


def _model(text: str) -> str:
    name = text.strip().lower()
    if not name or len(name) > MODEL_CHARACTERS_MAX or not name.isprintable():
        raise InvalidInput(f"model: a name of 1 to {MODEL_CHARACTERS_MAX} printable characters", field="model")
    return name


def _checked(unit: str, price: tuple[int, int]) -> tuple[int, int]:
    nanos, per = price
    if nanos < 0 or per <= 0:
        raise InvalidInput(f"{unit}: a price is 0 or more, for 1 or more of the unit", field=unit)
    return nanos, per


__all__ = [
    "PriceDifference",
    "PriceOverrides",
    "PriceWatch",
    "StoredPrice",
    "difference_document",
    "differences",
    "overrides_of",
    "stored_document",
    "take_up",
]
