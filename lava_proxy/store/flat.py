"""Tables of flat kinds: each field is a column of its name, encoded by its type.

Texts and numbers stand as they are, instants and amounts as integers, names of states as text, flags as 0 or 1, and
tuples of texts as JSON lists. ``derived`` columns are computed from the row when it is written, and never read back.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from types import UnionType
from typing import Any, NewType, Union, get_args, get_origin, get_type_hints

from msgspec import Struct
from msgspec.structs import fields

from lava_proxy.store.table import (
    Cell,
    Cells,
    Lookup,
    Reference,
    Row,
    Table,
    list_from_json,
    list_to_json,
)

type Read = Callable[[Any], Any]


def flat_table[E: Struct](
    kind: type[E],
    name: str,
    key: str,
    *,
    lookups: Mapping[str, Lookup[E]] | None = None,
    unique: Mapping[str, Callable[[E], Cell]] | None = None,
    derived: Mapping[str, Callable[[E], Cell]] | None = None,
    references: tuple[Reference[E], ...] = (),
) -> Table[E]:
    """The table of a kind whose primary key is the field ``key``; ``derived`` columns come after the fields."""
    names = tuple(field.name for field in fields(kind))
    hints = get_type_hints(kind)
    reads = tuple((field, _read(hints[field])) for field in names)
    written = tuple((derived or {}).values())

    def encode(row: E) -> Row:
        return (*(_cell(getattr(row, field)) for field in names), *(make(row) for make in written))

    def decode(cells: Cells) -> E:
        return kind(**{field: read(cell) for (field, read), cell in zip(reads, cells, strict=False)})

    return Table(
        kind=kind,
        name=name,
        key=(key,),
        key_of=lambda row: (getattr(row, key),),
        columns=(*names, *(derived or {})),
        encode=encode,
        decode=decode,
        lookups=lookups or {},
        unique=unique or {},
        references=references,
    )


def _cell(value: Any) -> Cell:
    if isinstance(value, tuple):
        return list_to_json(value)
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, bool):
        return 1 if value else 0
    cell: Cell = value
    return cell


def _read(hint: Any) -> Read:
    if get_origin(hint) in (Union, UnionType):
        (inner,) = (part for part in get_args(hint) if part is not type(None))
        read = _read(inner)
        return lambda cell: None if cell is None else read(cell)
    if isinstance(hint, NewType):
        return _read(hint.__supertype__)
    if get_origin(hint) is tuple:
        return list_from_json
    if hint is bool:
        return bool
    return hint if isinstance(hint, type) and issubclass(hint, StrEnum) else _as_it_is


def _as_it_is(cell: Any) -> Any:
    return cell
