"""Where alerts are told: addresses as the operator gives them, checked, and what may be shown of them.

A destination is the operator's own: it may stand on loopback or in a private network. What is refused is what can only be
a mistake or a trap: schemes other than http and https, a password in the URL, and link-local addresses, where clouds keep
the credentials of their machines.
"""

from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from msgspec import Struct

from lava_proxy.core.alert_rows import DestinationKind
from lava_proxy.core.errors import InvalidInput

PAGERDUTY_URL = "https://events.pagerduty.com/v2/enqueue"
HEARTBEAT_SECONDS_MIN = 10
TLS_WAYS = ("starttls", "tls", "none")
_HINT_CHARACTERS = 4


class Address(Struct, frozen=True, kw_only=True):
    """All that is needed to reach a destination; it is stored sealed, since URLs of webhooks are secrets too."""

    url: str = ""
    """Of webhook, Slack, PagerDuty and heartbeat; of e-mail empty."""
    secret: str = ""
    """What signs a plain webhook; the routing key of PagerDuty; the password of SMTP."""
    host: str = ""
    port: int = 587
    tls: str = "starttls"
    user: str = ""
    sender: str = ""
    recipients: tuple[str, ...] = ()
    every_seconds: int = 60
    """Of a heartbeat."""


def check_address(kind: DestinationKind, address: Address) -> Address:
    """The address, complete.

    Raises:
        InvalidInput: something is missing or cannot be; ``details['field']`` names it.
    """
    if kind is DestinationKind.EMAIL:
        return _check_email(address)
    url = address.url or (PAGERDUTY_URL if kind is DestinationKind.PAGERDUTY else "")
    check_url(url)
    if kind in (DestinationKind.PAGERDUTY, DestinationKind.WEBHOOK) and not address.secret:
        raise InvalidInput(f"secret: a {kind.value} destination needs one", field="secret")
    if kind is DestinationKind.HEARTBEAT and address.every_seconds < HEARTBEAT_SECONDS_MIN:
        raise InvalidInput(f"every: at least {HEARTBEAT_SECONDS_MIN} seconds", field="every")
    return Address(url=url, secret=address.secret, every_seconds=address.every_seconds)


def check_url(url: str) -> SplitResult:
    """
    Raises:
        InvalidInput
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidInput(f"url: {error}", field="url") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise InvalidInput("url: write a whole URL that begins with https:// or http://", field="url")
    if parts.username is not None or parts.password is not None:
        raise InvalidInput("url: it must not have a user or a password in it", field="url")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise InvalidInput("url: write it with ASCII characters and without spaces", field="url")
    if is_link_local(parts.hostname):
        raise InvalidInput("url: a link-local address is nobody's webhook", field="url")
    return parts


def is_link_local(host: str) -> bool:
    """Whether it is an address such as 169.254.169.254, where clouds keep credentials.

    >>> is_link_local("169.254.169.254"), is_link_local("127.0.0.1"), is_link_local("example.com")
    (True, False, False)
    """
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_link_local


def hint_of(kind: DestinationKind, address: Address) -> str:
    """What may be shown: where it is, not the path that opens it."""
    if kind is DestinationKind.EMAIL:
        return f"{', '.join(address.recipients)} by {address.host}:{address.port}"
    parts = urlsplit(address.url)
    port = f":{parts.port}" if parts.port else ""
    rest = parts.path + parts.query
    tail = f"…{rest[-_HINT_CHARACTERS:]}" if len(rest) > 3 * _HINT_CHARACTERS else "…" if rest.strip("/") else ""
    return f"{parts.scheme}://{parts.hostname}{port}/{tail}"


def _check_email(address: Address) -> Address:
    if not address.host or not address.host.isprintable() or " " in address.host:
        raise InvalidInput("smtp: name the mail server, as HOST or HOST:PORT", field="smtp")
    if is_link_local(address.host):
        raise InvalidInput("smtp: a link-local address is nobody's mail server", field="smtp")
    if not 0 < address.port <= 65535:
        raise InvalidInput(f"smtp: {address.port} is no port", field="smtp")
    if address.tls not in TLS_WAYS:
        raise InvalidInput(f"tls: {address.tls!r} is none of {', '.join(TLS_WAYS)}", field="tls")
    if bool(address.user) != bool(address.secret):
        raise InvalidInput("secret: user and password belong together: give both or neither", field="secret")
    if not address.recipients:
        raise InvalidInput("to: name at least one recipient", field="to")
    for field, text in (("from", address.sender), *(("to", recipient) for recipient in address.recipients)):
        local, at, domain = text.rpartition("@")
        if not (local and at and domain) or not text.isprintable() or any(character in text for character in " ,;<>"):
            raise InvalidInput(f"{field}: {text!r} is no e-mail address", field=field)
    return address
