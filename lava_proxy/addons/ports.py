"""The sockets that the proxy listens on, bound before anything else is started; and who has a port that is taken."""

import errno
import os
import socket
from pathlib import Path

from lava_proxy.core.errors import Conflict, InvalidSettings

_LISTENING = "0A"
_PROC = Path("/proc")


def bind_port(host: str, port: int) -> tuple[socket.socket, ...]:
    """Sockets for every address of ``host`` (all of them if it is empty), on one port; 0 picks a free one.

    They are bound and do not listen yet.

    Raises:
        Conflict: the port is taken; the message names by whom, where that can be seen.
        InvalidSettings: the address is not one of this machine's, or the port needs more rights.
    """
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise InvalidSettings(f"Cannot listen on {host}: {error.strerror}.", field="host") from error
    bound: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            if family in (socket.AF_INET, socket.AF_INET6):
                wanted = bound[0].getsockname()[1] if bound else port
                bound.append(_bind(family, kind, protocol, (str(address[0]), int(wanted))))
    except OSError as error:
        for each in bound:
            each.close()
        raise _explained(error, host, port) from error
    return tuple(bound)


def port_owner(port: int) -> str | None:
    """``process 4711 (python server.py)``, for the process that listens on a port; ``None`` where that cannot be seen."""
    inodes = {inode for table in ("tcp", "tcp6") for inode in _listening_inodes(_PROC / "net" / table, port)}
    links = {f"socket:[{inode}]" for inode in inodes}
    for process in _PROC.glob("[0-9]*"):
        try:
            if any(os.readlink(entry) in links for entry in (process / "fd").iterdir()):
                words = (process / "cmdline").read_bytes().split(b"\0")
                return f"process {process.name} ({b' '.join(words).decode(errors='replace').strip()})"
        except OSError:
            continue  # another user's, or gone
    return None


def _bind(family: int, kind: int, protocol: int, address: tuple[str, int]) -> socket.socket:
    """The protocol must be named: asyncio turns Nagle's delay off only where it is, and a stream's head would wait 40 ms."""
    new = socket.socket(family, kind, protocol or socket.IPPROTO_TCP)
    try:
        new.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            new.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        new.bind(address)
    except OSError:
        new.close()
        raise
    return new


def _explained(error: OSError, host: str, port: int) -> Conflict | InvalidSettings:
    if error.errno == errno.EADDRINUSE:
        owner = port_owner(port)
        message = f"Port {port} is taken" + (f" by {owner}." if owner else ".")
        return Conflict(message, hint="Choose another one with --port, or --port 0 for any that is free.", port=port)
    if error.errno == errno.EACCES:
        return InvalidSettings(f"Port {port} needs more rights than this user has.", field="port")
    return InvalidSettings(f"Cannot listen on {host}:{port}: {error.strerror}.", field="host")


def _listening_inodes(table: Path, port: int) -> list[str]:
    try:
        lines = table.read_text().splitlines()[1:]
    except OSError:
        return []
    rows = [line.split() for line in lines]
    return [row[9] for row in rows if row[3] == _LISTENING and int(row[1].rpartition(":")[2], 16) == port]
