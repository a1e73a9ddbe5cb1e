"""From the text of a provider file to a provider: checked, over its templates, with every default filled in."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from lava_proxy.core.errors import InvalidProviderFile
from lava_proxy.providers.model import (
    NO_STREAM,
    PACKAGED,
    USUAL_MODEL,
    Action,
    AuthSlot,
    Endpoint,
    Provider,
    Quantity,
    ReportedCost,
    Settle,
    StreamRule,
    StreamUsage,
)
from lava_proxy.providers.schema import CostTable, EndpointTable, ProviderFile, StreamTable, read_table

_WEBSOCKET = "WS"


class Source(Struct, frozen=True, kw_only=True):
    """A checked file and where it is from."""

    file: ProviderFile
    origin: str


def read_source(path: Path, origin: str) -> Source:
    """One file, checked by itself.

    Raises:
        InvalidProviderFile
    """
    name = path.name if origin == PACKAGED else origin
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as fault:
        raise InvalidProviderFile(
            f"{name}: cannot be read: {fault}", hint="check its permissions", file=name
        ) from fault
    except tomllib.TOMLDecodeError as fault:
        raise InvalidProviderFile(f"{name}: is not TOML: {fault}", hint="see https://toml.io", file=name) from fault
    file = read_table(table, file=name)
    if file.id is None and not file.template:
        raise InvalidProviderFile(f"{name}: id is missing", hint="add 'id'", file=name, field="id")
    return Source(file=file, origin=origin)


def finished(source: Source, templates: Mapping[str, Source]) -> Provider:
    """The provider that the file describes together with its templates.

    Raises:
        InvalidProviderFile
    """
    return _provider(_extended(source, templates))


def overlaid(below: Source | None, above: Source) -> Source:
    """``below`` with the keys that ``above`` sets, each as a whole."""
    if below is None:
        return above
    return Source(file=_merged(below.file, above.file), origin=above.origin)


def _merged(below: ProviderFile, above: ProviderFile) -> ProviderFile:
    """``below`` with the keys that ``above`` sets."""
    return below.model_copy(update={key: getattr(above, key) for key in above.model_fields_set})


def _extended(source: Source, templates: Mapping[str, Source], path: tuple[str, ...] = ()) -> Source:
    """``source`` over its templates, the first named on top; endpoints add up, its own first."""
    file, endpoints = source.file, list(source.file.endpoint)
    for name in source.file.extends:
        if name not in templates:
            known = ", ".join(sorted(templates))
            raise _fault(source, "extends", f"there is no template {name!r}", f"there are: {known}")
        if name in path:
            raise _fault(source, "extends", f"{name!r} extends itself", "take it out of one of them")
        below = _extended(templates[name], templates, (*path, name)).file
        endpoints += below.endpoint
        file = _merged(below, file)
    return Source(file=file.model_copy(update={"endpoint": endpoints, "template": False}), origin=source.origin)


def _provider(source: Source) -> Provider:
    file = source.file
    if file.id is None or not file.hosts:
        raise _fault(source, "hosts", "are missing", "name at least one host")
    if file.dialect is None:
        raise _fault(source, "dialect", "is missing", "name the usual wire format, or extend a template that does")
    bases = tuple(file.base_paths if file.base_paths is not None else [""])
    named = (path for paths in file.bases.values() for path in paths)
    return Provider(
        id=file.id,
        name=file.name or file.id,
        category=file.category or "llm",
        hosts=tuple(file.hosts),
        base_paths=tuple(dict.fromkeys((*bases, *named))),
        owns_host=file.owns_host,
        dialect=file.dialect,
        auth=tuple(AuthSlot(place=slot.place, name=slot.name.lower(), scheme=slot.scheme) for slot in file.auth),
        subscription=tuple(file.subscription),
        endpoints=tuple(_endpoint(table, source, bases) for table in file.endpoint),
        unmatched=Action(file.unmatched.action),
        prices=(f"lava:{file.id}", *file.prices),
        deployments=dict(file.deployments),
        regions=dict(file.regions),
        docs=file.docs,
        pricing=file.pricing,
        checked=file.checked.isoformat() if file.checked else "",
        evidence=file.evidence,
        sources=tuple(file.sources),
        aliases=tuple(file.aliases),
        signed=file.signed or "",
        notes=file.notes,
        origin=source.origin,
    )


def _endpoint(table: EndpointTable, source: Source, bases: Sequence[str]) -> Endpoint:
    file = source.file
    where = f"endpoint {table.method} {table.path}"
    dialect = table.dialect or file.dialect
    if dialect is None or (table.action == "meter" and table.op is None):
        raise _fault(source, where, "is metered, but has no op", 'add op = "chat" or the like, or action = "free"')
    quantities = tuple(
        Quantity(unit=each.unit, source=each.source, is_fallback=each.role == "fallback") for each in table.quantities
    )
    is_metered = table.action == "meter"
    return Endpoint(
        method="GET" if table.method == _WEBSOCKET else table.method,
        bases=tuple(table.base if table.base is not None else file.bases.get(table.at or "", bases)),
        path=table.path,
        action=Action(table.action),
        op=table.op or "free",
        dialect=dialect,
        stream=_stream(table.stream or file.stream) if is_metered else NO_STREAM,
        model=_model(table.model if table.model is not None or not is_metered else file.model),
        settle=Settle(table.settle),
        settles=table.settles or "",
        idempotency=tuple(table.idempotency),
        reported_cost=_cost(table.reported_cost or (file.reported_cost if is_metered else None)),
        quantities=quantities,
        units=tuple(dict.fromkeys((*table.units, *(each.unit for each in quantities)))),
    )


def _model(sources: list[str] | None) -> tuple[str, ...]:
    """The usual ones are one and the same value, which the catalogue leaves out."""
    found = tuple(sources or USUAL_MODEL)
    return USUAL_MODEL if found == USUAL_MODEL else found


def _cost(table: CostTable | None) -> ReportedCost | None:
    return None if table is None else ReportedCost(source=table.source, per_usd=table.per_usd)


def _stream(table: StreamTable | None) -> StreamRule:
    if table is None or table.usage == "never":
        return NO_STREAM
    since = (table.inject_since.query, table.inject_since.value) if table.inject_since else None
    return StreamRule(usage=StreamUsage(table.usage), inject=table.inject or "", inject_since=since)


def _fault(source: Source, key: str, what: str, hint: str) -> InvalidProviderFile:
    name = f"{source.file.id}.toml" if source.origin == PACKAGED else source.origin
    return InvalidProviderFile(f"{name}: {key}: {what}", hint=hint, file=name, field=key)
