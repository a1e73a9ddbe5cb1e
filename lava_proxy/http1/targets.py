"""Where connections may go: checked on the address itself, so that no spelling and no name server gets around it.

Nobody is connected to the machine's metadata service or to our own port. Where other machines can reach the port, its
clients are not connected to loopback and private addresses either, which only they would be let into through us; except
for what the operator has described (provider files of his own, `--connect-to`).
"""

import ipaddress
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lava_proxy.core.addresses import ConnectTo

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_METADATA = tuple(
    ipaddress.ip_network(text)
    for text in (
        "169.254.0.0/16",  # AWS, Azure, Google, and AWS tasks: all of link-local
        "fd00:ec2::/32",  # AWS
        "fd20:ce::254/128",  # Google
        "fe80::/10",
        "100.100.100.200/32",  # Alibaba
        "168.63.129.16/32",  # Azure
        "192.0.0.192/32",  # Oracle
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """What a connection is for."""

    host: str
    port: int
    is_redirected: bool = False
    """Whether the operator sends it elsewhere, with `--connect-to`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """The rule. ``own`` are the addresses that we listen on."""

    own: tuple[tuple[str, int], ...]
    is_loopback_only: bool
    is_exempt: Callable[[str, int], bool]
    """Whether the operator has described this host himself."""

    def refusal(self, destination: Destination, address: str, port: int) -> str | None:
        """Why ``address`` and ``port`` may not be connected to for ``destination``; ``None``: they may."""
        real = _real(address)
        if any(real in network for network in _METADATA if network.version == real.version):
            return f"{address} is an address of this machine's own metadata"
        if self._is_own(real, port):
            return f"{address}:{port} is this proxy itself"
        is_public = real.is_global and not real.is_multicast
        if self.is_loopback_only or is_public or destination.is_redirected:
            return None
        if self.is_exempt(destination.host, destination.port):
            return None
        return f"{address} is not a public address"

    def _is_own(self, address: Address, port: int) -> bool:
        ports = {own_port for _, own_port in self.own}
        return port in ports and (address.is_unspecified or address.is_loopback or _is_here(address))


def redirected(rules: Sequence[ConnectTo], host: str, port: int) -> tuple[str, int]:
    """Where to connect for ``host:port``; the first rule that fits wins."""
    for rule in rules:
        if rule.matches(host, port):
            return rule.to_host or host, rule.to_port or port
    return host, port


def _real(address: str) -> Address:
    """The address that is meant, where an IPv6 address stands for an IPv4 one."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        if found in _NAT64:
            return ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        return found.ipv4_mapped or found.sixtofour or found
    return found


def _is_here(address: Address) -> bool:
    """Whether this machine has the address: only then can it be bound."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True
