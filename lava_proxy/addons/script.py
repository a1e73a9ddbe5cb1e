"""The addon that stock mitmproxy loads: puts the home into service when it is loaded, and takes it out at the end."""

import asyncio
import logging
from contextlib import ExitStack

from mitmproxy.addonmanager import Loader
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.exceptions import OptionsError
from mitmproxy.master import Master
from mitmproxy.options import Options
from mitmproxy.proxy.mode_specs import ProxyMode

from lava_proxy.addons.authorities import upstream_authorities
from lava_proxy.addons.drain import drain
from lava_proxy.addons.edge import Edge
from lava_proxy.addons.promises import check_options, set_options
from lava_proxy.addons.roster import roster
from lava_proxy.addons.serving import Serving, serving
from lava_proxy.addons.target_guard import TargetGuard
from lava_proxy.core.addresses import is_loopback
from lava_proxy.settings import Settings, load_settings, resolve_home

log = logging.getLogger(__name__)


class Lava:
    """Its own ``addons`` do the work; mitmproxy finds them by that name."""

    def __init__(self) -> None:
        self.addons: tuple[object, ...] = ()
        self._home = ExitStack()
        self._master: Master | None = None
        self._serving: Serving | None = None
        self._edge: Edge | None = None

    def load(self, loader: Loader) -> None:
        """Raises whatever is wrong: mitmproxy logs it and, at the start, ends."""
        try:
            self._start(loader.master)
        except OptionsError as error:  # this one kind would pass in silence, and mitmproxy would run without us
            raise RuntimeError(str(error)) from error

    def configure(self, updated: set[str]) -> None:  # noqa: ARG002 the signature is mitmproxy's
        if self._master is not None:
            check_options(self._master.options)

    def running(self) -> None:
        assert self._master is not None and self._serving is not None
        proxyserver = self._master.addons.get("proxyserver")  # type: ignore[no-untyped-call]
        assert isinstance(proxyserver, Proxyserver)
        host, port, *_ = proxyserver.listen_addrs()[0]
        presence = self._serving.announce(str(host), int(port))
        log.info("Lava Proxy meters on %s", presence.proxy_url)

    async def done(self) -> None:
        if self._edge is None or self._serving is None or self._master is None:
            return
        edge, self._edge = self._edge, None
        self._serving.is_stopping = True
        self._master.options.update(server=False)  # type: ignore[no-untyped-call]
        await drain(edge, seconds=self._serving.house.settings.drain_seconds, hurry=asyncio.Event())
        self._home.close()

    def _start(self, master: Master) -> None:
        options = master.options
        home = resolve_home()
        settings = load_settings(home, {"host": _listen_host(options)})
        set_options(options, body_size_limit=int(settings.body_size_limit))
        check_options(options)
        self._serving = self._home.enter_context(serving(home, settings))
        self._edge = self._serving.edge()
        self.addons = (*roster(self._edge), TargetGuard(self._edge, settings.connect_rules))
        self._master = master
        _set_certificates(options, settings, self._serving)


def _listen_host(options: Options) -> str:
    """The address that decides whether a key is required: of several, one that is not loopback; empty for all addresses."""
    hosts = [ProxyMode.parse(mode).listen_host(options.listen_host) for mode in options.mode]
    return next((host for host in hosts if not is_loopback(host)), hosts[0] if hosts else "")


def _set_certificates(options: Options, settings: Settings, service: Serving) -> None:
    """The home's own authority for clients, and what it trusts upstream, unless mitmproxy was told otherwise."""
    home = service.house.home
    if not options.has_changed("confdir"):  # type: ignore[no-untyped-call]
        options.update(confdir=str(home.ca_folder))  # type: ignore[no-untyped-call]
    if settings.upstream_ca and not options.ssl_verify_upstream_trusted_ca:
        merged = upstream_authorities(settings.upstream_ca, home.run_folder / f"{settings.instance}.authorities.pem")
        options.update(ssl_verify_upstream_trusted_ca=str(merged))  # type: ignore[no-untyped-call]
