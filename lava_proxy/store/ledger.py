"""What every ledger has in common: a writer with its backend, and someone who reads."""

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol, Self

from lava_proxy.core.entities import HomeFact
from lava_proxy.core.ports import Backlog, Books, Clock, Decision, Ledger, Outbox, Rows
from lava_proxy.store.backend import Backend
from lava_proxy.store.outbox import EventSource, LedgerOutbox
from lava_proxy.store.writer import Writer


def no_probe(label: str) -> None:
    """What a ledger does at its labelled points unless a test wants to be there."""


class Reader(Protocol):
    """The reading side of a backend, for any thread."""

    def rows(self) -> AbstractContextManager[Rows]:
        """Committed rows, all of one state."""

    def books(self) -> Books: ...

    def events(self) -> EventSource: ...

    def close(self) -> None: ...


class WritingLedger(Ledger):
    """``core.ports.Ledger`` over a backend and a reader. Close it, or use it as a context manager."""

    def __init__(
        self, backend: Backend, reader: Reader, *, clock: Clock, probe: Callable[[str], None], name: str
    ) -> None:
        self._reader = reader
        self._clock = clock
        self._writer = Writer(backend, probe=probe, trial=self._recovered, name=name)

    def transact[S, R](
        self, load: Callable[[Rows], S], decide: Callable[[S], Decision[R]], *, can_wait: bool = False
    ) -> Future[R]:
        """See ``core.ports.Ledger.transact``. ``load`` and ``decide`` may run more than once; they must be pure."""
        return self._writer.submit(load, decide, can_wait=can_wait)

    def read[R](self, load: Callable[[Rows], R]) -> R:
        """See ``core.ports.Ledger.read``.

        Raises:
            LedgerUnavailable: the file cannot be read.
        """
        with self._reader.rows() as rows:
            return load(rows)

    def books(self) -> Books:
        """See ``core.ports.Ledger.books``."""
        return self._reader.books()

    def outbox(self) -> Outbox:
        """See ``core.ports.Ledger.outbox``."""
        return LedgerOutbox(self, self._reader.events())

    def rebuild_rollups(self) -> int:
        """See ``core.ports.Ledger.rebuild_rollups``; nothing to do where sums are made of the requests themselves."""
        return 0

    def backlog(self) -> Backlog:
        """See ``core.ports.Ledger.backlog``."""
        return self._writer.backlog()

    def close(self, *, timeout_seconds: float = 30.0) -> None:
        """See ``core.ports.Ledger.close``. Closing again does nothing."""
        self._writer.close(timeout_seconds)
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _recovered(self) -> Decision[None]:
        """What the writer commits to see whether a fault has gone."""
        return Decision(result=None, rows=(HomeFact(name="ledger_recovered_us", value=str(self._clock.now_us())),))
