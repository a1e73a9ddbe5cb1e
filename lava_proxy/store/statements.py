"""SQL for rows, made from the table of tables: many rows in one statement.

One statement for many rows is not quicker in SQLite, but Python gives up its lock for each step of a statement, and a
writer beside a busy event loop then waits to get it back.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from lava_proxy.store.table import Cell, Key, Row, Table

_ROWS_MAX = 256


def load_rows(connection: sqlite3.Connection, table: Table[Any], keys: Sequence[Key]) -> list[Any]:
    """The rows with these primary keys, as far as they exist."""
    found: list[Any] = []
    for part in _parts(keys):
        cells = connection.execute(load_sql(table, len(part)), _flat(part)).fetchall()
        found.extend(map(table.decode, cells))
    return found


def find_by(connection: sqlite3.Connection, table: Table[Any], column: str, value: Cell) -> list[Any]:
    """The rows that the index by ``column`` holds for this value, in primary-key order."""
    where, values = (f"{column} IS NULL", ()) if value is None else (f"{column} = ?", (value,))
    return [table.decode(cells) for cells in connection.execute(find_sql(table, column, where), values)]


def insert_rows(
    connection: sqlite3.Connection, name: str, columns: tuple[str, ...], rows: Sequence[Row], *, exactly: bool = False
) -> None:
    """Add rows that must be new. ``exactly`` refuses text that is no Unicode; else ``?`` stands for what is not.

    Raises:
        UnicodeEncodeError: see above.
    """
    for part in _parts(rows):
        sql, cells = _insert_sql(name, columns, len(part)), _flat(part)
        if exactly:
            connection.execute(sql, cells)
        else:
            _execute(connection, sql, cells)


def update_rows(
    connection: sqlite3.Connection, name: str, key: tuple[str, ...], columns: tuple[str, ...], rows: Sequence[Row]
) -> int:
    """Set ``columns`` of rows; each of ``rows`` is the key followed by the new cells. Gives the number of rows found."""
    changed = 0
    for part in _parts(rows):
        changed += _execute(connection, update_sql(name, key, columns, len(part)), _flat(part)).rowcount
    return changed


def delete_rows(connection: sqlite3.Connection, name: str, column: str, values: Sequence[Cell]) -> None:
    """Take away all rows with one of these values."""
    for part in _parts(values):
        connection.execute(f"DELETE FROM {name} WHERE {column} IN ({_marks(len(part))})", part)  # noqa: S608 - names are ours


@lru_cache(maxsize=256)
def select_sql(name: str, columns: tuple[str, ...], derived: str = "", *, source: str = "") -> str:
    """``SELECT`` of a table's own cells, without a condition."""
    cells = ", ".join(f"{name}.{column}" for column in columns)
    return f"SELECT {cells}{', ' if derived else ''}{derived} FROM {source or name}"  # noqa: S608 - names are ours


def order_sql(table: Table[Any]) -> str:
    """The primary key, or the order in which rows were added."""
    return ", ".join(f"{table.name}.{column}" for column in table.key) or f"{table.name}.rowid"


def load_sql(table: Table[Any], count: int) -> str:
    """Rows by primary key, as many as ``count``."""
    return _load_text(table.name, table.columns, table.derived, table.key, count)


@lru_cache(maxsize=1024)
def _load_text(name: str, columns: tuple[str, ...], derived: str, key: tuple[str, ...], count: int) -> str:
    """A join in this order, since SQLite would look for a list of composite keys by reading the whole table."""
    if count == 1:
        where = " AND ".join(f"{name}.{column} = ?" for column in key)
        return f"{select_sql(name, columns, derived)} WHERE {where}"
    same = " AND ".join(f"{name}.{column} = wanted.column{number}" for number, column in enumerate(key, 1))
    select = select_sql(
        name, columns, derived, source=f"(VALUES {_values(len(key), count)}) AS wanted CROSS JOIN {name}"
    )
    return f"{select} WHERE {same}"


def find_sql(table: Table[Any], column: str, where: str) -> str:
    """Rows by an indexed column, about which ``where`` says something."""
    return _find_text(table.name, table.columns, table.derived, order_sql(table), where, table.lookups[column].only_sql)


@lru_cache(maxsize=256)
def _find_text(name: str, columns: tuple[str, ...], derived: str, order: str, where: str, only: str) -> str:
    return f"{select_sql(name, columns, derived)} WHERE {where}{' AND ' if only else ''}{only} ORDER BY {order}"


@lru_cache(maxsize=1024)
def _insert_sql(name: str, columns: tuple[str, ...], count: int) -> str:
    return f"INSERT INTO {name} ({', '.join(columns)}) VALUES {_values(len(columns), count)}"  # noqa: S608 - names are ours


@lru_cache(maxsize=1024)
def update_sql(name: str, key: tuple[str, ...], columns: tuple[str, ...], count: int) -> str:
    """New cells for ``columns`` of ``count`` rows; each row's key comes first."""
    if count == 1:
        changes = ", ".join(f"{column} = ?{number}" for number, column in enumerate(columns, len(key) + 1))
        same = " AND ".join(f"{column} = ?{number}" for number, column in enumerate(key, 1))
        return f"UPDATE {name} SET {changes} WHERE {same}"  # noqa: S608 - names are ours
    changes = ", ".join(f"{column} = cell.column{number}" for number, column in enumerate(columns, len(key) + 1))
    same = " AND ".join(f"{name}.{column} = cell.column{number}" for number, column in enumerate(key, 1))
    values = _values(len(key) + len(columns), count)
    return f"UPDATE {name} SET {changes} FROM (VALUES {values}) AS cell WHERE {same}"  # noqa: S608 - names are ours


def _execute(connection: sqlite3.Connection, sql: str, cells: list[Cell]) -> sqlite3.Cursor:
    """Half a surrogate pair in a provider's answer must not keep a call from being booked."""
    try:
        return connection.execute(sql, cells)
    except UnicodeEncodeError:
        whole = [cell.encode(errors="replace").decode() if isinstance(cell, str) else cell for cell in cells]
        return connection.execute(sql, whole)


def _values(width: int, count: int) -> str:
    return ", ".join([f"({_marks(width)})"] * count)


def _marks(count: int) -> str:
    return ", ".join("?" * count)


def _parts[T](rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """Rows in lots of 256, 128, 64 …, so that few different statements are ever prepared."""
    start, size = 0, _ROWS_MAX
    while start < len(rows):
        while size > len(rows) - start:
            size //= 2
        yield rows[start : start + size]
        start += size


def _flat(rows: Sequence[Row] | Sequence[Key]) -> list[Cell]:
    return list(chain.from_iterable(rows))
