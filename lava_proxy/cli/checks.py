"""What `lava doctor` looks at. Each check tells what it found and, where that is not well, exactly what to do."""

import importlib.metadata
import platform
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from lava_proxy import __version__
from lava_proxy.core.errors import LavaError
from lava_proxy.core.instants import format_instant, to_datetime
from lava_proxy.core.pausing import pause_reason

if TYPE_CHECKING:
    from lava_proxy.core.ports import RequestFilter
    from lava_proxy.wiring import House

_DAY_US = 86_400 * 1_000_000
_BUILT = datetime(2026, 1, 1, tzinfo=UTC)  # no clock of a machine that runs this can truly be before
_WAL_BYTES_MAX = 256 * 1024 * 1024
_DISK_BYTES_LOW, _DISK_BYTES_MIN = 1024**3, 100 * 1024**2
_PRICES_DAYS_MAX = 45
_CA_DAYS_LOW = 30
_FLAGS = {
    "unpriced": "say what the model costs, or take a meter with fixed rates",
    "estimated": "the provider told no usage, or the client left early; look whether one of your programs does so always",
    "unknown": "describe the endpoint in a provider file, or block it: lava config set unknown_endpoint block",
    "orphaned": "a proxy was killed while these were in flight; correct with: lava holds void",
}


