"""Keys as text: how they are written, read and checked. The text itself is shown once and never stored.

============  ======================================  ==========================================
scope         text                                    may
============  ======================================  ==========================================
merchant      ``aks_live_<id>_<secret>``,             everything in this home
              ``aks_test_<id>_<secret>``
customer      ``lava_ck_<id>_<secret>``               call as one customer, with its own meters
run           ``lava_rk_<id>_<secret>``               the same for one `lava run`, within its caps
============  ======================================  ==========================================

``<id>`` is the ULID of the key's ``key_…`` id and public: the row is found by it. ``<secret>`` is 256 random bits as 43
letters and digits, so that a key fits unescaped into a URL and is selected by a double click up to its underscores.
A secret of 256 bits needs no slow hash: its SHA-256 cannot be searched.
"""

import hashlib
import hmac
import re

from msgspec import Struct

from lava_proxy.core.entities import Key, KeyScope, Mode
from lava_proxy.core.ids import CustomerId, KeyId, MeterId, RunId

SECRET_BYTES = 32
SECRET_CHARACTERS = 43
"""62 ** 43 is just above 2 ** 256."""

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PREFIXES = {
    "aks_live": KeyScope.MERCHANT,
    "aks_test": KeyScope.MERCHANT,
    "lava_ck": KeyScope.CUSTOMER,
    "lava_rk": KeyScope.RUN,
}
_KEY = re.compile(
    r"(?P<prefix>aks_live|aks_test|lava_ck|lava_rk)_(?P<id>[0-9A-Z]{26})_(?P<secret>[0-9A-Za-z]{43})", re.ASCII
)


class ParsedKey(Struct, frozen=True, kw_only=True):
    """A key's text taken apart; whether it is a true one is for ``check_secret``."""

    key_id: KeyId
    scope: KeyScope
    secret: str
    mode: Mode | None
    """Of a merchant key; the others belong to the home that made them."""

    def __repr__(self) -> str:
        return f"ParsedKey(key_id={self.key_id!r}, scope={self.scope.value!r})"


def parse_key(text: str) -> ParsedKey | None:
    """The parts of a key, or ``None`` where ``text`` is no key of ours at all."""
    found = _KEY.fullmatch(text.strip())
    if found is None:
        return None
    scope = _PREFIXES[found["prefix"]]
    mode = Mode(found["prefix"].removeprefix("aks_")) if scope is KeyScope.MERCHANT else None
    return ParsedKey(key_id=KeyId(f"key_{found['id']}"), scope=scope, secret=found["secret"], mode=mode)


def check_secret(key: Key, secret: str) -> bool:
    """Whether ``secret`` is this key's, in a time that does not depend on where they differ."""
    return hmac.compare_digest(key.secret_sha256, secret_digest(secret))


def is_usable(key: Key, now_us: int) -> bool:
    """Neither revoked nor expired at this instant."""
    return key.revoked_us is None and (key.expires_us is None or now_us < key.expires_us)


def new_key(
    *,
    key_id: KeyId,
    scope: KeyScope,
    mode: Mode,
    random_bytes: bytes,
    name: str,
    created_us: int,
    customer_id: CustomerId | None = None,
    meter_ids: tuple[MeterId, ...] = (),
    run_id: RunId | None = None,
    expires_us: int | None = None,
) -> tuple[Key, str]:
    """A key's row and its text. ``random_bytes`` are 32 fresh ones; ``key_id`` is ``key_`` and a ULID."""
    secret = encode_secret(random_bytes)
    text = f"{_prefix(scope, mode)}_{key_id.removeprefix('key_')}_{secret}"
    assert parse_key(text) is not None, key_id
    key = Key(
        key_id=key_id,
        scope=scope,
        secret_sha256=secret_digest(secret),
        hint=f"{_prefix(scope, mode)}_…{secret[-4:]}",
        name=name,
        customer_id=customer_id,
        meter_ids=meter_ids,
        run_id=run_id,
        created_us=created_us,
        expires_us=expires_us,
    )
    return key, text


def encode_secret(random_bytes: bytes) -> str:
    """32 bytes as 43 letters and digits.

    >>> encode_secret(bytes(31) + b"\\x3e")[-2:]
    '10'
    """
    assert len(random_bytes) == SECRET_BYTES, len(random_bytes)
    number = int.from_bytes(random_bytes)
    digits: list[str] = []
    for _ in range(SECRET_CHARACTERS):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def _prefix(scope: KeyScope, mode: Mode) -> str:
    if scope is KeyScope.MERCHANT:
        return f"aks_{mode.value}"
    return "lava_ck" if scope is KeyScope.CUSTOMER else "lava_rk"


def secret_digest(secret: str) -> str:
    """SHA-256 of a secret, as hex: what is stored of it."""
    return hashlib.sha256(secret.encode()).hexdigest()
