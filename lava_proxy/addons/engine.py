"""mitmproxy's ``Master`` with a short list of addons, our dispatch and our port."""

import asyncio
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mitmproxy.addons import core, disable_h2c, errorcheck, next_layer
from mitmproxy.master import Master
from mitmproxy.options import Options

from lava_proxy.addons.dispatch import Dispatch
from lava_proxy.addons.listener import FirstProtocol, Port
from lava_proxy.addons.port_tls import PortTls


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """What mitmproxy itself needs to know."""

    certificate_folder: Path
    """Holds ``mitmproxy-ca.pem``."""
    upstream_authorities: Path
    """PEM file of the authorities that upstream certificates are checked against."""
    body_size_limit: int
    """The largest request body, in bytes."""
    tcp_timeout_seconds: int = 3600
    """Idle time after which a connection is closed: long, for models that think in silence."""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    """For TLS to the port itself."""


class Engine(Master):
    """Run it with ``await engine.run()``; ``engine.shutdown()`` ends it."""

    def __init__(
        self,
        settings: EngineSettings,
        sockets: tuple[socket.socket, ...],
        addons: Iterable[object],
        front: FirstProtocol | None = None,
    ) -> None:
        """``front``: what sees connections first, and leaves to mitmproxy those that are not its own."""
        opts = Options(confdir=str(settings.certificate_folder), mode=["regular"])
        super().__init__(opts, event_loop=asyncio.get_running_loop())
        self.dispatch = self.addons = Dispatch(self)
        self.port = Port(self, opts, sockets, self.dispatch, front)
        self.addons.add(  # type: ignore[no-untyped-call]
            core.Core(),
            disable_h2c.DisableH2C(),
            self.port,
            *addons,
            next_layer.NextLayer(),
            PortTls(settings.tls_cert, settings.tls_key),
            errorcheck.ErrorCheck(repeat_errors_on_stderr=True),
        )
        opts.update(  # type: ignore[no-untyped-call]
            body_size_limit=str(settings.body_size_limit),
            connection_strategy="lazy",
            http2=False,
            rawtcp=False,
            ssl_verify_upstream_trusted_ca=str(settings.upstream_authorities),
            tcp_timeout=settings.tcp_timeout_seconds,
        )

    def close_doors(self) -> None:
        """Accept no more connections; those that are open live on."""
        self.options.update(server=False)  # type: ignore[no-untyped-call]

    async def done(self) -> None:
        await super().done()
        self.close_doors()
        await self.port.servers.update(())
