"""Meters, plans, bundles, budgets and alerts as a file: told from the books (`lava pull`), compared with them, brought into them.

A file has a table for each kind, and in it one for each thing by its name: ``[meters.premium]``. Each kind has a small
adapter (``CodeKind``) that turns a table into a ``Spec``, tells the specs there are, and makes, changes and removes one by
the kind's own service. Comparing, ordering and writing TOML are the same for all and stand here.

What a file does not name stays, unless it is to be pruned. Everything is read and compared before anything is written.
"""

import difflib
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from lava_proxy.core.errors import InvalidInput, LavaError, Refused
from lava_proxy.services.idempotency import By

type Value = str | bool | list[str]
type Spec = Mapping[str, Value]
"""What a table says, with one way to write each thing: equal specs mean the same."""


type Named = Mapping[str, frozenset[str]]
"""By table, the names that there will be once the file is applied."""


class CodeKind(Protocol):
    """One kind of thing that a file may tell. Its methods raise what its service raises."""

    @property
    def table(self) -> str:
        """The name of its table: ``meters``."""

    @property
    def fixed(self) -> frozenset[str]:
        """Fields that cannot change once the thing is made."""

    @property
    def kept(self) -> frozenset[str]:
        """Fields that stay where a file does not tell them."""

    def read(self, name: str, given: Mapping[str, object]) -> Spec:
        """The spec of a table; InvalidInput names the field."""

    def check_all(self, specs: Mapping[str, Spec], named: Named) -> None:
        """Refuse what no two of them may say, and what refers to a thing that is not there."""

    def present(self) -> Mapping[str, Spec]:
        """What there is, by name."""

    def create(self, name: str, spec: Spec, by: By) -> None: ...

    def update(self, name: str, spec: Spec, by: By) -> None: ...

    def remove(self, name: str, by: By) -> None: ...


class Action(StrEnum):
    CREATE = "create"
    UPDATE = "update"
    REMOVE = "remove"


class FieldChange(Struct, frozen=True, kw_only=True):
    """``None``: not there."""

    field: str
    before: Value | None
    after: Value | None


class Change(Struct, frozen=True, kw_only=True):
    kind: str
    name: str
    action: Action
    fields: tuple[FieldChange, ...]
    spec: dict[str, Value] = {}


class Plan(Struct, frozen=True, kw_only=True):
    """What a file would change, in the order in which it is done."""

    changes: tuple[Change, ...]
    untold: tuple[str, ...] = ()
    """What there is and the file does not name, as ``kind.name``."""


class AsCode:
    def __init__(self, kinds: tuple[CodeKind, ...]) -> None:
        self._kinds = kinds

    def plan(self, text: str, *, place: str, others: frozenset[str] = frozenset(), prune: bool = False) -> Plan:
        """Compare a file with what there is. ``others``: top-level names that are somebody else's and passed over.

        Raises:
            InvalidInput: it is no TOML, or says what cannot be; the message names the place.
            Refused: it changes what is fixed.
        """
        document = self._document(text, place, others)
        wants = {
            kind.table: {name: self._spec(kind, name, given, place) for name, given in _things(document, kind, place)}
            for kind in self._kinds
        }
        presents = {kind.table: kind.present() for kind in self._kinds}
        named = {table: frozenset(wanted if prune else {*wanted, *presents[table]}) for table, wanted in wants.items()}
        changes: list[Change] = []
        untold: list[str] = []
        removed: list[Change] = []  # what refers to others goes before them
        for kind in self._kinds:
            wanted, present = wants[kind.table], presents[kind.table]
            with _told_where(f"{place}: {kind.table}"):
                kind.check_all(wanted, named)
            for name, spec in wanted.items():
                changes.extend(_compared(kind, name, present.get(name), spec))
            missing = [name for name in present if name not in wanted]
            untold.extend(f"{kind.table}.{name}" for name in missing)
            removed = [*(_removed(kind, name, present[name]) for name in missing), *removed]
        return Plan(changes=(*changes, *(removed if prune else ())), untold=() if prune else tuple(untold))

    def apply(self, plan: Plan, *, by: By) -> int:
        """Do what a plan says; gives how many changes were made. What was done before one failed stays, and is no change next time.

        Raises:
            whatever the services raise, with the thing's place before it.
        """
        kinds = {kind.table: kind for kind in self._kinds}
        for change in plan.changes:
            kind = kinds[change.kind]
            with _told_where(f"{change.kind}.{change.name}"):
                if change.action is Action.CREATE:
                    kind.create(change.name, change.spec, by)
                elif change.action is Action.UPDATE:
                    kind.update(change.name, change.spec, by)
                else:
                    kind.remove(change.name, by)
        return len(plan.changes)

    def pull(self) -> str:
        """Everything there is, as a file that changes nothing when it is applied."""
        import tomlkit  # only these commands write TOML

        document = tomlkit.document()
        for kind in self._kinds:
            table = tomlkit.table(is_super_table=True)
            for name, spec in sorted(kind.present().items()):
                thing = tomlkit.table()
                for field, value in spec.items():
                    thing.add(field, value)
                table.add(name, thing)
            if table:
                document.add(kind.table, table)
        return tomlkit.dumps(document)

    def _document(self, text: str, place: str, others: frozenset[str]) -> dict[str, object]:
        try:
            document: dict[str, object] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise InvalidInput(f"{place}: not valid TOML: {error}", field="file") from error
        known = [kind.table for kind in self._kinds]
        for name in document:
            if name not in known and name not in others:
                meant = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {meant[0]!r}?" if meant else f"it may have {', '.join(known)}."
                raise InvalidInput(f"{place}: {name}: there is no such table here; {hint}", field=name)
        return document

    def _spec(self, kind: CodeKind, name: str, given: object, place: str) -> Spec:
        where = f"{place}: {kind.table}.{name}"
        if not isinstance(given, dict):
            raise InvalidInput(f"{where}: write a table, [{kind.table}.{name}]", field=name)
        with _told_where(where):
            return kind.read(name, given)


