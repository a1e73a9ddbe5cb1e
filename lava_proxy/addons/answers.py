"""Answers of our own, in place of a provider's. What the line refuses it words itself; these are the edge's few."""

import json

from mitmproxy.http import Headers, Response

from lava_proxy.services.exchange import Refused


def refused_answer(refused: Refused) -> Response:
    """What the line refuses, as it words it."""
    fields = [(name.encode(), value.encode()) for name, value in refused.headers]
    return _make(refused.status, refused.body, Headers(fields))


def fault(status: int, *, code: str, message: str, closes: bool = False) -> Response:
    """A fault in a shape that the SDKs of OpenAI and Anthropic both read; ``closes``: the client's connection ends with it."""
    kind = "invalid_request_error" if status < 500 else "api_error"
    error = {"type": kind, "code": code, "message": message, "param": None}
    answer = json_answer(status, {"type": "error", "error": error})
    answer.headers["x-lava-error"] = code
    if closes:
        answer.headers["connection"] = "close"
    return answer


def json_answer(status: int, document: object) -> Response:
    body = json.dumps(document, separators=(",", ":")).encode()
    return _make(status, body, Headers(content_type="application/json"))


def plain_answer(status: int, body: bytes, content_type: str) -> Response:
    return _make(status, body, Headers(content_type=content_type))


def _make(status: int, body: bytes, headers: Headers) -> Response:
    answer = Response.make(status, body)
    headers["content-length"] = str(len(body))
    answer.headers = headers
    return answer
