"""Metadata: pairs that a caller attaches to a customer or a request, and later filters by."""

import re
from collections.abc import Mapping

from lava_proxy.core.errors import InvalidInput
from lava_proxy.core.ids import Metadata

PAIRS_MAX = 100
_KEY = re.compile(r"[A-Za-z0-9_]{1,255}", re.ASCII)
VALUE_CHARACTERS_MAX = 255


def read_metadata(pairs: Mapping[str, object], *, field: str = "metadata") -> Metadata:
    """``pairs`` in their stored form, sorted by key; numbers and booleans become their JSON text.

    Raises:
        InvalidInput: more than 100 pairs, a key with other characters than letters, digits and underscore, or a value
            that is no plain value of 1 to 255 characters.
    """
    if len(pairs) > PAIRS_MAX:
        raise InvalidInput(f"{field}: {len(pairs)} pairs are too many; at most {PAIRS_MAX}", field=field)
    return tuple(sorted((_key(key, field), _value(key, value, field)) for key, value in pairs.items()))


def _key(key: str, field: str) -> str:
    if not _KEY.fullmatch(key):
        raise InvalidInput(
            f"{field}: the key {key[:40]!r} may have letters, digits and _ only, 1 to 255 of them", field=field
        )
    return key


def _value(key: str, value: object, field: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int | float):
        raise InvalidInput(f"{field}: the value of {key!r} must be a text or a number", field=field)
    text = str(value)
    if not 1 <= len(text) <= VALUE_CHARACTERS_MAX:
        raise InvalidInput(
            f"{field}: the value of {key!r} must have 1 to {VALUE_CHARACTERS_MAX} characters", field=field
        )
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidInput(f"{field}: the value of {key!r} is no Unicode text", field=field)
    return text
