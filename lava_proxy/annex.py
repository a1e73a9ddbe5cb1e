"""The half of a house that no call passes through: alerts and their delivery, backups, exports, corrections, code.

``wiring.House`` is built on it. It stands apart so that each half can be read; nothing but ``wiring`` imports it.
"""

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from lava_proxy.core.ports import Clock, IdSource, Ledger
from lava_proxy.settings import Home, Settings

if TYPE_CHECKING:  # what a command does not touch is not imported either
    from lava_proxy.delivery.courier import Courier
    from lava_proxy.services.adjustments import Adjustments
    from lava_proxy.services.alert_rules import AlertRules
    from lava_proxy.services.alert_system import SystemPlaces
    from lava_proxy.services.alerts import Alerts
    from lava_proxy.services.as_code import AsCode
    from lava_proxy.services.backups import Backups, Schedule
    from lava_proxy.services.budgets import Budgets
    from lava_proxy.services.credits import Credits
    from lava_proxy.services.customers import Customers
    from lava_proxy.services.destinations import Destinations
    from lava_proxy.services.exports import Exports
    from lava_proxy.services.keys import Keys
    from lava_proxy.services.meters import Meters
    from lava_proxy.services.plans import Plans
    from lava_proxy.services.repricing import Repricing
    from lava_proxy.services.upkeep import Upkeep


