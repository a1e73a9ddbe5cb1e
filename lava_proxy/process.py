"""The running proxy: one process, one port, one event loop, one home. ``python -m lava_proxy.process --home FOLDER``.

It claims its name in the home, binds the port, opens the ledger and resolves what dead processes left; only then does it
listen. When it is ready it says so on standard error, and in the home for other commands to find. SIGTERM, SIGINT and
SIGHUP stop it: no new connections, calls in flight finish up to a deadline, the rest is settled; a second one ends the
waiting.
"""

import argparse
import asyncio
import gc
import logging
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from lava_proxy.addons.authorities import upstream_authorities
from lava_proxy.addons.certificates import Certificates
from lava_proxy.addons.drain import drain
from lava_proxy.addons.edge import Edge
from lava_proxy.addons.engine import Engine, EngineSettings
from lava_proxy.addons.logs import start_logging
from lava_proxy.addons.port_tls import read_entry
from lava_proxy.addons.ports import bind_port
from lava_proxy.addons.roster import roster
from lava_proxy.addons.serving import HouseOpener, Serving, serving
from lava_proxy.core.addresses import is_loopback
from lava_proxy.core.errors import (
    Conflict,
    InvalidInput,
    InvalidSettings,
    LavaError,
    LedgerTooNew,
    LedgerUnavailable,
    NotFound,
    Refused,
)
from lava_proxy.gateway.front import Contexts, Front
from lava_proxy.http1.client_side import Service
from lava_proxy.http1.event_loop import EventLoop
from lava_proxy.http1.targets import Targets
from lava_proxy.settings import Home, Settings, load_settings, resolve_home
from lava_proxy.wiring import House

log = logging.getLogger("lava_proxy.process")  # also when it is __main__

EXIT_OTHER = 1
_SWEEP_SECONDS = 60.0
_YOUNG_OBJECTS = 10_000
EXIT_CODES: dict[type[LavaError], int] = {
    InvalidInput: 2,
    NotFound: 3,
    Conflict: 7,
    Refused: 8,
    LedgerUnavailable: 9,
    LedgerTooNew: 9,
}
"""As those of the command line; see `docs/errors.md`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until a signal; gives the exit code."""
    options = _parse(arguments)
    try:
        home = resolve_home(options.home)
        settings = load_settings(home, _overrides(options))
        start_logging(settings.log_level, settings.log_file)
        run(home, settings)
    except LavaError as error:
        _say(f"error: {error.message}" + (f"\nhint: {error.hint}" if error.hint else ""))
        return next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), EXIT_OTHER)
    return 0


def run(home: Home, settings: Settings, *, open_house: HouseOpener = House) -> None:
    """Serve ``home`` until a signal comes. ``open_house``: what the home is served from, once it is claimed.

    Raises:
        InvalidSettings, InvalidProviderFile, NotFound, Conflict, LedgerTooNew, LedgerUnavailable
    """
    check_port_tls(settings)
    with serving(home, settings, open_house=open_house) as service:
        sockets = bind_port(settings.host, settings.port)
        with asyncio.Runner(loop_factory=lambda: EventLoop(settings.connect_rules)) as runner:
            runner.run(Proxy(service, sockets).run())


def check_port_tls(settings: Settings) -> None:
    """
    Raises:
        InvalidSettings: the certificate for the port, or its key, cannot be used.
    """
    if settings.tls_cert is None or settings.tls_key is None:
        return
    try:
        read_entry(settings.tls_cert, settings.tls_key)
    except (OSError, ValueError) as error:
        raise InvalidSettings(f"tls_cert and tls_key cannot be used: {error}.", field="tls_cert") from error


