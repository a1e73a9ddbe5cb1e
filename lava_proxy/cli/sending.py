"""Sends one request to a server that the operator names, for `lava providers test`: never to the internet."""

import ssl
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lava_proxy.core.addresses import ConnectTo, is_loopback, parse_connect_to, url_host
from lava_proxy.core.errors import InvalidInput, NotReachable

if TYPE_CHECKING:
    from lava_proxy.services.trials import Trial

_TIMEOUT_SECONDS = 60.0
_ANSWER_BYTES_MAX = 32 * 1024 * 1024


def send_once(
    trial: "Trial", connect_to: str, body: bytes, headers: Sequence[str], authorities: Path | None
) -> tuple[int, Mapping[str, str], bytes]:
    """The status, headers (in lower case) and body, as they came, of the answer to the trial's request.

    Raises:
        InvalidInput: the rule is none, does not fit the address, or leads to the internet; a header is none.
        NotReachable
    """
    import httpx

    parts = urlsplit(trial.url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    rule = _local_rule(connect_to, str(parts.hostname), port)
    to = f"{url_host(rule.to_host or str(parts.hostname))}:{rule.to_port or port}"
    sent = {"host": parts.netloc, "content-type": "application/json", **dict(map(_header, headers))}
    verify = ssl.create_default_context(cafile=authorities) if authorities else True
    try:
        with (
            httpx.Client(verify=verify, timeout=_TIMEOUT_SECONDS, trust_env=False) as client,
            client.stream(
                trial.method,
                parts._replace(netloc=to).geturl(),
                content=body,
                headers=sent,
                extensions={"sni_hostname": parts.hostname},
            ) as answer,
        ):
            got = b""
            for chunk in answer.iter_raw():
                got += chunk
                if len(got) > _ANSWER_BYTES_MAX:
                    break
            return answer.status_code, {name.lower(): value for name, value in answer.headers.items()}, got
    except httpx.HTTPError as error:
        raise NotReachable(f"{to} did not answer: {error}", hint="is the server up, and is this its port?") from error


def _local_rule(text: str, host: str, port: int) -> ConnectTo:
    try:
        rule = parse_connect_to(text)
    except ValueError as error:
        raise InvalidInput(f"connect-to: {error}", field="connect_to") from error
    if not rule.matches(host, port):
        raise InvalidInput(f"connect-to: {text!r} is not for {host}:{port}", field="connect_to")
    if not _is_near(rule.to_host):
        hint = "name an address of this machine or of your own network, such as 127.0.0.1"
        raise InvalidInput(f"connect-to: {rule.to_host or host} is not one", hint=hint, field="connect_to")
    return rule


def _is_near(host: str) -> bool:
    if is_loopback(host):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_private and not address.is_link_local


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise InvalidInput(f"header: {text!r} is not NAME:VALUE", field="header")
    return name.strip().lower(), value.strip()
