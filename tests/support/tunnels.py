"""A plain proxy that knows CONNECT only and leads every tunnel to one place: for testing clients without our own proxy."""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from lava_proxy.demo.provider import TlsFiles


@dataclass(slots=True, kw_only=True)
class TunnelProxy:
    """``heads`` are the request heads seen, whole. A host of ``refused.example`` is answered 403."""

    port: int = 0
    target_port: int
    heads: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        self.heads.append(head)
        if "refused.example" in head:
            writer.write(b"HTTP/1.1 403 Forbidden\r\n\r\n")
            writer.close()
            return
        upstream = await asyncio.open_connection("127.0.0.1", self.target_port)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(_pipe(reader, upstream[1]), _pipe(upstream[0], writer))


@contextlib.contextmanager
def running_tunnel_proxy(target_port: int, *, tls: TlsFiles | None = None) -> Iterator[TunnelProxy]:
    """In a thread of its own, until the block ends. With ``tls`` its own port speaks TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if tls is not None else None
    if context is not None and tls is not None:
        context.load_cert_chain(tls.certificate, tls.key)
    proxy = TunnelProxy(target_port=target_port)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    starting = asyncio.start_server(proxy.serve, "127.0.0.1", 0, ssl=context)
    server = asyncio.run_coroutine_threadsafe(starting, loop).result(10)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        asyncio.run_coroutine_threadsafe(_stop(server), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _stop(server: asyncio.Server) -> None:
    server.close()
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while part := await reader.read(65_536):
            writer.write(part)
            await writer.drain()
    writer.close()
