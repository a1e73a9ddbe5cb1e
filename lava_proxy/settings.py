"""One frozen ``Settings``, read once: defaults, then ``<home>/lava.toml``, then ``LAVA_*``, then what a command was given.

The later source wins, key by key. A key that does not exist is refused with the one that was probably meant; a value
that cannot be is refused with the place it came from. ``docs/settings.md`` describes every field, and a test holds the
two together.
"""

import difflib
import os
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, ByteSize, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from lava_proxy.core.addresses import ConnectTo, is_loopback, parse_connect_to
from lava_proxy.core.admission import UnpricedPolicy
from lava_proxy.core.errors import InvalidAmount, InvalidSettings
from lava_proxy.core.identity import Anonymous, UnknownCustomer
from lava_proxy.core.money import parse_amount

ENV_PREFIX = "LAVA_"
CODE_TABLES = ("meters", "plans", "bundles", "budgets", "alerts")
"""Tables of ``lava.toml`` that are no settings: `lava apply` brings them into the ledger."""
OTHER_VARIABLES = frozenset(
    {"home", "customer", "meter", "run_id", "proxy_url", "base_url", "secret_key", "shared", "no_color"}
)
"""``LAVA_*`` variables that are no settings: they belong to commands, to children of `lava run`, or to the Lava SDK."""


@dataclass(frozen=True, slots=True)
class Home:
    """A home's folder, and where things are in it. Nothing here touches the disk."""

    folder: Path

    @property
    def ledger_file(self) -> Path:
        return self.folder / "ledger.db"

    @property
    def settings_file(self) -> Path:
        return self.folder / "lava.toml"

    @property
    def providers_folder(self) -> Path:
        """The operator's own provider files."""
        return self.folder / "providers.d"

    @property
    def ca_folder(self) -> Path:
        return self.folder / "ca"

    @property
    def instances_folder(self) -> Path:
        """Locks that living processes keep, one per instance id."""
        return self.folder / "instances"

    @property
    def run_folder(self) -> Path:
        """What a running proxy says about itself: ``<instance>.json``, and its lock ``<instance>.lock``."""
        return self.folder / "run"

    @property
    def logs_folder(self) -> Path:
        return self.folder / "logs"

    @property
    def spool_folder(self) -> Path:
        """Calls noted while the ledger could not be written."""
        return self.folder / "spool"

    @property
    def key_file(self) -> Path:
        """The home's own key: it opens what is sealed in the ledger."""
        return self.folder / "home.key"

    def run_file(self, instance: str) -> Path:
        return self.run_folder / f"{instance}.json"

    def log_file(self, instance: str) -> Path:
        return self.logs_folder / f"{instance}.log"


def resolve_home(flag: Path | None = None) -> Home:
    """The home that is meant: the flag, else LAVA_HOME, else the platform's folder for a user's data."""
    named = flag or os.environ.get("LAVA_HOME")
    if named:
        return Home(Path(named).expanduser().absolute())
    from platformdirs import user_data_path  # a home is mostly named, and this costs 30 ms

    return Home(user_data_path("lava", appauthor=False))


def _split_commas(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _check_connect_to(value: tuple[str, ...]) -> tuple[str, ...]:
    for rule in value:
        parse_connect_to(rule)
    return value


def _check_amount(value: str) -> str:
    try:
        parse_amount(value)
    except InvalidAmount as error:
        raise ValueError('write plain dollars in quotes, such as "0.50"') from error
    return value


def _check_time_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError("there is no such time zone; write a name such as Europe/Berlin") from error
    return value


def _read_pairs(value: object) -> object:
    """``deployment=model,…``, as it comes from the environment."""
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in value.split(",") if part.strip()]
    return {name.strip(): model.strip() for name, _, model in pairs}


TextList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_commas)]
RuleList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_commas), AfterValidator(_check_connect_to)]
TextTable = Annotated[dict[str, str], NoDecode, BeforeValidator(_read_pairs)]
Amount = Annotated[str, AfterValidator(_check_amount)]
TimeZone = Annotated[str, AfterValidator(_check_time_zone)]
FilePath = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]


