"""What a client connection told us when it came: where its tunnel leads, and whose it is."""

from dataclasses import dataclass
from weakref import WeakKeyDictionary

from mitmproxy.connection import Client

from lava_proxy.services.exchange import Credentials


@dataclass(frozen=True, slots=True, kw_only=True)
class Tunnel:
    """An accepted CONNECT. ``host`` is as ``host_name`` gives it."""

    host: str
    port: int
    credentials: Credentials | None
    is_intercepted: bool
    """Whether the host named by CONNECT is one whose TLS is ended here. (The name inside TLS may still say so.)"""


class Arrivals:
    """The tunnels of the client connections that are open; nothing is kept of those that are gone."""

    def __init__(self) -> None:
        self._tunnels: WeakKeyDictionary[Client, Tunnel] = WeakKeyDictionary()

    def remember(self, client: Client, tunnel: Tunnel) -> None:
        self._tunnels[client] = tunnel

    def tunnel(self, client: Client) -> Tunnel | None:
        """``None``: the connection speaks to the port itself."""
        return self._tunnels.get(client)
