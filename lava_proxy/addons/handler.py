"""One client connection, as mitmproxy's ``ConnectionHandler``, with the detours taken out of its way.

What stock mitmproxy does for every event, and what happens here instead:

- A hook becomes a task, whose end is a new event. Here handlers that are plain functions run inline, and a hook costs
  a task only where one of them has to wait.
- After CONNECT every byte still climbs through the outer HTTP layers, which only hand it on. Here events go straight to
  the layer inside the tunnel as soon as that is known (``_layer_inside``).
- Before every read all writers are drained under a lock. Here only where one of them has something to drain.
- Head and body go out in one system call each. Here what an event causes goes out together.

What the layers see is the same, in the same order; `tests/addons/test_internals.py` pins what this builds on.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable

from mitmproxy import options
from mitmproxy.connection import Connection
from mitmproxy.proxy import commands, events, layer, server
from mitmproxy.proxy.layers.http import HttpLayer
from mitmproxy.proxy.mode_servers import ProxyConnectionHandler
from mitmproxy.proxy.mode_specs import ProxyMode
from mitmproxy.utils import asyncio_utils

from lava_proxy.addons.dispatch import Dispatch

log = logging.getLogger(__name__)

_LAYERS_BEFORE_A_TUNNEL = 2  # HttpProxy, HttpLayer


class Handler(ProxyConnectionHandler):
    """Serves one client connection from its first byte to its last."""

    def __init__(
        self,
        master: object,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        opts: options.Options,
        mode: ProxyMode,
        dispatch: Dispatch,
    ) -> None:
        super().__init__(master, reader, writer, opts, mode)  # type: ignore[no-untyped-call]
        self._dispatch = dispatch
        self._is_deciding = False
        self._outgoing: list[bytes] = []
        self._outgoing_to: Connection | None = None

    async def handle_hook(self, hook: commands.StartHook) -> None:
        waiting = self._start_hook(hook)
        if waiting is not None:
            with self.timeout_watchdog.disarm():
                await waiting

    async def drain_writers(self) -> None:
        for transport in self.transports.values():
            writer = transport.writer
            if isinstance(writer, asyncio.StreamWriter) and writer.transport.get_write_buffer_size():
                await super().drain_writers()  # type: ignore[no-untyped-call]
                return

    async def server_event(self, event: events.Event) -> None:
        async with self._server_event_lock:
            # No await beyond this point: tasks start eagerly, and must not come between an event and its commands.
            self.timeout_watchdog.register_activity()  # type: ignore[no-untyped-call]
            following = deque((event,))
            while following:
                try:
                    self._handle(following.popleft(), following)
                except Exception:  # as in stock mitmproxy, what follows is handled still
                    log.exception("the connection's layers failed", extra={"client": self.client.peername})
            self._flush()
            if self._is_deciding:
                self._is_deciding = False
                self.layer = _layer_inside(self.layer)

    def _handle(self, event: events.Event, following: deque[events.Event]) -> None:
        """Give the layers an event and do what they command. Hooks that have ended are events to come."""
        for command in self.layer.handle_event(event):
            if isinstance(command, commands.SendData):
                self._send(command)
            elif isinstance(command, commands.StartHook):
                if self._run_hook(command):
                    following.append(events.HookCompleted(command))
            elif isinstance(command, commands.Log):
                self.log(command.message, command.level)
            else:
                self._flush()
                self._obey(command)

    def _send(self, command: commands.SendData) -> None:
        if self._outgoing_to is not command.connection:
            self._flush()
            self._outgoing_to = command.connection
        self._outgoing.append(command.data)

    def _flush(self) -> None:
        """Write what was held back to send it together; nothing stays behind when an event is done."""
        if self._outgoing_to is None:
            return
        transport, outgoing = self.transports.get(self._outgoing_to), self._outgoing
        self._outgoing_to, self._outgoing = None, []
        if transport is None:
            return  # closed already
        assert transport.writer is not None
        if not transport.writer.is_closing():
            transport.writer.write(b"".join(outgoing))

    def _run_hook(self, hook: commands.StartHook) -> bool:
        """Whether the layers are to be told at once that the hook has ended."""
        waiting = self._start_hook(hook)
        if waiting is None:
            return bool(hook.blocking)
        asyncio_utils.create_task(
            self._finish_hook(hook, waiting), name=f"hook {hook.name}", keep_ref=True, client=self.client.peername
        )
        return False

    def _start_hook(self, hook: commands.StartHook) -> Awaitable[None] | None:
        if isinstance(hook, layer.NextLayerHook):
            self._is_deciding = True
        return self._dispatch.start_hook(hook)

    async def _finish_hook(self, hook: commands.StartHook, waiting: Awaitable[None]) -> None:
        with self.timeout_watchdog.disarm():
            await waiting
        if hook.blocking:
            await self.server_event(events.HookCompleted(hook))

    def _obey(self, command: commands.Command) -> None:
        """Opening and closing, and what is rare; as in stock mitmproxy."""
        if isinstance(command, commands.OpenConnection):
            self._open(command)
        elif isinstance(command, commands.RequestWakeup):
            name = f"wake-up in {command.delay:.1f} s"
            self.wakeup_timer.add(asyncio_utils.create_task(self.wakeup(command), name=name, keep_ref=False))
        elif isinstance(command, commands.CloseConnection):
            if command.connection in self.transports:
                half_close = isinstance(command, commands.CloseTcpConnection) and command.half_close
                self.close_connection(command.connection, half_close)
        else:
            raise TypeError(f"a command of the layers that is not known here: {command}")

    def _open(self, command: commands.OpenConnection) -> None:
        assert command.connection not in self.transports
        task = asyncio_utils.create_task(
            self.open_connection(command),
            name=f"server connection {command.connection.address}",
            keep_ref=False,
            client=self.client.peername,
        )
        self.transports[command.connection] = server.ConnectionIO(handler=task)


def _layer_inside(top: layer.Layer) -> layer.Layer:
    """The layer inside an established tunnel, where the outer ones would only hand its events on; else ``top`` itself.

    A tunnel inside TLS to the port keeps its outer layers: they decrypt.
    """
    layers = top.context.layers
    if len(layers) != _LAYERS_BEFORE_A_TUNNEL or not isinstance(layers[1], HttpLayer):
        return top
    for stream in layers[1].streams.values():
        inside = stream.child_layer
        if isinstance(inside, layer.NextLayer) and inside.layer is not None:
            return inside.layer
    return top
