"""Where alerts are told: kept with addresses and secrets sealed, shown without them."""

import base64
import re
from collections.abc import Callable

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.core.alert_rows import Destination, DestinationKind, DestinationStatus
from lava_proxy.core.destinations import Address, check_address, hint_of
from lava_proxy.core.errors import Conflict, InvalidInput, NotFound
from lava_proxy.core.ids import DestinationId
from lava_proxy.core.ports import Clock, Decision, IdSource, Ledger, Rows
from lava_proxy.services.audit import audit
from lava_proxy.services.idempotency import Answer, By, once

SECRET_BYTES = 32
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?", re.ASCII)

type Seal = Callable[[bytes, str], bytes]
"""Seals or opens bytes for a purpose."""


class Seals(Struct, frozen=True):
    """The home's key at work."""

    seal: Seal
    open: Seal


class NewDestination(Struct, frozen=True, kw_only=True):
    destination: Destination
    """Without what is sealed; ``Destinations.get`` has it."""
    secret: str | None
    """What signs a webhook, where it was made here: told this once."""


class Destinations:
    def __init__(
        self, *, ledger: Ledger, clock: Clock, ids: IdSource, seals: Seals, random_bytes: Callable[[int], bytes]
    ) -> None:
        self._ledger, self._clock, self._ids, self._seals = ledger, clock, ids, seals
        self._random_bytes = random_bytes

    def all(self) -> tuple[Destination, ...]:
        """Active ones, oldest first."""
        return self._ledger.read(lambda rows: rows.find(Destination, status=DestinationStatus.ACTIVE.value))

    def get(self, reference: str) -> Destination:
        """The active one of this name or id.

        Raises:
            NotFound
        """
        return self._ledger.read(lambda rows: _require(rows, reference))

    def address(self, destination: Destination) -> Address:
        """Opened, for who sends.

        Raises:
            SealBroken: it was sealed with another home's key.
        """
        sealed = base64.b64decode(destination.sealed)
        return msgspec.json.decode(self._seals.open(sealed, _purpose(destination.destination_id)), type=Address)

    def create(self, slug: str, kind: DestinationKind, address: Address, *, by: By) -> Answer[NewDestination]:
        """A webhook without a secret is given one, told this once; under an idempotency key it is told only the first time.

        Raises:
            InvalidInput
            Conflict: another active one has the name.
        """
        if not _SLUG.fullmatch(slug):
            raise InvalidInput(
                f"name: {slug!r} may have lower-case letters, digits, - and _ only, 1 to 64 of them", field="name"
            )
        made = ""
        if kind is DestinationKind.WEBHOOK and not address.secret:
            made = f"whsec_{self._random_bytes(SECRET_BYTES).hex()}"
        complete = check_address(kind, replace(address, secret=address.secret or made))
        destination = self._new(slug, kind, complete)

        def decide(taken: bool) -> Decision[Destination]:
            if taken:
                raise Conflict(
                    f"There is a destination {slug!r} already.",
                    hint="Choose another name, or delete it first.",
                    field="name",
                )
            entry = audit(
                by,
                now_us=destination.created_us,
                action="destination.created",
                subject=destination.destination_id,
                after=destination,
            )
            shown = replace(destination, sealed="")  # the result is remembered under its idempotency key
            return Decision(result=shown, rows=(destination, entry))

        answer = once(
            self._ledger,
            lambda rows: _find(rows, slug) is not None,
            decide,
            by=by,
            now_us=destination.created_us,
            kind=Destination,
            content=("destinations.create", slug, kind.value, replace(address, secret=""), bool(address.secret)),
        )
        secret = made if made and not answer.is_repeat else None
        return Answer(value=NewDestination(destination=answer.value, secret=secret), is_repeat=answer.is_repeat)

    def delete(self, reference: str, *, by: By) -> Answer[Destination]:
        """Nothing more is told there; its address and secret are forgotten.

        Raises:
            NotFound
        """
        now_us = self._clock.now_us()

        def decide(before: Destination) -> Decision[Destination]:
            deleted = replace(before, status=DestinationStatus.DELETED, sealed="")
            entry = audit(
                by,
                now_us=now_us,
                action="destination.deleted",
                subject=before.destination_id,
                before=before,
                after=deleted,
            )
            return Decision(result=deleted, rows=(deleted, entry))

        content = ("destinations.delete", reference)
        return once(
            self._ledger,
            lambda rows: _require(rows, reference),
            decide,
            by=by,
            now_us=now_us,
            kind=Destination,
            content=content,
        )

    def _new(self, slug: str, kind: DestinationKind, address: Address) -> Destination:
        destination_id = DestinationId(self._ids.new("dst"))
        sealed = self._seals.seal(msgspec.json.encode(address), _purpose(destination_id))
        return Destination(
            destination_id=destination_id,
            slug=slug,
            kind=kind,
            hint=hint_of(kind, address),
            sealed=base64.b64encode(sealed).decode(),
            created_us=self._clock.now_us(),
        )


def _purpose(destination_id: DestinationId) -> str:
    return f"destination:{destination_id}"


def _find(rows: Rows, reference: str) -> Destination | None:
    found = rows.find(Destination, status=DestinationStatus.ACTIVE.value)
    return next((each for each in found if reference in (each.slug, each.destination_id)), None)


def _require(rows: Rows, reference: str) -> Destination:
    found = _find(rows, reference)
    if found is None:
        raise NotFound(f"There is no destination {reference!r}.", hint="`lava destinations list` shows them all.")
    return found
