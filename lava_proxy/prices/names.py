"""Models as people and providers name them, and patterns for them."""

import re
from collections.abc import Iterable
from functools import lru_cache

MODEL_LENGTH_MAX = 256
"""A longer name is no model's: names come from strangers."""

_VENDOR_PREFIXES = ("models/", "publishers/google/models/", "publishers/anthropic/models/")


def normal_model(model: str) -> str:
    """``model`` as names are compared: lower case, without the folder that Google puts before it.

    >>> normal_model("models/Gemini-2.5-Pro")
    'gemini-2.5-pro'
    """
    name = model.strip().lower()
    for prefix in _VENDOR_PREFIXES:
        name = name.removeprefix(prefix)
    return name


def spellings(model: str) -> tuple[str, ...]:
    """Names to try one after the other for a normal name: as it is, and without a vendor's prefix (``google/…``)."""
    bare = model.removeprefix("google/")
    return (model,) if bare == model else (model, bare)


@lru_cache(maxsize=1024)
def _expression(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in pattern.lower().split("*")), re.DOTALL)


def fits(pattern: str, model: str) -> bool:
    """Whether the normal name ``model`` is one that ``pattern`` means; ``*`` stands for any text."""
    if "*" not in pattern:
        return pattern.lower() == model
    return _expression(pattern).fullmatch(model) is not None


def any_fits(patterns: Iterable[str], model: str) -> bool:
    return any(fits(pattern, model) for pattern in patterns)
