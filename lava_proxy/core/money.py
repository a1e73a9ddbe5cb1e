"""Money is an integer of nano-dollars: 1 credit = 1 USD = 1,000,000,000 nanos. Decimals are read from text, never from floats."""

import re
from fractions import Fraction

from lava_proxy.core.errors import InvalidAmount

NANOS_PER_DOLLAR = 1_000_000_000
AMOUNT_NANOS_MAX = 10**9 * NANOS_PER_DOLLAR
"""A billion dollars: no single amount may be larger."""

_AMOUNT = re.compile(r"(?P<sign>-?)(?P<whole>\d{1,10})(?:\.(?P<part>\d{1,9}))?", re.ASCII)


def parse_amount(text: str, *, field: str = "amount", allow_zero: bool = True, allow_negative: bool = False) -> int:
    """Nano-dollars of a plain decimal such as ``5``, ``0.10`` or ``0.000000001``; at most 9 decimals.

    Raises:
        InvalidAmount: anything else (signs, exponents, currency words, NaN, more than 9 decimals, over a billion).

    >>> parse_amount("0.10")
    100000000
    """
    found = _AMOUNT.fullmatch(text.strip())
    if found is None:
        raise InvalidAmount(
            f"{field}: {text!r} is not an amount; write plain dollars with at most 9 decimals, such as 5.00",
            field=field,
        )
    nanos = int(found["whole"]) * NANOS_PER_DOLLAR + int((found["part"] or "").ljust(9, "0"))
    if nanos > AMOUNT_NANOS_MAX:
        raise InvalidAmount(f"{field}: {text!r} is over the limit of 1000000000", field=field)
    if found["sign"] and nanos and not allow_negative:
        raise InvalidAmount(f"{field}: {text!r} is negative; it must be 0 or more", field=field)
    if not nanos and not allow_zero:
        raise InvalidAmount(f"{field}: it must be more than 0", field=field)
    return -nanos if found["sign"] else nanos


def format_amount(nanos: int, *, decimals: int = 10) -> str:
    """Dollars as a decimal string, padded with zeros; ``decimals`` of 9 or more lose nothing.

    Fewer decimals are for people's eyes only and round half up, away from zero.

    >>> format_amount(58_100_000)
    '0.0581000000'
    """
    sign = "-" if nanos < 0 else ""
    magnitude = abs(nanos)
    if decimals < 9:
        unit = 10 ** (9 - decimals)
        magnitude = (magnitude + unit // 2) // unit * unit
    whole, part = divmod(magnitude, NANOS_PER_DOLLAR)
    digits = f"{part:09d}"[:decimals].ljust(decimals, "0")
    if not decimals:
        return f"{sign if magnitude else ''}{whole}"
    return f"{sign if magnitude else ''}{whole}.{digits}"


def format_dollars(nanos: int) -> str:
    """For people: as short as the amount can be told exactly, with 2 decimals at least.

    >>> format_dollars(1_200_000_000), format_dollars(-58_100_000)
    ('$1.20', '-$0.0581')
    """
    whole, _, part = format_amount(abs(nanos), decimals=9).rstrip("0").partition(".")
    return f"{'-' if nanos < 0 else ''}${whole}.{part.ljust(2, '0')}"


def round_half_up(exact: Fraction) -> int:
    """The one place where money is rounded: to whole nanos, a half goes up (towards plus infinity).

    >>> round_half_up(Fraction(5, 2))
    3
    """
    return (2 * exact.numerator + exact.denominator) // (2 * exact.denominator)


def round_up(exact: Fraction) -> int:
    """The smallest whole number of nanos that is not less than ``exact``: for holds, which must not be too small."""
    return -(-exact.numerator // exact.denominator)


def round_with_carry(exact: Fraction, carry: Fraction) -> tuple[int, Fraction]:
    """Whole nanos of ``exact`` plus what was carried, and the remainder to carry on, from −1/2 up to below 1/2.

    Over any series of calls the sum of the whole nanos is the exact sum but for one remainder.
    """
    total = exact + carry
    nanos = round_half_up(total)
    return nanos, total - nanos
