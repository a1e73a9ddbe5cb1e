"""Reading JSON that strangers wrote: nothing here raises, and nothing that is not a plausible figure counts as one."""

import json
import re
from collections.abc import Iterator, Mapping
from decimal import ROUND_CEILING, Decimal, InvalidOperation

import msgspec

JsonObject = dict[str, object]

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_LARGEST_COUNT = 10**15
_DEEPEST_FIGURES = 8
_MOST_FIGURES = 400
_ENUM = re.compile(r"[A-Za-z0-9_.:/@+-]{1,80}\Z")
_SHORT_FIGURES = 2_000
_ONLY_FIGURES = re.compile(r'(?:[{}\[\],0-9-]++|"[A-Za-z0-9_.:/@+-]{1,80}":|true|false|null)+')
"""The usual usage object: whole numbers under plain names. Anything else is written figure by figure."""


def _no_constant(_: str) -> None:
    """``NaN`` and ``Infinity`` are no figures."""
    return None


def _decimal(text: str) -> Decimal | None:
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


_ENCODER = json.JSONEncoder(separators=(",", ":"))
_DECODER = json.JSONDecoder(parse_float=_decimal, parse_constant=_no_constant, strict=False)
_QUICK = msgspec.json.Decoder(float_hook=_decimal)
"""Reads what is plainly JSON, in a quarter of the time; what it will not have, the other may still."""


def parse(text: bytes) -> object:
    """The JSON value that ``text`` is, fractions as ``Decimal``; ``None`` where it is none. Bad UTF-8 is replaced."""
    try:
        value: object = _QUICK.decode(text)
    except (ValueError, RecursionError):  # msgspec's faults are ValueErrors
        return read_patiently(text)
    return value


def read_patiently(text: bytes) -> object:
    """As ``parse``, by a reader that forgives more."""
    try:
        value: object = _DECODER.decode(text.removeprefix(BYTE_ORDER_MARK).decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return value


def parse_object(text: bytes) -> JsonObject | None:
    """The JSON object that ``text`` is, or ``None``."""
    value = parse(text)
    return value if isinstance(value, dict) else None


def as_object(value: object) -> JsonObject:
    """``value`` where it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_objects(value: object) -> Iterator[JsonObject]:
    """The objects in the list ``value``; nothing where it is no list."""
    if isinstance(value, list):
        for item in value:
            if isinstance(item, dict):
                yield item


def count_of(value: object) -> int | None:
    """A count of something: a whole number from 0 up, a fraction rounded up. Anything else is ``None``."""
    if value is None:
        return None
    if isinstance(value, int):
        return value if 0 <= value <= _LARGEST_COUNT and value is not True and value is not False else None
    if not isinstance(value, Decimal) or not value.is_finite() or value.adjusted() > 15:
        return None
    return count_of(int(value.to_integral_value(rounding=ROUND_CEILING)))


def amount_of(value: object) -> Decimal | None:
    """A quantity or price that may have a fraction, from 0 up. Anything else is ``None``."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    if isinstance(value, int) and abs(value) > _LARGEST_COUNT**2:
        return None
    amount = Decimal(value)
    if not amount.is_finite() or amount < 0 or not -30 <= amount.adjusted() <= 30:
        return Decimal(0) if amount.is_zero() else None
    return amount


def name_of(value: object) -> str | None:
    """A short non-empty text such as a model's name or an id, cut at 200 characters, always encodable."""
    if not isinstance(value, str) or not value:
        return None
    return value[:200].encode("utf-8", "replace").decode("utf-8")


def largest(*values: int | None) -> int | None:
    """The largest of the counts that were reported: providers write the same count under several names."""
    reported = [value for value in values if value is not None]
    return max(reported) if reported else None


def total_of(*values: int | None) -> int | None:
    """The sum of the counts that were reported; ``None`` where none was."""
    reported = [value for value in values if value is not None]
    return sum(reported) if reported else None


def overlay(below: JsonObject, above: JsonObject, *, depth: int = _DEEPEST_FIGURES) -> JsonObject:
    """``above`` laid over ``below``, field by field down to ``depth``; a null covers nothing."""
    merged = dict(below)
    for key, value in above.items():
        lower = merged.get(key)
        if depth and isinstance(value, dict) and isinstance(lower, dict):
            merged[key] = overlay(lower, value, depth=depth - 1)
        elif value is not None or key not in merged:
            merged[key] = value
    return merged


def figures_text(usage: Mapping[str, object]) -> str:
    """``usage`` as JSON with its numbers, booleans, nulls and enum-like words; free text and whatever is deep is left out."""
    try:
        text = _ENCODER.encode(usage)
    except (TypeError, ValueError, RecursionError):
        text = ""
    if len(text) <= _SHORT_FIGURES and _ONLY_FIGURES.fullmatch(text):
        return text
    budget = [_MOST_FIGURES]
    return _write(usage, _DEEPEST_FIGURES, budget) or "{}"


def _write(value: object, depth: int, budget: list[int]) -> str | None:
    budget[0] -= 1
    if budget[0] < 0 or depth == 0:
        return None
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int | Decimal):
        return _write_number(value)
    if isinstance(value, str):
        return json.dumps(value) if _ENUM.match(value) else None
    if isinstance(value, list):
        written = [text for item in value if (text := _write(item, depth - 1, budget)) is not None]
        return "[" + ",".join(written) + "]"
    if isinstance(value, dict):
        members = [
            f"{json.dumps(key)}:{text}"
            for key, item in value.items()
            if _ENUM.match(key) and (text := _write(item, depth - 1, budget)) is not None
        ]
        return "{" + ",".join(members) + "}"
    return None


def _write_number(value: int | Decimal) -> str | None:
    if isinstance(value, int):
        return str(value) if abs(value) < 10**40 else None
    if not value.is_finite() or not -40 <= value.adjusted() <= 40:
        return "0" if value.is_finite() and value.is_zero() else None
    return format(value, "f")
