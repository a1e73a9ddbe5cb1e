"""What a call says of itself: credentials and ``x-lava-*`` headers, checked for form."""

import json
import re
from typing import cast

from msgspec import Struct

from lava_proxy.core.errors import InvalidInput
from lava_proxy.core.identity import Claims, Denial
from lava_proxy.core.ids import Metadata
from lava_proxy.core.keys import parse_key
from lava_proxy.core.metadata import read_metadata
from lava_proxy.services.exchange import Credentials, Head, Headers

PREFIX = "x-lava-"
ALWAYS_DROPPED = frozenset({"proxy-authorization", "proxy-connection", "x-http-method-override"})
"""The last would make a provider take the request for another than the one that was priced."""
TEXT_CHARACTERS_MAX = 255

_SIGNED = re.compile(r"SignedHeaders=([^,\s]*)", re.IGNORECASE)


class Said(Struct, frozen=True, kw_only=True):
    claims: Claims
    drop_headers: frozenset[str]
    """What must not reach the provider."""


def read_claims(head: Head, body_user: str | None) -> Said | Denial:
    """The claims of a call, and the headers to take away; a denial where a header cannot be read or was signed."""
    values = dict(reversed(head.headers))  # the first of a repeated header counts
    drop = ALWAYS_DROPPED | {name for name, _ in head.headers if name.startswith(PREFIX)}
    if signed := _signed_identity(values):
        message = (
            f"The header {signed} is part of the request's signature; name the customer in the proxy address instead."
        )
        return Denial(code="signed_identity_header", message=message)
    metadata = _metadata(head.headers)
    if isinstance(metadata, Denial):
        return metadata
    key, user = split_credentials(head.credentials)
    named = {
        "customer": values.get("x-lava-customer"),
        "meter": values.get("x-lava-meter"),
        "user": user,
    }
    if not named["customer"] and not user:
        named["user in the body"] = body_user
    for what, text in named.items():
        if text and (len(text) > TEXT_CHARACTERS_MAX or not text.isprintable()):
            return Denial(
                code="invalid_identity",
                message=f"The {what} must be at most {TEXT_CHARACTERS_MAX} printable characters.",
            )
    claims = Claims(
        key=key,
        user=user,
        customer=named["customer"] or None,
        meter=named["meter"] or None,
        body_user=body_user,
        metadata=metadata,
    )
    return Said(claims=claims, drop_headers=drop)


def split_credentials(credentials: Credentials | None) -> tuple[str | None, str | None]:
    """Key and user. A key alone may stand in either part."""
    if credentials is None:
        return None, None
    if credentials.secret:
        return credentials.secret, credentials.user or None
    if parse_key(credentials.user):
        return credentials.user, None
    return None, credentials.user or None


def _signed_identity(values: dict[str, str]) -> str | None:
    authorization = values.get("authorization", "")
    if not authorization.startswith("AWS4-"):
        return None
    found = _SIGNED.search(authorization)
    names = found[1].lower().split(";") if found else []
    return next((name for name in names if name.startswith(PREFIX)), None)


def _metadata(headers: Headers) -> Metadata | Denial:
    """``x-lava-metadata`` as a JSON object, and one header per key: ``x-lava-metadata-feature: chat``."""
    pairs: dict[str, object] = {}
    for name, value in headers:
        if name == "x-lava-metadata":
            loaded = _load_object(value)
            if loaded is None:
                return Denial(code="invalid_metadata", message="x-lava-metadata must be a JSON object.")
            pairs |= loaded
        elif name.startswith("x-lava-metadata-"):
            pairs[name.removeprefix("x-lava-metadata-").replace("-", "_")] = value
    try:
        return read_metadata(pairs, field="x-lava-metadata") if pairs else ()
    except InvalidInput as error:
        return Denial(code="invalid_metadata", message=f"{error.message}.")


def _load_object(text: str) -> dict[str, object] | None:
    try:
        loaded = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, object]", loaded) if isinstance(loaded, dict) else None
