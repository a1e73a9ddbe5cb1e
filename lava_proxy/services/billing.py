"""What all services of billing share: an account is loaded, a draft is drawn up and written; or only looked at.

A preview runs the very same rule on committed rows and writes nothing. Its ``quote`` names the instant and what would
happen; a change that is given one happens as of that instant, and exactly so, or not at all.
"""

import hashlib
import json
import re
from collections.abc import Callable

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.core.billing import Payment, PaymentStatus, Purpose, Subscription
from lava_proxy.core.cycles import boundary
from lava_proxy.core.drafts import Account, BillingStamp, Draft, load_account
from lava_proxy.core.entities import AuditEntry, Entity
from lava_proxy.core.errors import Conflict, InvalidInput
from lava_proxy.core.ids import CustomerId
from lava_proxy.core.plans import price_of
from lava_proxy.core.ports import Clock, Decision, IdSource, Ledger, Rows
from lava_proxy.services.customers import require_customer
from lava_proxy.services.idempotency import Answer, By, Content, once

QUOTE_GOOD_US = 3600 * 1_000_000
_QUOTE = re.compile(r"(\d{1,20})-([0-9a-f]{12})", re.ASCII)

type Rule = Callable[[Rows, Draft], object]
"""Changes the draft; it may look up further rows, under the same lock."""


class Effects(Struct, frozen=True, kw_only=True):
    """What a change comes to, in nanos."""

    as_of_us: int
    due_now: tuple[Payment, ...]
    """Payments that it makes; refunds among them go out."""
    credit_gained_nanos: int
    """Given at once."""
    credit_to_come_nanos: int
    """Given when the payments are in."""
    credit_lost_nanos: int
    subscription: Subscription | None
    next_renewal_us: int | None
    next_amount_nanos: int | None
    quote: str

    @property
    def due_nanos(self) -> int:
        """To be paid by the customer; below 0 they get it back."""
        return sum(p.amount_nanos * (-1 if p.purpose is Purpose.REFUND else 1) for p in self.due_now)


class Change(Struct, frozen=True, kw_only=True):
    """One change of a customer's billing as it was asked for."""

    customer: str
    action: str
    content: Content
    """Its arguments, for idempotency and the audit."""
    quote: str | None = None
    """A preview's, to get exactly that."""


class BillingDesk:
    """The ways to change an account, for services."""

    def __init__(self, *, ledger: Ledger, clock: Clock, ids: IdSource, gateway_name: str) -> None:
        self.ledger = ledger
        self.clock = clock
        self.ids = ids
        self.gateway_name = gateway_name

    def stamp(self, actor: str, *, now_us: int | None = None, note: str = "") -> BillingStamp:
        return BillingStamp(
            now_us=self.clock.now_us() if now_us is None else now_us,
            ids=self.ids,
            actor=actor,
            gateway=self.gateway_name,
            note=note,
        )

    def preview(self, change: Change, rule: Rule, *, by: By) -> Effects:
        """What the change would do now.

        Raises: what ``make`` raises.
        """
        stamp = self.stamp(by.actor)

        def load(rows: Rows) -> Effects:
            draft = _open(rows, change.customer, stamp)
            rule(rows, draft)
            return effects_of(draft)

        return self.ledger.read(load)

    def make(self, change: Change, rule: Rule, *, by: By) -> Answer[Effects]:
        """Do it. With a quote: as of its instant and exactly as previewed.

        Raises:
            CustomerNotFound, InvalidInput, Refused, Conflict
        """
        now_us = self.clock.now_us()
        as_of_us, digest = _read_quote(change.quote, now_us=now_us) if change.quote else (now_us, None)
        stamp = self.stamp(by.actor, now_us=as_of_us)

        def load(rows: Rows) -> Draft:
            draft = _open(rows, change.customer, stamp)
            rule(rows, draft)
            return draft

        def decide(draft: Draft) -> Decision[Effects]:
            effects = effects_of(draft)
            if digest is not None and not effects.quote.endswith(digest):
                raise Conflict(
                    "Things have changed since the preview; nothing was done.", hint="Ask for a new --preview."
                )
            return draft.decision(effects, _audit(change, draft, by, now_us))

        content = (change.action, change.customer, change.content)
        return once(self.ledger, load, decide, by=by, now_us=now_us, kind=Effects, content=content)

    def step[R](self, customer_id: CustomerId, rule: Callable[[Draft], R], *, actor: str, now_us: int) -> R:
        """One step of the scheduler or of a gateway's answer: drawn up and written under the lock."""
        stamp = self.stamp(actor, now_us=now_us)

        def decide(account: Account) -> Decision[R]:
            draft = Draft(account, stamp)
            result = rule(draft)
            return draft.decision(result)

        return self.ledger.transact(lambda rows: load_account(rows, customer_id), decide).result()


