"""Flow dumps of mitmproxy (``mitmdump -w``, the web interface's save)."""

from collections.abc import Iterator
from typing import BinaryIO

from mitmproxy import exceptions, flow, http, io

from lava_proxy.core.recorded import Headers, Recorded, Unreadable


def read_flows(stream: BinaryIO) -> Iterator[Recorded | Unreadable]:
    """The HTTP flows of a dump that were answered; a WebSocket's messages are its bodies, one a line."""
    reader = io.FlowReader(stream)
    flows = iter(reader.stream())
    number = 0
    while True:
        number += 1
        try:
            found = next(flows, None)
        except (exceptions.FlowReadException, ValueError, TypeError, KeyError) as error:
            yield Unreadable(line=number, why=str(error) or "is no flow")
            return
        if found is None:
            return
        if isinstance(found, http.HTTPFlow) and found.response is not None:
            yield _read(number, found)
        elif not isinstance(found, http.HTTPFlow):
            yield _other(number, found)


def _other(number: int, found: flow.Flow) -> Unreadable:
    return Unreadable(line=number, why=f"is a {found.type} flow, not HTTP", recording_id=found.id)


def _read(number: int, found: http.HTTPFlow) -> Recorded:
    request, response = found.request, found.response
    assert response is not None
    sent, received = request.get_content(strict=False) or b"", response.get_content(strict=False) or b""
    if found.websocket is not None:
        messages = found.websocket.messages
        sent = b"\n".join(message.content for message in messages if message.from_client)
        received = b"\n".join(message.content for message in messages if not message.from_client)
    return Recorded(
        recording_id=found.id,
        line=number,
        method=request.method.upper(),
        url=request.url,
        request_headers=_headers(request.headers),
        request_body=sent,
        status=response.status_code,
        response_headers=_headers(response.headers),
        response_body=received,
        at_us=round(request.timestamp_start * 1_000_000),
    )


def _headers(given: http.Headers) -> Headers:
    return tuple((name.lower(), value) for name, value in given.items(multi=True))  # type: ignore[no-untyped-call]
