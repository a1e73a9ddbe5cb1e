"""Puts the rooms of floor 2 together: the only module that knows all of them.

A ``House`` is one home, opened. Nothing in it is made before it is asked for, so a command pays for what it touches.
"""

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from lava_proxy.annex import Annex, open_with_passphrase
from lava_proxy.core.entities import Key, Mode
from lava_proxy.core.errors import LedgerUnavailable
from lava_proxy.core.ids import InstanceId
from lava_proxy.core.ports import Clock, IdSource, Ledger
from lava_proxy.settings import Home, Settings

if TYPE_CHECKING:  # what a command does not touch is not imported either
    from lava_proxy.core.gateway import PaymentGateway
    from lava_proxy.core.verify import Report
    from lava_proxy.dialects.base import Dialect
    from lava_proxy.prices import PriceBook
    from lava_proxy.providers import ProviderIndex
    from lava_proxy.services.backups import Restored
    from lava_proxy.services.billing import BillingDesk
    from lava_proxy.services.budgets import Budgets
    from lava_proxy.services.calls import Calls
    from lava_proxy.services.credits import Credits
    from lava_proxy.services.customers import Customers
    from lava_proxy.services.holds import Holds
    from lava_proxy.services.importing import Imports
    from lava_proxy.services.instances import Instances
    from lava_proxy.services.keys import Keys
    from lava_proxy.services.meters import Meters
    from lava_proxy.services.outbox import OutboxDesk
    from lava_proxy.services.payments import Payments
    from lava_proxy.services.plans import Plans
    from lava_proxy.services.price_overrides import PriceOverrides
    from lava_proxy.services.quotes import Quotes
    from lava_proxy.services.recovery import Recovery, Swept
    from lava_proxy.services.reports import Reports
    from lava_proxy.services.requests import Requests
    from lava_proxy.services.runs import Runs
    from lava_proxy.services.simulation import Simulations
    from lava_proxy.services.spool import Spool, SpoolBooking
    from lava_proxy.services.subscriptions import Subscriptions
    from lava_proxy.services.ticking import Ticking
    from lava_proxy.services.trials import Trials
    from lava_proxy.services.upkeep import Upkeep
    from lava_proxy.services.usage import UsageReports
    from lava_proxy.services.usage_records import UsageRecords


_ULID_RANDOM_BYTES = 10


class SystemClock:
    def now_us(self) -> int:
        return time.time_ns() // 1000


