"""Rollups in an SQLite file: written by difference, checked against the requests, and made anew."""

import sqlite3
from collections.abc import Mapping
from functools import lru_cache

from lava_proxy.core.rollups import DAY_US, FIGURES, KEY, NOTHING, Figures, RollupKey
from lava_proxy.store.schema_rollups import ROLLUPS, anew, fill

_PARTS_MAX = 64
_COLUMNS = (*KEY, *FIGURES)
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
    return faults[:limit]


def make_anew(connection: sqlite3.Connection) -> int:
    """Replace all rollups by what the requests say; must not commit. Gives how many there are."""
    count = 0
    for name, span_us in ROLLUPS:
        connection.execute(f"DELETE FROM {name}")  # noqa: S608 - the names are ours
        count += connection.execute(fill(name, span_us)).rowcount
    return count


@lru_cache(maxsize=2 * _PARTS_MAX)
def _upsert(name: str, count: int) -> str:
    values = ", ".join([f"({', '.join('?' * len(_COLUMNS))})"] * count)
    return f"INSERT INTO {name} ({', '.join(_COLUMNS)}) VALUES {values} ON CONFLICT DO UPDATE SET {_ADD}"  # noqa: S608
