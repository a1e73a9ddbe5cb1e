"""Keys: made, listed, rotated, revoked. A key's text is given once, to whoever made it, and is nowhere afterwards."""

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.core.entities import CustomerStatus, HomeFact, Key, KeyScope, MeterStatus, Mode
from lava_proxy.core.errors import InvalidInput, NotFound, Refused
from lava_proxy.core.ids import CustomerId, KeyId, MeterId
from lava_proxy.core.keys import SECRET_BYTES, is_usable, new_key, parse_key
from lava_proxy.core.ports import Clock, Decision, IdSource, Ledger, Rows
from lava_proxy.services.audit import audit
from lava_proxy.services.customers import require_customer
from lava_proxy.services.idempotency import Answer, By, once
from lava_proxy.services.meters import require_meter

MODE_FACT = "mode"


class KeyTerms(Struct, frozen=True, kw_only=True):
    """What is said about a new key. With a customer it may only call for them; without, it is a merchant's."""

    name: str = ""
    customer: str | None = None
    meters: tuple[str, ...] = ()
    """The meters that a customer's key may use, the first as its default; empty: no choice of its own."""
    expires_us: int | None = None


class NewKey(Struct, frozen=True, kw_only=True):
    key: Key
    text: str | None
    """The key itself; ``None`` where it was made earlier and cannot be told again."""


def mode_of(rows: Rows) -> Mode:
    """Whether this home is for testing or for real money."""
    fact = rows.get(HomeFact, MODE_FACT)
    return Mode(fact.value) if fact else Mode.LIVE


def require_key(rows: Rows, reference: str) -> Key:
    """The key of this ``key_…`` id, or of this text.

    Raises:
        NotFound: there is none.
    """
    key_id = reference_of(reference)
    key = rows.get(Key, key_id)
    if key is None:
        raise NotFound(f"There is no key {key_id!r}.", hint="`lava keys list` shows them all.")
    return key


