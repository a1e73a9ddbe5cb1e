"""Reads provider files: the packaged ones, then the operator's, whose keys take the place of the packaged ones."""

import tomllib
from collections.abc import Sequence
from msgspec import Struct
from pathlib import Path

from lava_proxy.core.errors import InvalidProviderFile
from lava_proxy.providers.index import ProviderIndex
from lava_proxy.providers.model import Action, AuthSlot, Endpoint, Provider, StreamRule, StreamUsage
from lava_proxy.providers.schema import EndpointTable, ProviderFile, StreamTable, read_table

PACKAGED = Path(__file__).parent
TEMPLATES = PACKAGED / "_templates"


class _Source(Struct, frozen=True, kw_only=True):
    """A checked file and where it is from."""

    file: ProviderFile
    origin: str


def load_providers(operator_folder: Path | None = None) -> ProviderIndex:
    """Every enabled provider: the packaged files, then ``*.toml`` of ``operator_folder`` (none if it does not exist).

    A file of the operator's with a packaged provider's id replaces that one's keys, each as a whole.

    Raises:
        InvalidProviderFile: a file cannot be read, has an unknown or wrong key, or claims what another one owns.
    """
    templates = {path.stem: _read(path, f"_templates/{path.name}") for path in _files(TEMPLATES)}
    sources = {source.file.id: source for source in (_read(path, "packaged") for path in _files(PACKAGED))}
    for path in _files(operator_folder) if operator_folder is not None else ():
        source = _read(path, str(path))
        if source.file.template:
            templates[path.stem] = source
        else:
            sources[source.file.id] = _overlaid(sources.get(source.file.id), source)
    enabled = (source for source in sources.values() if source.file.enabled)
    return ProviderIndex(_provider(_extended(source, templates)) for source in enabled)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.toml")) if folder.is_dir() else []


def _read(path: Path, origin: str) -> _Source:
    name = path.name if origin == "packaged" else origin
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
    return _Source(file=file, origin=origin)


def _overlaid(below: _Source | None, above: _Source) -> _Source:
    if below is None:
        return above
    return _Source(file=_merged(below.file, above.file), origin=above.origin)


def _merged(below: ProviderFile, above: ProviderFile) -> ProviderFile:
    """``below`` with the keys that ``above`` sets."""
    return below.model_copy(update={key: getattr(above, key) for key in above.model_fields_set})


def _extended(source: _Source, templates: dict[str, _Source], path: tuple[str, ...] = ()) -> _Source:
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
    return _Source(file=file.model_copy(update={"endpoint": endpoints, "template": False}), origin=source.origin)


def _provider(source: _Source) -> Provider:
    file = source.file
    if file.id is None or not file.hosts:
        raise _fault(source, "hosts", "are missing", "name at least one host")
    if file.dialect is None:
        raise _fault(source, "dialect", "is missing", "name the usual wire format, or extend a template that does")
    bases = tuple(file.base_paths if file.base_paths is not None else [""])
    return Provider(
        id=file.id,
        name=file.name or file.id,
        category=file.category or "llm",
        hosts=tuple(file.hosts),
        base_paths=bases,
        owns_host=file.owns_host,
        dialect=file.dialect,
        auth=tuple(AuthSlot(place=slot.place, name=slot.name.lower(), scheme=slot.scheme) for slot in file.auth),
        endpoints=tuple(_endpoint(table, source, bases) for table in file.endpoint),
        unmatched=Action(file.unmatched.action),
        prices=(f"lava:{file.id}", *file.prices),
        deployments=dict(file.deployments),
        regions=dict(file.regions),
        docs=file.docs,
        pricing=file.pricing,
        checked=file.checked.isoformat() if file.checked else "",
        evidence=file.evidence,
        notes=file.notes,
        origin=source.origin,
    )


def _endpoint(table: EndpointTable, source: _Source, bases: Sequence[str]) -> Endpoint:
    file = source.file
    where = f"endpoint {table.method} {table.path}"
    dialect = table.dialect or file.dialect
    if dialect is None or (table.action == "meter" and table.op is None):
        raise _fault(source, where, "is metered, but has no op", 'add op = "chat" or the like, or action = "free"')
    return Endpoint(
        method=table.method,
        bases=tuple(table.base if table.base is not None else bases),
        path=table.path,
        action=Action(table.action),
        op=table.op or "free",
        dialect=dialect,
        stream=_stream(table.stream or file.stream),
        model=tuple(table.model if table.model is not None else file.model),
    )


def _stream(table: StreamTable | None) -> StreamRule:
    if table is None:
        return StreamRule(usage=StreamUsage.NEVER)
    since = (table.inject_since.query, table.inject_since.value) if table.inject_since else None
    return StreamRule(usage=StreamUsage(table.usage), inject=table.inject or "", inject_since=since)


def _fault(source: _Source, key: str, what: str, hint: str) -> InvalidProviderFile:
    name = f"{source.file.id}.toml" if source.origin == "packaged" else source.origin
    return InvalidProviderFile(f"{name}: {key}: {what}", hint=hint, file=name, field=key)
