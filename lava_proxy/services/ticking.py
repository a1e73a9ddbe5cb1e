"""The scheduler: everything that time makes due, in the order in which it became due.

One thing at a time, each in a step of its own that checks under the lock whether it is still due: any number of processes
may tick, and a tick that is cut off is simply done again. After downtime each cycle is renewed as of its own boundary,
and what a payment buys is given before the cycle after it begins.
"""

import logging

from msgspec import Struct

from lava_proxy.core.billing import Payment, Subscription, Terms, TopUp
from lava_proxy.core.drafts import Draft
from lava_proxy.core.errors import LedgerUnavailable
from lava_proxy.core.ids import CustomerId
from lava_proxy.core.renewal import advance
from lava_proxy.core.top_ups import look
from lava_proxy.services.billing import BillingDesk
from lava_proxy.services.payments import Payments

log = logging.getLogger(__name__)

STEPS_MAX = 100_000
"""In one tick; what is left is done by the next."""
_ACTOR = "scheduler"


class Due(Struct, frozen=True, kw_only=True):
    """One thing that is to be done."""

    at_us: int
    kind: str
    """subscription, payment, look."""
    subject: str
    customer_id: CustomerId


class Ticked(Struct, frozen=True, kw_only=True):
    """What a tick did."""

    renewals: int = 0
    """Cycles begun or ended, and graces that ran out."""
    payments: int = 0
    top_ups: int = 0
    failures: int = 0
    """Things that could not be done, are logged, and come again."""


class Ticking:
    def __init__(self, *, desk: BillingDesk, payments: Payments) -> None:
        self._desk = desk
        self._payments = payments

    def due(self, *, now_us: int | None = None) -> tuple[Due, ...]:
        """What is due by then, as the books stand; doing it may make more due."""
        return tuple(self._due(self._desk.clock.now_us() if now_us is None else now_us, limit=1000))

    def tick(self, *, now_us: int | None = None, all_rules: bool = False) -> Ticked:
        """Do what is due by ``now_us``. ``all_rules`` looks at every top-up rule, not only where a call has told so.

        Raises:
            LedgerUnavailable: the rest comes with the next tick.
        """
        until_us = self._desk.clock.now_us() if now_us is None else now_us
        counts = {"subscription": 0, "payment": 0, "look": 0, "failed": 0}
        self._do_all(until_us, counts)
        if all_rules:
            self._look_at_rules(until_us, counts)
            self._do_all(until_us, counts)
        return Ticked(
            renewals=counts["subscription"],
            payments=counts["payment"],
            top_ups=counts["look"],
            failures=counts["failed"],
        )

    def _do_all(self, until_us: int, counts: dict[str, int]) -> None:
        failed: set[tuple[str, str, int]] = set()
        for _ in range(STEPS_MAX):
            due = next((d for d in self._due(until_us, limit=len(failed) + 1) if _name(d) not in failed), None)
            if due is None:
                break
            if not self._do(due, until_us, counts):
                failed.add(_name(due))

    def _due(self, until_us: int, *, limit: int) -> list[Due]:
        """The longest due first; of what became due together, payments go before renewals."""
        books = self._desk.ledger.books()
        found = [
            Due(at_us=p.due_us or 0, kind="payment", subject=p.payment_id, customer_id=p.customer_id)
            for p in books.overdue(Payment, now_us=until_us, limit=limit)
        ]
        found += [
            Due(at_us=s.due_us or 0, kind="subscription", subject=s.subscription_id, customer_id=s.customer_id)
            for s in books.overdue(Subscription, now_us=until_us, limit=limit)
        ]
        marked = self._desk.ledger.read(lambda rows: rows.find(Terms, needs_look=1))
        found += [Due(at_us=until_us, kind="look", subject=t.customer_id, customer_id=t.customer_id) for t in marked]
        return sorted(found, key=lambda due: (due.at_us, due.kind, due.subject))

    def _do(self, due: Due, until_us: int, counts: dict[str, int]) -> bool:
        """``False`` where it was not done, here at least: it is put aside until the next tick."""
        is_done = True
        try:
            if due.kind == "look":
                counts["look"] += self._look(due.customer_id, until_us)
            else:
                is_done = self._ask(due, until_us) if due.kind == "payment" else self._advance(due)
                counts[due.kind] += is_done
        except LedgerUnavailable:
            raise
        except Exception:
            log.exception("something due could not be done", extra={"kind": due.kind, "subject": due.subject})
            counts["failed"] += 1
            return False
        return is_done

    def _advance(self, due: Due) -> bool:
        return self._desk.step(due.customer_id, advance, actor=_ACTOR, now_us=due.at_us)

    def _ask(self, due: Due, until_us: int) -> bool:
        payment = self._payments.get(due.subject)
        return self._payments.ask(payment, as_of_us=due.at_us, now_us=until_us)

    def _look(self, customer_id: CustomerId, now_us: int) -> bool:
        def rule(draft: Draft) -> bool:
            return look(draft) is not None

        return self._desk.step(customer_id, rule, actor=_ACTOR, now_us=now_us)

    def _look_at_rules(self, now_us: int, counts: dict[str, int]) -> None:
        customers = {rule.customer_id for rule in self._desk.ledger.books().rows(TopUp) if rule.is_on}
        for customer_id in sorted(customers):
            counts["look"] += self._look(customer_id, now_us)


def _name(due: Due) -> tuple[str, str, int]:
    return due.kind, due.subject, due.at_us
