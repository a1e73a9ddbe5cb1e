"""A command's way into a home: found, made where it is missing, opened, closed."""

import getpass
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from lava_proxy.cli.output import Output, say
from lava_proxy.core.errors import InvalidInput

if TYPE_CHECKING:
    from lava_proxy.services.idempotency import By
    from lava_proxy.settings import Settings
    from lava_proxy.wiring import House, MadeHome


class Declined(Exception):
    """A question was answered with no: nothing was done, and nothing needs to be said."""


@contextmanager
def open_house(home: Path | None, overrides: Mapping[str, object] | None = None) -> "Iterator[House]":
    """The home that is meant, opened; where there is none yet, one is made, and standard error tells so.

    Raises:
        InvalidSettings, LedgerTooNew, LedgerUnavailable
    """
    from lava_proxy.settings import load_settings, resolve_home
    from lava_proxy.wiring import House, is_home, make_home

    found = resolve_home(home)
    settings = load_settings(found, overrides)
    if not is_home(found):
        tell_new_home(make_home(found, settings))
    with House(found, settings) as house:
        yield house


def tell_new_home(made: "MadeHome") -> None:
    """The words about a home that was made just now: its key is told this once."""
    say(f"Made a new home ({made.mode.value}): {made.home.folder}")
    if made.key_text is not None:
        say(f"Your merchant key, shown this once: {made.key_text}")


def output(house: "House", json: bool) -> Output:
    return Output(as_json=json, mode=house.mode)


def by(idempotency_key: str | None) -> "By":
    """Who writes: this command, for the user of this machine."""
    from lava_proxy.services.idempotency import By

    return By(actor=f"cli:{_user()}", idempotency_key=idempotency_key)


def zone_of(name: str | None, settings: "Settings") -> tzinfo:
    """The time zone asked for, else the home's.

    Raises:
        InvalidInput: there is no such zone.
    """
    try:
        return ZoneInfo(name or settings.time_zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise InvalidInput(
            f"tz: there is no time zone {name!r}; write a name such as Europe/Berlin", field="tz"
        ) from error


def confirm(question: str) -> None:
    """Ask before something is destroyed.

    Raises:
        InvalidInput: nobody is there to be asked.
        Declined: the answer was no.
    """
    if not sys.stdin.isatty():
        raise InvalidInput(f"{question} Say so with --yes.", field="yes")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Declined


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