def effects_of(draft: Draft) -> Effects:
    """What a draft would change, in figures."""
    draft.refresh_terms()
    before = draft.account
    old = {grant.grant_id: grant for grant in before.grants}
    known = {payment.payment_id for payment in before.payments}
    made = tuple(p for key, p in draft.payments.items() if key not in known and p.status is not PaymentStatus.VOID)
    gained = sum(grant.amount_nanos for key, grant in draft.grants.items() if key not in old)
    lost = sum(grant.lapsed_nanos - old[key].lapsed_nanos for key, grant in draft.grants.items() if key in old)
    subscription = draft.subscription
    renewal_us, amount = _next(draft)
    figures = (
        [(p.purpose.value, p.amount_nanos, p.credit_nanos) for p in made],
        gained,
        lost,
        subscription and (subscription.plan_id, subscription.status.value, subscription.cycle_end_us),
        subscription and (subscription.pending_plan_id, subscription.is_cancelling),
    )
    digest = hashlib.sha256(json.dumps(figures).encode()).hexdigest()[:12]
    return Effects(
        as_of_us=draft.now_us,
        due_now=made,
        credit_gained_nanos=gained,
        credit_to_come_nanos=sum(p.credit_nanos for p in made),
        credit_lost_nanos=lost,
        subscription=subscription,
        next_renewal_us=renewal_us,
        next_amount_nanos=amount,
        quote=f"{draft.now_us}-{digest}",
    )


def _next(draft: Draft) -> tuple[int | None, int | None]:
    """When it is renewed next, and for how much; of a cycle that begins when it is paid: as if that were now."""
    subscription = draft.subscription
    for payment in draft.payments.values():
        is_new = payment.payment_id not in {p.payment_id for p in draft.account.payments}
        if is_new and payment.purpose is Purpose.CYCLE and subscription is not None and payment.plan_id is not None:
            plan = draft.plans[payment.plan_id]
            on_it = replace(subscription, plan_id=plan.plan_id)
            return boundary(draft.now_us, plan.interval, 1), price_of(plan, on_it)
    if subscription is None or subscription.due_us is None or subscription.is_cancelling:
        return None, None
    plan = draft.plans[subscription.pending_plan_id or subscription.plan_id]
    return subscription.cycle_end_us, price_of(plan, subscription)


def _open(rows: Rows, customer: str, stamp: BillingStamp) -> Draft:
    return Draft(load_account(rows, require_customer(rows, customer).customer_id), stamp)


def _read_quote(text: str, *, now_us: int) -> tuple[int, str]:
    found = _QUOTE.fullmatch(text.strip())
    if found is None:
        raise InvalidInput(f"quote: {text!r} is not the quote of a preview", field="quote")
    as_of_us = int(found[1])
    if not now_us - QUOTE_GOOD_US <= as_of_us <= now_us:
        raise InvalidInput("quote: it is older than an hour; ask for a new --preview", field="quote")
    return as_of_us, found[2]


def _audit(change: Change, draft: Draft, by: By, now_us: int) -> Entity:
    before, after = draft.account.subscription, draft.subscription
    return AuditEntry(
        at_us=now_us,
        actor=by.actor,
        action=change.action,
        subject=after.subscription_id if after else draft.customer.customer_id,
        before=_differing(before, after) if before and after else "",
        after=_differing(after, before) if after else json.dumps(msgspec.to_builtins(change.content)),
    )


def _differing(row: Struct, other: Struct | None) -> str:
    values: dict[str, object] = msgspec.to_builtins(row)
    others: dict[str, object] = msgspec.to_builtins(other) if other is not None else {}
    return json.dumps({name: value for name, value in values.items() if others.get(name) != value or not others})
