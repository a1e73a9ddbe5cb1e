"""Stopping without losing a call: wait for those in flight up to a deadline, then settle what is left."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from lava_proxy.http1.bridge import Bridge
from lava_proxy.addons.edge import Edge
from lava_proxy.services.exchange import Ending

log = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 0.05
_SETTLE_SECONDS_MAX: Final = 10.0


async def drain(
    edge: Edge,
    *,
    seconds: float,
    hurry: asyncio.Event,
    elsewhere: Callable[[], int] = int,
    cut_elsewhere: Callable[[], None] = lambda: None,
) -> int:
    """Gives how many calls were cut. No new ones may come by now; once ``hurry`` is set, nothing is waited for.

    ``elsewhere``: how many requests are in hand beside mitmproxy's; ``cut_elsewhere`` ends them.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while (_is_busy(edge) or elsewhere()) and loop.time() < deadline and not hurry.is_set():  # noqa: ASYNC110 calls end on other threads
        await asyncio.sleep(_LOOK_SECONDS)
    cut = edge.line.open_calls()
    cut_elsewhere()
    closing = edge.line.close_all(Ending.STOPPED)
    try:
        await asyncio.wait_for(Bridge().waiter(closing), _SETTLE_SECONDS_MAX)
    except TimeoutError:
        log.error("calls are left to the next start, which resolves them", extra={"calls": edge.line.open_calls()})
    return cut


def _is_busy(edge: Edge) -> bool:
    return edge.line.open_calls() > 0 or len(edge.exchanges) > 0
