"""The service tier that an answer names, for its price."""

from lava_proxy.dialects.json_text import name_of

_STANDARD = frozenset({"auto", "default", "standard", "on_demand", "unspecified", "service_tier_unspecified"})
"""The providers' names for the ordinary rate; ``auto`` is a wish, not a rate."""


def tier_of(*values: object) -> str | None:
    """The first tier that is named and is not the standard rate, in lower case; ``None`` is the standard rate."""
    for value in values:
        name = name_of(value)
        if name and name.lower() not in _STANDARD:
            return name.lower()
    return None
