"""A gateway in memory, for tests and trials: it pays, declines, keeps silent, answers late, as it is told.

It keeps what really moved by key, as a real one does: asked again under a key it gives the first answer and moves nothing.
"""

import threading
from collections import deque

from lava_proxy.core.gateway import Answer, Charge, Outcome, Refund

PAYS = Answer(outcome=Outcome.PAID)
DECLINES = Answer(outcome=Outcome.DECLINED, reason="card_declined")
TIMES_OUT = Answer(outcome=Outcome.UNKNOWN, reason="timeout")
LATER = Answer(outcome=Outcome.PENDING)


class MemoryGateway:
    """See ``core.gateway.PaymentGateway``."""

    name = "memory"

    def __init__(self) -> None:
        self.moved: dict[str, int] = {}
        """What moved, by key; what went back is below 0."""
        self.asked: list[str] = []
        """The key of every call."""
        self.script: deque[tuple[Answer, bool]] = deque()
        self._first: dict[str, Answer] = {}
        self._lock = threading.Lock()

    def will(self, *answers: Answer, moves: bool = False) -> None:
        """What the next new keys are answered; then it pays again. ``moves``: money moves although the answer is unknown."""
        self.script.extend((answer, moves) for answer in answers)

    def charge(self, charge: Charge) -> Answer:
        """See ``PaymentGateway``."""
        return self._answer(charge.key, charge.amount_nanos)

    def refund(self, refund: Refund) -> Answer:
        """See ``PaymentGateway``."""
        return self._answer(refund.key, -refund.amount_nanos)

    def _answer(self, key: str, amount_nanos: int) -> Answer:
        with self._lock:
            self.asked.append(key)
            if key in self._first:
                return self._first[key]
            answer, moves = self.script.popleft() if self.script else (PAYS, False)
            if answer.outcome is Outcome.PAID or moves:
                self.moved[key] = amount_nanos
                self._first[key] = Answer(outcome=Outcome.PAID, reference=f"memory:{key}")
            elif answer.outcome is Outcome.DECLINED:
                self._first[key] = answer
            return self._first[key] if answer.outcome is Outcome.PAID else answer
