"""Flows out of an SQLite file: the postings of the index ``postings_of_money`` with their transactions."""

import sqlite3
from collections.abc import Iterator

from lava_proxy.core.flows import FlowLine
from lava_proxy.core.ids import CustomerId
from lava_proxy.store.flows import FlowRange, Moved, flow_lines
from lava_proxy.store.schema_reports import MONEY_POSTINGS

_EVER_US = 2**62


def _word(account: str) -> str:
    """The account's name in SQL, without whose it is; where credit came from is told in full."""
    return f"""CASE WHEN {account} GLOB 'funding:*' OR instr({account}, ':') = 0 THEN {account}
        ELSE substr({account}, 1, instr({account}, ':') - 1) END"""


_MOVED = f"""
WITH moved AS (
    SELECT
        CASE WHEN request_id IS NOT NULL AND 'revenue' IN (source, destination)
            THEN coalesce((SELECT created_us FROM requests WHERE requests.request_id = transactions.request_id), at_us)
            ELSE at_us END AS instant_us,
        request_id IS NOT NULL AS is_call,
        {_word("source")} AS source,
        {_word("destination")} AS destination,
        amount_nanos
    FROM postings INDEXED BY postings_of_money JOIN transactions USING (sequence)
    WHERE {MONEY_POSTINGS} AND (:customer_id IS NULL OR customer_id = :customer_id)
)
SELECT
    CASE WHEN instant_us >= :since_us THEN max(instant_us - instant_us % :span_us, :since_us) END,
    is_call, source, destination, sum(amount_nanos)
FROM moved WHERE instant_us < :until_us GROUP BY 1, 2, 3, 4
"""  # noqa: S608 - the names are ours


def sqlite_flows(
    connection: sqlite3.Connection, which: FlowRange, customer_id: CustomerId | None
) -> tuple[FlowLine, ...]:
    """See ``core.ports.Books.flows``."""
    values = {
        "customer_id": customer_id,
        "since_us": -_EVER_US if which.since_us is None else which.since_us,
        "until_us": _EVER_US if which.until_us is None else which.until_us,
    }

    def moved(span_us: int) -> Iterator[Moved]:
        for at_us, is_call, *more in connection.execute(_MOVED, {**values, "span_us": span_us}):
            yield Moved(at_us, bool(is_call), *more)

    return flow_lines(which, moved, _requests_us(connection, customer_id))


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
