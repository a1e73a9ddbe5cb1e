"""From the futures of other threads to the event loop, without holding either up.

``asyncio.wrap_future`` would cancel the other side's future when its waiter is cancelled; an admission must never be
lost like that. Here a waiter only learns that a future is done, and the loop is woken once for many of them.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

log = logging.getLogger(__name__)


class Bridge:
    """For one event loop; its methods are called on that loop's thread."""

    def __init__(self) -> None:
        self._done: deque[Callable[[], None]] = deque()
        self._is_woken = False

    def when_done[T](self, future: Future[T], tell: Callable[[], None]) -> None:
        """Call ``tell``, which must not raise, on the loop when ``future`` is done."""
        loop = asyncio.get_running_loop()

        def note(_: Future[T]) -> None:
            self._done.append(tell)
            if not self._is_woken:
                self._is_woken = True
                loop.call_soon_threadsafe(self._flush)

        future.add_done_callback(note)

    def waiter[T](self, future: Future[T]) -> asyncio.Future[None]:
        """Is done, without a value, when ``future`` is. Whoever waits may also end it early."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.when_done(future, lambda: release(waiter))
        return waiter

    def _flush(self) -> None:
        self._is_woken = False  # before the queue is read: who comes now wakes the loop again
        while self._done:
            try:
                self._done.popleft()()
            except Exception:
                log.exception("nobody learns that a future is done")


def release(waiter: "asyncio.Future[None]") -> None:
    """End a waiter, if it has not ended."""
    if not waiter.done():
        waiter.set_result(None)
