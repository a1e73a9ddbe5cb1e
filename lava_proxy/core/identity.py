"""Who is calling, on which meter, and whether they may: pure rules over rows.

A key owns something: a merchant key everything, a customer key one customer and the meters listed on it, a run key what
its run was given. Headers only choose within that. Without a key (possible on a loopback listener alone) the caller is
the merchant's own machine and may choose freely; so may a run key without a customer, where no key is required at all.
"""

from enum import StrEnum

from msgspec import Struct

from lava_proxy.core.billing import Terms
from lava_proxy.core.entities import (
    Customer,
    CustomerStatus,
    HomeFact,
    Key,
    KeyScope,
    Meter,
    MeterStatus,
    MeterVersion,
    Run,
)
from lava_proxy.core.ids import CustomerId, Metadata, MeterId, RunId
from lava_proxy.core.keys import check_secret, parse_key
from lava_proxy.core.meters import AT_COST, AT_COST_ID, AT_COST_VERSION, MeterChoice, MeterRule
from lava_proxy.core.ports import Rows

NO_USER = "-"
"""As the user part of proxy credentials: no customer is named."""
DEFAULT_METER_FACT = "default_meter_id"


class Anonymous(StrEnum):
    """What becomes of a call that names neither key nor customer."""

    TRACK = "track"
    REFUSE = "refuse"


class UnknownCustomer(StrEnum):
    REFUSE = "refuse"
    CREATE = "create"


class IdentityPolicy(Struct, frozen=True, kw_only=True):
    require_key: bool
    anonymous: Anonymous = Anonymous.TRACK
    unknown_customer: UnknownCustomer = UnknownCustomer.REFUSE


class Claims(Struct, frozen=True, kw_only=True):
    """What a caller shows and asks for."""

    key: str | None = None
    user: str | None = None
    """The user part of the proxy credentials: a customer."""
    customer: str | None = None
    """The header's customer."""
    meter: str | None = None
    body_user: str | None = None
    """The body's own end user, where the settings let it name the customer."""
    metadata: Metadata = ()


class Denial(Struct, frozen=True, kw_only=True):
    """A refusal with its reason; amounts in ``details`` are nano-dollars under names that end in ``_nanos``."""

    code: str
    message: str
    details: tuple[tuple[str, str | int], ...] = ()
    customer_id: CustomerId | None = None
    run_id: RunId | None = None


_NOT_OURS = Denial(code="invalid_key", message="The key is not one of this proxy's keys.")
_REVOKED = Denial(code="key_revoked", message="The key was revoked; ask for a new one.")
_KEY_REQUIRED = Denial(code="key_required", message="This proxy needs a key: give one as the proxy password.")


class Identity(Struct, frozen=True, kw_only=True):
    """Who pays, and what was chosen. ``new_reference`` names a customer who must be created first."""

    key: Key | None
    run: Run | None
    customer: Customer | None
    new_reference: str | None
    meter: MeterChoice


def identify(rows: Rows, claims: Claims, policy: IdentityPolicy, *, now_us: int) -> Identity | Denial:
    """Check the key, find the customer and the meter."""
    key = _find_key(rows, claims, policy, now_us=now_us)
    return key if isinstance(key, Denial) else identify_by(rows, claims, key, policy)


def identify_by(rows: Rows, claims: Claims, key: Key | None, policy: IdentityPolicy) -> Identity | Denial:
    """The same for a key that was already found to be good."""
    run = rows.get(Run, key.run_id) if key and key.run_id else None
    customer = _find_customer(rows, claims, key, policy)
    if isinstance(customer, Denial):
        return customer
    found, new_reference = customer
    if found is None and new_reference is None and key is None and policy.anonymous is Anonymous.REFUSE:
        return Denial(
            code="identity_required", message="This proxy serves known callers only: give a key as the proxy password."
        )
    meter = _choose_meter(rows, claims, key, run, found)
    if isinstance(meter, Denial):
        return meter
    return Identity(key=key, run=run, customer=found, new_reference=new_reference, meter=meter)


def find_key(rows: Rows, text: str, *, now_us: int) -> Key | Denial:
    """The key that ``text`` shows, if it is one of ours and still good."""
    parsed = parse_key(text)
    key = rows.get(Key, parsed.key_id) if parsed else None
    if parsed is None or key is None or not check_secret(key, parsed.secret):
        return _NOT_OURS
    if key.revoked_us is not None:
        return _REVOKED  # whatever the clocks say: it stands in the ledger, and the caller may have waited for that
    return check_times(key, now_us=now_us) or key


def check_times(key: Key, *, now_us: int) -> Denial | None:
    """Why a key was not good at this instant; ``None`` where it was."""
    if key.revoked_us is not None and key.revoked_us <= now_us:
        return _REVOKED
    if key.expires_us is not None and key.expires_us <= now_us:
        return Denial(code="key_expired", message="The key has expired; ask for a new one.")
    return None


def check_shown(claims: Claims, policy: IdentityPolicy) -> Denial | None:
    """All that can be said of a caller's key without the ledger: it is missing, or by its form none of ours."""
    if claims.key:
        return None if parse_key(claims.key) else _NOT_OURS
    return _KEY_REQUIRED if policy.require_key else None


