"""What the other side said."""

from msgspec import Struct

TEXT_CHARACTERS_MAX = 300


class Answer(Struct, frozen=True, kw_only=True):
    """``is_final``: trying again is of no use."""

    is_ok: bool
    text: str
    is_final: bool = False


def plain(text: str) -> str:
    """On one line, short, printable."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= TEXT_CHARACTERS_MAX else f"{line[:TEXT_CHARACTERS_MAX]}…"
