"""Bars beside figures, for a terminal."""

import sys
from collections.abc import Sequence

WIDTH = 16
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def bars(figures: Sequence[int]) -> list[str]:
    """A bar for each, as long as it is large beside the largest; what is below 0 has a minus before it.

    >>> bars([4, 2, -1, 0])
    ['████████████████', '████████', '-████', '']
    """
    largest = max((abs(figure) for figure in figures), default=0)
    if not largest:
        return ["" for _ in figures]
    is_plain = not _can_say(_EIGHTHS)
    return [f"{'-' if figure < 0 else ''}{_bar(abs(figure), largest, is_plain=is_plain)}" for figure in figures]


def _bar(figure: int, largest: int, *, is_plain: bool) -> str:
    if is_plain:
        return "#" * (figure * WIDTH // largest)
    whole, part = divmod(figure * WIDTH * 8 // largest, 8)
    return "█" * whole + (_EIGHTHS[part] if part else "")


def _can_say(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