class Proxy:
    """One run of the proxy on one event loop."""

    def __init__(self, service: Serving, sockets: tuple[socket.socket, ...]) -> None:
        self._service, self._sockets = service, sockets
        self._settings = service.house.settings
        self._edge = service.edge()
        self._hurry = asyncio.Event()
        self._draining: asyncio.Task[None] | None = None

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        settings = self._engine_settings()
        self._front = lean_front(self._edge, settings)
        addons = (*roster(self._edge), Ready(self._tell_ready))
        self._engine = Engine(settings, self._sockets, addons, self._front.protocol)
        if isinstance(loop, EventLoop):
            loop.refusal = self._targets().refusal
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
                loop.add_signal_handler(number, self._stop)
        sweeping = loop.create_task(sweep(self._front.service, settings.tcp_timeout_seconds))
        try:
            await self._engine.run()
        finally:
            sweeping.cancel()
            self._front.service.close_all()

    def _stop(self) -> None:
        """Called for each signal."""
        if self._draining is not None:
            self._hurry.set()
            return
        log.info("stopping", extra={"calls": self._edge.line.open_calls()})
        self._service.is_stopping = True
        self._engine.close_doors()
        self._draining = asyncio.get_running_loop().create_task(self._drain())

    async def _drain(self) -> None:
        cut = await drain(
            self._edge,
            seconds=self._settings.drain_seconds,
            hurry=self._hurry,
            elsewhere=self._front.service.busy,
            cut_elsewhere=self._front.service.cut_all,
        )
        log.info("stopped", extra={"calls_cut": cut})
        self._engine.shutdown()  # type: ignore[no-untyped-call]

    def _tell_ready(self) -> None:
        _keep_out_of_collections()
        host, port = self._sockets[0].getsockname()[:2]
        presence = self._service.announce(self._settings.host or host, port)
        if not is_loopback(self._settings.host) and self._settings.tls_cert is None:
            log.warning(
                "other machines reach this port without TLS: their keys can be read on the way; set tls_cert and tls_key"
            )
        _say(
            f"Lava Proxy {presence.version} ready on {presence.proxy_url} ({presence.mode.value}, {self._service.house.home.folder})"
        )

    def _engine_settings(self) -> EngineSettings:
        settings, home = self._settings, self._service.house.home
        merged = home.run_folder / f"{settings.instance}.authorities.pem"
        return EngineSettings(
            certificate_folder=home.ca_folder,
            upstream_authorities=upstream_authorities(settings.upstream_ca, merged),
            body_size_limit=int(settings.body_size_limit),
            tls_cert=settings.tls_cert,
            tls_key=settings.tls_key,
        )

    def _targets(self) -> Targets:
        own = tuple(bound.getsockname()[:2] for bound in self._sockets)
        is_loopback_only = is_loopback(self._settings.host)
        return Targets(own=own, is_loopback_only=is_loopback_only, is_exempt=self._edge.is_own_host)


def _keep_out_of_collections() -> None:
    """What is there by now stays: the garbage collector need not walk it again and again while calls wait."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, 20, 50)


def lean_front(edge: Edge, settings: EngineSettings) -> Front:
    """The edge that takes tunnels to AI hosts, beside mitmproxy's, with the same line, authority and trust."""
    upstream = ssl.create_default_context(cafile=str(settings.upstream_authorities))
    upstream.verify_flags &= (
        ~ssl.VERIFY_X509_STRICT
    )  # as on mitmproxy's edge: authorities of companies are older than it
    upstream.set_alpn_protocols(["http/1.1"])
    service = Service(
        line=edge.line,
        upstream_tls=upstream,
        body_size_limit=settings.body_size_limit,
        is_stopping=edge.control.is_stopping,
    )
    contexts = Contexts(Certificates(settings.certificate_folder).load)
    return Front(service=service, contexts=contexts, is_ai_host=edge.is_ai_host)


async def sweep(service: Service, seconds: float) -> None:
    """Close connections that were silent for so long; for as long as the proxy runs."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(_SWEEP_SECONDS)
        service.close_idle(loop.time() - seconds)


class Ready:
    """The addon that learns that everything listens."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell = tell

    def running(self) -> None:
        self._tell()


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m lava_proxy.process", description="The running proxy; see `lava up`."
    )
    parser.add_argument("--home", type=Path)
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    parser.add_argument("--instance")
    parser.add_argument("--tls-cert", type=Path)
    parser.add_argument("--tls-key", type=Path)
    parser.add_argument("--connect-to", action="append", metavar="HOST:PORT:HOST2:PORT2")
    parser.add_argument("--upstream-ca", type=Path)
    parser.add_argument("--log-file", type=Path)
    parser.add_argument("--log-level")
    return parser.parse_args(arguments)


def _overrides(options: argparse.Namespace) -> dict[str, object]:
    return {name: value for name, value in vars(options).items() if name != "home"}


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
