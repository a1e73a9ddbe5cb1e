"""Hosts and credentials as clients write them, each in its one spelling."""

import base64
import binascii
import re
from functools import lru_cache
from urllib.parse import unquote

from lava_proxy.services.exchange import Credentials

_AUTHORITY = re.compile(r"(?P<host>[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?\.?|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")


def host_name(host: str) -> str:
    """A host's one spelling: lower case, no trailing dot, no brackets. Two spellings of a name must not be two hosts."""
    return host.strip("[]").rstrip(".").lower()


@lru_cache(maxsize=1024)
def named_host(authority: str) -> str:
    """The host in a Host header.

    Raises:
        ValueError: it is no host.
    """
    found = _AUTHORITY.fullmatch(authority)
    if found is None or len(found["host"]) > 253:
        raise ValueError(f"not one host: {authority!r}")
    return host_name(found["host"])


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
