"""The writer: one thread that takes steps from a queue and commits them in groups.

A group is what has queued up while the one before was being committed. Its steps run one after the other on one unit of
work; a step that raises leaves nothing in it. Then everything is flushed and committed at once, and only after that are
the futures resolved, also those of steps that raised: what they saw of their group is true only then.

* A step whose rows the file refuses (a key that exists, a CHECK) spoils its group: the group is rolled back and its
  steps run again, each in a transaction of its own, so that only the guilty one fails. Hence ``load`` and ``decide``
  may run more than once.
* Steps that can wait (settlements: nobody awaits them) are committed with the next one that cannot, or by themselves
  after ``LINGER_SECONDS``: a call costs one sync instead of two, and no hold stands behind the sync of a settlement.
* When the disk fails, every step of the group gets ``LedgerUnavailable`` and nothing of it is written. The writer goes
  on with the next group; while the fault lasts and nobody asks, it tries by itself.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from msgspec import Struct

from lava_proxy.core.errors import LavaError, LedgerUnavailable
from lava_proxy.core.ports import Backlog, Decision, Rows
from lava_proxy.store.backend import GROUP_STEPS_MAX, Backend
from lava_proxy.store.unit import Unit

REST_SECONDS = 1.0
"""How long nothing must have come before the backend gets time for upkeep."""

GATHER_SECONDS = 0.0003

LINGER_SECONDS = 0.005
"""How long steps that can wait do so for one that cannot."""


class Step(Struct, frozen=True):
    """One call of ``Ledger.transact``."""

    load: Callable[[Rows], Any]
    decide: Callable[[Any], Decision[Any]]
    future: Future[Any]
    queued_ns: int
    can_wait: bool


class _Outcome(Struct, frozen=True):
    result: Any = None
    error: BaseException | None = None


class Writer:
    """Owns the thread, the queue and the unit of work."""

    def __init__(
        self, backend: Backend, *, probe: Callable[[str], None], trial: Callable[[], Decision[None]], name: str
    ) -> None:
        self._backend = backend
        self._unit = Unit(backend)
        self._probe = probe
        self._trial = trial
        self._wake = threading.Condition(threading.Lock())
        self._queue: deque[Step] = deque()
        self._group: list[Step] = []
        self._expected = 0
        self._urgent = 0
        self._is_lingering = False
        self._is_dozing = False
        self._doze_until = 0.0
        self._failure = ""
        self._is_closing = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def submit[S, R](
        self, load: Callable[[Rows], S], decide: Callable[[S], Decision[R]], *, can_wait: bool = False
    ) -> Future[R]:
        """Queue a step."""
        future: Future[R] = Future()
        step = Step(load, decide, future, time.monotonic_ns(), can_wait)
        with self._wake:
            if not self._is_closing:
                self._queue.append(step)
                self._urgent += not can_wait
                if not (can_wait and (self._is_lingering or self._is_dozing)):
                    self._wake.notify()
                return future
        future.set_exception(LedgerUnavailable("The ledger is closed.", hint="Open it again.", cause="closed"))
        return future

    def backlog(self) -> Backlog:
        """See ``core.ports.Ledger.backlog``."""
        with self._wake:
            waiting = [*self._group, *self._queue]
        oldest_ns = min((step.queued_ns for step in waiting), default=None)
        oldest_us = 0 if oldest_ns is None else max(time.monotonic_ns() - oldest_ns, 0) // 1000
        return Backlog(waiting=len(waiting), oldest_us=oldest_us, failure=self._failure)

    def close(self, timeout_seconds: float) -> bool:
        """Take no more steps and finish those that wait; when time runs out, the rest get ``LedgerUnavailable``.

        True where the thread has ended.
        """
        with self._wake:
            self._is_closing = True
            self._wake.notify()
        self._thread.join(timeout_seconds)
        if self._thread.is_alive():
            with self._wake:
                late = list(self._queue)
                self._queue.clear()
                self._urgent = 0
            error = LedgerUnavailable("The ledger was closed before this could be written.", cause="closed")
            for step in late:
                if step.future.set_running_or_notify_cancel():
                    step.future.set_exception(error)
            self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (group := self._next_group()) is not None:
            if group:
                self._run(group)
            elif self._failure:
                self._run([Step(lambda _: None, lambda _: self._trial(), Future(), time.monotonic_ns(), False)])
            else:
                self._backend.rest()
        self._backend.close()

    def _next_group(self) -> list[Step] | None:
        """What waits, at most one group of it; nothing after a while of rest; ``None`` at the end."""
        with self._wake:
            while not self._queue and time.monotonic() < self._doze_until and not self._is_closing:
                self._doze()
            if not self._queue:
                if self._is_closing:
                    return None
                self._wake.wait(REST_SECONDS)
            if self._queue and not self._urgent:
                self._linger()
            if 0 < len(self._queue) < self._expected // 2:
                self._gather()
            count = min(len(self._queue), GROUP_STEPS_MAX)
            self._expected = count
            self._group = [self._queue.popleft() for _ in range(count)]
            self._urgent -= sum(not step.can_wait for step in self._group)
            return self._group

    def _doze(self) -> None:
        """Wait for steps, but look by itself for those that can wait: to be woken for a settlement costs the event loop
        more than a glance at the queue, and the next hold wakes this thread anyhow."""
        self._is_dozing = True
        self._wake.wait(LINGER_SECONDS)
        self._is_dozing = False

    def _linger(self) -> None:
        """Only steps that can wait have come: give one that cannot the time to take them along."""
        give_up_ns = self._queue[0].queued_ns + int(LINGER_SECONDS * 1e9)
        self._is_lingering = True
        while not self._urgent and not self._is_closing and len(self._queue) < GROUP_STEPS_MAX:
            left_ns = give_up_ns - time.monotonic_ns()
            if left_ns <= 0:
                break
            self._wake.wait(left_ns / 1e9)
        self._is_lingering = False

    def _gather(self) -> None:
        """After a large group, give those whose steps it resolved a moment to ask again: a sync costs more than the wait."""
        give_up_at = time.monotonic() + GATHER_SECONDS
        while len(self._queue) < self._expected // 2 and self._wake.wait(give_up_at - time.monotonic()):
            pass

    def _run(self, group: list[Step]) -> None:
        steps = [step for step in group if step.future.set_running_or_notify_cancel()]
        if not steps:
            return
        try:
            outcomes = self._commit(steps)
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to the futures, and the writer must go on
            outcomes = self._spoiled(steps, error)
        with self._wake:
            self._group = []
            self._doze_until = time.monotonic() + REST_SECONDS
        for step, outcome in zip(steps, outcomes, strict=True):
            if outcome.error is None:
                step.future.set_result(outcome.result)
            else:
                step.future.set_exception(outcome.error)

    def _spoiled(self, steps: list[Step], error: Exception) -> list[_Outcome]:
        """The outcomes of a group that could not be committed as one."""
        if isinstance(error, LedgerUnavailable):
            self._failure = error.message
            return [_Outcome(error=_again(error)) for _ in steps]
        if len(steps) == 1:
            return [_Outcome(error=error)]
        return [self._alone(step) for step in steps]

    def _alone(self, step: Step) -> _Outcome:
        try:
            return self._commit([step])[0]
        except Exception as error:  # noqa: BLE001 - see _run
            return self._spoiled([step], error)[0]

    def _commit(self, steps: list[Step]) -> list[_Outcome]:
        """Run the steps in one transaction. Raises whatever kept it from being committed; then nothing is written."""
        unit = self._unit
        try:
            unit.begin()
            self._probe("after_begin")
            outcomes = [self._decide(step) for step in steps]
            if unit.is_clean():
                self._backend.rollback()
                return outcomes
            self._probe("before_flush")
            unit.flush()
            self._probe("before_commit")
            self._backend.commit()
        except BaseException:
            self._backend.rollback()
            unit.abandon()
            raise
        unit.committed()
        self._failure = ""
        self._probe("after_commit")
        return outcomes

    def _decide(self, step: Step) -> _Outcome:
        try:
            decision = step.decide(step.load(self._unit))
            self._unit.apply(decision)
        except LedgerUnavailable:
            raise  # the disk failed under the step's feet: the whole group is concerned
        except Exception as error:  # noqa: BLE001 - it belongs to the step's future
            return _Outcome(error=error)
        return _Outcome(result=decision.result)


def _again(error: LavaError) -> LavaError:
    """The same error for another future, each with a traceback of its own."""
    return LedgerUnavailable(error.message, hint=error.hint, **error.details)
