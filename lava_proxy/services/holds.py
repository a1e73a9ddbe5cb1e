"""Holds: credit set aside for calls. Here an operator looks at them, and corrects by hand what went wrong."""

from lava_proxy.core.entities import AuditEntry, Hold, HoldState
from lava_proxy.core.errors import InvalidInput, NotFound, Refused
from lava_proxy.core.ids import EventId, HoldId, TransactionId
from lava_proxy.core.ports import Clock, Decision, IdSource, Ledger, Page, Rows
from lava_proxy.core.settlement import Holding, Stamp, load_holding, void
from lava_proxy.services.customers import require_customer
from lava_proxy.services.idempotency import Answer, By, once


class Holds:
    def __init__(self, *, ledger: Ledger, clock: Clock, ids: IdSource) -> None:
        self._ledger = ledger
        self._clock = clock
        self._ids = ids

    def get(self, reference: str) -> Hold:
        """The hold of this ``hld_…``, or of this request.

        Raises:
            NotFound
        """
        return self._ledger.read(lambda rows: _require_hold(rows, reference))

    def page(
        self, *, customer: str | None = None, open_only: bool = True, cursor: str | None = None, limit: int = 50
    ) -> Page[Hold]:
        """
        Raises:
            CustomerNotFound
        """
        customer_id = self._ledger.read(lambda rows: require_customer(rows, customer).customer_id) if customer else None
        return self._ledger.books().holds(open_only=open_only, customer_id=customer_id, cursor=cursor, limit=limit)

    def void(self, reference: str, *, by: By, reason: str = "", force: bool = False) -> Answer[Hold]:
        """Give a hold's credit back; of an orphan, which was charged at its hold, the charge. Again changes nothing.

        ``force``: also while the call is in flight. Then whatever it consumes is never charged.

        Raises:
            NotFound
            InvalidInput: a reason is missing where one is needed.
            Refused: in flight without ``force``, or settled: what was charged for its usage stays.
        """
        stamp = Stamp(
            now_us=self._clock.now_us(),
            transaction_id=TransactionId(self._ids.new("txn")),
            event_id=EventId(self._ids.new("evt")),
            actor=by.actor,
            note=reason,
        )

        def load(rows: Rows) -> Holding:
            holding = load_holding(rows, _require_hold(rows, reference).hold_id)
            assert holding is not None, reference
            return holding

        def decide(holding: Holding) -> Decision[str]:
            _check_voidable(holding.hold, reason=reason, force=force)
            decision = void(holding, stamp)
            hold_id = holding.hold.hold_id
            entry = AuditEntry(at_us=stamp.now_us, actor=by.actor, action="hold.voided", subject=hold_id, after=reason)
            rows = (*decision.rows, entry) if decision.transactions else ()
            return Decision(result=hold_id, transactions=decision.transactions, rows=rows)

        content = ("holds.void", reference, reason, force)
        answer = once(self._ledger, load, decide, by=by, now_us=stamp.now_us, kind=str, content=content)
        return Answer(value=self.get(answer.value), is_repeat=answer.is_repeat)


def _require_hold(rows: Rows, reference: str) -> Hold:
    found = rows.get(Hold, HoldId(reference)) or next(iter(rows.find(Hold, request_id=reference)), None)
    if found is None:
        raise NotFound(f"There is no hold {reference!r}.", hint="`lava holds list` shows the open ones.")
    return found


def _check_voidable(hold: Hold, *, reason: str, force: bool) -> None:
    if hold.state is HoldState.SETTLED:
        raise Refused(
            f"The hold {hold.hold_id} is settled: its call was charged for what it used.",
            hint="Give the credit back with `lava credits grant`.",
        )
    if hold.state is HoldState.IN_FLIGHT and not force:
        raise Refused(
            f"The call of {hold.hold_id} is in flight, and will be settled when it ends.",
            hint="If it never will, use --force with a --reason; what the call consumes is then never charged.",
        )
    if hold.state in (HoldState.IN_FLIGHT, HoldState.ORPHANED) and not reason:
        raise InvalidInput("reason: say why, it stands in the journal", field="reason")
