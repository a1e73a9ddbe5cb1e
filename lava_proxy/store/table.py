"""How one kind of row is kept: its table, its columns, and the way from an entity to its cells and back."""

import json
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any

from msgspec import Struct, field

type Cell = str | int | None
type Row = tuple[Cell, ...]
type Key = tuple[str | int, ...]
type Cells = tuple[Any, ...]
"""What SQLite gives back; the STRICT tables vouch for the types."""

to_json = json.JSONEncoder(separators=(",", ":")).encode
from_json = json.loads


def list_to_json(texts: tuple[str, ...]) -> str:
    """A list of texts; most are empty."""
    return to_json(texts) if texts else "[]"


def list_from_json(text: str) -> tuple[Any, ...]:
    """The texts of such a list."""
    return tuple(from_json(text)) if text != "[]" else ()


def all_but(kind: type[Struct], *names: str) -> Callable[[Any], tuple[Any, ...]]:
    """Gives the fields of a row except these."""
    return attrgetter(*[name for name in kind.__struct_fields__ if name not in names])


class Lookup[E](Struct, frozen=True, kw_only=True):
    """A column that ``Rows.find`` may name, because an index stands behind it."""

    value: Callable[[E], Cell]
    only: Callable[[E], bool] | None = None
    """Which rows the index holds; ``None``: all."""
    only_sql: str = ""
    """The same condition in SQL."""
    values: frozenset[str] | None = None
    """The only values that the index knows; ``None``: any."""

    def has(self, row: E) -> bool:
        """True where the index holds the row."""
        return self.only is None or self.only(row)

    def matches(self, row: E, value: Cell) -> bool:
        """True where ``find`` with this value has to give the row."""
        return self.value(row) == value and self.has(row)


class Children[E](Struct, frozen=True, kw_only=True):
    """Rows that belong to one row and are kept in a table of their own."""

    name: str
    columns: tuple[str, ...]
    """The first one names the owner."""
    encode: Callable[[E], tuple[Row, ...]]
    are_same: Callable[[E, E], bool]
    """True where two values of a row have equal children."""


class Reference[E](Struct, frozen=True, kw_only=True):
    """Rows of another kind that must exist before this one."""

    kind: type
    keys: Callable[[E], tuple[Key, ...]]


class Table[E](Struct, frozen=True, kw_only=True):
    """One line of the table of tables."""

    kind: type[E]
    name: str
    key: tuple[str, ...]
    """Primary-key columns; none where the file numbers the rows by itself."""
    key_of: Callable[[E], Key]
    """Their values in a row."""
    columns: tuple[str, ...]
    """What ``encode`` gives, in this order."""
    encode: Callable[[E], Row]
    decode: Callable[[Cells], E]
    """From the columns, and one cell more where ``derived`` is set."""
    derived: str = ""
    """An SQL expression that is read after the columns."""
    quick_columns: tuple[str, ...] = ()
    quick: Callable[[E, E], Row | None] | None = None
    """The new row's cells in ``quick_columns``, where it differs from the old one in nothing else; else ``None``."""
    children: Children[E] | None = None
    lookups: Mapping[str, Lookup[E]] = field(default_factory=dict[str, Lookup[E]])
    unique: Mapping[str, Callable[[E], Cell]] = field(default_factory=dict[str, Callable[[E], Cell]])
    """Columns beside the key in which no value may stand twice; a value of ``None`` is free."""
    references: tuple[Reference[E], ...] = ()
    is_sound: Callable[[E], bool] | None = None
    """What the file's CHECKs demand beyond the entity's own assertions."""
    is_appended: bool = False
    """Every put is a new row; nothing is ever replaced."""
    is_written_once: bool = False
    """A row is put when it is new; who replaces one has read it before."""
    is_done_with: Callable[[E], bool] | None = None
    """Which rows will hardly be read again; ``None``: any row may be."""

    def lookup(self, column: str, value: Cell) -> Lookup[E]:
        """The lookup by this column.

        Raises:
            ValueError: no index stands behind it, or none that knows the value.
        """
        found = self.lookups.get(column)
        if found is None:
            raise ValueError(
                f"{self.kind.__name__} is not found by {column!r}; indexed are: {', '.join(self.lookups) or 'none'}"
            )
        if found.values is not None and value not in found.values:
            raise ValueError(
                f"{self.kind.__name__} is found by {column!r} of {sorted(found.values)} only, not {value!r}"
            )
        return found
