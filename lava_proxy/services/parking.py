"""Calls that wait: refused for want of credit while a top-up is on its way, tried again when it has come.

One thread looks after all of them, and only while there are any. Nobody's event loop waits: a parked call is a future
that has not come to its value yet.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

from msgspec import Struct

from lava_proxy.core.billing import Payment, PaymentStatus, Purpose, Terms
from lava_proxy.core.identity import Denial
from lava_proxy.core.ids import CustomerId
from lava_proxy.core.ports import Ledger, Rows

log = logging.getLogger(__name__)

_LOOK_EVERY_SECONDS = 0.05
_ON_ITS_WAY = (PaymentStatus.DUE, PaymentStatus.SENT, PaymentStatus.UNKNOWN)


class Parked(Exception):
    """A denial that may yet turn out otherwise."""

    def __init__(self, denial: Denial) -> None:
        super().__init__(denial.code)
        self.denial = denial


class _Place[R](Struct, kw_only=True):
    """One call that waits."""

    denial: Denial
    until: float
    again: Callable[[], Future[R]]
    refuse: Callable[[Denial], R]
    outcome: Future[R]


class Parking[R]:
    """Where such calls wait, each once. ``seconds`` of 0 lets none in."""

    def __init__(self, ledger: Ledger, *, seconds: float, is_closed: Callable[[], bool]) -> None:
        self._ledger = ledger
        self._seconds = seconds
        self._is_closed = is_closed
        self._lock = threading.Lock()
        self._places: list[_Place[R]] = []
        self._is_running = False

    def check(self, denial: Denial, *, may_wait: bool) -> None:
        """Let a call in that a top-up could help.

        Raises:
            Parked: it is to wait; see ``wait``.
        """
        is_short = denial.code == "insufficient_credits" and denial.customer_id is not None
        if self._seconds and is_short and may_wait:
            raise Parked(denial)

    def wait(
        self,
        denial: Denial,
        again: Callable[[], Future[R]],
        refuse: Callable[[Denial], R],
    ) -> Future[R]:
        """Wait until the top-up has come or failed, or the time is over, then ask ``again``."""
        place: _Place[R] = _Place(
            denial=denial,
            until=time.monotonic() + self._seconds,
            again=again,
            refuse=refuse,
            outcome=Future(),
        )
        with self._lock:
            self._places.append(place)
            is_first, self._is_running = not self._is_running, True
        if is_first:
            threading.Thread(target=self._run, name="lava-parking", daemon=True).start()
        return place.outcome

    def _run(self) -> None:
        while True:
            for place in tuple(self._places):
                if not self._stays(place):
                    self._let_go(place)
            with self._lock:
                if not self._places:
                    self._is_running = False
                    return
            time.sleep(_LOOK_EVERY_SECONDS)

    def _stays(self, place: _Place[R]) -> bool:
        """True while a top-up is on its way and there is time left."""
        if self._is_closed() or time.monotonic() >= place.until or place.denial.customer_id is None:
            return False
        customer_id = place.denial.customer_id
        try:
            return self._ledger.read(lambda rows: is_top_up_coming(rows, customer_id))
        except Exception:
            log.exception("a call that waited for a top-up is let go")  # those that wait must not wait for ever
            return False

    def _let_go(self, place: _Place[R]) -> None:
        """Ask again once more, also at the end of the time: the credit may just have come."""
        with self._lock:
            self._places.remove(place)
        try:
            place.again().add_done_callback(lambda done: _pass_on(done, place.outcome))
        except Exception:  # noqa: BLE001 - whatever it was, the call gets its answer
            place.outcome.set_result(place.refuse(place.denial))


def is_top_up_coming(rows: Rows, customer_id: CustomerId) -> bool:
    """The scheduler is about to look whether one is to be bought, or one is being paid."""
    terms = rows.get(Terms, customer_id)
    if terms is None:
        return False
    return (terms.needs_look and terms.top_up_below_nanos is not None) or any(
        payment.purpose is Purpose.TOP_UP and payment.status in _ON_ITS_WAY
        for payment in rows.find(Payment, customer_id=customer_id)
    )


def _pass_on[R](done: Future[R], outcome: Future[R]) -> None:
    error = done.exception()
    if error is None:
        outcome.set_result(done.result())
    else:
        outcome.set_exception(error)
