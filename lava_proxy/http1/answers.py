"""Answers of our own, in place of a provider's. What the line refuses it words itself; these are the edges' few."""

import json

from msgspec import Struct

from lava_proxy.http1.fields import RawFields
from lava_proxy.services.exchange import Refused


class Answer(Struct, frozen=True, kw_only=True):
    """A whole answer; ``fields`` name its length."""

    status: int
    fields: RawFields
    body: bytes

    @property
    def closes(self) -> bool:
        """Whether the client's connection ends with it."""
        return (b"connection", b"close") in self.fields


def refused_answer(refused: Refused) -> Answer:
    """What the line refuses, as it words it."""
    return _answer(
        refused.status, refused.body, tuple((name.encode(), value.encode()) for name, value in refused.headers)
    )


def fault(status: int, *, code: str, message: str, closes: bool = False) -> Answer:
    """A fault in a shape that the SDKs of OpenAI and Anthropic both read; ``closes``: the client's connection ends with it."""
    kind = "invalid_request_error" if status < 500 else "api_error"
    error = {"type": kind, "code": code, "message": message, "param": None}
    more: RawFields = ((b"x-lava-error", code.encode()),)
    if closes:
        more = (*more, (b"connection", b"close"))
    return json_answer(status, {"type": "error", "error": error}, more)


def json_answer(status: int, document: object, more: RawFields = ()) -> Answer:
    body = json.dumps(document, separators=(",", ":")).encode()
    return _answer(status, body, ((b"content-type", b"application/json"), *more))


def plain_answer(status: int, body: bytes, content_type: str) -> Answer:
    return _answer(status, body, ((b"content-type", content_type.encode()),))


def _answer(status: int, body: bytes, fields: RawFields) -> Answer:
    kept = tuple(field for field in fields if field[0] != b"content-length")
    return Answer(status=status, fields=(*kept, (b"content-length", str(len(body)).encode())), body=body)
