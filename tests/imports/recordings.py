"""Recordings written by hand, in each format."""

import io
import json
from pathlib import Path

from mitmproxy import http, websocket
from mitmproxy.io import FlowWriter
from mitmproxy.test import tflow
from wsproto.frame_protocol import Opcode

URL = "https://api.openai.com/v1/chat/completions"
REQUEST = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}]}
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "gpt-4o-mini-2024-07-18",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500},
}
COST = "0.0004500000"
"""1,000 × $0.15 a million and 500 × $0.60 a million (OpenAI's price list, read November 2026)."""


def line(number: int = 1, **changes: object) -> bytes:
    """One exchange as a line of JSON."""
    exchange: dict[str, object] = {
        "id": f"x{number}",
        "method": "POST",
        "url": URL,
        "request_headers": {"Content-Type": "application/json"},
        "request_body": json.dumps(REQUEST),
        "request_body_b64": False,
        "status": 200,
        "response_headers": {"Content-Type": "application/json", "Content-Encoding": "gzip"},
        "response_body": json.dumps(ANSWER),
        "response_body_b64": False,
        "someone_elses_field": [1, {}],
    }
    return json.dumps({**exchange, **changes}).encode() + b"\n"


def har(entries: int = 1, *, cut: int | None = None) -> bytes:
    """A HAR file."""
    content_type = {"name": "Content-Type", "value": "application/json"}
    entry = {
        "startedDateTime": "2026-11-01T12:00:00.250Z",
        "time": 5,
        "request": {
            "method": "POST",
            "url": URL,
            "headers": [{"name": "Accept", "value": "*/*"}],
            "postData": {"mimeType": "application/json", "text": json.dumps(REQUEST)},
        },
        "response": {
            "status": 200,
            "headers": [content_type],
            "content": {"size": 9, "mimeType": "application/json", "text": json.dumps(ANSWER)},
        },
    }
    document = {
        "log": {
            "version": "1.2",
            "creator": {"name": "by hand", "version": "1"},
            "pages": [],
            "entries": [{**entry, "time": number} for number in range(entries)],
        }
    }
    return json.dumps(document, indent=1).encode()[:cut]


def flows() -> bytes:
    """A dump of mitmproxy's: a call, a WebSocket session, and a connection that is no HTTP."""
    call = tflow.tflow(req=_request(), resp=_response())
    session = tflow.twebsocketflow()
    session.request.host, session.request.path, session.request.scheme = (
        "api.openai.com",
        "/v1/realtime?model=gpt-realtime",
        "https",
    )
    session.request.port = 443
    assert session.websocket is not None
    turn = {"type": "response.done", "response": {"usage": {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13}}}
    created = {"type": "session.created", "session": {"model": "gpt-realtime"}}
    session.websocket.messages = [
        websocket.WebSocketMessage(Opcode.TEXT, from_client=is_ours, content=json.dumps(message).encode())
        for is_ours, message in ((False, created), (True, {"type": "response.create"}), (False, turn))
    ]
    written = io.BytesIO()
    writer = FlowWriter(written)  # type: ignore[no-untyped-call]
    for flow in (call, session, tflow.ttcpflow()):
        writer.add(flow)
    return written.getvalue()


_JSON: list[tuple[bytes, bytes]] = [(b"Content-Type", b"application/json")]


def _request() -> http.Request:
    return http.Request.make("POST", URL, json.dumps(REQUEST), _JSON)


def _response() -> http.Response:
    response = http.Response.make(200, json.dumps(ANSWER), _JSON)
    response.encode("gzip")
    return response


def written(folder: Path, name: str, content: bytes) -> str:
    """The path of a new file."""
    file = folder / name
    file.write_bytes(content)
    return str(file)
