"""Writes one answer of the stand-in as its plan says: in pieces, slowly, held back, compressed, or broken off."""

import asyncio
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from lava_proxy.demo import http1
from lava_proxy.demo.answer import Answer
from lava_proxy.demo.plan import Plan
from lava_proxy.demo.seen import Counters


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """Writes one answer as its plan says."""

    writer: asyncio.StreamWriter
    counters: Counters
    latch: asyncio.Event

    async def send(self, answer: Answer, plan: Plan, *, accepts_gzip: bool) -> bool:
        """Whether the answer was sent to its end."""
        await asyncio.sleep(plan.head_delay_ms / 1000)
        events = list(_with_error(answer, plan))
        stop = plan.abort_after_events if plan.abort_after_events is not None and plan.status < 400 else len(events)
        wait_at = min(plan.latch_after_events, len(events)) if plan.status < 400 else -1
        if wait_at < 0:
            await self._wait()
        if stop < 0:
            return False
        squeeze = zlib.compressobj(wbits=31) if plan.gzip and accepts_gzip else None
        await self._write(self._head(answer, events, squeeze is not None))
        for number, event in enumerate(events):
            if number == wait_at:
                await self._wait()
            if number == stop:
                await self._write(self._framed(answer, event[: len(event) // 2], squeeze) if plan.tear else b"")
                return False
            if plan.delay_ms:
                await asyncio.sleep(plan.delay_ms / 1000)
            await self._write(self._framed(answer, event, squeeze))
        if wait_at == len(events):
            await self._wait()
        if stop == len(events) and plan.abort_after_events is not None:
            return False
        await self._write(self._end(answer, squeeze))
        return True

    def _head(self, answer: Answer, events: list[bytes], is_squeezed: bool) -> bytes:
        headers = [
            ("content-type", answer.content_type),
            ("date", "Thu, 01 Jan 2026 00:00:00 GMT"),
            ("server", "stand-in"),
            *answer.headers,
        ]
        if answer.is_stream or is_squeezed:
            headers.append(("transfer-encoding", "chunked"))
        else:
            headers.append(("content-length", str(sum(map(len, events)))))
        if is_squeezed:
            headers.append(("content-encoding", "gzip"))
        return http1.head_bytes(answer.status, headers)

    def _framed(self, answer: Answer, event: bytes, squeeze: "zlib._Compress | None") -> bytes:
        if squeeze is not None:
            return http1.chunk_bytes(squeeze.compress(event) + squeeze.flush(zlib.Z_SYNC_FLUSH))
        return http1.chunk_bytes(event) if answer.is_stream else event

    def _end(self, answer: Answer, squeeze: "zlib._Compress | None") -> bytes:
        rest = http1.chunk_bytes(squeeze.flush()) if squeeze is not None else b""
        return rest + (http1.LAST_CHUNK if answer.is_stream or squeeze is not None else b"")

    async def _wait(self) -> None:
        if self.latch.is_set():
            return
        self.counters.change(waiting=1)
        try:
            await self.latch.wait()
        finally:
            self.counters.change(waiting=-1)

    async def _write(self, part: bytes) -> None:
        self.writer.write(part)
        self.counters.change(bytes_out=len(part))
        await self.writer.drain()


def _with_error(answer: Answer, plan: Plan) -> Iterable[bytes]:
    if plan.error_after_events is not None and answer.is_stream:
        return (*answer.events[: plan.error_after_events], answer.error_event)
    return (*answer.events, *answer.ending)