class State(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing looked at. ``fix`` is empty where all is well."""

    name: str
    state: State
    found: str
    fix: str = ""


def all_checks(house: "House") -> Iterator[Check]:
    """Everything, in the order in which it is told. A check that cannot be made is a failed one; it hides no other."""
    yield from versions()
    looks: tuple[tuple[str, Callable[[House], Iterator[Check]]], ...] = (
        ("home", _home),
        ("certificate authority", _authority),
        ("providers", _providers),
        ("database", _database),
        ("proxy", _proxy),
        ("prices", _prices),
        ("clock", _clock),
        ("requests", _requests),
        ("outbox", _outbox),
        ("disk", _disk),
    )
    for name, look in looks:
        checks: list[Check] = []
        with _caught(name, checks):
            checks.extend(look(house))
        yield from checks


def versions() -> Iterator[Check]:
    """Of this program and what it stands on."""
    yield _ok("lava", __version__)
    yield _ok("python", platform.python_version())
    found = importlib.metadata.version("mitmproxy")
    if found.startswith("12.2."):
        yield _ok("mitmproxy", found)
    else:
        fix = 'pip install "mitmproxy>=12.2.3,<12.3"'
        yield Check(name="mitmproxy", state=State.FAIL, found=f"{found}, made for 12.2", fix=fix)


def _home(house: "House") -> Iterator[Check]:
    folder = house.home.folder
    others = stat.S_IMODE(folder.stat().st_mode) & 0o077
    if others:
        yield _warn("home", f"{folder} can be read by others", f"chmod 700 {folder}")
    else:
        yield _ok("home", f"{folder} ({house.mode.value})")
    reason = house.ledger.read(pause_reason)
    if reason:
        fix = "when the other copy is gone for good: lava resume"
        yield _warn("paused", f"payments, sync and webhooks wait: {reason}", fix)


def _authority(house: "House") -> Iterator[Check]:
    from lava_proxy import secrets

    folder = house.home.ca_folder
    try:
        ends = secrets.authority_ends(folder)
    except FileNotFoundError:
        yield _fail("certificate authority", "there is none", "lava init")
        return
    except (OSError, ValueError) as error:
        yield _fail("certificate authority", f"cannot be read: {error}", f"move {folder} away, then: lava init")
        return
    days = (ends - to_datetime(house.clock.now_us())).days
    again = f"move {folder} away, then: lava init && lava restart; clients must trust the new one"
    if days < _CA_DAYS_LOW:
        state = State.FAIL if days < 0 else State.WARN
        yield Check(name="certificate authority", state=state, found=f"ends on {ends.date()}", fix=again)
    else:
        yield _ok("certificate authority", f"until {ends.date()}")
    key = folder / secrets.AUTHORITY_FILE
    if not key.exists():
        yield _fail("authority's key", f"{key} is missing", again)
    elif stat.S_IMODE(key.stat().st_mode) & 0o077:
        yield _fail("authority's key", f"{key} can be read by others", f"chmod 600 {key}")
    else:
        yield _ok("authority's key", "readable by you alone")


def _providers(house: "House") -> Iterator[Check]:
    own = [provider for provider in house.providers.providers if provider.origin != "packaged"]
    yield _ok("providers", f"{len(house.providers.providers)}, of them {len(own)} your own")


def _database(house: "House") -> Iterator[Check]:
    from lava_proxy.store import integrity

    file = house.home.ledger_file
    found = integrity(file, thorough=True)
    yield _ok(
        "sqlite",
        found.sqlite_version
        + (" (one process checkpoints: its fault is kept away)" if found.has_wal_reset_fault else ""),
    )
    if found.problems:
        fix = f"stop the proxy, keep a copy of {file}, and bring back the newest backup"
        yield _fail("database", "; ".join(found.problems[:3]), fix)
        return
    about = f"{_size(found.file_bytes)}, schema {found.schema_version}, synchronous {found.synchronous or 'FULL'}"
    if found.journal_mode != "wal":
        yield _fail(
            "database", f"{about}, journal mode {found.journal_mode}", "restart the proxy: it sets the mode to wal"
        )
    else:
        yield _ok("database", about)
    if found.wal_bytes > _WAL_BYTES_MAX:
        fix = "a reader holds it back: end long-running lava commands and backups"
        yield _warn("write-ahead log", _size(found.wal_bytes), fix)
    else:
        yield _ok("write-ahead log", _size(found.wal_bytes))
    if house.mode.value == "live" and found.synchronous == "NORMAL":
        yield _warn(
            "durability", "synchronous NORMAL: a power cut loses the last seconds", "lava config set synchronous FULL"
        )


def _proxy(house: "House") -> Iterator[Check]:
    from lava_proxy.cli.reach import find_proxy, port_is_free, why_not_ready

    presence = find_proxy(house)
    settings = house.settings
    if presence is None:
        if settings.port and not port_is_free(settings.host, settings.port):
            fix = "stop that program, or choose another port: lava config set port 8081"
            yield _fail("proxy", f"does not run, and another program has {settings.host}:{settings.port}", fix)
        else:
            yield _warn("proxy", "does not run", "lava up --detach")
        return
    reason = why_not_ready(presence)
    if reason:
        yield _fail("proxy", f"{presence.proxy_url} does not take calls: {reason}", "lava logs, then: lava restart")
    elif presence.version != __version__:
        yield _warn("proxy", f"{presence.proxy_url} runs version {presence.version}", "lava restart")
    else:
        yield _ok("proxy", f"{presence.proxy_url}, process {presence.pid}, since {format_instant(presence.started_us)}")


def _prices(house: "House") -> Iterator[Check]:
    days = house.prices.age_days(house.clock.now_us())
    about = f"{house.prices.version}, newest {days} days old"
    if days > _PRICES_DAYS_MAX:
        yield _warn("prices", about, "pip install --upgrade genai-prices lava-proxy, then: lava restart")
    else:
        yield _ok("prices", about)


def _clock(house: "House") -> Iterator[Check]:
    from lava_proxy.core.ports import RequestFilter

    now_us = house.clock.now_us()
    page = house.ledger.books().requests(RequestFilter(), limit=1)
    newest_us = page.items[0].created_us if page.items else 0
    if to_datetime(now_us) < _BUILT:
        yield _fail("clock", f"{format_instant(now_us)} is in the past", "set this machine's clock")
    elif newest_us > now_us + 60 * 1_000_000:
        yield _fail(
            "clock", f"the newest request is of {format_instant(newest_us)}, in the future", "set this machine's clock"
        )
    else:
        yield _ok("clock", format_instant(now_us))


def _requests(house: "House") -> Iterator[Check]:
    from lava_proxy.core.ports import RequestFilter

    since_us = house.clock.now_us() - _DAY_US
    books = house.ledger.books()
    lines = books.usage(RequestFilter(since_us=since_us), by=())
    yield _ok("requests of the last day", str(lines[0].requests if lines else 0))
    yield from _coverage(house, RequestFilter(since_us=since_us))
    for flag, fix in _FLAGS.items():
        found = books.usage(RequestFilter(since_us=since_us, flag=flag), by=())
        count = found[0].requests if found else 0
        if count:
            yield _warn(
                f"{flag} requests of the last day", str(count), f"lava requests list --flag {flag} --since 1d; {fix}"
            )


def _coverage(house: "House", which: "RequestFilter") -> Iterator[Check]:
    from lava_proxy.core.coverage import Grade
    from lava_proxy.services.coverage import coverage, percent

    found = coverage(house.ledger, which)
    if not found.total:
        return
    shares = ", ".join(f"{percent(found, grade)} {grade.value}" for grade in Grade if found.counts[grade])
    if found.counts[Grade.UNKNOWN] or found.counts[Grade.UNPRICED]:
        yield _warn("coverage of the last day", shares, "lava coverage --since 1d tells why, with a sample of each")
    else:
        yield _ok("coverage of the last day", shares)


def _outbox(house: "House") -> Iterator[Check]:
    dead = len(house.ledger.outbox().deliveries(state="dead", limit=1000))
    if dead:
        yield _warn("outbox", f"{dead} events could not be delivered", "lava outbox list, then: lava outbox retry")
    else:
        yield _ok("outbox", "nothing undelivered")


def _disk(house: "House") -> Iterator[Check]:
    free = shutil.disk_usage(house.home.folder).free
    if free < _DISK_BYTES_LOW:
        state = State.FAIL if free < _DISK_BYTES_MIN else State.WARN
        yield Check(
            name="disk", state=state, found=f"{_size(free)} free", fix=f"make room where {house.home.folder} is"
        )
    else:
        yield _ok("disk", f"{_size(free)} free")


@contextmanager
def _caught(name: str, checks: list[Check]) -> Iterator[None]:
    try:
        yield
    except LavaError as error:
        checks.append(_fail(name, error.message, error.hint or "the message says what"))
    except OSError as error:
        checks.append(_fail(name, str(error), "look at the permissions of the home"))


def _size(count: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def _ok(name: str, found: str) -> Check:
    return Check(name=name, state=State.OK, found=found)


def _warn(name: str, found: str, fix: str) -> Check:
    return Check(name=name, state=State.WARN, found=found, fix=fix)


def _fail(name: str, found: str, fix: str) -> Check:
    return Check(name=name, state=State.FAIL, found=found, fix=fix)
