"""What the addons share: the line, and what we know of connections and flows between one hook and the next."""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field

from mitmproxy.connection import Client

from lava_proxy.addons.arrivals import Arrivals, Tunnel
from lava_proxy.addons.exchanges import Exchanges
from lava_proxy.addons.layers import PORT_HOST
from lava_proxy.core.names import PROVE_HOST
from lava_proxy.http1.names import host_name
from lava_proxy.services.exchange import Line


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """What the port itself answers with, and whether the process is stopping."""

    ca_pem: Callable[[], bytes]
    """The certificate that clients are to trust."""
    unready: Callable[[], str | None]
    """Why calls cannot be served now; ``None`` when they can."""
    is_stopping: Callable[[], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """See ``layers.Rules`` for what the layers ask of it."""

    line: Line
    control: Control
    body_size_limit: int
    allows_unknown_tunnels: bool = False
    """Whether a tunnel to an IP address whose TLS names no server is passed on."""
    arrivals: Arrivals = field(default_factory=Arrivals)
    exchanges: Exchanges = field(default_factory=Exchanges)

    def is_ai_host(self, host: str, port: int) -> bool:
        """A provider that is known on 443 is the same provider on its other ports."""
        name = host_name(host)
        return self.line.is_ai_host(name, port) or self.line.is_ai_host(name, 443)

    def is_own_host(self, host: str, port: int) -> bool:
        """Whether the operator has described it, so that it may stand in his own network. The packaged files do not count:
        whoever gets hold of one of their hundreds of names could lead us there."""
        name = host_name(host)
        return self.line.is_own_host(name, port) or self.line.is_own_host(name, 443)

    def is_intercepted(self, host: str, port: int) -> bool:
        """Whether a host's TLS is ended here: an AI host's, and that of the host that proves interception."""
        return host_name(host) == PROVE_HOST or self.is_ai_host(host, port)

    def is_passed_on(self, host: str) -> bool:
        return host != PORT_HOST and not self.is_intercepted(host, 443)

    def is_plain_tunnel(self, client: Client) -> bool:
        tunnel = self.arrivals.tunnel(client)
        return tunnel is not None and not tunnel.is_intercepted and not self.is_unknown(tunnel)

    def is_unknown(self, tunnel: Tunnel) -> bool:
        """Whether nothing but a name inside TLS could tell where a tunnel leads, and none would not do."""
        return not self.allows_unknown_tunnels and _is_address(tunnel.host)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