class Ulids:
    """Ids that sort by the time of their making, to the millisecond. Randomness is fetched for many of them at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._random = b""

    def new(self, prefix: str) -> str:
        from ulid import ULID

        with self._lock:
            if len(self._random) < _ULID_RANDOM_BYTES:
                self._random = os.urandom(_ULID_RANDOM_BYTES * 256)
            random, self._random = self._random[:_ULID_RANDOM_BYTES], self._random[_ULID_RANDOM_BYTES:]
        milliseconds = time.time_ns() // 1_000_000
        return f"{prefix}_{ULID(milliseconds.to_bytes(6) + random)}"


class House(Annex):
    """One home with everything in it. Close it after use, or use it as a context manager."""

    def __init__(
        self,
        home: Home,
        settings: Settings,
        *,
        mode: Mode | None = None,
        create: bool = False,
        clock: Clock | None = None,
        ids: IdSource | None = None,
        gateway: "PaymentGateway | None" = None,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.home = home
        self.settings = settings
        self.clock: Clock = clock or SystemClock()
        self.ids: IdSource = ids or Ulids()
        self._gateway = gateway
        self._random_bytes = random_bytes
        self._wanted_mode = mode
        self._create = create

    @cached_property
    def ledger(self) -> Ledger:
        """
        Raises:
            NotFound: the home has none, and none is to be made.
            Refused, LedgerTooNew, LedgerUnavailable
        """
        from lava_proxy.store import open_ledger

        return open_ledger(
            self.home.ledger_file,
            mode=self._wanted_mode,
            clock=self.clock,
            synchronous=self.settings.synchronous,
            create=self._create,
        )

    @cached_property
    def mode(self) -> Mode:
        from lava_proxy.services.keys import mode_of

        return self.ledger.read(mode_of)

    @cached_property
    def providers(self) -> "ProviderIndex":
        """The packaged ones and the operator's own.

        Raises:
            InvalidProviderFile
        """
        from lava_proxy.core.addresses import is_loopback
        from lava_proxy.providers import load_providers

        is_ours_alone = is_loopback(self.settings.host)
        return load_providers(self.home.providers_folder, readable=self.dialects, with_local=is_ours_alone)

    @cached_property
    def prices(self) -> "PriceBook":
        """The book with the operator's own prices; a home that was not made yet has none."""
        from lava_proxy.prices import load_price_book
        from lava_proxy.services.price_overrides import take_up

        book = load_price_book()
        if "ledger" in vars(self) or is_home(self.home):
            take_up(self.ledger, book)
        return book

    @cached_property
    def price_overrides(self) -> "PriceOverrides":
        from lava_proxy.services.price_overrides import PriceOverrides

        return PriceOverrides(ledger=self.ledger, clock=self.clock, book=self.prices, providers=self.providers)

    @cached_property
    def dialects(self) -> "Mapping[str, Dialect]":
        from lava_proxy.dialects import DIALECTS

        return DIALECTS

    @cached_property
    def trials(self) -> "Trials":
        from lava_proxy.services.trials import Trials

        return Trials(
            providers=self.providers,
            dialects=self.dialects,
            prices=self.prices,
            unknown_endpoint=self.settings.unknown_endpoint,
        )

    @cached_property
    def customers(self) -> "Customers":
        from lava_proxy.services.customers import Customers

        return Customers(ledger=self.ledger, clock=self.clock, ids=self.ids)

    @cached_property
    def keys(self) -> "Keys":
        from lava_proxy.services.keys import Keys

        return Keys(ledger=self.ledger, clock=self.clock, ids=self.ids, random_bytes=self._random_bytes)

    @cached_property
    def runs(self) -> "Runs":
        from lava_proxy.services.runs import Runs

        return Runs(ledger=self.ledger, clock=self.clock, ids=self.ids, random_bytes=self._random_bytes)

    @cached_property
    def meters(self) -> "Meters":
        from lava_proxy.services.meters import Meters

        return Meters(ledger=self.ledger, clock=self.clock, ids=self.ids)

    @cached_property
    def credits(self) -> "Credits":
        from lava_proxy.services.credits import Credits

        return Credits(ledger=self.ledger, clock=self.clock, ids=self.ids)

    @cached_property
    def gateway(self) -> "PaymentGateway":
        """Who takes money in: whoever was given, else a person."""
        from lava_proxy.payments.manual import ManualGateway

        return self._gateway or ManualGateway()

    @cached_property
    def billing(self) -> "BillingDesk":
        from lava_proxy.services.billing import BillingDesk

        return BillingDesk(ledger=self.ledger, clock=self.clock, ids=self.ids, gateway_name=self.gateway.name)

    @cached_property
    def plans(self) -> "Plans":
        from lava_proxy.services.plans import Plans

        return Plans(desk=self.billing)

    @cached_property
    def subscriptions(self) -> "Subscriptions":
        from lava_proxy.services.subscriptions import Subscriptions

        return Subscriptions(desk=self.billing)

    @cached_property
    def payments(self) -> "Payments":
        from lava_proxy.services.payments import Payments

        return Payments(desk=self.billing, gateway=self.gateway)

    @cached_property
    def ticking(self) -> "Ticking":
        from lava_proxy.services.ticking import Ticking

        return Ticking(desk=self.billing, payments=self.payments)

    @cached_property
    def requests(self) -> "Requests":
        from lava_proxy.services.requests import Requests

        return Requests(ledger=self.ledger)

    @cached_property
    def usage(self) -> "UsageReports":
        from lava_proxy.services.usage import UsageReports

        return UsageReports(ledger=self.ledger)

    @cached_property
    def reports(self) -> "Reports":
        from lava_proxy.services.reports import Reports

        return Reports(ledger=self.ledger, clock=self.clock)

    @cached_property
    def usage_records(self) -> "UsageRecords":
        from lava_proxy.services.usage_records import UsageRecords

        return UsageRecords(ledger=self.ledger, clock=self.clock, ids=self.ids)

    @cached_property
    def simulations(self) -> "Simulations":
        from lava_proxy.services.simulation import Simulations

        return Simulations(ledger=self.ledger)

    @cached_property
    def budgets(self) -> "Budgets":
        from lava_proxy.services.budgets import Budgets

        return Budgets(ledger=self.ledger, clock=self.clock, ids=self.ids)

    @cached_property
    def holds(self) -> "Holds":
        from lava_proxy.services.holds import Holds

        return Holds(ledger=self.ledger, clock=self.clock, ids=self.ids)

    @cached_property
    def outbox(self) -> "OutboxDesk":
        from lava_proxy.services.outbox import OutboxDesk

        return OutboxDesk(ledger=self.ledger, clock=self.clock)

    @cached_property
    def instances(self) -> "Instances":
        from lava_proxy.services.instances import Instances

        return Instances(ledger=self.ledger, clock=self.clock, ids=self.ids, folder=self.home.instances_folder)

    @cached_property
    def quotes(self) -> "Quotes":
        from lava_proxy.services.quotes import Quotes

        return Quotes(
            ledger=self.ledger,
            providers=self.providers,
            prices=self.prices,
            dialects=self.dialects,
            settings=self.settings,
            clock=self.clock,
            ids=self.ids,
        )

    @cached_property
    def imports(self) -> "Imports":
        """Recorded traffic. In a home that was not made yet, nothing is looked up in its ledger."""
        from lava_proxy.services.import_metering import Metering
        from lava_proxy.services.importing import Imports

        metering = Metering(
            providers=self.providers,
            prices=self.prices,
            dialects=self.dialects,
            settings=self.settings,
            clock=self.clock,
            ids=self.ids,
        )
        ledger = self.ledger if "ledger" in vars(self) or is_home(self.home) else None
        return Imports(ledger=ledger, metering=metering, clock=self.clock, ids=self.ids)

    def spool(self, instance_id: InstanceId) -> "Spool | None":
        """Where calls are noted while the ledger cannot be written; ``None`` unless the operator chose to fail open."""
        from lava_proxy.services.spool import Spool

        return Spool(self.home.spool_folder, instance_id) if self.settings.fail_open else None

    def calls(self, instance_id: InstanceId, spool: "Spool | None" = None) -> "Calls":
        """The line, for this process. Its instance must be registered before the first call."""
        from lava_proxy.services.calls import Calls

        return Calls(
            ledger=self.ledger,
            providers=self.providers,
            prices=self.prices,
            dialects=self.dialects,
            settings=self.settings,
            clock=self.clock,
            ids=self.ids,
            instance_id=instance_id,
            spool=spool,
        )

    def recovery(self, own: InstanceId | None, is_open: Callable[[str], bool] = lambda _: False) -> "Recovery":
        """Who resolves the holds that nobody else will. ``own`` and ``is_open``: this process's id and its line's calls."""
        from lava_proxy.services.recovery import Recovery

        return Recovery(
            ledger=self.ledger,
            clock=self.clock,
            ids=self.ids,
            own=own,
            is_alive=self.instances.is_alive,
            is_open=is_open,
        )

    def upkeep(
        self, instance_id: InstanceId, calls: "Calls", spool: "Spool | None" = None, *, sweep_seconds: float = 10
    ) -> "Upkeep":
        """What a running proxy does beside serving calls; its holds of former lives are resolved by ``recover`` first."""
        from lava_proxy.services.price_overrides import PriceWatch
        from lava_proxy.services.upkeep import Chore, Upkeep

        chores = [
            Chore(name="look at prices", every_seconds=0.5, do=PriceWatch(ledger=self.ledger, book=self.prices).look),
            Chore(name="retry settlements", every_seconds=1, do=calls.retry_unsettled),
            Chore(name="sweep holds", every_seconds=sweep_seconds, do=self.recovery(instance_id, calls.is_open).sweep),
            Chore(name="expire credit", every_seconds=60, do=self.credits.expire_due),
            Chore(name="renew and collect", every_seconds=1, do=self.ticking.tick, waits_for_others=True),
            Chore(
                name="look at top-ups",
                every_seconds=60,
                do=lambda: self.ticking.tick(all_rules=True),
                waits_for_others=True,
            ),
            Chore(name="note dead processes", every_seconds=60, do=self.instances.bury_dead),
            Chore(name="book the spool", every_seconds=5, do=self.spool_booking(spool).book_all),
        ]
        return Upkeep(tuple(chores))

    def spool_booking(self, own: "Spool | None" = None) -> "SpoolBooking":
        """Brings calls that passed while the ledger could not be written into it."""
        from lava_proxy.services.spool import SpoolBooking

        return SpoolBooking(
            folder=self.home.spool_folder,
            ledger=self.ledger,
            clock=self.clock,
            ids=self.ids,
            own=own,
            is_alive=self.instances.is_alive,
        )

    def recover(self, instance_id: InstanceId) -> "Swept":
        """At the start: resolve what dead processes left, before the first call is taken.

        Raises:
            LedgerUnavailable
        """
        swept = self.recovery(instance_id).sweep()
        self.spool_booking().book_all()
        self.instances.bury_dead()
        return swept

    def verify(self, progress: Callable[[int, int], None] | None = None) -> "Report":
        """The books proved again from the journal. ``progress`` is told the entries replayed, and how many there are.

        Raises:
            LedgerUnavailable
        """
        from lava_proxy.core.verify import verify

        is_swept = bool(self.instances.live())
        return verify(self.ledger.books(), now_us=self.clock.now_us(), is_swept=is_swept, progress=progress)

    def close(self) -> None:
        if "ledger" in vars(self):
            self.ledger.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeHome:
    """What `lava init` found or made."""

    home: Home
    mode: Mode
    key: Key | None
    key_text: str | None
    """The first merchant key, told this once; ``None`` where the home was there already."""
    authority_file: Path

    @property
    def is_new(self) -> bool:
        return self.key is not None


