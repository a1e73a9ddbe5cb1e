"""What a request consumes at the stand-in: a pure function of its body and its plan, so that callers can compute it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lava_proxy.demo.plan import Plan

_PROMPT_KEYS = (
    "messages",
    "system",
    "input",
    "instructions",
    "prompt",
    "contents",
    "systemInstruction",
    "system_instruction",
)
_TOOL_KEYS = ("tools", "functions", "response_format")
_NOT_TEXT = frozenset(
    {"role", "type", "id", "media_type", "mimeType", "cache_control", "call_id", "tool_call_id", "tool_use_id"}
)
_WORDS = (
    "the",
    "lava",
    "flows",
    "down",
    "and",
    "every",
    "token",
    "is",
    "counted",
    "once",
    "on",
    "its",
    "way",
    "to",
    "sea",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Tokens of one call. Totals include their parts; ``output`` is of one choice, each choice produces as much."""

    input: int
    cached: int
    cache_write: int
    output: int
    reasoning: int
    choices: int
    is_cut: bool
    """The request's own limit was reached."""

    @property
    def output_total(self) -> int:
        return self.output * self.choices

    @property
    def reasoning_total(self) -> int:
        return self.reasoning * self.choices


def figures(body: Mapping[str, object], plan: Plan) -> Figures:
    """Tokens that the stand-in reports for this request body (OpenAI's, Anthropic's or Gemini's)."""
    counted = count_input(body)
    parts = plan.cached_tokens + plan.cache_write_tokens
    wanted = plan.output_tokens if plan.output_tokens is not None else 20 + counted % 7
    limit = output_limit(body)
    output = wanted if limit is None else min(wanted, limit)
    return Figures(
        input=max(counted, parts),
        cached=plan.cached_tokens,
        cache_write=plan.cache_write_tokens,
        output=output,
        reasoning=min(plan.reasoning_tokens, output),
        choices=choices(body),
        is_cut=output < wanted,
    )


def count_input(body: Mapping[str, object]) -> int:
    """3 for the prompt, 4 for each message, and one token for every 4 bytes of text or part of them, tools included."""
    text_bytes = sum(len(text.encode()) for key in _PROMPT_KEYS for text in _texts(body.get(key)))
    tool_bytes = sum(len(json.dumps(body[key])) for key in _TOOL_KEYS if body.get(key))
    given = sum(_token_lists(body.get(key)) for key in ("prompt", "input"))
    return 3 + 4 * _messages(body) + -(-(text_bytes + tool_bytes) // 4) + given


def output_limit(body: Mapping[str, object]) -> int | None:
    """The request's own limit on output tokens, under any of its names."""
    config = body.get("generationConfig")
    inner: Mapping[str, object] = config if isinstance(config, dict) else {}
    names = ("max_completion_tokens", "max_tokens", "max_output_tokens")
    for value in (*(body.get(name) for name in names), inner.get("maxOutputTokens")):
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return 16 if _is_completion(body) else None  # completions have a default limit of 16


def choices(body: Mapping[str, object]) -> int:
    """How many answers were asked for; a completion asked for a list of prompts answers each of them."""
    config = body.get("generationConfig")
    inner: Mapping[str, object] = config if isinstance(config, dict) else {}
    asked = body.get("n", inner.get("candidateCount", 1))
    count = asked if isinstance(asked, int) and asked > 0 else 1
    prompts = body.get("prompt")
    many = len(prompts) if isinstance(prompts, list) and prompts and not isinstance(prompts[0], int) else 1
    return count * many


def text_of(tokens: int, *, pad_bytes: int = 0) -> str:
    """A text of so many tokens: one word is one token."""
    text = " ".join(_WORDS[i % len(_WORDS)] for i in range(tokens))
    return text + "." * pad_bytes


def pieces(text: str, count: int) -> list[str]:
    """``text`` in at most ``count`` pieces of about the same length, none of them empty."""
    size = max(1, -(-len(text) // max(1, count)))
    return [text[i : i + size] for i in range(0, len(text), size)]


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key not in _NOT_TEXT:
                yield from _texts(item)


def _token_lists(value: object) -> int:
    """Tokens that were given as numbers: one list of them, or several."""
    if not isinstance(value, list):
        return 0
    return sum(
        1 if isinstance(item, int) else _token_lists(item) for item in value if not isinstance(item, (str, dict))
    )


def _messages(body: Mapping[str, object]) -> int:
    return sum(len(value) for key in ("messages", "contents") if isinstance(value := body.get(key), list))


def _is_completion(body: Mapping[str, object]) -> bool:
    return "prompt" in body and "messages" not in body
