"""What may stand in a provider's TOML file. An unknown key or value is refused with the file, the key and a hint."""

import difflib
from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from lava_proxy.core.errors import InvalidProviderFile
from lava_proxy.providers.hosts import parse_host
from lava_proxy.providers.paths import parse_path
from lava_proxy.providers.vocabulary import DIALECTS, INJECTIONS, UNITS

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=64)]
Link = Annotated[str, StringConstraints(pattern=r"^https://\S+$")]


def _host(text: str) -> str:
    parse_host(text)
    return text


def _path(text: str) -> str:
    parse_path(text)
    return text.rstrip("/")


def _dialect(text: str) -> str:
    return _one_of(text, DIALECTS)


def _injection(text: str) -> str:
    return _one_of(text, INJECTIONS)


def _unit(text: str) -> str:
    return _one_of(text, UNITS)


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _one_of(text: str, choices: tuple[str, ...]) -> str:
    if text in choices:
        return text
    close = difflib.get_close_matches(text, choices, n=1, cutoff=0.5)
    raise ValueError(f"{text!r} is none of {', '.join(choices)}" + (f"; did you mean {close[0]!r}?" if close else ""))


Host = Annotated[str, AfterValidator(_host)]
Path = Annotated[str, AfterValidator(_path)]
Dialect = Annotated[str, AfterValidator(_dialect)]
Injection = Annotated[str, AfterValidator(_injection)]
ModelSource = Annotated[
    str, StringConstraints(pattern=r"^((request|response):[A-Za-z_.]+|(path|map):[a-z_]+|const:\S+)$")
]
Unit = Annotated[str, AfterValidator(_unit)]
Place = Annotated[str, StringConstraints(pattern=r"^(response|request|header|path|query):\S+$")]
"""Where in an exchange a value stands: ``response:usage.cost``, ``header:x-cost``, ``path:id``, ``request:text``."""
Subscription = Annotated[str, StringConstraints(pattern=r"^(\*|[A-Za-z0-9_.-]{4,64})$")]
"""How the key of a call by subscription begins; ``*``: all calls are."""
PriceName = Annotated[str, StringConstraints(pattern=r"^genai-prices:[a-z0-9_-]+$")]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=False)


class SinceTable(_Table):
    query: str
    value: str


class StreamTable(_Table):
    usage: Literal["always", "on_request", "never"]
    inject: Injection | None = None
    inject_since: SinceTable | None = None


class AuthTable(_Table):
    place: Literal["header", "query"] = Field(alias="in")
    name: str
    scheme: str = ""


class CostTable(_Table):
    """What the provider itself says that a call cost."""

    source: Place = Field(alias="from")
    per_usd: Annotated[int, Field(ge=1)] = 1


class QuantityTable(_Table):
    """Where a billed quantity is told."""

    unit: Unit
    source: Place = Field(alias="from")
    role: Literal["reported", "fallback"] = "reported"


class EndpointTable(_Table):
    method: Annotated[str, StringConstraints(pattern=r"^[A-Z]+$")]
    path: Path
    base: list[Path] | None = None
    at: Name | None = None
    op: Name | None = None
    dialect: Dialect | None = None
    action: Literal["meter", "free"] = "meter"
    stream: StreamTable | None = None
    model: list[ModelSource] | None = None
    settle: Literal["immediate", "on_poll", "on_download"] = "immediate"
    settles: Name | None = None
    idempotency: list[Place] = []
    reported_cost: CostTable | None = None
    quantities: list[QuantityTable] = []
    units: list[Unit] = []


class UnmatchedTable(_Table):
    action: Literal["free", "flag", "block"]


class ProviderFile(_Table):
    """One file: a provider, or (``template = true``) keys for others to extend."""

    schema_version: Literal[1] = Field(alias="schema")
    template: bool = False
    extends: Annotated[list[Name], BeforeValidator(_listed)] = []
    enabled: bool = True
    id: Name | None = None
    aliases: list[Name] = []
    name: str | None = None
    category: str | None = None
    hosts: list[Host] | None = None
    base_paths: list[Path] | None = None
    bases: dict[Name, list[Path]] = {}
    owns_host: bool = True
    signed: Literal["sigv4"] | None = None
    dialect: Dialect | None = None
    auth: list[AuthTable] = []
    subscription: list[Subscription] = []
    stream: StreamTable | None = None
    model: list[ModelSource] = ["response:model", "request:model"]
    reported_cost: CostTable | None = None
    endpoint: list[EndpointTable] = []
    unmatched: UnmatchedTable = UnmatchedTable(action="flag")
    prices: list[PriceName] = []
    deployments: dict[str, str] = {}
    regions: dict[Host, str] = {}
    docs: str = ""
    pricing: str = ""
    checked: date | None = None
    evidence: Literal["verified", "community"] = "community"
    sources: list[str] = []
    notes: str = ""


_UNKNOWN_KEY = "extra_forbidden"
_TABLES: dict[str, type[_Table]] = {
    "endpoint": EndpointTable,
    "auth": AuthTable,
    "stream": StreamTable,
    "inject_since": SinceTable,
    "unmatched": UnmatchedTable,
    "reported_cost": CostTable,
    "quantities": QuantityTable,
}


def read_table(table: dict[str, object], *, file: str) -> ProviderFile:
    """The checked content of one file.

    Raises:
        InvalidProviderFile: anything in it is unknown, missing or of the wrong kind.
    """
    try:
        return ProviderFile.model_validate(table)
    except ValidationError as fault:
        errors = sorted(fault.errors(), key=lambda error: error["type"] != _UNKNOWN_KEY)
        problems = [_problem(error["loc"], error["type"], error["msg"]) for error in errors]
        message = "; ".join(f"{key}: {what}" for key, what, _ in problems)
        hint = next((hint for _, _, hint in problems if hint), "docs/provider-files.md lists every key")
        raise InvalidProviderFile(f"{file}: {message}", hint=hint, file=file, field=problems[0][0]) from fault


def _problem(location: tuple[int | str, ...], kind: str, said: str) -> tuple[str, str, str]:
    """The key as people write it, what is wrong with it, and a hint where there is one."""
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")
    if kind == "missing":
        return key, "is missing", f"add {location[-1]!r}"
    if kind != _UNKNOWN_KEY:
        return key, said.removeprefix("Value error, "), ""
    known = _keys_at(location)
    close = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.7)
    hint = f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(known)}"
    return key, "is not a known key", hint


def _keys_at(location: tuple[int | str, ...]) -> list[str]:
    parents = [part for part in location[:-1] if isinstance(part, str)]
    table = _TABLES.get(parents[-1], ProviderFile) if parents else ProviderFile
    return [field.alias or name for name, field in table.model_fields.items()]
