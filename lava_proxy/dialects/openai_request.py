"""Reading requests of OpenAI's wires, and asking a stream for its usage."""

import json
import re
from collections.abc import Iterator

from lava_proxy.core.usage import RequestFacts
from lava_proxy.dialects.json_text import JsonObject, as_object, count_of, largest, name_of
from lava_proxy.dialects.request_size import Size

_CHAT_INPUT = ("messages", "tools", "functions", "response_format", "prediction", "prompt")
_RESPONSES_INPUT = ("input", "instructions", "tools", "text", "prompt")
_MOST_CHOICES = 1_000_000
_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder(strict=False)


def chat_facts(request: JsonObject, path_model: str | None) -> RequestFacts:
    """Facts of a chat request. Where it has both limits, some providers know the one and some the other."""
    return _facts(
        request,
        Size.of(request, _CHAT_INPUT),
        path_model,
        output_limit=largest(count_of(request.get("max_completion_tokens")), count_of(request.get("max_tokens"))),
        choices=_choices(request.get("n")),
        asked_for_usage=_has_asked(request),
    )


def completions_facts(request: JsonObject, path_model: str | None) -> RequestFacts:
    """Facts of a completions request: each prompt of a list is answered ``n`` times, best of ``best_of``."""
    size = Size()
    prompts = size.add_prompts(request.get("prompt"))
    size.add(request.get("suffix"))
    return _facts(
        request,
        size,
        path_model,
        output_limit=count_of(request.get("max_tokens")),
        choices=min(prompts * max(_choices(request.get("n")), _choices(request.get("best_of"))), _MOST_CHOICES),
        asked_for_usage=_has_asked(request),
    )


def responses_facts(request: JsonObject, path_model: str | None) -> RequestFacts:
    """Facts of a responses request; its streams tell their usage unasked."""
    limit = count_of(request.get("max_output_tokens"))
    return _facts(request, Size.of(request, _RESPONSES_INPUT), path_model, output_limit=limit)


def embeddings_facts(request: JsonObject, path_model: str | None) -> RequestFacts:
    """Facts of an embeddings request: no output."""
    size = Size()
    size.add_prompts(request.get("input"))
    return _facts(request, size, path_model, has_output=False)


def with_usage_asked(body: bytes) -> bytes:
    """``body`` with ``stream_options.include_usage`` true; the same object where it is no stream or asks already.

    Only that member is written anew, every other byte stays (numbers, order, spaces), so that nothing else can change.
    """
    try:
        text = body.decode("utf-8")
        members = {name: (start, end, value) for name, start, end, value in _members(text)}
    except (ValueError, RecursionError):
        return body
    if "stream" not in members or members["stream"][2] is not True:
        return body
    if "stream_options" not in members:
        start = text.index("{") + 1
        return (text[:start] + '"stream_options":{"include_usage":true},' + text[start:]).encode("utf-8")
    start, end, value = members["stream_options"]
    options = as_object(value)
    if options.get("include_usage") is True:
        return body
    asked = json.dumps({**options, "include_usage": True}, separators=(",", ":"))
    return (text[:start] + asked + text[end:]).encode("utf-8")


def _members(text: str) -> Iterator[tuple[str, int, int, object]]:
    """The members of the JSON object ``text``: name, where the value begins and ends, the value.

    Raises: ValueError where ``text`` is no JSON object.
    """
    position = _after(text, 0, "{")
    if text[position : position + 1] == "}":
        return
    while True:
        name, position = _DECODER.raw_decode(text, position)
        if not isinstance(name, str):
            raise ValueError("a member's name is no string")
        start = _after(text, position, ":")
        value, end = _DECODER.raw_decode(text, start)
        yield name, start, end, value
        position = _space(text, end)
        if text[position : position + 1] == "}":
            break
        position = _after(text, position, ",")
    if _space(text, position + 1) != len(text):
        raise ValueError("something follows the object")


def _after(text: str, position: int, mark: str) -> int:
    """Where the next token begins after ``mark``, which must be the next one."""
    position = _space(text, position)
    if text[position : position + 1] != mark:
        raise ValueError(f"expected {mark}")
    return _space(text, position + 1)


def _space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def _facts(
    request: JsonObject,
    size: Size,
    path_model: str | None,
    *,
    output_limit: int | None = None,
    choices: int = 1,
    has_output: bool = True,
    asked_for_usage: bool = True,
) -> RequestFacts:
    return RequestFacts(
        model=name_of(request.get("model")) or path_model,
        is_stream=request.get("stream") is True,
        input_text_characters=size.characters,
        input_text_bytes=size.utf8_bytes,
        input_other_tokens=size.other_tokens,
        output_limit=output_limit,
        choices=choices,
        has_output=has_output,
        asked_for_usage=asked_for_usage,
        end_user=name_of(request.get("user")) or name_of(request.get("safety_identifier")),
        service_tier=name_of(request.get("service_tier")),
    )


def _choices(value: object) -> int:
    return min(max(count_of(value) or 1, 1), _MOST_CHOICES)


def _has_asked(request: JsonObject) -> bool:
    is_stream = request.get("stream") is True
    return not is_stream or as_object(request.get("stream_options")).get("include_usage") is True
