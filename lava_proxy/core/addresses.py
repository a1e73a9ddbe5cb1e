"""Addresses as people write them: where to listen, and where to connect instead."""

import re
from ipaddress import ip_address

from msgspec import Struct

_CONNECT_TO = re.compile(
    r"(?P<host>\[[^]]*]|[^:]*):(?P<port>\d*):(?P<to_host>\[[^]]*]|[^:]*):(?P<to_port>\d*)", re.ASCII
)


class ConnectTo(Struct, frozen=True, kw_only=True):
    """For ``host:port`` connect to ``to_host:to_port``.

    On the left an empty host and port 0 mean any; on the right they mean the same as asked for.
    """

    host: str
    port: int
    to_host: str
    to_port: int

    def matches(self, host: str, port: int) -> bool:
        return self.host in ("", host.lower()) and self.port in (0, port)


def parse_connect_to(text: str) -> ConnectTo:
    """A rule in curl's notation ``HOST:PORT:HOST2:PORT2``; IPv6 addresses stand in brackets.

    Raises:
        ValueError: the text is not such a rule.

    >>> parse_connect_to("api.openai.com:443:127.0.0.1:9443").to_port
    9443
    """
    found = _CONNECT_TO.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not HOST:PORT:HOST2:PORT2, such as api.openai.com:443:127.0.0.1:9443")
    ports = [int(found[name] or 0) for name in ("port", "to_port")]
    if max(ports) > 65535:
        raise ValueError(f"{text!r} has a port above 65535")
    hosts = [found[name].strip("[]").lower() for name in ("host", "to_host")]
    return ConnectTo(host=hosts[0], port=ports[0], to_host=hosts[1], to_port=ports[1])


def is_loopback(host: str) -> bool:
    """Whether ``host`` can only be an address of this machine's own loopback. Names other than localhost are not trusted.

    >>> is_loopback("127.0.0.2"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def url_host(host: str) -> str:
    """As it stands in a URL: IPv6 addresses in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
