"""Rollups in an SQLite file: written by difference, checked against the requests, and made anew."""

import sqlite3
from collections.abc import Mapping, Sequence
from functools import lru_cache

from lava_proxy.core.entities import JournalEntry
from lava_proxy.core.journal import REVENUE
from lava_proxy.core.rollups import BUCKET_US, DAY_US, FIGURES, KEY, NOTHING, Figures, RollupKey
from lava_proxy.store.schema_reports import FILL_OVERAGE, OVERAGE_ANEW
from lava_proxy.store.schema_rollups import ROLLUPS, anew, fill

_PARTS_MAX = 64
_COLUMNS = (*KEY, *FIGURES)
_ADD_OVERAGE = f"""
INSERT INTO overage_rollups (bucket_us, customer_id, overage_nanos)
SELECT created_us - created_us % {BUCKET_US}, coalesce(customer_id, ''), :amount
FROM requests WHERE request_id = :request_id
ON CONFLICT DO UPDATE SET overage_nanos = overage_nanos + excluded.overage_nanos
"""  # noqa: S608 - the names are ours
_ADD = ", ".join(f"{name} = {name} + excluded.{name}" for name in FIGURES)


def write_rollups(connection: sqlite3.Connection, rollups: Mapping[RollupKey, Figures]) -> None:
    """Add these differences, by the quarter of an hour and by the day."""
    changed = [(key, figures) for key, figures in rollups.items() if figures != NOTHING]
    quarters = [(*key, *figures) for key, figures in changed]
    days = [(key[0] - key[0] % DAY_US, *key[1:], *figures) for key, figures in changed]  # one may stand twice
    for (name, _), rows in zip(ROLLUPS, (days, quarters), strict=True):
        for start in range(0, len(rows), _PARTS_MAX):
            part = rows[start : start + _PARTS_MAX]
            connection.execute(_upsert(name, len(part)), [cell for row in part for cell in row])


def find_faults(connection: sqlite3.Connection, *, limit: int) -> list[str]:
    """Where the rollups are not the sums of the requests; in words."""
    faults: list[str] = []
    for name, span_us in ROLLUPS:
        stored = f"SELECT {', '.join(_COLUMNS)} FROM {name} WHERE requests != 0"  # noqa: S608 - the names are ours
        told = anew(span_us)
        sql = f"""
        SELECT 'the requests give', * FROM (SELECT * FROM ({told}) EXCEPT {stored})
        UNION ALL
        SELECT 'kept is', * FROM ({stored} EXCEPT SELECT * FROM ({told}))
        LIMIT :limit
        """  # noqa: S608 - the names are ours
        for what, *cells in connection.execute(sql, {"limit": limit}):
            key = ", ".join(f"{column} {cell}" for column, cell in zip(KEY, cells, strict=False))
            figures = ", ".join(f"{n} {cell}" for n, cell in zip(FIGURES, cells[len(KEY) :], strict=True) if cell)
            faults.append(f"{what} {figures} ({name}: {key})")
    faults += _overage_faults(connection, limit)
    return faults[:limit]


def make_anew(connection: sqlite3.Connection) -> int:
    """Replace all rollups by what the requests say; must not commit. Gives how many there are."""
    count = 0
    for name, span_us in ROLLUPS:
        connection.execute(f"DELETE FROM {name}")  # noqa: S608 - the names are ours
        count += connection.execute(fill(name, span_us)).rowcount
    connection.execute("DELETE FROM overage_rollups")
    return count + connection.execute(FILL_OVERAGE).rowcount


def write_overage(connection: sqlite3.Connection, entries: Sequence[JournalEntry]) -> None:
    """Add the overage of calls among these entries, whose requests are written already."""
    for entry in entries:
        transaction = entry.transaction
        if transaction.request_id is None:
            continue
        for posting in transaction.postings:
            if posting.source.startswith("overage:") or posting.destination.startswith("overage:"):
                amount = -posting.amount_nanos if posting.source == REVENUE else posting.amount_nanos
                connection.execute(_ADD_OVERAGE, {"request_id": transaction.request_id, "amount": amount})


def _overage_faults(connection: sqlite3.Connection, limit: int) -> list[str]:
    stored = "SELECT bucket_us, customer_id, overage_nanos FROM overage_rollups WHERE overage_nanos <> 0"
    sql = f"""
    SELECT 'the journal gives', * FROM (SELECT * FROM ({OVERAGE_ANEW}) EXCEPT {stored})
    UNION ALL
    SELECT 'kept is', * FROM ({stored} EXCEPT SELECT * FROM ({OVERAGE_ANEW}))
    LIMIT :limit
    """  # noqa: S608 - the names are ours
    return [
        f"{what} overage_nanos {overage} (overage_rollups: bucket_us {bucket}, customer_id {customer})"
        for what, bucket, customer, overage in connection.execute(sql, {"limit": limit})
    ]


@lru_cache(maxsize=2 * _PARTS_MAX)
def _upsert(name: str, count: int) -> str:
    values = ", ".join([f"({', '.join('?' * len(_COLUMNS))})"] * count)
    return f"INSERT INTO {name} ({', '.join(_COLUMNS)}) VALUES {values} ON CONFLICT DO UPDATE SET {_ADD}"  # noqa: S608
