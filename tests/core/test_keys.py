"""Keys: written once, read back, checked in constant time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lava_proxy.core.entities import Key, KeyScope, Mode
from lava_proxy.core.ids import CustomerId, KeyId
from lava_proxy.core.keys import SECRET_CHARACTERS, check_secret, encode_secret, is_usable, new_key, parse_key

ULID = "01JZZZZZZZZZZZZZZZZZZZZZZZ"


def make_key(
    scope: KeyScope = KeyScope.MERCHANT, mode: Mode = Mode.LIVE, *, random_bytes: bytes = bytes(range(32))
) -> tuple[Key, str]:
    return new_key(
        key_id=KeyId(f"key_{ULID}"), scope=scope, mode=mode, random_bytes=random_bytes, name="laptop", created_us=1
    )


@pytest.mark.parametrize(
    ("scope", "mode", "prefix"),
    [
        (KeyScope.MERCHANT, Mode.LIVE, "aks_live_"),
        (KeyScope.MERCHANT, Mode.TEST, "aks_test_"),
        (KeyScope.CUSTOMER, Mode.LIVE, "lava_ck_"),
        (KeyScope.RUN, Mode.TEST, "lava_rk_"),
    ],
)
def test_a_key_says_its_scope_and_is_read_back(scope: KeyScope, mode: Mode, prefix: str) -> None:
    key, text = make_key(scope, mode)
    assert text.startswith(f"{prefix}{ULID}_")
    parsed = parse_key(f"  {text}\n")
    assert parsed is not None
    assert (parsed.key_id, parsed.scope) == (key.key_id, scope)
    assert parsed.mode == (mode if scope is KeyScope.MERCHANT else None)
    assert check_secret(key, parsed.secret)


def test_the_row_and_its_repr_hold_nothing_of_the_secret_but_its_last_four_characters() -> None:
    key, text = make_key()
    secret = text.rsplit("_", 1)[1]
    assert secret not in repr(key)
    assert key.hint == f"aks_live_…{secret[-4:]}"
    parsed = parse_key(text)
    assert secret not in repr(parsed)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "aks_live_",
        "sk-abc",
        "aks_prod_" + ULID + "_" + "a" * 43,
        f"aks_live_{ULID}_" + "a" * 42,
        f"aks_live_{ULID}_" + "ä" * 43,
    ],
)
def test_what_is_no_key_is_none(text: str) -> None:
    assert parse_key(text) is None


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_only_the_same_secret_passes(one: bytes, other: bytes) -> None:
    key, _ = make_key(random_bytes=one)
    assert check_secret(key, encode_secret(other)) == (one == other)
    assert len(encode_secret(other)) == SECRET_CHARACTERS


def test_a_key_is_usable_until_it_expires_or_is_revoked() -> None:
    key, _ = new_key(
        key_id=KeyId(f"key_{ULID}"),
        scope=KeyScope.CUSTOMER,
        mode=Mode.LIVE,
        random_bytes=bytes(32),
        name="",
        created_us=0,
        customer_id=CustomerId("con_1"),
        expires_us=100,
    )
    assert is_usable(key, 99)
    assert not is_usable(key, 100)
