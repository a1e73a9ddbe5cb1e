"""The running proxy of a home: found, asked whether it is ready, started where there is none."""

import http.client
import socket
import ssl
import time
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lava_proxy.core.errors import Conflict, NotReachable

if TYPE_CHECKING:
    from lava_proxy.services.presence import Presence
    from lava_proxy.wiring import House

_ASK_SECONDS = 5
_READY_SECONDS = 10
_POLL_SECONDS = 0.1


def find_proxy(house: "House") -> "Presence | None":
    """The proxy of this home and instance, if one runs."""
    from lava_proxy.services.presence import read_presence

    return read_presence(house.home.run_folder, house.settings.instance)


def ready_proxy(house: "House") -> "Presence":
    """A proxy that is ready: the one that runs, else one that is started now and stays.

    Raises:
        NotReachable: it could not be started, or does not take calls now; the message has its reason.
        InvalidSettings, LedgerUnavailable: it could not be started because of that.
    """
    if find_proxy(house) is None:
        from lava_proxy.cli.starting import start_detached

        with suppress(Conflict):  # somebody else starts it at this very moment: then theirs will do
            start_detached(house, {})
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        presence = find_proxy(house)
        reason = why_not_ready(presence) if presence else "it does not run"
        if presence is not None and reason is None:
            return presence
        if time.monotonic() >= deadline:
            raise NotReachable(f"The proxy does not take calls now: {reason}.", hint="`lava doctor` tells more.")
        time.sleep(_POLL_SECONDS)


def why_not_ready(presence: "Presence") -> str | None:
    """What ``/readyz`` says against it, or ``None``."""
    try:
        status, body = _ask(presence.proxy_url)
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    return None if status == 200 else body.decode(errors="replace")[:300]


def port_is_free(host: str, port: int) -> bool:
    """Whether a proxy could listen there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OSError:
            return False
    return True


def _ask(address: str) -> tuple[int, bytes]:
    url = urlsplit(address)
    host, port = url.hostname or "", url.port or 0
    connection: http.client.HTTPConnection
    if url.scheme == "https":
        # our own process on this machine, found by its lock: its certificate may well name the public host only
        context = ssl._create_unverified_context()  # noqa: S323
        connection = http.client.HTTPSConnection(host, port, timeout=_ASK_SECONDS, context=context)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=_ASK_SECONDS)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        return answer.status, answer.read(4096)
    finally:
        connection.close()