def read_text(given: Mapping[str, object], field: str, *, default: str | None = None) -> str:
    """A text, or a whole number, of a table.

    Raises:
        InvalidInput: it is missing, or something else: a number with a point is written in quotes, so that it stays exact.
    """
    value = given.get(field, default)
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is None:
        raise InvalidInput(f"{field}: it is missing", field=field)
    raise InvalidInput(f"{field}: write it in quotes, not as {value!r}", field=field)


def read_choice(given: Mapping[str, object], field: str, known: Iterable[StrEnum], *, default: str) -> str:
    """One of a few words.

    Raises:
        InvalidInput
    """
    value, words = read_text(given, field, default=default), [each.value for each in known]
    if value not in words:
        raise InvalidInput(f"{field}: {value!r} is none of {', '.join(words)}", field=field)
    return value


def read_texts(given: Mapping[str, object], field: str, *, such_as: str) -> tuple[str, ...]:
    """A list of texts; nothing where it is not there.

    Raises:
        InvalidInput
    """
    value = given.get(field, [])
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise InvalidInput(f"{field}: write a list of texts, such as {such_as}", field=field)
    return tuple(value)


def read_flag(given: Mapping[str, object], field: str) -> bool:
    """
    Raises:
        InvalidInput
    """
    value = given.get(field, False)
    if not isinstance(value, bool):
        raise InvalidInput(f"{field}: write true or false", field=field)
    return value


def check_fields(given: Mapping[str, object], known: tuple[str, ...]) -> None:
    """
    Raises:
        InvalidInput: a field does not exist; the one that was probably meant is named.
    """
    for field in given:
        if field not in known:
            meant = difflib.get_close_matches(field, known, n=1)
            hint = f"did you mean {meant[0]!r}?" if meant else f"there are {', '.join(known)}."
            raise InvalidInput(f"{field}: there is no such field; {hint}", field=field)


@contextmanager
def _told_where(where: str) -> Iterator[None]:
    """The place before the message of whatever is refused."""
    try:
        yield
    except LavaError as error:
        error.message = f"{where}: {error.message}"
        error.args = (error.message,)
        raise


def _things(document: dict[str, object], kind: CodeKind, place: str) -> list[tuple[str, object]]:
    things = document.get(kind.table, {})
    if not isinstance(things, dict):
        raise InvalidInput(f"{place}: {kind.table}: write a table for each, [{kind.table}.NAME]", field=kind.table)
    return list(things.items())


def _compared(kind: CodeKind, name: str, before: Spec | None, after: Spec) -> list[Change]:
    fields = [field for field in {**(before or {}), **after} if (before or {}).get(field) != after.get(field)]
    differing = tuple(
        FieldChange(field=field, before=(before or {}).get(field), after=after.get(field))
        for field in fields
        if field in after or field not in kind.kept
    )
    if before is not None and not differing:
        return []
    fixed = [change.field for change in differing if change.field in kind.fixed]
    if before is not None and fixed:
        raise Refused(
            f"{kind.table}.{name}: {fixed[0]} cannot change once it is made.",
            hint="Give the new one another name, and remove this one.",
            field=fixed[0],
        )
    action = Action.CREATE if before is None else Action.UPDATE
    return [Change(kind=kind.table, name=name, action=action, fields=differing, spec=dict(after))]


def _removed(kind: CodeKind, name: str, before: Spec) -> Change:
    fields = tuple(FieldChange(field=field, before=value, after=None) for field, value in before.items())
    return Change(kind=kind.table, name=name, action=Action.REMOVE, fields=fields)
