"""The service tier that an answer names, for its price."""

from lava_proxy.dialects.json_text import name_of

STANDARD = "standard"
_STANDARD = frozenset({"default", STANDARD, "on_demand"})
"""The providers' names for the ordinary rate."""
_UNSAID = frozenset({"auto", "unspecified", "service_tier_unspecified"})
"""Wishes and blanks, no rates."""


def tier_of(*values: object) -> str | None:
    """The first tier that is named and is not the standard rate, in lower case; else ``standard`` where that is named.

    ``None``: the answer does not say, so that what was asked for may hold.
    """
    names = [name.lower() for value in values if (name := name_of(value))]
    special = next((name for name in names if name not in _STANDARD | _UNSAID), None)
    return special or (STANDARD if any(name in _STANDARD for name in names) else None)
