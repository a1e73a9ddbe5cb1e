"""Thresholds as people write and read them: dollars, percent, bytes, seconds, days, or a count."""

import re
from enum import StrEnum

from lava_proxy.core.errors import InvalidInput
from lava_proxy.core.instants import parse_span
from lava_proxy.core.money import format_amount, format_dollars, parse_amount

_BYTES = re.compile(r"(?P<count>\d{1,15})\s*(?P<unit>[KMGT]?i?B?)", re.ASCII | re.IGNORECASE)
_SCALES = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_COUNT = re.compile(r"\d{1,12}", re.ASCII)
DAY_US = 86_400 * 1_000_000


class Unit(StrEnum):
    DOLLARS = "dollars"
    PERCENT = "percent"
    COUNT = "count"
    BYTES = "bytes"
    SECONDS = "seconds"
    DAYS = "days"


def read_threshold(text: str, unit: Unit) -> int:
    """The threshold that is meant: ``5.00`` dollars, ``80`` or ``80%``, ``512MiB``, ``30s``, ``14d``, ``3``.

    Raises:
        InvalidInput: it is none of this unit; the message tells how to write one.
    """
    text = text.strip()
    match unit:
        case Unit.DOLLARS:
            return parse_amount(text, field="threshold", allow_negative=True)
        case Unit.PERCENT:
            return parse_amount(text.removesuffix("%").strip(), field="threshold", allow_negative=True)
        case Unit.SECONDS:
            return parse_span(text if not _COUNT.fullmatch(text) else f"{text}s", field="threshold")
        case Unit.DAYS:
            return parse_span(text if not _COUNT.fullmatch(text) else f"{text}d", field="threshold") // DAY_US
        case Unit.BYTES:
            return _read_bytes(text)
    if not _COUNT.fullmatch(text):
        raise InvalidInput(f"threshold: {text!r} is no count; write a whole number such as 1", field="threshold")
    return int(text)


def show(value: int, unit: Unit) -> str:
    """For people: short, and exact but for percent (2 decimals) and bytes (1)."""
    match unit:
        case Unit.DOLLARS:
            return format_dollars(value)
        case Unit.PERCENT:
            return f"{format_amount(value, decimals=2)} %"
        case Unit.SECONDS:
            return f"{value // 1_000_000} s"
        case Unit.BYTES:
            return _show_bytes(value)
        case Unit.DAYS:
            return f"{value} d"
        case Unit.COUNT:
            return str(value)


def write_threshold(value: int, unit: Unit) -> str:
    """As ``read_threshold`` takes it back, exactly."""
    match unit:
        case Unit.DOLLARS | Unit.PERCENT:
            whole, _, part = format_amount(value, decimals=9).rstrip("0").partition(".")
            return f"{whole}.{part.ljust(2, '0')}"
        case Unit.SECONDS:
            return f"{value // 1_000_000}s"
        case Unit.DAYS:
            return f"{value}d"
        case Unit.BYTES | Unit.COUNT:
            return str(value)


def _read_bytes(text: str) -> int:
    found = _BYTES.fullmatch(text)
    if found is None:
        raise InvalidInput(f"threshold: {text!r} is no amount of bytes; write such as 512MiB or 2GB", field="threshold")
    unit = found["unit"].lower().removesuffix("b")
    base = 1024 if unit.endswith("i") else 1000
    return int(found["count"]) * int(base ** _SCALES[unit.removesuffix("i")])


def _show_bytes(value: int) -> str:
    size, units = value * 10, ("B", "KiB", "MiB", "GiB", "TiB")
    step = 0
    while size >= 10240 and step < len(units) - 1:
        size, step = size // 1024, step + 1
    return f"{size // 10}.{size % 10} {units[step]}" if step else f"{value} B"
