"""Flows out of an SQLite file: the postings of the index ``postings_of_money``, the overage of bills, and that of calls."""

import sqlite3
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from lava_proxy.core.flows import FlowLine
from lava_proxy.core.ids import CustomerId
from lava_proxy.core.journal import REVENUE
from lava_proxy.core.rollups import BUCKET_US, bucket_of
from lava_proxy.store.flows import FlowRange, Moved, flow_lines
from lava_proxy.store.schema_reports import MONEY_POSTINGS, OVERAGE_OF_POSTING, OVERAGE_POSTINGS

_EVER_US = BUCKET_US * 10**9
"""Some 28,000 years: beyond every instant."""


def _word(account: str) -> str:
    """The account's name in SQL, without whose it is; where credit came from is told in full."""
    return f"""CASE WHEN {account} GLOB 'funding:*' OR instr({account}, ':') = 0 THEN {account}
        ELSE substr({account}, 1, instr({account}, ':') - 1) END"""


_START = "CASE WHEN at_us >= :since_us THEN max(at_us - at_us % :span_us, :since_us) END"
_OF_CUSTOMER = "(:customer_id IS NULL OR transactions.customer_id = :customer_id)"
_MOVED = f"""
SELECT
    {_START} AS start_us, request_id IS NOT NULL AS is_call,
    {_word("source")} AS source_word, {_word("destination")} AS destination_word, sum(amount_nanos)
FROM postings INDEXED BY postings_of_money JOIN transactions USING (sequence)
WHERE {MONEY_POSTINGS} AND at_us < :until_us AND {_OF_CUSTOMER}
GROUP BY 1, 2, 3, 4
"""  # noqa: S608 - the names are ours
_BILLED = f"""
SELECT {_START} AS start_us, sum({OVERAGE_OF_POSTING})
FROM transactions INDEXED BY transactions_of_customer CROSS JOIN postings USING (sequence)
WHERE request_id IS NULL AND transactions.customer_id IS NOT NULL AND {OVERAGE_POSTINGS}
    AND at_us < :until_us AND {_OF_CUSTOMER}
GROUP BY 1
"""  # noqa: S608 - the names are ours
_OVERAGE_BY_BUCKET = """
SELECT bucket_us, sum(overage_nanos) FROM overage_rollups
WHERE bucket_us >= :from_us AND bucket_us < :to_us AND (:customer_id IS NULL OR customer_id = :customer_id)
GROUP BY 1
"""
_OVERAGE_OF_REQUESTS = f"""
SELECT created_us, sum({OVERAGE_OF_POSTING})
FROM requests JOIN transactions USING (request_id) JOIN postings USING (sequence)
WHERE created_us >= :from_us AND created_us < :to_us AND {OVERAGE_POSTINGS} AND {_OF_CUSTOMER}
GROUP BY 1
"""  # noqa: S608 - the names are ours


def sqlite_flows(
    connection: sqlite3.Connection, which: FlowRange, customer_id: CustomerId | None
) -> tuple[FlowLine, ...]:
    """See ``core.ports.Books.flows``."""
    values: dict[str, Any] = {
        "customer_id": customer_id,
        "since_us": -_EVER_US if which.since_us is None else which.since_us,
        "until_us": _EVER_US if which.until_us is None else which.until_us,
    }

    def moved(span_us: int) -> Iterator[Moved]:
        at_span = {**values, "span_us": span_us}
        for at_us, is_call, *more in connection.execute(_MOVED, at_span):
            yield Moved(at_us, bool(is_call), *more)
        for at_us, amount_nanos in connection.execute(_BILLED, at_span):
            yield Moved(at_us, False, "overage", REVENUE, amount_nanos)
        for at_us, amount_nanos in _overage_of_calls(connection, values, is_exact=span_us != BUCKET_US):
            yield Moved(None if at_us < values["since_us"] else at_us, True, "overage", REVENUE, amount_nanos)

    return flow_lines(which, moved, _requests_us(connection, customer_id))


def _overage_of_calls(
    connection: sqlite3.Connection, values: dict[str, Any], *, is_exact: bool
) -> Iterator[tuple[int, int]]:
    """By the quarter of an hour, but for those in which the range begins and ends, which are summed call by call."""
    since_us, until_us = values["since_us"], values["until_us"]
    if is_exact:
        yield from connection.execute(_OVERAGE_OF_REQUESTS, {**values, "from_us": -_EVER_US, "to_us": until_us})
        return
    cuts = sorted({-_EVER_US, *(cut for end in (since_us, until_us) for cut in (bucket_of(end), _bucket_after(end)))})
    for from_us, to_us in pairwise(cuts):
        if from_us >= until_us:
            continue
        has_end = any(from_us < end < to_us for end in (since_us, until_us))
        sql = _OVERAGE_OF_REQUESTS if has_end else _OVERAGE_BY_BUCKET
        yield from connection.execute(sql, {**values, "from_us": from_us, "to_us": min(to_us, until_us)})


def _bucket_after(instant_us: int) -> int:
    return bucket_of(instant_us + BUCKET_US - 1)


def _requests_us(connection: sqlite3.Connection, customer_id: CustomerId | None) -> tuple[int, int] | None:
    of_whom = "" if customer_id is None else "AND customer_id = :customer_id"
    ends = [
        connection.execute(
            f"SELECT bucket_us FROM rollups WHERE requests <> 0 {of_whom} ORDER BY bucket_us {order} LIMIT 1",  # noqa: S608 - the names are ours
            {"customer_id": customer_id},
        ).fetchone()
        for order in ("ASC", "DESC")
    ]
    return None if ends[0] is None else (ends[0][0], ends[1][0])