class Annex:
    """What the other half brings is named first."""

    home: Home
    settings: Settings
    clock: Clock
    ids: IdSource
    _random_bytes: Callable[[int], bytes]

    if TYPE_CHECKING:

        @cached_property
        def ledger(self) -> Ledger: ...

        @cached_property
        def credits(self) -> Credits: ...

        @cached_property
        def customers(self) -> Customers: ...

        @cached_property
        def meters(self) -> Meters: ...

        @cached_property
        def budgets(self) -> Budgets: ...

        @cached_property
        def keys(self) -> Keys: ...

        @cached_property
        def plans(self) -> Plans: ...

    @cached_property
    def exports(self) -> "Exports":
        from lava_proxy.services.exports import Exports

        return Exports(ledger=self.ledger, credits=self.credits)

    @cached_property
    def adjustments(self) -> "Adjustments":
        from lava_proxy.services.adjustments import Adjustments

        return Adjustments(ledger=self.ledger, clock=self.clock, ids=self.ids)

    @cached_property
    def repricing(self) -> "Repricing":
        from lava_proxy.services.repricing import Repricing

        return Repricing(ledger=self.ledger, clock=self.clock, ids=self.ids)

    @cached_property
    def alert_rules(self) -> "AlertRules":
        from lava_proxy.services.alert_rules import AlertRules

        return AlertRules(ledger=self.ledger, clock=self.clock, ids=self.ids)

    @cached_property
    def alerts(self) -> "Alerts":
        """Who looks whether any fires."""
        return self._alerts(proxy=None)

    def _alerts(self, proxy: str | None) -> "Alerts":
        from lava_proxy.services.alert_facts import AlertFactsReader
        from lava_proxy.services.alert_system import SystemFactsReader
        from lava_proxy.services.alerts import Alerts

        return Alerts(
            ledger=self.ledger,
            clock=self.clock,
            ids=self.ids,
            facts=AlertFactsReader(ledger=self.ledger, clock=self.clock),
            system=SystemFactsReader(ledger=self.ledger, clock=self.clock, places=self._system_places(proxy)),
        )

    @cached_property
    def as_code(self) -> "AsCode":
        """What `lava apply` and `lava pull` know, in the order in which it is made."""
        from lava_proxy.services.as_code import AsCode
        from lava_proxy.services.code_alerts import AlertRuleKind
        from lava_proxy.services.code_budgets import BudgetKind
        from lava_proxy.services.code_bundles import BundleKind
        from lava_proxy.services.code_meters import MeterKind
        from lava_proxy.services.code_plans import PlanKind

        return AsCode(
            (
                MeterKind(self.meters),
                PlanKind(self.plans, self.meters),
                BundleKind(self.plans),
                BudgetKind(self.budgets, self.customers, self.keys, self.plans),
                AlertRuleKind(self.alert_rules, self.customers, self.plans),
            )
        )

    @cached_property
    def destinations(self) -> "Destinations":
        from lava_proxy import secrets
        from lava_proxy.services.destinations import Destinations, Seals

        file = self.home.key_file
        return Destinations(
            ledger=self.ledger,
            clock=self.clock,
            ids=self.ids,
            seals=Seals(
                lambda text, purpose: secrets.seal(secrets.ensure_home_key(file), text, purpose=purpose),
                lambda sealed, purpose: secrets.open_sealed(secrets.ensure_home_key(file), sealed, purpose=purpose),
            ),
            random_bytes=self._random_bytes,
        )

    @cached_property
    def courier(self) -> "Courier":
        """Who tells alerts to their destinations."""
        from lava_proxy.delivery.courier import Courier

        return Courier(ledger=self.ledger, clock=self.clock, ids=self.ids, open_address=self.destinations.address)

    def _system_places(self, proxy: str | None) -> "SystemPlaces":
        from lava_proxy import secrets
        from lava_proxy.services.alert_system import SystemPlaces

        own = self.settings.tls_cert
        return SystemPlaces(
            folder=self.home.folder,
            spool_folder=self.home.spool_folder,
            certificate_ends=lambda: [
                secrets.authority_ends(self.home.ca_folder),
                *([secrets.certificate_ends(own)] if own else []),
            ],
            backup_every_us=schedule.every_us if (schedule := self._backup_schedule()) else None,
            proxy=proxy,
        )

    @cached_property
    def backups(self) -> "Backups":
        from lava_proxy.services.backups import Backups, Tools
        from lava_proxy.store import copy_ledger

        tools = Tools(copy_ledger, seal_with_passphrase, open_with_passphrase)
        return Backups(ledger=self.ledger, clock=self.clock, ids=self.ids, home=self.home, tools=tools)

    def _backup_schedule(self) -> "Schedule | None":
        from lava_proxy.services.backups import Schedule

        settings = self.settings
        if settings.backup_folder is None or settings.backup_passphrase_file is None:
            return None
        return Schedule(
            folder=settings.backup_folder,
            every_us=settings.backup_every_hours * 3600 * 1_000_000,
            keep=settings.backup_keep,
            passphrase_file=settings.backup_passphrase_file,
        )

    def messenger(self) -> "Upkeep":
        """What looks for alerts and tells them, on a thread of its own: a slow destination holds up nothing else."""
        from lava_proxy.services.upkeep import Chore, Upkeep

        alerts = self._alerts(proxy=self.settings.instance)
        chores = (
            Chore(name="watch for alerts", every_seconds=2, do=alerts.watch),
            Chore(name="look for alerts", every_seconds=30, do=alerts.look_regularly),
            Chore(name="deliver alerts", every_seconds=2, do=self.courier.deliver),
            Chore(name="beat the heart", every_seconds=2, do=self.courier.beat),
        )
        return Upkeep(chores, name="lava-messenger")

    def keeper(self) -> "Upkeep | None":
        """What makes backups, where they are scheduled, on a thread of its own: a large ledger takes its time."""
        from lava_proxy.services.upkeep import Chore, Upkeep

        schedule = self._backup_schedule()
        if schedule is None:
            return None
        chore = Chore(name="back up", every_seconds=20, do=lambda: self.backups.make_due(schedule))
        return Upkeep((chore,), name="lava-keeper")


def seal_with_passphrase(passphrase: str, text: bytes, purpose: str) -> bytes:
    from lava_proxy import secrets

    return secrets.seal_with_passphrase(passphrase, text, purpose=purpose)


def open_with_passphrase(passphrase: str, sealed: bytes, purpose: str) -> bytes:
    from lava_proxy import secrets

    return secrets.open_with_passphrase(passphrase, sealed, purpose=purpose)
