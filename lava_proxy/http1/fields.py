"""Header fields: bytes as they came, text for the line, and what an edge changes in them."""

from lava_proxy.services.exchange import Headers

RawFields = tuple[tuple[bytes, bytes], ...]

PROXY_HEADERS = frozenset({b"proxy-authorization", b"proxy-connection"})
"""Meant for us alone, whatever the line says."""


def as_text(fields: RawFields) -> Headers:
    """Header fields as text; the odd value that is not UTF-8 is read as Latin-1, so that no two become one."""
    return tuple((name.lower().decode("latin-1"), _text(value)) for name, value in fields)


def changed(fields: RawFields, drop: frozenset[bytes], setting: dict[bytes, bytes]) -> RawFields:
    """The fields without those to drop; those to set in the place of the first of their name, else at the end."""
    kept: list[tuple[bytes, bytes]] = []
    left = dict(setting)
    for name, value in fields:
        key = name.lower()
        if key in left:
            kept.append((name, left.pop(key)))
        elif key not in drop and key not in setting:
            kept.append((name, value))
    return (*kept, *left.items())


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
