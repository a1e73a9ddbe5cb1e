"""Matching the journal with millions of rows, request by request, in little memory.

What the journal says of a request (its charge, its cost, whether it is open …) and what its rows say are integers that
must be equal. Both are added up, the one with plus, the other with minus, weighted by a hash of the request id, in 4,096
buckets. A bucket that comes to zero in all is taken as equal: different requests cannot make up for each other but by
chance (one in 2¹²⁷). Only for the buckets that do not, everything is read again and told apart by request.
"""

import hashlib
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Protocol

BUCKETS = 4096

OPEN = "open"
STATE = "state"
HELD = "held"
QUOTE = "quote"
RESOLVED = "resolved"
CHARGE = "charge"
COST = "cost"
UNCOVERED = "uncovered"
EVENTS = "events"

FACTS = {
    OPEN: ("I4", "holds open by the journal: {told}, by its hold row: {kept}"),
    STATE: (
        "I4",
        "its end by the journal is {told}, by its hold row {kept} (settled 1, voided 2, expired 3, orphaned 4)",
    ),
    HELD: ("I2", "{told} nanos were set aside for it by the journal, and {kept} by its hold row"),
    QUOTE: ("I6", "its record has a quote of {kept} nanos, and its hold row {told}"),
    RESOLVED: ("I6", "the journal resolved it {told} times, and {kept} records tell of it"),
    CHARGE: ("I6", "the journal charged {told} nanos, and its record says {kept}"),
    COST: ("I6", "the journal has a cost of {told} nanos, and its record says {kept}"),
    UNCOVERED: ("I5", "the journal made {told} nanos of it debt, and its record says {kept}"),
    EVENTS: ("I6", "the journal ended or corrected it {told} times, and {kept} events tell so"),
}
"""What is matched: the invariant, and how a difference is told."""


class Matcher(Protocol):
    """Takes what both sides say of a request; amounts of the same fact add up."""

    def told(self, request_id: str, fact: str, amount: int) -> None:
        """By the journal (for the quote: by the hold)."""

    def kept(self, request_id: str, fact: str, amount: int) -> None:
        """By a row."""


class Fingerprints:
    """The first reading: which buckets differ."""

    def __init__(self) -> None:
        self._sums: dict[str, list[int]] = {fact: [0] * BUCKETS for fact in FACTS}
        self._last = ("", 0)

    def told(self, request_id: str, fact: str, amount: int) -> None:
        """See ``Matcher``."""
        if amount:
            weight = self._weight(request_id)
            self._sums[fact][weight % BUCKETS] += weight * amount

    def kept(self, request_id: str, fact: str, amount: int) -> None:
        """See ``Matcher``."""
        self.told(request_id, fact, -amount)

    def different(self) -> set[int]:
        """The buckets whose sides are not equal."""
        return {bucket for sums in self._sums.values() for bucket, rest in enumerate(sums) if rest}

    def _weight(self, request_id: str) -> int:
        if self._last[0] != request_id:
            self._last = (request_id, weight_of(request_id))
        return self._last[1]


@dataclass(slots=True)
class Sides:
    """What both sides say of one request."""

    told: dict[str, int] = field(default_factory=dict[str, int])
    kept: dict[str, int] = field(default_factory=dict[str, int])

    def differences(self) -> list[tuple[str, str]]:
        """Invariant and message of each fact in which they differ."""
        found = []
        for fact, (invariant, message) in FACTS.items():
            told, kept = self.told.get(fact, 0), self.kept.get(fact, 0)
            if told != kept:
                found.append((invariant, message.format(told=told, kept=kept)))
        return found


class Exact:
    """The second reading: both sides of every request in a few buckets."""

    def __init__(self, buckets: Container[int]) -> None:
        self._buckets = buckets
        self.requests: dict[str, Sides] = {}

    def told(self, request_id: str, fact: str, amount: int) -> None:
        """See ``Matcher``."""
        if weight_of(request_id) % BUCKETS in self._buckets:
            told = self.requests.setdefault(request_id, Sides()).told
            told[fact] = told.get(fact, 0) + amount

    def kept(self, request_id: str, fact: str, amount: int) -> None:
        """See ``Matcher``."""
        if weight_of(request_id) % BUCKETS in self._buckets:
            kept = self.requests.setdefault(request_id, Sides()).kept
            kept[fact] = kept.get(fact, 0) + amount


def weight_of(request_id: str) -> int:
    """A number for a request id, never 0, that nobody can choose."""
    return int.from_bytes(hashlib.blake2b(request_id.encode(errors="replace"), digest_size=16).digest()) | 1 << 127
