"""Fail-open, where the operator chose it: while the ledger cannot be written, calls pass once they are noted in a file.

A call's line is on the disk (fsync) before it leaves; a second line says how it ended. When the ledger is back, the file
is booked: each call is identified as it would have been, and charged from free credit, what is missing as debt, flagged
``fail_open``. A call whose end was never written is booked at its quote. Booking again changes nothing.

One file per process and round: ``<folder>/<instance id>.jsonl`` is written, and renamed with a number when it is booked.
What cannot be read or booked, by a fault of ours, stays in the folder as ``….unbooked``, for a person to look at.
"""

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.core.budgets import COUNTED, Caller, allocations_of_nothing, load_budgets, load_gate
from lava_proxy.core.entities import (
    Budget,
    Customer,
    Hold,
    Key,
    RequestRecord,
    RequestStatus,
    Transaction,
)
from lava_proxy.core.errors import LedgerUnavailable
from lava_proxy.core.identity import Denial, Identity, IdentityPolicy, check_times, identify_by
from lava_proxy.core.ids import CustomerId, EventId, InstanceId, TransactionId
from lava_proxy.core.periods import cycle_key
from lava_proxy.core.ports import Clock, Decision, IdSource, Ledger, Rows
from lava_proxy.core.settlement import Holding, Measured, Stamp, load_holding, settle, void
from lava_proxy.services.metered import CallPlan, Desk, MeteredCall
from lava_proxy.services.spool_file import append_line, read_page
from lava_proxy.services.spool_lines import EndedLine, SentLine, write_ended, write_sent

log = logging.getLogger(__name__)


class Spool:
    """The file of this process. Lines are written in order by one thread."""

    def __init__(self, folder: Path, instance_id: InstanceId) -> None:
        self._folder, self._instance_id = folder, instance_id
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lava-spool")
        self._open: set[str] = set()

    def sent(self, line: SentLine) -> Future[None]:
        """Done when the line is on the disk; raises OSError in the future where it cannot be."""
        return self._writer.submit(self._begin, line.hold.request_id, write_sent(line))

    def ended(self, request_id: str, measured: Measured) -> Future[None]:
        return self._writer.submit(
            self._end, request_id, write_ended(EndedLine(request_id=request_id, measured=measured))
        )

    def put_aside(self) -> None:
        """Rename the file so that it can be booked, unless a call that stands in it is still on its way."""
        self._writer.submit(self._rename).result()

    @property
    def path(self) -> Path:
        return self._folder / f"{self._instance_id}.jsonl"

    def _begin(self, request_id: str, text: str) -> None:
        append_line(self.path, text)
        self._open.add(request_id)

    def _end(self, request_id: str, text: str) -> None:
        try:
            append_line(self.path, text)
        finally:
            self._open.discard(request_id)  # without its end it is booked at its quote

    def _rename(self) -> None:
        """Under a number that no other round has: what is not booked yet must stay."""
        if self.path.exists() and not self._open:
            numbers = [path.name.split(".")[1] for path in self._folder.glob(f"{self._instance_id}.*")]
            number = 1 + max((int(text) for text in numbers if text.isdecimal()), default=0)
            self.path.rename(self._folder / f"{self._instance_id}.{number}.jsonl")


class SpooledCall(MeteredCall):
    """A call that passed on its spool line alone: it ends in the spool, not in the ledger."""

    def __init__(self, plan: CallPlan, desk: Desk, spool: Spool) -> None:
        super().__init__(plan, desk)
        self._spool = spool

    def _settle(self, measured: Measured, stamp: Stamp, closing: Future[None]) -> None:
        del stamp

        def finished(future: Future[None]) -> None:
            if error := future.exception():
                log.error(
                    "a spooled call's end is not on the disk", exc_info=error, extra={"request_id": self.request_id}
                )
            self._desk.closed(self.request_id)
            closing.set_result(None)

        self._spool.ended(self.request_id, measured).add_done_callback(finished)


class Booked(Struct, frozen=True, kw_only=True):
    calls: int
    files: int


