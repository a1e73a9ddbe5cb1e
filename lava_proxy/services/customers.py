"""Customers: whom we bill. They are named by ``con_…`` or by the merchant's own reference id, everywhere."""

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.core.entities import Customer, CustomerStatus, Event, Hold, Key, MeterStatus
from lava_proxy.core.errors import Conflict, CustomerNotFound, Refused
from lava_proxy.core.identity import find_customer
from lava_proxy.core.ids import CustomerId, EventId, MeterId
from lava_proxy.core.ports import Clock, Decision, IdSource, Ledger, Page, Rows
from lava_proxy.services.audit import audit
from lava_proxy.services.customer_fields import KEEP, CustomerFields, check_fields
from lava_proxy.services.idempotency import Answer, By, once
from lava_proxy.services.meters import require_meter


def require_customer(rows: Rows, reference: str) -> Customer:
    """The customer of this ``con_…`` or reference id.

    Raises:
        CustomerNotFound: there is none.
    """
    customer = find_customer(rows, reference)
    if customer is None:
        raise CustomerNotFound(
            f"There is no customer {reference!r}.", hint="`lava customers list` shows them all.", customer=reference
        )
    return customer


class _Loaded(Struct, frozen=True, kw_only=True):
    """A customer before a change, with everything that may forbid it."""

    customer: Customer
    same_reference: Customer | None
    """Who has the reference id that is asked for."""
    meter_id: MeterId | None
    keys: tuple[Key, ...]
    is_busy: bool


class Customers:
    def __init__(self, *, ledger: Ledger, clock: Clock, ids: IdSource) -> None:
        self._ledger = ledger
        self._clock = clock
        self._ids = ids

    def get(self, reference: str) -> Customer:
        """The customer of this ``con_…`` or reference id.

        Raises:
            CustomerNotFound
        """
        return self._ledger.read(lambda rows: require_customer(rows, reference))

    def page(self, *, cursor: str | None = None, limit: int = 50, include_archived: bool = False) -> Page[Customer]:
        return self._ledger.books().customers(cursor=cursor, limit=limit, include_archived=include_archived)

    def create(self, given: CustomerFields, *, by: By) -> Answer[Customer]:
        """A new customer; or the one who has this reference id already, where nothing that was given differs.

        Raises:
            InvalidInput, MeterNotFound
            Conflict: the reference id belongs to a customer who differs from what was given, or is archived.
        """
        check_fields(given)
        now_us = self._clock.now_us()
        blank = Customer(customer_id=CustomerId(self._ids.new("con")), created_us=now_us)
        event_id = EventId(self._ids.new("evt"))

        def decide(loaded: _Loaded) -> Decision[str]:
            if loaded.same_reference is not None:
                _check_same(loaded.same_reference, given, loaded.meter_id)
                return Decision(result=loaded.same_reference.customer_id)
            customer = _apply(loaded.customer, given, loaded.meter_id)
            entry = audit(by, now_us=now_us, action="customer.created", subject=customer.customer_id, after=customer)
            return Decision(
                result=customer.customer_id, rows=(customer, _event("created", customer, event_id, now_us), entry)
            )

        def load(rows: Rows) -> _Loaded:
            return _load(rows, blank, given)

        # The stored result is the id alone: personal data must not outlive the customer's erasure.
        answer = once(self._ledger, load, decide, by=by, now_us=now_us, kind=str, content=("customers.create", given))
        was_there = answer.is_repeat or answer.value != blank.customer_id
        return Answer(value=self.get(answer.value), is_repeat=was_there)

    def update(self, reference: str, given: CustomerFields, *, by: By) -> Answer[Customer]:
        """Change what is given, keep the rest.

        Raises:
            CustomerNotFound, MeterNotFound, InvalidInput
            Conflict: the new reference id belongs to another customer.
            Refused: the customer was erased.
        """
        check_fields(given)

        def change(loaded: _Loaded) -> Customer:
            _check_not_erased(loaded.customer)
            taken = loaded.same_reference
            if taken is not None and taken.customer_id != loaded.customer.customer_id:
                raise Conflict(
                    f"The reference id {taken.reference_id!r} belongs to {taken.customer_id}.", field="reference_id"
                )
            return _apply(loaded.customer, given, loaded.meter_id)

        return self._change("updated", reference, given, change, by)

    def archive(self, reference: str, *, by: By) -> Answer[Customer]:
        """No more calls for this customer; books and credit stay. Archiving again changes nothing.

        Raises:
            CustomerNotFound
            Refused: calls are in flight, or the customer was erased.
        """

        def change(loaded: _Loaded) -> Customer:
            _check_idle(loaded, "archived")
            _check_not_erased(loaded.customer)
            return replace(loaded.customer, status=CustomerStatus.ARCHIVED)

        return self._change("archived", reference, CustomerFields(), change, by)

    def restore(self, reference: str, *, by: By) -> Answer[Customer]:
        """Undo ``archive``.

        Raises:
            CustomerNotFound
            Refused: the customer was erased.
        """

        def change(loaded: _Loaded) -> Customer:
            _check_not_erased(loaded.customer)
            return replace(loaded.customer, status=CustomerStatus.ACTIVE)

        return self._change("restored", reference, CustomerFields(), change, by)

    def erase(self, reference: str, *, by: By) -> Answer[Customer]:
        """Forget the person: every personal field is emptied, the keys are revoked; ids and postings stay.

        Raises:
            CustomerNotFound
            Refused: calls are in flight.
        """

        def change(loaded: _Loaded) -> Customer:
            _check_idle(loaded, "erased")
            customer = loaded.customer
            return Customer(
                customer_id=customer.customer_id, status=CustomerStatus.ERASED, created_us=customer.created_us
            )

        return self._change("erased", reference, CustomerFields(), change, by)

    def _change(
        self, what: str, reference: str, given: CustomerFields, change: Callable[[_Loaded], Customer], by: By
    ) -> Answer[Customer]:
        now_us = self._clock.now_us()
        event_id = EventId(self._ids.new("evt"))

        def decide(loaded: _Loaded) -> Decision[str]:
            before, after = loaded.customer, change(loaded)
            revoked = _revoked(loaded.keys, now_us) if after.status is CustomerStatus.ERASED else ()
            if after == before and not revoked:
                return Decision(result=after.customer_id)
            entry = audit(
                by, now_us=now_us, action=f"customer.{what}", subject=after.customer_id, before=before, after=after
            )
            return Decision(
                result=after.customer_id, rows=(after, *revoked, _event(what, after, event_id, now_us), entry)
            )

        def load(rows: Rows) -> _Loaded:
            return _load(rows, require_customer(rows, reference), given)

        content = (f"customers.{what}", reference, given)
        answer = once(self._ledger, load, decide, by=by, now_us=now_us, kind=str, content=content)
        return Answer(value=self.get(answer.value), is_repeat=answer.is_repeat)


