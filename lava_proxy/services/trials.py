"""`lava providers test`: what a request would be taken for, and what would be read of its answer. Nothing is held or written."""

from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from msgspec import Struct

from lava_proxy.core.errors import InvalidInput
from lava_proxy.core.usage import Reading, RequestFacts
from lava_proxy.dialects.base import Dialect
from lava_proxy.prices import PriceBook
from lava_proxy.providers import Action, Match, ProviderIndex, Settle
from lava_proxy.services.documents import Document, Json, usage_units


class Trial(Struct, frozen=True, kw_only=True):
    """A request that was recognised."""

    url: str
    method: str
    match: Match
    dialect: Dialect | None
    """Who would read it; ``None``: nothing is read there, or nobody can."""
    facts: RequestFacts | None
    price_source: str
    """Of the first of the model's names that has a price; empty where none has, or no model is known yet."""
    unknown_endpoint: str
    """The setting of this name."""

    @property
    def model(self) -> str | None:
        requested = self.facts.model if self.facts is not None else None
        return next(iter(self.match.models(requested=requested, answered=None)), None)

    @property
    def outcome(self) -> str:
        """What is done with such a call, in words."""
        if self.match.action is Action.FREE:
            return "not billed: passed on"
        if self.match.action is Action.BLOCK:
            return "blocked"
        if self.match.action is Action.METER and self.dialect is not None:
            return "metered"
        why = "nobody described it" if self.match.endpoint is None else "its wire format has no reader yet"
        done = "blocked" if self.unknown_endpoint == "block" else "passed on and recorded as unknown"
        return f"{done}: {why}"


class Trials:
    def __init__(
        self,
        *,
        providers: ProviderIndex,
        dialects: Mapping[str, Dialect],
        prices: PriceBook,
        unknown_endpoint: str,
    ) -> None:
        self._providers, self._dialects, self._prices = ProviderIndex(providers.providers), dialects, prices
        self._unknown_endpoint = unknown_endpoint

    def recognise(self, *, url: str, method: str, body: bytes, at_us: int) -> Trial | None:
        """What the request is; ``None``: nobody's, so it would be passed on as it is.

        Raises:
            InvalidInput: ``url`` is no http or WebSocket address.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https", "ws", "wss") or not parts.hostname:
            raise InvalidInput(f"url: {url!r} is no http address", field="url")
        port = parts.port or (443 if parts.scheme in ("https", "wss") else 80)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        match = self._providers.recognise(host=parts.hostname, port=port, method=method, path=path)
        if match is None:
            return None
        dialect = self._dialects.get(match.endpoint.dialect) if _is_metered(match) and match.endpoint else None
        facts = None
        if dialect is not None and match.endpoint is not None and body:
            facts = dialect.read_request(match.endpoint.op, body, path_model=match.path_model)
        return Trial(
            url=url,
            method=method,
            match=match,
            dialect=dialect,
            facts=facts,
            price_source=self._price_source(match, facts, at_us),
            unknown_endpoint=self._unknown_endpoint,
        )

    def _price_source(self, match: Match, facts: RequestFacts | None, at_us: int) -> str:
        for name in match.models(requested=facts.model if facts else None, answered=None):
            sheet = self._prices.sheet(provider=match.provider.prices, model=name, at_us=at_us, region=match.region)
            if sheet is not None:
                return sheet.source
        return ""


def read_answer(trial: Trial, headers: Mapping[str, str], body: bytes) -> Reading | None:
    """What the proxy would read of this answer; ``None``: nobody reads it. ``headers`` in lower case."""
    if trial.dialect is None or trial.match.endpoint is None:
        return None
    reader = trial.dialect.reader(
        trial.match.endpoint.op,
        content_type=headers.get("content-type", ""),
        content_encoding=headers.get("content-encoding", ""),
        headers=headers,
        facts=trial.facts or RequestFacts(model=None, is_stream=False, input_text_characters=0, input_text_bytes=0),
        take_out_usage=False,
    )
    reader.feed(body)
    reader.finish()
    return reader.reading()


def trial_document(trial: Trial) -> Document:
    match, endpoint = trial.match, trial.match.endpoint
    provider = match.provider
    slots: list[Json] = [{"in": slot.place, "name": slot.name, "scheme": slot.scheme} for slot in provider.auth]
    return {
        "url": trial.url,
        "method": trial.method,
        "provider_id": provider.id,
        "origin": provider.origin,
        "evidence": provider.evidence,
        "endpoint": f"{endpoint.method} {endpoint.path}" if endpoint else None,
        "operation": endpoint.op if endpoint else None,
        "dialect": endpoint.dialect if endpoint else None,
        "action": match.action.value,
        "outcome": trial.outcome,
        "model": trial.model,
        "region": match.region,
        "prices": list(provider.prices),
        "price_source": trial.price_source,
        "auth": slots,
        "signed": provider.signed or None,
        "units": list(endpoint.units) if endpoint else [],
        "settle": (endpoint.settle if endpoint else Settle.IMMEDIATE).value,
        "settles": endpoint.settles or None if endpoint else None,
        "injects_usage": match.injects_usage,
    }


def answer_document(status: int, reading: Reading | None) -> Document:
    if reading is None:
        return {"status": status, "model": None, "usage": None, "flags": []}
    return {
        "status": status,
        "model": reading.model,
        "usage": usage_units(reading.usage),
        "reported_cost": str(reading.reported_cost) if reading.reported_cost is not None else None,
        "flags": list(reading.flags),
    }


def unread_formats(providers: ProviderIndex, readable: Collection[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Of each of the operator's own providers, the wire formats that it meters and nobody can read."""
    own = (provider for provider in providers.providers if provider.origin != "packaged")
    found = ((each.id, tuple(name for name in each.dialects if name not in readable)) for each in own)
    return tuple((provider_id, names) for provider_id, names in found if names)


def _is_metered(match: Match) -> bool:
    return match.action is Action.METER
