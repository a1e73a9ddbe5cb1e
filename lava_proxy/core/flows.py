"""Flows: what the journal's postings say about credit and money, beside the charges of calls.

Most postings are those of calls: credit held, released, charged, cost. Their sums stand in the rollups (``core.rollups``),
each at the instant of the request's hold. What is left is little, and is summed out of the journal itself:

=====================  ===========================================================================================
``sold``               credit of plans, bundles and top-ups: funding:cycle, bundle, top_up → a grant
``given``              credit of any other source, but for refunds
``given_back``         credit for disputed requests: funding:refund → a grant
``breakage``           a grant → breakage: expired, voided, taken
``debt_paid``          a grant → debt: new credit pays what was owed
``overage``            overage → revenue in a call, less what was paid back; at the instant of its hold
``overage_billed``     overage → revenue in a bill: its markup and its rounding
``overage_collected``  funding:overage → overage: the bill was paid
``money_in``           sales → money
``money_back``         money → sales
=====================  ===========================================================================================
"""

from msgspec import Struct

from lava_proxy.core.journal import BREAKAGE, REVENUE

FLOWS = (
    "sold_nanos",
    "given_nanos",
    "given_back_nanos",
    "breakage_nanos",
    "debt_paid_nanos",
    "overage_nanos",
    "overage_billed_nanos",
    "overage_collected_nanos",
    "money_in_nanos",
    "money_back_nanos",
)

type Flows = tuple[int, ...]
"""In the order of ``FLOWS``."""

NO_FLOWS: Flows = (0,) * len(FLOWS)

_SOURCES = {
    "funding:cycle": "sold_nanos",
    "funding:bundle": "sold_nanos",
    "funding:top_up": "sold_nanos",
    "funding:refund": "given_back_nanos",
}
"""Credit of a source that is not here is given."""
_MOVES = {
    ("grant", BREAKAGE): ("breakage_nanos", 1),
    ("grant", "debt"): ("debt_paid_nanos", 1),
    ("sales", "money"): ("money_in_nanos", 1),
    ("money", "sales"): ("money_back_nanos", 1),
}
"""By the first words of the accounts' names."""


class FlowLine(Struct, frozen=True, kw_only=True):
    """The flows of one period; ``period`` is empty for all that was before."""

    period: str
    sold_nanos: int = 0
    given_nanos: int = 0
    given_back_nanos: int = 0
    breakage_nanos: int = 0
    debt_paid_nanos: int = 0
    overage_nanos: int = 0
    overage_billed_nanos: int = 0
    overage_collected_nanos: int = 0
    money_in_nanos: int = 0
    money_back_nanos: int = 0


def flows_of(source: str, destination: str, amount_nanos: int, *, is_call: bool) -> Flows:
    """What a posting adds. Accounts may be told in full or by their first word, but for ``funding:…``, which stays whole."""
    found = _flow_of(source, destination, is_call=is_call)
    if found is None:
        return NO_FLOWS
    name, sign = found
    return tuple([sign * amount_nanos if flow == name else 0 for flow in FLOWS])


def is_at_hold(source: str, destination: str) -> bool:
    """Whether a call's posting belongs to the instant of its hold: it is a part of its charge."""
    return REVENUE in (source, destination)


def _flow_of(source: str, destination: str, *, is_call: bool) -> tuple[str, int] | None:
    source_word, destination_word = source.partition(":")[0], destination.partition(":")[0]
    if source_word == "funding":
        return ("overage_collected_nanos" if destination_word == "overage" else _SOURCES.get(source, "given_nanos")), 1
    overage = "overage_nanos" if is_call else "overage_billed_nanos"
    if (source_word, destination) == ("overage", REVENUE):
        return overage, 1
    if (source, destination_word) == (REVENUE, "overage"):
        return overage, -1
    return _MOVES.get((source_word, destination_word))
