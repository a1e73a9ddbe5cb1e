"""What providers there are and what they charge, as documents."""

import json

from lava_proxy.core.pricing import PriceSheet
from lava_proxy.prices import PriceBook
from lava_proxy.providers import Provider, ProviderIndex
from lava_proxy.services.documents import Document, Json

MAKERS = ("openai", "anthropic", "google", "mistral", "xai", "deepseek")
"""Where several providers have a model and none is named, its maker is meant."""


def provider_document(provider: Provider) -> Document:
    return {
        "provider_id": provider.id,
        "name": provider.name,
        "category": provider.category,
        "aliases": list(provider.aliases),
        "hosts": list(provider.hosts),
        "base_paths": list(provider.base_paths),
        "owns_host": provider.owns_host,
        "dialect": provider.dialect,
        "dialects": list(provider.dialects),
        "units": list(provider.units),
        "auth": [{"in": slot.place, "name": slot.name, "scheme": slot.scheme} for slot in provider.auth],
        "subscription": list(provider.subscription),
        "signed": provider.signed or None,
        "unmatched": provider.unmatched.value,
        "prices": list(provider.prices),
        "evidence": provider.evidence,
        "sources": list(provider.sources),
        "checked": provider.checked,
        "docs": provider.docs,
        "pricing": provider.pricing,
        "notes": provider.notes,
        "origin": provider.origin,
        "endpoints": [
            {
                "method": endpoint.method,
                "bases": list(endpoint.bases),
                "path": endpoint.path,
                "operation": endpoint.op,
                "action": endpoint.action.value,
                "dialect": endpoint.dialect,
                "stream_usage": endpoint.stream.usage.value,
                "injects_usage": bool(endpoint.stream.inject),
                "model": list(endpoint.model),
                "units": list(endpoint.units),
                "settle": endpoint.settle.value,
                "settles": endpoint.settles or None,
                "idempotency": list(endpoint.idempotency),
                "reported_cost": endpoint.reported_cost.source if endpoint.reported_cost else None,
                "quantities": [{"unit": each.unit, "from": each.source} for each in endpoint.quantities],
            }
            for endpoint in provider.endpoints
        ],
    }


def price_document(sheet: PriceSheet, *, model: str) -> Document:
    """``unit_prices``: dollars (``usd``) for so many (``per``) of each unit."""
    unit_prices: Json = json.loads(sheet.unit_prices)
    return {
        "provider": sheet.provider,
        "model": model,
        "price_model": sheet.model,
        "price_source": sheet.source,
        "price_date": sheet.price_date,
        "unit_prices": unit_prices,
        "flags": list(sheet.flags),
    }


def by_maker(providers: ProviderIndex) -> tuple[Provider, ...]:
    """All providers, makers of models first."""
    order = {name: place for place, name in enumerate(MAKERS)}
    return tuple(sorted(providers.providers, key=lambda p: (order.get(p.id, len(order)), p.id)))


def sheets_of(
    model: str, *, providers: tuple[Provider, ...], prices: PriceBook, at_us: int
) -> tuple[tuple[Provider, PriceSheet], ...]:
    """The price of a model at each of these providers that has one."""
    found = ((p, prices.sheet(provider=p.prices, model=model, at_us=at_us)) for p in providers)
    return tuple((provider, sheet) for provider, sheet in found if sheet is not None)