def _find_key(rows: Rows, claims: Claims, policy: IdentityPolicy, *, now_us: int) -> Key | Denial | None:
    if claims.key:
        return find_key(rows, claims.key, now_us=now_us)
    return _KEY_REQUIRED if policy.require_key else None


def _find_customer(
    rows: Rows, claims: Claims, key: Key | None, policy: IdentityPolicy
) -> tuple[Customer | None, str | None] | Denial:
    user = claims.user if claims.user not in (None, "", NO_USER) else None
    if key is not None and key.customer_id is not None:
        return _own_customer(rows, key.customer_id, named=(user, claims.customer))
    reference = claims.customer or user or claims.body_user
    if reference is None:
        return None, None
    if key is not None and key.scope is KeyScope.RUN and policy.require_key:
        return Denial(
            code="customer_not_allowed",
            message="This run was started without a customer and may not name one.",
            run_id=key.run_id,
        )
    customer = find_customer(rows, reference)
    if customer is None:
        if policy.unknown_customer is UnknownCustomer.CREATE and not reference.startswith("con_"):
            return None, reference
        return Denial(code="customer_not_found", message=f"There is no customer {reference!r}.")
    return _if_active(customer)


def find_customer(rows: Rows, reference: str) -> Customer | None:
    """By ``con_…`` or by the merchant's own reference id."""
    if reference.startswith("con_"):
        return rows.get(Customer, reference)
    found = rows.find(Customer, reference_id=reference)
    return found[0] if found else None


def _own_customer(
    rows: Rows, own: CustomerId, *, named: tuple[str | None, ...]
) -> tuple[Customer | None, str | None] | Denial:
    customer = rows.get(Customer, own)
    if customer is None:
        return Denial(code="customer_not_found", message="The key's customer does not exist any more.")
    for name in named:
        if name is not None and name not in (customer.customer_id, customer.reference_id):
            return Denial(
                code="customer_not_allowed", message=f"The key does not own the customer {name!r}.", customer_id=own
            )
    return _if_active(customer)


def _if_active(customer: Customer) -> tuple[Customer | None, str | None] | Denial:
    if customer.status is not CustomerStatus.ACTIVE:
        return Denial(code="customer_archived", message="The customer is archived.", customer_id=customer.customer_id)
    return customer, None


def _choose_meter(
    rows: Rows, claims: Claims, key: Key | None, run: Run | None, customer: Customer | None
) -> MeterChoice | Denial:
    if claims.meter:
        return _named_meter(rows, claims.meter, key)
    wanted: list[tuple[MeterRule, MeterId | None]] = [
        (MeterRule.RUN, run.meter_id if run else None),
        (MeterRule.KEY, key.meter_ids[0] if key and key.meter_ids else None),
        (MeterRule.CUSTOMER, customer.meter_id if customer else None),
        (MeterRule.PLAN, _only_linked(rows, customer)),
        (MeterRule.HOME_DEFAULT, _home_default(rows)),
    ]
    for rule, meter_id in wanted:
        meter = rows.get(Meter, meter_id) if meter_id else None
        if meter is not None and meter.status is MeterStatus.ACTIVE:
            return _choice(rows, meter, rule)
    return MeterChoice(meter=AT_COST, version=AT_COST_VERSION, rule=MeterRule.AT_COST)


def _only_linked(rows: Rows, customer: Customer | None) -> MeterId | None:
    """The one meter of the customer's plan, where it has one."""
    terms = rows.get(Terms, customer.customer_id) if customer else None
    return terms.meter_ids[0] if terms and len(terms.meter_ids) == 1 else None


def _home_default(rows: Rows) -> MeterId | None:
    fact = rows.get(HomeFact, DEFAULT_METER_FACT)
    return MeterId(fact.value) if fact else None


def find_meter(rows: Rows, reference: str) -> Meter | None:
    """By ``prd_…`` or by slug; the built-in meter too."""
    if reference in (AT_COST_ID, AT_COST.slug):
        return AT_COST
    if reference.startswith("prd_"):
        return rows.get(Meter, reference)
    found = rows.find(Meter, slug=reference)
    return found[0] if found else None


def _named_meter(rows: Rows, reference: str, key: Key | None) -> MeterChoice | Denial:
    meter = find_meter(rows, reference)
    if meter is None:
        return Denial(code="meter_not_found", message=f"There is no meter {reference!r}.")
    if meter.status is not MeterStatus.ACTIVE:
        return Denial(code="meter_archived", message=f"The meter {reference!r} is archived.")
    may_choose = key is None or key.scope is KeyScope.MERCHANT or meter.meter_id in key.meter_ids
    if not may_choose:
        return Denial(code="meter_not_allowed", message=f"The key may not use the meter {reference!r}.")
    return _choice(rows, meter, MeterRule.NAMED)


def _choice(rows: Rows, meter: Meter, rule: MeterRule) -> MeterChoice:
    if meter.meter_id == AT_COST_ID:
        return MeterChoice(meter=AT_COST, version=AT_COST_VERSION, rule=rule)
    version = rows.get(MeterVersion, meter.meter_id, meter.version)
    assert version is not None, meter
    return MeterChoice(meter=meter, version=version, rule=rule)
