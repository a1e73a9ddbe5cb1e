"""What a client connection told us when it came: where its tunnel leads, and whose it is."""

import base64
import binascii
from dataclasses import dataclass
from urllib.parse import unquote
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


def host_name(host: str) -> str:
    """A host's one spelling: lower case, no trailing dot, no brackets. Two spellings of a name must not be two hosts."""
    return host.strip("[]").rstrip(".").lower()


def read_credentials(header: str | None) -> Credentials | None:
    """Proxy credentials from ``Proxy-Authorization``; ``None`` where none were shown.

    Basic ones are split at the first colon and percent-decoded: some clients send them as they stand in the proxy's URL.
    Anything else becomes a secret that nobody holds, so that it is refused and never taken for no credentials at all.
    """
    if header is None or not header.strip():
        return None
    scheme, _, value = header.strip().partition(" ")
    if scheme.lower() != "basic":
        return Credentials(user="", secret=value.strip() or scheme)
    try:
        text = base64.b64decode(value.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return Credentials(user="", secret=header)
    user, _, secret = text.partition(":")
    return Credentials(user=unquote(user), secret=unquote(secret))