def is_home(home: Home) -> bool:
    """Whether a home was made here."""
    return home.ledger_file.exists()


def make_home(home: Home, settings: Settings, *, mode: Mode | None = None) -> MadeHome:
    """Make what is missing of a home: folders, ledger, settings file, authority, default meter, first key.

    Doing so again changes nothing. ``mode`` of ``None``: live for a new home, else the one it has.

    Raises:
        Refused: the home has the other mode.
        LedgerTooNew, LedgerUnavailable
    """
    from lava_proxy.services.homes import SETTINGS_TEXT, furnish

    _make_folders(home)
    with House(home, settings, mode=mode, create=True) as house:
        furnished = furnish(house.ledger, clock=house.clock, ids=house.ids, random_bytes=os.urandom)
    _write_once(home.settings_file, SETTINGS_TEXT)
    return MadeHome(
        home=home,
        mode=furnished.mode,
        key=furnished.key,
        key_text=furnished.key_text,
        authority_file=make_authority(home),
    )


def restore_home(file: Path, home: Home, passphrase: str, *, actor: str) -> "Restored":
    """A home made from a backup, with an id of its own, paused. Nothing is written where the backup is not sound.

    Raises:
        Refused: something is there already.
        InvalidBackup, WrongPassphrase, LedgerTooNew, LedgerUnavailable
    """
    from lava_proxy.core.errors import InvalidBackup
    from lava_proxy.services.backup_file import Manifest
    from lava_proxy.services.backups import make_own, restore
    from lava_proxy.store import integrity

    def finish(made: Home, manifest: Manifest) -> str:
        problems = integrity(made.ledger_file, thorough=True).problems
        if problems:
            raise InvalidBackup(f"The backup's ledger is damaged: {problems[0]}.", hint="Nothing was written.")
        _make_folders(made)
        with House(made, Settings()) as house:
            new_id = make_own(house.ledger, manifest, clock=house.clock, ids=house.ids, actor=actor)
        make_authority(made)
        return new_id

    return restore(file, home, passphrase, unseal=open_with_passphrase, finish=finish)


def make_authority(home: Home) -> Path:
    """The certificate of the home's own authority, made with its key where they are missing."""
    from lava_proxy import secrets

    return secrets.ensure_authority(home.ca_folder)


def _make_folders(home: Home) -> None:
    try:
        for folder in (home.folder, home.providers_folder, home.instances_folder, home.run_folder, home.logs_folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        message = f"The home {home.folder} cannot be made: {error.strerror}."
        raise LedgerUnavailable(message, hint="Choose another folder with --home or LAVA_HOME.") from error


def _write_once(file: Path, text: str) -> None:
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(text)
    except FileExistsError:
        pass
