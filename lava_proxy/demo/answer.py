"""What passes between the stand-in's server and the formats that it speaks."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from lava_proxy.demo.figures import Figures, figures
from lava_proxy.demo.plan import Plan

JSON = "application/json"
EVENT_STREAM = "text/event-stream; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A request that the server has read. ``number`` counts from 1 and makes the ids of the answer."""

    path: str
    query: str
    body: Mapping[str, object]
    plan: Plan
    number: int
    created_seconds: int
    url_model: str | None = None

    @property
    def figures(self) -> Figures:
        return figures(self.body, self.plan)

    @property
    def model(self) -> str:
        named = self.url_model or self.body.get("model")
        return named if isinstance(named, str) else "stand-in"

    @property
    def is_stream(self) -> bool:
        return self.body.get("stream") is True

    def new_id(self, prefix: str) -> str:
        return f"{prefix}{self.number:024d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer as the events that make its body; an unstreamed one has one event and a content-length."""

    events: tuple[bytes, ...]
    status: int = 200
    content_type: str = JSON
    is_stream: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    error_event: bytes = b""
    """What this format puts into a stream when it breaks."""
    ending: tuple[bytes, ...] = field(default=())
    """Bytes after the last event, where the format has some (the closing bracket of an array)."""


def parse_body(body: bytes) -> dict[str, object]:
    """A request's JSON object; an empty body is an empty one.

    Raises:
        ValueError: not JSON, or no object.
    """
    found: object = json.loads(body or b"{}")
    if not isinstance(found, dict):
        raise ValueError("the body is no JSON object")
    return found


def dump(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def sse(value: object, *, event: str = "") -> bytes:
    """One server-sent event."""
    name = f"event: {event}\n".encode() if event else b""
    return name + b"data: " + dump(value) + b"\n\n"


def first_tool(body: Mapping[str, object], plan: Plan) -> tuple[str, str] | None:
    """Name and arguments (JSON) of the tool call to make, or ``None`` where none is due."""
    tools = body.get("tools")
    if (
        not plan.tools
        or not isinstance(tools, list)
        or not tools
        or _has_tool_result(body)
        or body.get("tool_choice") == "none"
    ):
        return None
    tool = tools[0]
    if not isinstance(tool, dict):
        return None
    declared = tool.get("function") or tool.get("functionDeclarations") or tool.get("function_declarations") or tool
    inner = declared[0] if isinstance(declared, list) and declared else declared
    if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
        return None
    schema = (
        inner.get("parameters")
        or inner.get("input_schema")
        or inner.get("parametersJsonSchema")
        or inner.get("parameters_json_schema")
        or {}
    )
    return inner["name"], json.dumps(_example(schema))


def _example(schema: object) -> dict[str, object]:
    """Arguments that fit a JSON schema's required properties."""
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict):
        return {}
    return {name: _example_value(kind) for name, kind in properties.items()}


def _example_value(kind: object) -> object:
    if not isinstance(kind, dict):
        return "Catania"
    if isinstance(kind.get("enum"), list) and kind["enum"]:
        return kind["enum"][0]
    values: dict[str, object] = {"integer": 7, "number": 7.5, "boolean": True, "array": [], "object": {}}
    return values.get(str(kind.get("type")).lower(), "Catania")


def _has_tool_result(body: Mapping[str, object]) -> bool:
    text = json.dumps([body.get(key) for key in ("messages", "input", "contents")])
    return any(
        mark in text for mark in ('"role": "tool"', '"tool_result"', '"function_call_output"', '"functionResponse"')
    )
