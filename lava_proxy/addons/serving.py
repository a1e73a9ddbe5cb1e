"""A home in service: its name claimed, its process known to the ledger, what dead processes left resolved, its line open."""

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from lava_proxy import __version__
from lava_proxy.addons.edge import Control, Edge
from lava_proxy.core.errors import NotFound
from lava_proxy.core.pausing import pause_reason
from lava_proxy.services.calls import Calls
from lava_proxy.services.instances import Registered, claim_name
from lava_proxy.services.presence import Presence, remove_presence, write_presence
from lava_proxy.settings import Home, Settings
from lava_proxy.wiring import House, is_home, make_authority

log = logging.getLogger(__name__)

HouseOpener = Callable[[Home, Settings], House]

_BEHIND_US = 5_000_000
_DISK_BYTES_MIN = 64 * 1024 * 1024


@dataclass(slots=True, kw_only=True)
class Serving:
    """What an edge needs of a home while it serves it."""

    house: House
    registered: Registered
    calls: Calls
    ca_file: str
    is_stopping: bool = field(default=False)

    def unready(self) -> str | None:
        """Why calls cannot be served; ``None`` when they can."""
        backlog = self.house.ledger.backlog()
        if backlog.failure:
            return f"the ledger cannot be written: {backlog.failure}"
        if backlog.oldest_us > _BEHIND_US:
            return f"the ledger's writer is {backlog.oldest_us // 1_000_000} seconds behind"
        free = shutil.disk_usage(self.house.home.folder).free
        if free < _DISK_BYTES_MIN:
            return f"the disk has {free // 1_048_576} MiB left"
        return None

    def edge(self) -> Edge:
        """The addons' view of it."""
        with open(self.ca_file, "rb") as file:
            certificate = file.read()
        settings = self.house.settings
        return Edge(
            line=self.calls,
            control=Control(ca_pem=lambda: certificate, unready=self.unready, is_stopping=lambda: self.is_stopping),
            body_size_limit=int(settings.body_size_limit),
            allows_unknown_tunnels=settings.tunnel_unknown == "allow",
        )

    def announce(self, host: str, port: int) -> Presence:
        """Say where the proxy is, once it listens: `lava status` and `lava env` find it by that."""
        settings, instance = self.house.settings, self.registered.instance
        presence = Presence(
            name=settings.instance,
            instance_id=instance.instance_id,
            pid=instance.pid,
            host=host,
            port=port,
            has_tls=settings.tls_cert is not None,
            mode=self.house.mode,
            version=__version__,
            ca_file=self.ca_file,
            database=str(self.house.home.ledger_file),
            log_file=str(settings.log_file) if settings.log_file else None,
            started_us=instance.started_us,
        )
        write_presence(self.house.home.run_folder, presence)
        return presence


@contextmanager
def serving(home: Home, settings: Settings, *, open_house: HouseOpener = House) -> Iterator[Serving]:
    """Put a home into service, and take it out of it at the end, when no call may come any more.

    ``open_house``: called once the name is ours, to open the home.

    Raises:
        NotFound: there is no such home.
        Conflict: a proxy of this name runs in it already.
        LedgerTooNew, LedgerUnavailable, InvalidProviderFile
    """
    if not is_home(home):
        raise NotFound(f"{home.folder} is no home.", hint="`lava init` makes one.")
    name = claim_name(home.run_folder, settings.instance)
    try:
        with open_house(home, settings) as house:
            yield from _serve(house, settings)
    finally:
        remove_presence(home.run_folder, settings.instance)
        name.release()


def _serve(house: House, settings: Settings) -> Iterator[Serving]:
    registered = house.instances.register(name=settings.instance, version=__version__)
    try:
        instance_id = registered.instance.instance_id
        house.recover(instance_id)
        house.prices.warm()  # or the first call would hold up the event loop for it
        if reason := house.ledger.read(pause_reason):
            log.warning("payments, sync and webhooks wait for `lava resume`: %s", reason)
        spool = house.spool(instance_id)
        calls = house.calls(instance_id, spool)
        keeper = house.keeper()
        background = (house.upkeep(instance_id, calls, spool), house.messenger(), *((keeper,) if keeper else ()))
        for upkeep in background:
            upkeep.start()
        try:
            yield Serving(house=house, registered=registered, calls=calls, ca_file=str(make_authority(house.home)))
        finally:
            for upkeep in background:
                upkeep.stop()
    finally:
        house.instances.end(registered)