class Keys:
    def __init__(self, *, ledger: Ledger, clock: Clock, ids: IdSource, random_bytes: Callable[[int], bytes]) -> None:
        self._ledger = ledger
        self._clock = clock
        self._ids = ids
        self._random_bytes = random_bytes

    def get(self, reference: str) -> Key:
        """The key of this ``key_…`` id, or of this text.

        Raises:
            NotFound
        """
        return self._ledger.read(lambda rows: require_key(rows, reference))

    def all(
        self, *, customer: str | None = None, include_unusable: bool = False, include_runs: bool = False
    ) -> tuple[Key, ...]:
        """By age. Revoked and expired keys, and those of runs, only where asked for.

        Raises:
            CustomerNotFound
        """
        now_us = self._clock.now_us()
        customer_id = self._ledger.read(lambda rows: require_customer(rows, customer).customer_id) if customer else None
        return tuple(
            key
            for key in self._ledger.books().rows(Key)
            if (customer_id is None or key.customer_id == customer_id)
            and (include_unusable or is_usable(key, now_us))
            and (include_runs or key.scope is not KeyScope.RUN)
        )

    def create(self, terms: KeyTerms, *, by: By) -> Answer[NewKey]:
        """A new key, and its text where this is not a repetition.

        Raises:
            CustomerNotFound, MeterNotFound, InvalidInput
            Refused: the customer or a meter is archived.
        """
        if terms.meters and terms.customer is None:
            raise InvalidInput("meters: only a customer's key has meters; a merchant key may use all", field="meters")
        blank, text = self._mint(KeyScope.CUSTOMER if terms.customer else KeyScope.MERCHANT)

        def load(rows: Rows) -> Key:
            return replace(
                blank,
                name=terms.name,
                customer_id=active_customer(rows, terms.customer) if terms.customer else None,
                meter_ids=tuple(active_meter(rows, meter) for meter in terms.meters),
                expires_us=terms.expires_us,
            )

        def decide(key: Key) -> Decision[str]:
            entry = audit(by, now_us=blank.created_us, action="key.created", subject=key.key_id, after=key)
            return Decision(result=key.key_id, rows=(key, entry))

        answer = once(
            self._ledger, load, decide, by=by, now_us=blank.created_us, kind=str, content=("keys.create", terms)
        )
        return self._told(answer, text)

    def rotate(self, reference: str, *, by: By, grace_us: int = 0) -> Answer[NewKey]:
        """A new key with the terms of the old one, which ends now or after ``grace_us``.

        Raises:
            NotFound
            Refused: the old key is not good any more, or belongs to a run.
        """
        blank, text = self._mint(self.get(reference).scope)
        now_us = blank.created_us

        def decide(old: Key) -> Decision[str]:
            if old.scope is KeyScope.RUN or not is_usable(old, now_us):
                why = "belongs to a run" if old.scope is KeyScope.RUN else "was revoked or has expired"
                raise Refused(f"The key {old.key_id} {why}; make a new one.", hint="`lava keys create`")
            key = replace(
                blank, name=old.name, customer_id=old.customer_id, meter_ids=old.meter_ids, expires_us=old.expires_us
            )
            ends_us = min(now_us + grace_us, old.expires_us or now_us + grace_us)
            ended = replace(old, expires_us=ends_us) if grace_us else replace(old, revoked_us=now_us)
            entry = audit(by, now_us=now_us, action="key.rotated", subject=old.key_id, before=old, after=ended)
            return Decision(result=key.key_id, rows=(key, ended, entry))

        content = ("keys.rotate", reference_of(reference), grace_us)
        answer = once(
            self._ledger,
            lambda rows: require_key(rows, reference),
            decide,
            by=by,
            now_us=now_us,
            kind=str,
            content=content,
        )
        return self._told(answer, text)

    def revoke(self, reference: str, *, by: By) -> Answer[Key]:
        """Not good any more from the next call on. Revoking again changes nothing.

        Raises:
            NotFound
        """
        now_us = self._clock.now_us()

        def decide(before: Key) -> Decision[str]:
            if before.revoked_us is not None:
                return Decision(result=before.key_id)
            after = replace(before, revoked_us=now_us)
            entry = audit(by, now_us=now_us, action="key.revoked", subject=after.key_id, before=before, after=after)
            return Decision(result=after.key_id, rows=(after, entry))

        content = ("keys.revoke", reference_of(reference))
        answer = once(
            self._ledger,
            lambda rows: require_key(rows, reference),
            decide,
            by=by,
            now_us=now_us,
            kind=str,
            content=content,
        )
        return Answer(value=self.get(answer.value), is_repeat=answer.is_repeat)

    def _mint(self, scope: KeyScope) -> tuple[Key, str]:
        """A key with nothing on it yet, and its text."""
        return new_key(
            key_id=KeyId(self._ids.new("key")),
            scope=scope,
            mode=self._ledger.read(mode_of),
            random_bytes=self._random_bytes(SECRET_BYTES),
            name="",
            created_us=self._clock.now_us(),
        )

    def _told(self, answer: Answer[str], text: str) -> Answer[NewKey]:
        key = self.get(answer.value)
        return Answer(value=NewKey(key=key, text=None if answer.is_repeat else text), is_repeat=answer.is_repeat)


def reference_of(reference: str) -> str:
    """The id in place of a key's text, so that no text is kept or hashed."""
    parsed = parse_key(reference)
    return parsed.key_id if parsed else reference


def active_customer(rows: Rows, reference: str) -> CustomerId:
    """The id of a customer who may call.

    Raises:
        CustomerNotFound
        Refused: archived or erased.
    """
    customer = require_customer(rows, reference)
    if customer.status is not CustomerStatus.ACTIVE:
        raise Refused(f"The customer {customer.customer_id} is {customer.status.value}.")
    return customer.customer_id


def active_meter(rows: Rows, reference: str) -> MeterId:
    """The id of a meter for new calls.

    Raises:
        MeterNotFound
        Refused: archived.
    """
    meter = require_meter(rows, reference)
    if meter.status is not MeterStatus.ACTIVE:
        raise Refused(f"The meter {meter.slug} is archived.")
    return meter.meter_id
