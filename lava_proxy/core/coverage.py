"""How well calls were measured: each is exact, estimated, unpriced or unknown, and not exact for a reason that is told.

Pure: from the flags of records to shares. What is worst about a call decides its class: a call that nobody could read has no
price either, and is unknown.
"""

from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.core.ids import RequestId
from lava_proxy.core.ports import FlagSet


class Grade(StrEnum):
    """From the best to the worst."""

    EXACT = "exact"
    """The provider's own figures, at a known price."""
    ESTIMATED = "estimated"
    """A quantity that the provider did not tell, or not all of it."""
    UNPRICED = "unpriced"
    """A model or a unit that no book has a price for."""
    UNKNOWN = "unknown"
    """An endpoint that nobody described, or whose wire format nobody reads."""


DOUBTS = {
    "orphaned": "its proxy was killed: charged at its hold",
    "metering_failed": "a fault of ours while it was metered",
    "decode_failed": "its content encoding could not be undone",
    "malformed_body": "its body did not parse",
    "body_too_large": "its body was too large to be read whole",
    "background": "its provider works on after the answer",
    "aborted": "the client left before the end",
    "upstream_gone": "the provider left before the end",
    "incomplete": "the answer ended before its end was told",
    "no_usage": "the provider told no usage",
    "charged_at_hold": "charged at its hold",
    "estimated": "the provider left a quantity out",
}
"""Flags that leave a quantity in doubt, and what each says; the first that a call has is its reason."""
_UNPRICED, _UNKNOWN = "unpriced", "unknown"


class CoverageLine(Struct, frozen=True, kw_only=True):
    """Calls of one provider that are of one grade for one reason."""

    grade: Grade
    reason: str
    """Empty for exact ones."""
    provider: str
    requests: int
    sample: RequestId


class Coverage(Struct, frozen=True, kw_only=True):
    lines: tuple[CoverageLine, ...]
    """All that is not exact: the worst grade first, and the most frequent of a grade."""
    counts: dict[Grade, int]
    """Of every grade, also where there are none."""

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def share_basis_points(self, grade: Grade) -> int:
        """Of all calls, in hundredths of a percent, rounded down: 100 % means all of them.

        >>> Coverage(lines=(), counts={Grade.EXACT: 2, Grade.UNKNOWN: 1}).share_basis_points(Grade.EXACT)
        6666
        """
        return self.counts.get(grade, 0) * 10_000 // self.total if self.total else 0


def coverage_of(sets: Iterable[FlagSet]) -> Coverage:
    """The shares of all these calls."""
    counts = dict.fromkeys(Grade, 0)
    lines: dict[tuple[Grade, str, str], CoverageLine] = {}
    for each in sets:
        grade, reason = grade_of(each.flags)
        counts[grade] += each.requests
        if grade is Grade.EXACT:
            continue
        key = (grade, reason, each.provider)
        line = CoverageLine(
            grade=grade, reason=reason, provider=each.provider, requests=each.requests, sample=each.sample
        )
        known = lines.get(key)
        if known is not None:
            line = replace(line, requests=line.requests + known.requests, sample=max(line.sample, known.sample))
        lines[key] = line
    worst_first = list(Grade)[::-1]
    ordered = sorted(lines.values(), key=lambda line: (worst_first.index(line.grade), -line.requests, line.provider))
    return Coverage(lines=tuple(ordered), counts=counts)


def grade_of(flags: Iterable[str]) -> tuple[Grade, str]:
    """The grade of a call with these flags, and why it is not exact.

    >>> grade_of(("no_usage", "estimated"))
    (<Grade.ESTIMATED: 'estimated'>, 'the provider told no usage')
    """
    given = set(flags)
    if _UNKNOWN in given:
        return Grade.UNKNOWN, "nobody described its endpoint, or nobody reads its wire format"
    doubt = next((said for flag, said in DOUBTS.items() if flag in given), "")
    if _UNPRICED in given:
        return Grade.UNPRICED, f"no price is known, and {doubt}" if doubt else "no price is known"
    return (Grade.ESTIMATED, doubt) if doubt else (Grade.EXACT, "")
