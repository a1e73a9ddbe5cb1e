"""What a recorded call comes to by today's price book and readers: the part of repricing that needs no ledger."""

import json
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any
from urllib.parse import urlsplit

from msgspec.structs import replace

from lava_proxy.core.entities import RequestRecord
from lava_proxy.core.errors import LavaError
from lava_proxy.core.pricing import PROVIDER_SOURCE, Cost, PriceSheet, Rate, cost_of, rate
from lava_proxy.core.repricing import PricedAgain
from lava_proxy.core.usage import UNITS, Reading, RequestFacts, Usage
from lava_proxy.dialects.base import Dialect
from lava_proxy.prices import PriceBook
from lava_proxy.providers import Match, ProviderIndex
from lava_proxy.services.usage_records import PROVIDER
from lava_proxy.settings import Settings

REASONS = {
    "reported": "the provider itself said what they cost",
    "no_price": "no price is known for them",
    "no_usage": "nothing was reported of what they consumed, or nobody described their endpoint",
    "not_a_call": "they are usage that you reported",
    "estimated_here": "a fault of ours while they were metered: they stand at their quote",
    "unsettled": "they were not settled by their usage: errors, and calls charged at their hold",
    "provider_gone": "no provider file describes them any more",
    "subscription": "they went by a subscription and cost nothing",
}
"""Why a call is left as it is."""
_GUESSED = frozenset({"estimated", "no_usage", "aborted", "incomplete", "charged_at_hold", "background"})
_TOLERANCE = Fraction(1)
"""Nanos by which the recorded cost differs from the exact one, at most: it was rounded with what was carried."""
_BODIES: Mapping[str, str] = {
    "openai_chat": "usage",
    "openai_completions": "usage",
    "openai_embeddings": "usage",
    "openai_responses": "usage",
    "anthropic_messages": "usage",
    "gemini_generate": "usageMetadata",
}
"""Wire formats whose usage object can be read by itself, and where it stands in an answer."""
_KINDS: Mapping[str, Mapping[str, Any]] = {
    "openai_chat": {"object": "chat.completion", "choices": []},
    "openai_completions": {"object": "text_completion", "choices": []},
    "openai_embeddings": {"object": "list", "data": []},
    "openai_responses": {"object": "response", "status": "completed", "output": []},
    "anthropic_messages": {"type": "message", "stop_reason": "end_turn", "content": []},
    "gemini_generate": {"candidates": [{"finishReason": "STOP"}]},
}
REREAD = frozenset(_BODIES)
"""Wire formats whose stored usage objects can be read again."""
_NO_FACTS = RequestFacts(model=None, is_stream=False, input_text_characters=0, input_text_bytes=0)


class PriceAgain:
    """Prices at the instants of the holds."""

    def __init__(
        self,
        *,
        providers: ProviderIndex,
        prices: PriceBook,
        dialects: Mapping[str, Dialect],
        settings: Settings,
        reread_all: bool = False,
    ) -> None:
        """``reread_all``: also what the present version of its reader has read."""
        self._providers, self._prices, self._dialects = providers, prices, dialects
        self._settings, self._reread_all = settings, reread_all

    def price(self, record: RequestRecord) -> PricedAgain | str:
        """The call at today's knowledge, or why it is left alone: a key of ``REASONS``."""
        if record.request.provider == PROVIDER:
            return "not_a_call"
        if record.cost_basis != "metered":
            return "subscription"
        if "metering_failed" in record.flags:
            return "estimated_here"
        if record.price_source == PROVIDER_SOURCE:
            return "reported"
        read = self._read_again(record)
        usage = record.usage if read is None else read.usage
        billed = record.billed if read is None else read.billed
        if usage.is_empty():
            return "no_usage"
        match = self._match(record)
        if match is None:
            return "provider_gone"
        sheet = self._sheet(record, match, read)
        cost = cost_of(sheet, usage if billed is None else billed) if sheet is not None else None
        if not isinstance(cost, Cost):
            return "no_price"
        return PricedAgain(
            usage=usage,
            billed=billed,
            dialect_version=record.dialect_version if read is None else self._version(record),
            cost=cost.exact_nanos,
            cost_before=exact_cost_of(record),
            unit_prices=cost.unit_prices,
            price_source=cost.source,
            price_date=cost.price_date,
            flags=cost.flags,
        )

    def _read_again(self, record: RequestRecord) -> Reading | None:
        """Its usage objects read by today's reader; ``None``: what was read then stands."""
        dialect = self._dialects.get(record.request.dialect)
        if dialect is None or not record.raw_usage or _GUESSED & set(record.flags):
            return None
        if dialect.version == record.dialect_version and not self._reread_all:
            return None
        return read_usage_objects(dialect, record)

    def _version(self, record: RequestRecord) -> int:
        return self._dialects[record.request.dialect].version

    def _match(self, record: RequestRecord) -> Match | None:
        """Who answered, and in which region; a provider whose address has changed since is taken by its id."""
        try:
            parts = urlsplit(record.request.url)
            port = parts.port or (443 if parts.scheme == "https" else 80)
            match = self._providers.recognise(
                host=parts.hostname or "", port=port, method=record.request.method, path=parts.path
            )
        except (ValueError, LavaError):
            match = None
        if match is not None and match.provider.id == record.request.provider and match.endpoint is not None:
            return match
        provider = self._providers.get(record.request.provider)
        if provider is None or not provider.endpoints:
            return None
        return Match(provider=provider, endpoint=provider.endpoints[0], action=provider.endpoints[0].action)

    def _sheet(self, record: RequestRecord, match: Match, read: Reading | None) -> PriceSheet | None:
        provider = match.provider
        deployments = self._settings.azure_deployments if provider.id == "azure" else {}
        names = match.models(requested=record.request.model, answered=record.model)
        told = read.service_tier if read is not None else None
        for name in (*names, *((record.model,) if record.model and record.model not in names else ())):
            sheet = self._prices.sheet(
                provider=provider.prices,
                model=deployments.get(name, name),
                at_us=record.created_us,
                service_tier=told or record.service_tier or None,
                region=match.region,
            )
            if sheet is not None:
                return sheet
        return None


