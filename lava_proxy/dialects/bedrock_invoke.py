"""Amazon Bedrock's invoke-model, plain and streamed: every maker's own body, and Bedrock's counts beside it.

The counts stand in headers (``x-amzn-bedrock-input-token-count`` …), for a stream in its last chunk
(``amazon-bedrock-invocationMetrics``); both exclude cached tokens from the input, as Anthropic's bodies do. A body's own
figures win: they tell more. Where Bedrock counts another output than the body does, ``invocation_metrics_differ``.
"""

from base64 import b64decode
from copy import copy
from dataclasses import dataclass, field
from typing import Self

from msgspec.structs import replace

from lava_proxy.core.usage import NO_USAGE, Reading, RequestFacts, Usage
from lava_proxy.dialects.anthropic_messages import MessagesAnswer
from lava_proxy.dialects.bedrock_converse import AWS_SHAPE, converse_usage, fault_in
from lava_proxy.dialects.faults import bedrock_fault
from lava_proxy.dialects.json_text import (
    JsonObject,
    as_object,
    as_objects,
    count_of,
    figures_text,
    largest,
    name_of,
    parse_object,
    total_of,
)
from lava_proxy.dialects.openai_usage import usage_found
from lava_proxy.dialects.pieces import count_in, estimated_if_silent, laid_over, length_of, plain_facts
from lava_proxy.dialects.text_count import TextCounter, texts_in
from lava_proxy.dialects.wire_format import Exchange, WireFormat

_METRICS = "amazon-bedrock-invocationMetrics"
_TEXT_KEYS = (
    "text",
    "thinking",
    "partial_json",
    "input",
    "generation",
    "outputText",
    "completion",
    "content",
    "reasoning",
)
_MESSAGES = frozenset({"message", "message_start", "message_delta", "message_stop", "error"})
_INPUT = (
    *("messages", "system", "tools", "prompt", "inputText", "message", "chat_history", "documents", "texts", "inputs"),
    *("textToImageParams", "text_prompts", "query", "images", "inputImage", "singleEmbeddingParams"),
)
_LIMITS = ("max_tokens", "max_gen_len", "max_tokens_to_sample", "maxTokens", "max_new_tokens", "max_completion_tokens")


@dataclass(slots=True)
class InvokeAnswer:
    """What was found of one answer. Interpreter of all makers' bodies."""

    own: Usage = NO_USAGE
    metrics: Usage = NO_USAGE
    raw: tuple[str, ...] = ()
    model: str | None = None
    response_id: str | None = None
    messages: MessagesAnswer | None = None
    flags: tuple[str, ...] = ()
    is_error: bool = False
    is_done: bool = False
    text: TextCounter = field(default_factory=TextCounter)

    def copy(self) -> Self:
        twin = copy(self)
        twin.text = copy(self.text)
        twin.messages = None if self.messages is None else self.messages.copy()
        return twin

    def events(self, events: list[bytes]) -> None:
        """Bedrock sends none."""

    def element(self, element: JsonObject) -> None:
        chunk = as_object(element.get("chunk"))
        self.is_error = self.is_error or fault_in(element)
        self._take(_inside(chunk) if chunk else element)

    def array_end(self) -> None:
        """Nor arrays."""

    def document(self, document: JsonObject) -> None:
        self._take(document)

    def fragment(self, text: bytes) -> None:
        """Half a body says nothing."""

    def reading(self) -> Reading:
        told = self.messages.reading() if self.messages is not None else Reading(usage=NO_USAGE)
        own = laid_over(self.own, told.usage)
        output, counted = own.output_tokens, self.metrics.output_tokens
        differs = None not in (output, counted) and output != counted
        return Reading(
            usage=laid_over(self.metrics, own),
            model=told.model or self.model,
            response_id=told.response_id or self.response_id,
            service_tier=told.service_tier,
            raw_usage=tuple(dict.fromkeys((*told.raw_usage, *self.raw))),
            output_text_characters=self.text.characters,
            output_text_bytes=self.text.utf8_bytes,
            is_complete=self.is_done or told.is_complete or not own.is_empty(),
            is_error=self.is_error or told.is_error,
            flags=(*told.flags, *self.flags, *(("invocation_metrics_differ",) if differs else ())),
        )

    def _take(self, body: JsonObject) -> None:
        for text in texts_in(body, _TEXT_KEYS):
            self.text.add(text)
        if name_of(body.get("type")) in _MESSAGES:
            self.messages = self.messages or MessagesAnswer()
            self.messages.take(body)
        elif _is_blocked(body):
            self.flags = ("blocked_by_guardrail",)
        else:
            self.own = laid_over(self.own, maker_usage(body))
            self.model = name_of(body.get("model")) or self.model
            self.response_id = name_of(body.get("id")) or self.response_id
            self._note(as_object(body.get("usage")))
        metrics = as_object(body.get(_METRICS))
        if metrics:
            self.metrics, self.is_done = laid_over(self.metrics, _invocation_usage(metrics)), True
            self._note(metrics)

    def _note(self, figures: JsonObject) -> None:
        if figures:
            self.raw = (*self.raw[:1], figures_text(figures))


