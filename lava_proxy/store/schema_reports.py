"""What reports read beside the rollups of requests: an index of the few postings that tell more than the charges of calls
do, and the overage of calls, which may be as many as calls are, in sums by the quarter of an hour of their holds.
"""

from typing import TYPE_CHECKING

from lava_proxy.core.rollups import BUCKET_US

if TYPE_CHECKING:
    from sqlite_utils import Database

MONEY_POSTINGS = """(
    destination = 'breakage' OR destination GLOB 'debt:*'
    OR source GLOB 'funding:*' OR source GLOB 'sales:*' OR source GLOB 'money:*'
)"""
"""Written the same in the index and in the query, for SQLite compares the words."""
OVERAGE_POSTINGS = """(
    (source GLOB 'overage:*' AND destination = 'revenue') OR (source = 'revenue' AND destination GLOB 'overage:*')
)"""
OVERAGE_OF_POSTING = "CASE WHEN source = 'revenue' THEN -amount_nanos ELSE amount_nanos END"

OVERAGE_ANEW = f"""
SELECT created_us - created_us % {BUCKET_US}, coalesce(requests.customer_id, ''), sum({OVERAGE_OF_POSTING}) AS overage
FROM postings JOIN transactions USING (sequence) JOIN requests USING (request_id)
WHERE {OVERAGE_POSTINGS} GROUP BY 1, 2 HAVING overage <> 0
"""  # noqa: S608 - the names are ours
"""What the journal says, in SQL: the rows of ``overage_rollups``."""
FILL_OVERAGE = f"INSERT INTO overage_rollups (bucket_us, customer_id, overage_nanos) {OVERAGE_ANEW}"

_STATEMENTS = (
    f"""
CREATE INDEX postings_of_money ON postings (sequence, source, destination, amount_nanos) WHERE {MONEY_POSTINGS}""",
    """
CREATE TABLE overage_rollups (
    bucket_us INTEGER NOT NULL,
    customer_id TEXT NOT NULL,
    overage_nanos INTEGER NOT NULL,
    PRIMARY KEY (bucket_us, customer_id)
) STRICT, WITHOUT ROWID""",
    FILL_OVERAGE,
)


def report_step(database: "Database") -> None:
    """Make them, of all that was booked before too."""
    for statement in _STATEMENTS:
        database.conn.execute(statement)
