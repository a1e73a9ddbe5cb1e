"""Nothing gets through by accident: a fault in a hook that admits answers 503.

mitmproxy logs an exception in a hook and lets the flow go on, which would be a call that nobody pays for.
"""

import logging
from collections.abc import Awaitable, Callable

from mitmproxy.http import HTTPFlow

from lava_proxy.addons.answers import response_of
from lava_proxy.http1.answers import Answer, fault

log = logging.getLogger(__name__)

_REFUSED = "a call was refused because of a fault of ours"

Step = Callable[[HTTPFlow], Awaitable[None] | None]


def reply(flow: HTTPFlow, answer: Answer) -> None:
    """Answer a flow ourselves; no connection to its host is opened for it."""
    response = response_of(answer)
    if flow.request.method == "HEAD":
        response.raw_content = b""  # its length stays in the header
    flow.request.stream = False  # with an answer and a stream, mitmproxy's layer fails and the client hangs
    flow.response = response


def guarded(flow: HTTPFlow, step: Step, undo: Callable[[HTTPFlow], None]) -> Awaitable[None] | None:
    """Run ``step``; if it raises, now or while it is awaited, ``undo`` and answer 503."""
    try:
        waiting = step(flow)
    except Exception:
        log.exception(_REFUSED, extra={"flow": flow.id})
        _refuse(flow, undo)
        return None
    return None if waiting is None else _guard(flow, waiting, undo)


async def _guard(flow: HTTPFlow, waiting: Awaitable[None], undo: Callable[[HTTPFlow], None]) -> None:
    try:
        await waiting
    except Exception:
        log.exception(_REFUSED, extra={"flow": flow.id})
        _refuse(flow, undo)


def _refuse(flow: HTTPFlow, undo: Callable[[HTTPFlow], None]) -> None:
    reply(flow, fault(503, code="internal_error", message="The proxy could not admit this call; it was not sent."))
    undo(flow)