class Settings(BaseSettings):
    """Everything that can be set. A running process keeps what it read; restart it to change something."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="forbid", use_attribute_docstrings=True)

    host: str = "127.0.0.1"
    """The address to listen on. Any other than a loopback address makes a key necessary for every call."""
    port: int = Field(default=8080, ge=0, le=65535)
    """The port to listen on; 0 picks a free one."""
    instance: str = Field(default="main", pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")
    """The name of this proxy in its home. One proxy runs under a name at a time."""
    hostnames: TextList = ()
    """Further names under which clients reach this port, as they write them into the Host header."""
    tls_cert: FilePath | None = None
    """A PEM file: the certificate (and its chain) with which the port itself speaks TLS. Needs `tls_key`."""
    tls_key: FilePath | None = None
    """A PEM file: the private key of `tls_cert`."""
    connect_to: RuleList = ()
    """Where to connect instead: `HOST:PORT:HOST2:PORT2`, as curl has it. Names and certificates stay the original ones."""
    upstream_ca: FilePath | None = None
    """A PEM file: certificate authorities to trust, beside the public ones, when connecting to providers."""
    body_size_limit: ByteSize = Field(default=ByteSize(64 * 1024 * 1024), gt=0)
    """The largest request body, in bytes or with a unit such as `"64MiB"`. A larger one is refused with 413."""

    require_key: Literal["auto", "always"] = "auto"
    """Must every caller show a key? `auto`: yes, unless the port listens on a loopback address. `always`: yes."""
    anonymous: Anonymous = Anonymous.TRACK
    """A call without any identity. `track`: booked to you, its cost recorded, never blocked for credit. `refuse`: 401."""
    unknown_customer: UnknownCustomer = UnknownCustomer.REFUSE
    """A call that names a customer who does not exist. `refuse`: 403. `create`: the customer is made, without credit."""
    unknown_customers_per_minute: int = Field(default=60, ge=1)
    """With `unknown_customer = "create"`: how many new customers a minute at most."""
    identity_from_body: bool = False
    """Take the customer from the request body (`user`, `metadata.user_id`) where nothing else names one."""
    tunnel_unknown: Literal["refuse", "allow"] = "refuse"
    """A tunnel to a bare IP address without a TLS server name. `refuse`: 403. `allow`: passed on untouched."""

    unknown_endpoint: Literal["allow", "block"] = "allow"
    """An endpoint of an AI provider that no provider file describes. `allow`: passed on, recorded with the flag `unknown`. `block`: 403."""
    unpriced: UnpricedPolicy = UnpricedPolicy.BLOCK
    """A customer's call whose cost nobody knows, on a meter that charges by cost. `block`: refused before it is sent.
    `hold`: `unpriced_hold` is set aside and charged. `allow`: passed on, charged 0 and flagged `unpriced`."""
    unpriced_hold: Amount = "1.00"
    """With `unpriced = "hold"`: the dollars for one such call, in quotes."""
    no_usage: Literal["estimate", "hold"] = "estimate"
    """An answer that tells no usage. `estimate`: charged by the size of its text. `hold`: charged at its hold. Flagged either way."""
    assumed_output_tokens: int = Field(default=4096, ge=1)
    """The output tokens that a hold allows for where the request sets no limit itself."""
    hold_ttl_seconds: int = Field(default=3600, ge=10)
    """How long a hold stands before the sweep asks whether its call still lives."""
    trust_provider_cost: bool = True
    """Where a provider says itself what a call cost, take that rather than the price book."""
    azure_deployments: TextTable = Field(default_factory=dict)
    """The table `[azure_deployments]`: which model stands behind an Azure deployment, as `deployment = "model"`."""
    upgrade_url: str | None = None
    """Where customers get more credit. Told to them when a call is refused with 402."""

    synchronous: Literal["FULL", "NORMAL"] = "FULL"
    """How the ledger is written. `FULL` survives the loss of power, `NORMAL` the death of the process only."""
    park_seconds: int = Field(default=0, ge=0, le=120)
    """How long a call that would be refused for want of credit waits for a top-up on its way. 0: not at all."""
    fail_open: bool = False
    """When the ledger cannot be written: let calls pass after noting them in a spool file. Off: refuse them with 503."""
    drain_seconds: int = Field(default=30, ge=0)
    """When stopping: how long calls in flight may take to finish."""
    time_zone: TimeZone = "UTC"
    """The time zone of days in reports, such as `Europe/Berlin`. Billing itself is in UTC."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """How much the proxy logs."""
    log_file: FilePath | None = None
    """Where the log goes. Unset: standard error in the foreground, `logs/<instance>.log` in the home when detached."""

    backup_folder: FilePath | None = None
    """Where a running proxy puts backups by itself. Unset: it makes none. Needs `backup_passphrase_file`."""
    backup_every_hours: int = Field(default=24, ge=1)
    """How often."""
    backup_keep: int = Field(default=7, ge=1)
    """How many of its own backups stay in the folder; older ones are deleted after a new one is made."""
    backup_passphrase_file: FilePath | None = None
    """A file whose first line is the passphrase under which backups seal the home's keys."""

    @property
    def connect_rules(self) -> tuple[ConnectTo, ...]:
        return tuple(parse_connect_to(rule) for rule in self.connect_to)

    @property
    def unpriced_hold_nanos(self) -> int:
        return parse_amount(self.unpriced_hold)

    @property
    def key_is_required(self) -> bool:
        """Decided by the address that is bound, never by who calls."""
        return self.require_key == "always" or not is_loopback(self.host)

    @model_validator(mode="after")
    def _check_tls(self) -> "Settings":
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key belong together: give both or neither")
        return self

    @model_validator(mode="after")
    def _check_backups(self) -> "Settings":
        if self.backup_folder is not None and self.backup_passphrase_file is None:
            raise ValueError("backup_folder needs backup_passphrase_file: backups seal the home's keys")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what it is given: ``load_settings`` reads the sources, so that a fault can name its place."""
        return (init_settings,)


_PATH_KEYS = ("tls_cert", "tls_key", "upstream_ca", "log_file", "backup_folder", "backup_passphrase_file")


def load_settings(home: Home, overrides: Mapping[str, object] | None = None) -> Settings:
    """The settings of a home. ``overrides`` come from flags and win; those that are ``None`` were not given.

    Raises:
        InvalidSettings: the file is no TOML, a key does not exist, or a value cannot be; ``details['field']`` names the key.
    """
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    return _validate(_read_file(home), _read_environment(), given, home)


def explain_sources(home: Home) -> dict[str, str]:
    """Where each setting that is not at its default comes from: the file, or a variable.

    Raises:
        InvalidSettings
    """
    return _places(_read_file(home), _read_environment(), {}, home)


def change_file(home: Home, key: str, value: object | None) -> Settings:
    """Write one key into ``lava.toml`` (``None`` takes it out) and give the settings that hold from then on.

    Comments and order of the file stay. Nothing is written where the new value cannot be.

    Raises:
        InvalidSettings: as ``load_settings``.
    """
    import tomlkit  # only this command writes the file

    _check_key(key, place=home.settings_file.name)
    values = _read_file(home)
    values.pop(key, None)
    if value is not None:
        values[key] = value
    settings = _validate(values, {}, {}, home)
    text = home.settings_file.read_text() if home.settings_file.exists() else ""
    document = tomlkit.parse(text)
    if value is None:
        document.pop(key, None)
    else:
        document[key] = settings.model_dump(mode="json", include={key})[key]
    _replace(home.settings_file, tomlkit.dumps(document))
    return settings


def _replace(file: Path, text: str) -> None:
    """All of the new text or all of the old, whatever happens."""
    with tempfile.NamedTemporaryFile("w", dir=file.parent, prefix=".lava-", delete=False) as new:
        new.write(text)
        new.flush()
        os.fsync(new.fileno())
    Path(new.name).replace(file)


def _validate(
    file: dict[str, object], environment: dict[str, object], given: dict[str, object], home: Home
) -> Settings:
    try:
        return Settings.model_validate({**file, **environment, **given})
    except ValidationError as error:
        raise _explain(error, _places(file, environment, given, home)) from None


def _places(
    file: Mapping[str, object], environment: Mapping[str, object], given: Mapping[str, object], home: Home
) -> dict[str, str]:
    return {
        **dict.fromkeys(file, str(home.settings_file)),
        **{key: f"{ENV_PREFIX}{key.upper()}" for key in environment},
        **{key: f"--{key.replace('_', '-')}" for key in given},
    }


def _explain(error: ValidationError, places: Mapping[str, str]) -> InvalidSettings:
    lines: list[str] = []
    for fault in error.errors(include_url=False):
        key = str(fault["loc"][0]) if fault["loc"] else ""
        said = fault["msg"].removeprefix("Value error, ")
        said = said[0].lower() + said[1:]
        lines.append(f"{places.get(key, key)}: {key}: {said}, not {fault['input']!r}" if key else said)
    first = error.errors()[0]["loc"]
    return InvalidSettings(
        "\n".join(lines), hint="`lava config show` lists every setting.", field=str(first[0]) if first else ""
    )


def _read_file(home: Home) -> dict[str, object]:
    file = home.settings_file
    try:
        values: dict[str, object] = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSettings(f"{file}: not valid TOML: {error}", field="") from error
    except OSError as error:
        raise InvalidSettings(f"{file}: cannot be read: {error.strerror}", field="") from error
    for table in CODE_TABLES:
        values.pop(table, None)
    for key in values:
        _check_key(key, place=str(file))
    for key in _PATH_KEYS:
        path = values.get(key)
        if isinstance(path, str):
            values[key] = str(home.folder / Path(path).expanduser())
    return values


def _read_environment() -> dict[str, object]:
    """The ``LAVA_*`` variables that are settings. One that only looks like a setting is refused as misspelt."""
    for name in os.environ:
        key = name.removeprefix(ENV_PREFIX).lower()
        if name.startswith(ENV_PREFIX) and key not in Settings.model_fields and key not in OTHER_VARIABLES:
            meant = difflib.get_close_matches(key, Settings.model_fields, n=1, cutoff=0.8)
            if meant:
                raise InvalidSettings(
                    f"{name}: there is no such setting; did you mean {ENV_PREFIX}{meant[0].upper()}?", field=key
                )
    return dict(EnvSettingsSource(Settings, env_ignore_empty=True)())


def _check_key(key: str, *, place: str) -> None:
    if key in Settings.model_fields:
        return
    meant = difflib.get_close_matches(key, Settings.model_fields, n=1)
    hint = f"did you mean {meant[0]!r}?" if meant else "`lava config show` lists every setting."
    raise InvalidSettings(f"{place}: {key}: there is no such setting; {hint}", field=key)
