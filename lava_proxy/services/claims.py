"""What a call says of itself: credentials and ``x-lava-*`` headers, checked for form."""

import json
import re
from dataclasses import dataclass
from typing import cast

from lava_proxy.core.identity import Claims, Denial
from lava_proxy.core.ids import Metadata
from lava_proxy.core.keys import parse_key
from lava_proxy.services.exchange import Credentials, Head, Headers

PREFIX = "x-lava-"
ALWAYS_DROPPED = frozenset({"proxy-authorization", "proxy-connection", "x-http-method-override"})
"""The last would make a provider take the request for another than the one that was priced."""
METADATA_PAIRS_MAX = 100
TEXT_CHARACTERS_MAX = 255

_METADATA_KEY = re.compile(r"[A-Za-z0-9_]{1,255}", re.ASCII)
_SIGNED = re.compile(r"SignedHeaders=([^,\s]*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
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
    pairs: dict[str, str] = {}
    for name, value in headers:
        if name == "x-lava-metadata":
            loaded = _load_object(value)
            if loaded is None:
                return _bad_metadata("it must be a JSON object of texts")
            pairs |= loaded
        elif name.startswith("x-lava-metadata-"):
            pairs[name.removeprefix("x-lava-metadata-").replace("-", "_")] = value
    if len(pairs) > METADATA_PAIRS_MAX:
        return _bad_metadata(f"at most {METADATA_PAIRS_MAX} pairs are kept")
    for key, value in pairs.items():
        if not _METADATA_KEY.fullmatch(key):
            return _bad_metadata(f"the key {key[:40]!r} may only have letters, digits and underscores, at most 255")
        if not 1 <= len(value) <= TEXT_CHARACTERS_MAX:
            return _bad_metadata(f"the value of {key[:40]!r} must have 1 to {TEXT_CHARACTERS_MAX} characters")
    return tuple(sorted(pairs.items()))


def _load_object(text: str) -> dict[str, str] | None:
    try:
        loaded = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(loaded, dict):
        return None
    texts: dict[str, str] = {}
    for key, value in cast("dict[str, object]", loaded).items():
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            return None
        texts[key] = str(value)
    return texts


def _bad_metadata(why: str) -> Denial:
    return Denial(code="invalid_metadata", message=f"x-lava-metadata cannot be used: {why}.")
