"""How the stand-in shall answer one request: the knobs, and where they are read from.

Three places, the first that speaks wins: the request header ``x-stand-in`` (a JSON object), the plan that the
stand-in keeps for the model, its plan for everything else.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

CONTROL_HEADER = "x-stand-in"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The knobs. An *event* is one SSE event or one element of Gemini's array; an unstreamed answer is one event."""

    status: int = 200
    """From 400 on: an error in the provider's own shape instead of an answer."""
    retry_after_seconds: int | None = None
    """The ``retry-after`` header of an error."""
    output_tokens: int | None = None
    """Output tokens of each choice, before the request's own limit; ``None``: a function of the request."""
    reasoning_tokens: int = 0
    """The part of the output tokens that is thought and not shown."""
    cached_tokens: int = 0
    """The part of the input tokens that was read from a cache."""
    cache_write_tokens: int = 0
    """The part of the input tokens that was written to a cache."""
    usage: str = "yes"
    """``yes``, ``no`` (the answer says nothing of usage) or ``zero`` (it says 0 everywhere)."""
    chunks: int = 5
    """In how many pieces a streamed text comes."""
    pad_bytes: int = 0
    """This much more text than the tokens would make: large bodies."""
    head_delay_ms: int = 0
    delay_ms: int = 0
    """Before each event of the answer."""
    abort_after_events: int | None = None
    """Reset the connection after so many events; -1: before the head of the answer."""
    tear: bool = False
    """When aborting, send the first half of the next event before."""
    error_after_events: int | None = None
    """Put the provider's error event into a stream after so many events, and end it there."""
    latch: str = ""
    """Wait until this latch is released."""
    latch_after_events: int = -1
    """Where to wait: -1 before the head of the answer, else after so many events (never past the last)."""
    gzip: bool = False
    """Compress the answer where the request's ``accept-encoding`` allows it."""
    tools: bool = True
    """Call the first tool that a request offers, unless a tool's result is already in it."""


def plan_from_json(text: str | bytes, *, base: Plan = Plan()) -> Plan:
    """``base`` with the knobs of a JSON object.

    Raises:
        ValueError: not an object, an unknown knob, or a value of the wrong kind.
    """
    found: object = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("a plan is a JSON object")
    return plan_from_mapping(found, base=base)


def plan_from_mapping(knobs: Mapping[str, object], *, base: Plan = Plan()) -> Plan:
    """``base`` with these knobs.

    Raises:
        ValueError: an unknown knob, or a value of the wrong kind.
    """
    kinds = {field.name: field.type for field in fields(Plan)}
    for name, value in knobs.items():
        if name not in kinds:
            raise ValueError(f"the stand-in has no knob {name!r}; it has {', '.join(sorted(kinds))}")
        if not _fits(value, str(kinds[name])):
            raise ValueError(f"{name}: {value!r} is not {kinds[name]}")
    return replace(base, **knobs)  # type: ignore[arg-type]  # checked against the fields above


def _fits(value: object, kind: str) -> bool:
    if value is None:
        return "None" in kind
    if isinstance(value, bool):
        return "bool" in kind
    if isinstance(value, int):
        return "int" in kind
    return isinstance(value, str) and "str" in kind