def _load(rows: Rows, customer: Customer, given: CustomerFields) -> _Loaded:
    reference = given.reference_id
    return _Loaded(
        customer=customer,
        same_reference=find_customer(rows, reference) if isinstance(reference, str) else None,
        meter_id=_meter_id(rows, given),
        keys=rows.find(Key, customer_id=customer.customer_id),
        is_busy=bool(rows.find(Hold, customer_id=customer.customer_id)),
    )


def _meter_id(rows: Rows, given: CustomerFields) -> MeterId | None:
    if not isinstance(given.meter, str):
        return None
    meter = require_meter(rows, given.meter)
    if meter.status is not MeterStatus.ACTIVE:
        raise Refused(f"The meter {meter.slug} is archived.")
    return meter.meter_id


def _apply(customer: Customer, given: CustomerFields, meter_id: MeterId | None) -> Customer:
    return replace(
        customer,
        reference_id=customer.reference_id if given.reference_id is KEEP else given.reference_id,
        name=customer.name if given.name is KEEP else given.name,
        email=customer.email if given.email is KEEP else given.email,
        phone=customer.phone if given.phone is KEEP else given.phone,
        metadata=customer.metadata if given.metadata is KEEP else given.metadata,
        meter_id=customer.meter_id if given.meter is KEEP else meter_id,
    )


def _revoked(keys: tuple[Key, ...], now_us: int) -> tuple[Key, ...]:
    return tuple(
        replace(key, name="", revoked_us=key.revoked_us or now_us) for key in keys if key.revoked_us is None or key.name
    )


def _event(what: str, customer: Customer, event_id: EventId, now_us: int) -> Event:
    """Says whom it is about, and nothing of them: who is told looks them up."""
    key = f"customer.created:{customer.customer_id}" if what == "created" else f"customer.{what}:{event_id}"
    payload = f'{{"customer_id":"{customer.customer_id}"}}'
    return Event(event_id=event_id, kind=f"customer.{what}", key=key, payload=payload, created_us=now_us)


def _check_same(existing: Customer, given: CustomerFields, meter_id: MeterId | None) -> None:
    if existing.status is not CustomerStatus.ACTIVE:
        raise Conflict(
            f"The reference id {existing.reference_id!r} belongs to {existing.customer_id}, who is {existing.status.value}.",
            hint=f"`lava customers archive {existing.customer_id} --undo` brings them back.",
            field="reference_id",
        )
    wanted = _apply(existing, given, meter_id)
    differing = [
        name
        for name in ("name", "email", "phone", "metadata", "meter_id")
        if getattr(wanted, name) != getattr(existing, name)
    ]
    if differing:
        raise Conflict(
            f"The reference id {existing.reference_id!r} belongs to {existing.customer_id}, with another {' and '.join(differing)}.",
            hint=f"`lava customers update {existing.reference_id}` changes them.",
            field="reference_id",
        )


def _check_not_erased(customer: Customer) -> None:
    if customer.status is CustomerStatus.ERASED:
        raise Refused(f"The customer {customer.customer_id} was erased; what was forgotten cannot come back.")


def _check_idle(loaded: _Loaded, done: str) -> None:
    if loaded.is_busy:
        raise Refused(
            f"The customer {loaded.customer.customer_id} has calls in flight and is not {done}.",
            hint=f"`lava holds list --customer-id {loaded.customer.customer_id}` shows them.",
        )