class SpoolBooking:
    """Brings spooled calls into the ledger."""

    def __init__(
        self,
        *,
        folder: Path,
        ledger: Ledger,
        clock: Clock,
        ids: IdSource,
        own: Spool | None,
        is_alive: Callable[[InstanceId], bool],
    ) -> None:
        self._folder, self._ledger, self._clock, self._ids, self._own, self._is_alive = (
            folder,
            ledger,
            clock,
            ids,
            own,
            is_alive,
        )

    def book_all(self) -> Booked:
        """Book every file that nobody writes any more, and remove it.

        Raises:
            LedgerUnavailable: the rest stays for the next time.
        """
        if self._own is not None:
            self._own.put_aside()
        calls = files = 0
        for path in sorted(self._folder.glob("*.jsonl")):
            if not self._is_being_written(path):
                calls += self._book(path)
                files += 1
        if files:
            log.warning("spooled calls booked", extra={"calls": calls})
        return Booked(calls=calls, files=files)

    def _is_being_written(self, path: Path) -> bool:
        instance_id, _, number = path.stem.partition(".")
        own = self._own is not None and path == self._own.path
        return not number and (own or self._is_alive(InstanceId(instance_id)))

    def _book(self, path: Path) -> int:
        """Book a file and remove it; gives how many of its calls are booked."""
        try:
            page = read_page(path)
        except FileNotFoundError:
            return 0  # another process was quicker
        calls = sum(self._is_booked(call, page.ended.get(request_id)) for request_id, call in page.sent.items())
        if page.is_sound and calls == len(page.sent):
            path.unlink(missing_ok=True)
        else:
            with suppress(FileNotFoundError):
                path.rename(path.with_name(f"{path.name}.unbooked"))
        return calls

    def _is_booked(self, call: SentLine, measured: Measured | None) -> bool:
        """False, and logged, where a fault of ours keeps it from being booked: it must not hold up the others."""
        try:
            self._book_call(call, measured or call.at_quote)
        except LedgerUnavailable:
            raise
        except Exception:
            log.exception("a spooled call cannot be booked", extra={"request_id": call.hold.request_id})
            return False
        return True

    def _book_call(self, call: SentLine, measured: Measured) -> None:
        now_us = self._clock.now_us()
        measured = replace(measured, flags=(*measured.flags, "fail_open"))
        transaction_id = TransactionId(self._ids.new("txn"))
        self._ledger.transact(
            lambda rows: _identified(rows, call),
            lambda owed: book_past(owed, transaction_id, now_us, note="fail-open", actor="spool"),
        ).result()
        stamp = Stamp(
            now_us=now_us,
            transaction_id=TransactionId(self._ids.new("txn")),
            event_id=EventId(self._ids.new("evt")),
            actor="spool",
        )

        def load(rows: Rows) -> Holding:
            holding = load_holding(rows, call.hold.hold_id)
            assert holding is not None, call.hold.hold_id
            return holding

        def decide(holding: Holding) -> Decision[RequestRecord | None]:
            if measured.status is RequestStatus.ERROR:
                return void(holding, stamp, measured)
            return settle(holding, measured, stamp)

        self._ledger.transact(load, decide).result()


class Owed(Struct, frozen=True, kw_only=True):
    """A call that is to be booked: its hold, and its budgets that have counted nothing yet."""

    hold: Hold
    new_budgets: tuple[Budget, ...] = ()


def _identified(rows: Rows, call: SentLine) -> Owed | None:
    """The hold with its payer; ``None`` where it is in the ledger already. A bad key pays for nobody: it was our call."""
    if rows.get(Hold, call.hold.hold_id) is not None:
        return None
    key = rows.get(Key, call.key_id) if call.key_id else None
    if call.key_id is not None and not _was_good(key, call):
        return Owed(hold=call.hold)
    found = identify_by(rows, call.claims, key, IdentityPolicy(require_key=False))
    if isinstance(found, Denial):
        return Owed(hold=call.hold)
    return paid_by(call.hold, found, rows)


def _was_good(key: Key | None, call: SentLine) -> bool:
    if key is None or key.secret_sha256 != call.key_sha256:
        return False
    return check_times(key, now_us=call.hold.created_us) is None


def paid_by(hold: Hold, identity: Identity, rows: Rows) -> Owed:
    """A call that took place already, with who pays it, and the budgets that count it."""
    customer: Customer | None = identity.customer
    customer_id = customer.customer_id if customer else None
    caller = Caller(
        customer_id=customer_id,
        key_id=identity.key.key_id if identity.key else None,
        run_id=identity.run.run_id if identity.run else None,
        metadata=hold.request.metadata,
    )
    budgets = load_budgets(rows, caller, load_gate(rows), now_us=hold.created_us)
    paid = replace(
        hold,
        customer_id=customer_id,
        key_id=identity.key.key_id if identity.key else None,
        run_id=identity.run.run_id if identity.run else None,
        meter_id=identity.meter.meter.meter_id,
        meter_version=identity.meter.version.version,
        meter_rule=identity.meter.rule.value,
        cycle=cycle_key(identity.meter.version, rows, customer_id, hold.created_us),
        billed=customer is not None,
        budgets=allocations_of_nothing(budgets, at_us=hold.created_us),
    )
    new = (b for b in budgets if b.measure in COUNTED and rows.get(Budget, b.budget_id) is None)
    return Owed(hold=paid, new_budgets=tuple(new))


def book_past(
    owed: Owed | None, transaction_id: TransactionId, now_us: int, *, note: str, actor: str
) -> Decision[None]:
    """Take up a call that took place already, with a hold of nothing; ``None``: it is in the ledger."""
    if owed is None:
        return Decision(result=None)
    hold = owed.hold
    customer_id: CustomerId | None = hold.customer_id
    transaction = Transaction(
        transaction_id=transaction_id,
        kind="hold",
        key=f"hold:{hold.request_id}",
        at_us=now_us,
        customer_id=customer_id,
        request_id=hold.request_id,
        note=note,
        actor=actor,
    )
    return Decision(result=None, transactions=(transaction,), rows=(*owed.new_budgets, hold))
