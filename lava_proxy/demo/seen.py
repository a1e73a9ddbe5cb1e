"""What the stand-in has seen: counters, and the latest requests with their headers."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

KEPT_MAX = 2_000
"""Requests kept with their headers and bodies; the counters go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenRequest:
    """One request as it arrived."""

    method: str
    path: str
    """With the query."""
    headers: tuple[tuple[str, str], ...]
    """Names in lower case, in the order they came."""
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name.lower()), None)


class Counters:
    """Counts of one stand-in. Written by its loop, read from any thread."""

    def __init__(self) -> None:
        self.connections = 0
        """TCP connections accepted, whether or not TLS and a request followed."""
        self.requests = 0
        self.answered = 0
        """Answers whose last byte was written."""
        self.broken = 0
        """Answers that ended early: aborted by plan, or the client had gone."""
        self.waiting = 0
        """Requests that wait at a latch now."""
        self.bytes_in = 0
        self.bytes_out = 0
        self.seen: deque[SeenRequest] = deque(maxlen=KEPT_MAX)
        self._changed = threading.Condition()

    def change(self, **differences: int) -> None:
        """Add to counters by name, and wake up who waits for them."""
        with self._changed:
            for name, difference in differences.items():
                setattr(self, name, getattr(self, name) + difference)
            self._changed.notify_all()

    def saw(self, request: SeenRequest) -> None:
        with self._changed:
            self.requests += 1
            self.bytes_in += len(request.body)
            self.seen.append(request)
            self._changed.notify_all()

    def wait_until(self, claim: Callable[["Counters"], bool], *, timeout_seconds: float = 10.0) -> bool:
        """Block this thread until ``claim`` holds; false where the time ran out. Never call it on the stand-in's loop."""
        deadline = time.monotonic() + timeout_seconds
        with self._changed:
            while not claim(self):
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
            return True

    def figures(self) -> dict[str, int]:
        """All counters by name, for the control endpoint."""
        names = ("connections", "requests", "answered", "broken", "waiting", "bytes_in", "bytes_out")
        return {name: getattr(self, name) for name in names}
