"""mitmproxy's hooks, dispatched without looking every handler up again for every hook.

Stock dispatch walks all addons with ``getattr`` for each hook, and once more for the ``update`` hook: half of the time
of a call. Here the handlers of a hook are looked up once, until the list of addons changes. A handler that is a plain
function runs inline; one that returns an awaitable is awaited, and the handlers after it wait, as ever.

As in stock mitmproxy, an exception in a handler is logged and the flow goes on: whoever must not let a call through
guards itself (see `admission`).
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import fields
from typing import Any, cast

from mitmproxy import exceptions, flow, hooks
from mitmproxy.addonmanager import AddonManager, traverse

log = logging.getLogger(__name__)

Handler = Callable[[Any], Awaitable[None] | None]
"""A hook's handler; what it takes depends on the hook, and mitmproxy does not type it."""


class Dispatch(AddonManager):
    """An ``AddonManager`` with a table of handlers."""

    def __init__(self, master: object) -> None:
        self._handlers: dict[str, tuple[Handler, ...]] = {}
        self._fields: dict[str, str] = {}
        super().__init__(master)  # type: ignore[no-untyped-call]

    def register(self, addon: object) -> object:
        self._handlers.clear()
        return super().register(addon)  # type: ignore[no-untyped-call]

    def remove(self, addon: object) -> None:
        super().remove(addon)  # type: ignore[no-untyped-call]
        self._handlers.clear()

    def clear(self) -> None:
        super().clear()  # type: ignore[no-untyped-call]
        self._handlers.clear()

    def handlers(self, name: str) -> tuple[Handler, ...]:
        """All handlers of a hook, in the order of the addons."""
        found = self._handlers.get(name)
        if found is None:
            found = self._handlers[name] = self._look_up(name)
        return found

    def start_hook(self, hook: hooks.Hook) -> Awaitable[None] | None:
        """``start`` for a hook that has one field, as those of the proxy's layers do. ``Hook.args`` looks for it every time."""
        field = self._fields.get(hook.name)
        if field is None:
            (only,) = fields(hook)  # type: ignore[arg-type]  # every hook is a dataclass
            field = self._fields[hook.name] = only.name
        return self.start(hook.name, getattr(hook, field))

    def start(self, name: str, argument: object) -> Awaitable[None] | None:
        """Run a hook's handlers; gives what is still to be awaited, or ``None`` where all is done."""
        return self._start(name, self.handlers(name), argument)

    async def handle_lifecycle(self, event: hooks.Hook) -> None:
        (argument,) = event.args()
        await self.run(event.name, argument)
        if isinstance(argument, flow.Flow):
            await self.run("update", [argument])

    async def run(self, name: str, argument: object) -> None:
        waiting = self.start(name, argument)
        if waiting is not None:
            await waiting

    def _start(self, name: str, handlers: tuple[Handler, ...], argument: object) -> Awaitable[None] | None:
        for index, handler in enumerate(handlers):
            try:
                waiting = handler(argument)
            except exceptions.AddonHalt:
                return None
            except Exception:
                log.exception("a handler of the hook %s failed", name)
            else:
                if waiting is not None:
                    return self._finish(name, waiting, handlers[index + 1 :], argument)
        return None

    async def _finish(self, name: str, waiting: Awaitable[None], rest: tuple[Handler, ...], argument: object) -> None:
        """Await one handler, then run those after it."""
        try:
            await waiting
        except exceptions.AddonHalt:
            return
        except Exception:
            log.exception("a handler of the hook %s failed", name)
        more = self._start(name, rest, argument)
        if more is not None:
            await more

    def _look_up(self, name: str) -> tuple[Handler, ...]:
        found = (getattr(addon, name, None) for addon in traverse(self.chain))  # type: ignore[no-untyped-call]
        return tuple(cast(Handler, handler) for handler in found if callable(handler))