def maker_usage(body: JsonObject) -> Usage:
    """What a maker's own body or chunk tells: Nova, Titan, Llama, Mistral and OpenAI's shape, AI21, images."""
    figures = as_object(body.get("usage")) or as_object(as_object(body.get("metadata")).get("usage"))
    if "inputTokens" in figures or "outputTokens" in figures:
        return converse_usage(figures)
    if figures:
        found = usage_found(figures, model=name_of(body.get("model"))).usage
        if not found.is_empty():
            return found
    results = [count_of(result.get("tokenCount")) for result in as_objects(body.get("results"))]
    completions = as_objects(body.get("completions"))
    tokens = [length_of(as_object(completion.get("data")).get("tokens")) for completion in completions]
    return Usage(
        input_tokens=largest(
            count_of(body.get("inputTextTokenCount")),
            count_of(body.get("prompt_token_count")),
            length_of(as_object(body.get("prompt")).get("tokens")),
        ),
        output_tokens=largest(
            count_of(body.get("totalOutputTextTokenCount")),
            count_of(body.get("generation_token_count")),
            total_of(*results),
            total_of(*tokens),
        ),
        images=largest(length_of(body.get("images")), length_of(body.get("artifacts"))) or None,
    )


def _is_blocked(body: JsonObject) -> bool:
    """Whether a guardrail kept the prompt from the model: AWS charges the guardrail then, and no inference."""
    trace = as_object(as_object(body.get("amazon-bedrock-trace")).get("guardrail"))
    return body.get("amazon-bedrock-guardrailAction") == "INTERVENED" and "outputs" not in trace and _blocks(trace, 8)


def _blocks(value: object, depth: int) -> bool:
    if depth and isinstance(value, list):
        return any(_blocks(item, depth - 1) for item in value)
    if depth and isinstance(value, dict):
        return value.get("action") == "BLOCKED" or any(_blocks(item, depth - 1) for item in value.values())
    return False


def _inside(chunk: JsonObject) -> JsonObject:
    """The maker's chunk, which is base64 in Bedrock's."""
    packed = chunk.get("bytes")
    if not isinstance(packed, str):
        return chunk
    try:
        return parse_object(b64decode(packed)) or {}
    except ValueError:
        return {}


def _invocation_usage(metrics: JsonObject) -> Usage:
    return _with_cache(*(count_of(metrics.get(name)) for name in (
        "inputTokenCount", "outputTokenCount", "cacheReadInputTokenCount", "cacheWriteInputTokenCount",
    )))  # fmt: skip


def _with_cache(fresh: int | None, output: int | None, reads: int | None, writes: int | None) -> Usage:
    return Usage(
        input_tokens=total_of(fresh, reads, writes),
        output_tokens=output,
        cached_input_tokens=reads,
        cache_write_tokens=writes,
    )


def _completed(reading: Reading, exchange: Exchange) -> Reading:
    names = ("input", "output", "cache-read-input", "cache-write-input")
    counts = [count_in(exchange.headers.get(f"x-amzn-bedrock-{name}-token-count")) for name in names]
    if not any(count is not None for count in counts):
        return reading
    return replace(reading, usage=laid_over(_with_cache(*counts), reading.usage))


def _facts(request: JsonObject, path_model: str | None) -> RequestFacts:
    settings = [request, *(as_object(request.get(n)) for n in ("inferenceConfig", "textGenerationConfig"))]
    limits = (count_of(part.get(name)) for part in settings for name in (*_LIMITS, "maxTokenCount"))
    images = count_of(as_object(request.get("imageGenerationConfig")).get("numberOfImages"))
    is_image = images is not None or any(name in request for name in ("text_prompts", "textToImageParams", "taskType"))
    is_embedding = (
        any(name in request for name in ("texts", "inputText", "input_type")) and "textGenerationConfig" not in request
    )
    return plain_facts(
        request,
        path_model,
        _INPUT,
        model_keys=(),
        counted=Usage(images=images or 1) if is_image and "inputText" not in request else NO_USAGE,
        output_limit=largest(*limits),
        has_output=not is_image and not is_embedding,
    )


BEDROCK_INVOKE = WireFormat(
    name="bedrock_invoke",
    version=1,
    facts_of=_facts,
    interpreter_for=InvokeAnswer,
    fault_body=bedrock_fault,
    estimated=estimated_if_silent,
    completed=_completed,
    shape=AWS_SHAPE,
    is_stream_by_op=True,
)
