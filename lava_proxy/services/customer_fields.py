"""What may be said about a customer, and its form."""

import re
from enum import Enum
from typing import Final

from msgspec import Struct

from lava_proxy.core.errors import InvalidInput
from lava_proxy.core.identity import NO_USER
from lava_proxy.core.ids import Metadata

TEXT_CHARACTERS_MAX = 255
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+", re.ASCII)
_PHONE = re.compile(r"\+[1-9]\d{1,14}", re.ASCII)


class Keep(Enum):
    """Says of a field that it shall stay as it is; ``None`` clears it."""

    KEEP = "\0keep"
    """No text that a person can give, so that nothing is taken for it."""


KEEP: Final = Keep.KEEP


class CustomerFields(Struct, frozen=True, kw_only=True):
    """What may be said about a customer. ``meter`` is a slug or ``prd_…``."""

    reference_id: str | Keep | None = KEEP
    name: str | Keep | None = KEEP
    email: str | Keep | None = KEEP
    phone: str | Keep | None = KEEP
    metadata: Metadata | Keep = KEEP
    meter: str | Keep | None = KEEP


def check_fields(given: CustomerFields) -> None:
    """Refuse what cannot be.

    Raises:
        InvalidInput: a field cannot be; ``details['field']`` names it.
    """
    _check_reference(given.reference_id)
    for field, text in (("name", given.name), ("email", given.email)):
        if isinstance(text, str) and not (0 < len(text) <= TEXT_CHARACTERS_MAX and text.isprintable()):
            raise InvalidInput(f"{field}: it must have 1 to {TEXT_CHARACTERS_MAX} printable characters", field=field)
    if isinstance(given.email, str) and not _EMAIL.fullmatch(given.email):
        raise InvalidInput(f"email: {given.email!r} is no e-mail address", field="email")
    if isinstance(given.phone, str) and not _PHONE.fullmatch(given.phone):
        raise InvalidInput(
            f"phone: {given.phone!r} is no number in international form, such as +4915112345678", field="phone"
        )


def _check_reference(reference: str | Keep | None) -> None:
    if not isinstance(reference, str):
        return
    if not (0 < len(reference) <= TEXT_CHARACTERS_MAX and reference.isprintable() and reference == reference.strip()):
        raise InvalidInput(
            f"reference_id: it must have 1 to {TEXT_CHARACTERS_MAX} printable characters, without spaces around",
            field="reference_id",
        )
    if reference.startswith("con_") or reference == NO_USER:
        raise InvalidInput(
            f"reference_id: {reference!r} would be taken for something else; choose another", field="reference_id"
        )
