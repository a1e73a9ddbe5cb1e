"""The recorded traffic: which rows our wire formats must read, and how a reading is held against what is expected.

The rule is that of the recordings' README: rows with an expected usage that are neither unsure nor truncated must match
exactly; unsure ones may match the alternative as well; where nothing is expected, no tokens may be invented.
"""

import base64
import gzip
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from lava_proxy.core.usage import Reading
from lava_proxy.dialects import DIALECTS
from lava_proxy.providers import Action, Endpoint
from lava_proxy.providers.shapes import shape_of

TOKEN_ENDPOINTS = frozenset(
    {
        "chat.completions",
        "completions",
        "responses",
        "embeddings",
        "messages",
        "generateContent",
        "streamGenerateContent",
    }
)
"""Where the body alone says everything."""

LISTED_PROVIDERS = frozenset(
    {"openai", "azure", "anthropic", "google", "google-vertex", "mistral", "groq", "deepseek", "xai", "together"}
    | {"fireworks", "openrouter", "perplexity", "cerebras"}
)

COUNTS = ("input_tokens", "output_tokens", "cached_input_tokens", "cache_write_tokens", "reasoning_tokens")

ARGUED = {
    "eb386671c8b2564f": (
        "Bedrock's converse answered with usage {outputTokens: 50} and no inputTokens; the row expects nothing. We read"
        " the 50 that are there, and the input is not told."
    ),
    "1577589b1331b216": (
        "Azure answers a responses call in chat's shape, with prompt_tokens 19 and completion_tokens 1969; the row expects"
        " no tokens, though the same exchange streamed (30b4d54b2ca67f92) is expected to be read. We read what is there."
    ),
}
"""Rows whose expectation we do not meet, with the reason."""


class Gate(StrEnum):
    """How strictly a row is held against its expectation."""

    EXACT = "exact"
    UNSURE = "unsure"
    NOTHING = "nothing expected"
    TRUNCATED = "truncated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One recorded exchange."""

    id: str
    provider: str
    endpoint: str
    dialect: str
    op: str
    headers: dict[str, str]
    is_streamed: bool
    request: bytes
    path_model: str | None
    body: bytes
    expected: dict[str, object] | None
    gate: Gate
    is_elided: bool

    @property
    def is_by_body(self) -> bool:
        return self.endpoint in TOKEN_ENDPOINTS

    def reading(self, chunks: Iterable[bytes] | None = None) -> Reading:
        """As the proxy would read it: with its request and its headers."""
        facts = DIALECTS[self.dialect].read_request(self.op, self.request, path_model=self.path_model)
        reader = DIALECTS[self.dialect].reader(
            self.op,
            content_type=self.headers.get("content-type", ""),
            content_encoding="",
            facts=facts,
            take_out_usage=False,
            headers=self.headers,
        )
        for chunk in chunks or [self.body]:
            assert reader.feed(chunk) is chunk
        reader.finish()
        return reader.reading()


def rows(shared: Path, name: str = "recorded.jsonl.gz") -> Iterator[Row]:
    """The rows whose bodies say everything, of all providers."""
    return (row for row in all_rows(shared, name) if row.is_by_body)


def all_rows(shared: Path, name: str = "recorded.jsonl.gz") -> Iterator[Row]:
    """Every row that some wire of ours can read, found by its path alone."""
    with gzip.open(shared / "traffic" / name, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            parts = urlsplit(row["url"])
            found = shape_of(method=row["method"], host=parts.hostname or "", path=parts.path)
            if found is not None and found[0].action is Action.METER:
                yield _row(row, found[0], found[1].get("model"))


def misses(row: Row, reading: Reading) -> list[str]:
    """What of ``reading`` is not as expected, in words; empty where all is."""
    found = {name: getattr(reading.usage, name) or 0 for name in COUNTS}
    if row.expected is None:
        return [f"{name} {count} was invented" for name, count in found.items() if count]
    # An answer whose model is "" names none.
    wrong = [] if (row.expected["model"] or None) == reading.model else [f"model {reading.model}"]
    return wrong + [f"{name} {count}" for name, count in found.items() if count not in _allowed(row, name)]


def _allowed(row: Row, name: str) -> set[object]:
    expected = row.expected or {}
    allowed = {expected[name] or 0}
    extra = expected.get("extra")
    if row.gate is Gate.UNSURE and isinstance(extra, dict) and f"{name}_alt" in extra:
        allowed.add(extra[f"{name}_alt"])
    return allowed


def _row(row: dict[str, object], shape: Endpoint, path_model: str | None) -> Row:
    flags, oracle, expected = row["flags"], row.get("oracle") or {}, row.get("expected")
    assert isinstance(flags, dict)
    assert isinstance(oracle, dict)
    assert isinstance(expected, dict | None)
    return Row(
        id=str(row["id"]),
        provider=str(row["provider_guess"]),
        endpoint=str(row["endpoint"]),
        dialect=shape.dialect,
        op=shape.op,
        headers={str(name).lower(): str(value) for name, value in _object(row["response_headers"]).items()},
        is_streamed=bool(row["streamed"]),
        request=_bytes(row, "request_body"),
        path_model=path_model,
        body=_bytes(row, "response_body"),
        expected=expected,
        gate=_gate(flags, oracle, expected),
        is_elided=bool(flags.get("response_elided")),
    )


def _object(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _gate(flags: dict[str, object], oracle: dict[str, object], expected: object) -> Gate:
    if flags.get("response_truncated"):
        return Gate.TRUNCATED
    if expected is None:
        return Gate.NOTHING
    return Gate.UNSURE if oracle.get("unsure") else Gate.EXACT


def _bytes(row: dict[str, object], name: str) -> bytes:
    text = row.get(name)
    if not isinstance(text, str):
        return b""
    return base64.b64decode(text) if row.get(f"{name}_b64") else text.encode()