def read_usage_objects(dialect: Dialect, record: RequestRecord) -> Reading | None:
    """What the reader makes of the stored usage objects; ``None`` where they cannot be read without their answer."""
    key = _BODIES.get(dialect.name)
    if key is None:
        return None
    kind = _KINDS[dialect.name]
    objects = [json.loads(text) for text in record.raw_usage]
    if dialect.name == "openai_responses":
        tools = {"tool_usage": objects[1]} if len(objects) > 1 else {}
        body, content_type = json.dumps({**kind, key: objects[0], **tools}).encode(), "application/json"
    elif len(objects) == 1:
        body, content_type = json.dumps({**kind, key: objects[0]}).encode(), "application/json"
    elif dialect.name == "anthropic_messages":
        body, content_type = _anthropic_stream(objects), "text/event-stream"
    else:
        body, content_type = _stream([{**kind, key: each} for each in objects]), "text/event-stream"
    reader = dialect.reader(
        record.request.op, content_type=content_type, content_encoding="", facts=_NO_FACTS, take_out_usage=False
    )
    reader.feed(body)
    reader.finish()
    reading = reader.reading()
    if reading.usage.is_empty():
        return None
    return replace(reading, usage=_with_the_rest(reading.usage, record.usage))


def _with_the_rest(tokens: Usage, read_then: Usage) -> Usage:
    """Searches, images and the like are told elsewhere in an answer: they stay as they were read."""
    rest = {unit: getattr(read_then, unit) for unit in UNITS if not unit.endswith("_tokens")}
    return replace(tokens, **{unit: count for unit, count in rest.items() if getattr(tokens, unit) is None})


def exact_cost_of(record: RequestRecord) -> Fraction | None:
    """The exact cost behind the recorded whole nanos, by the unit prices on record; ``None``: it was unpriced.

    Where these do not lead to it, the whole nanos are taken for the exact cost.
    """
    if record.cost_nanos is None:
        return None
    whole = Fraction(record.cost_nanos)
    sheet = sheet_of(record)
    if sheet is None:
        return whole
    found = cost_of(sheet, record.usage if record.billed is None else record.billed)
    if isinstance(found, Cost) and abs(found.exact_nanos - whole) <= _TOLERANCE:
        return found.exact_nanos
    return whole


def sheet_of(record: RequestRecord) -> PriceSheet | None:
    """The price sheet that a record was priced by, from its unit prices."""
    if not record.unit_prices or record.price_source == PROVIDER_SOURCE:
        return None
    try:
        rates = {unit: _rate_of(line) for unit, line in json.loads(record.unit_prices).items()}
        return PriceSheet(
            provider=record.request.provider,
            model=record.model or "",
            source=record.price_source,
            price_date=record.price_date,
            rates=rates,
        )
    except (AssertionError, ArithmeticError, KeyError, TypeError, ValueError):
        return None


def _rate_of(line: dict[str, Any]) -> Rate:
    above = line.get("above_input_tokens", {})
    steps = [(int(tokens), Decimal(usd)) for tokens, usd in above.items()]
    return rate(Decimal(line["usd"]), per=int(line["per"]), steps=steps, minimum=int(line.get("minimum", 0)))


def _stream(chunks: list[dict[str, Any]]) -> bytes:
    return b"".join(b"data: %b\n\n" % json.dumps(chunk).encode() for chunk in chunks)


def _anthropic_stream(objects: list[dict[str, Any]]) -> bytes:
    """The first object stands in the stream's start, the last in its end."""
    events = (
        {"type": "message_start", "message": {"type": "message", "usage": objects[0]}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": objects[-1]},
        {"type": "message_stop"},
    )
    return b"".join(b"event: %b\ndata: %b\n\n" % (str(e["type"]).encode(), json.dumps(e).encode()) for e in events)


__all__ = ["REASONS", "REREAD", "PriceAgain", "exact_cost_of", "read_usage_objects", "sheet_of"]
