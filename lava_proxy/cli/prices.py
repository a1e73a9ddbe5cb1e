"""`lava prices`: what providers charge."""

import json as json_text
from typing import TYPE_CHECKING, Annotated

import typer

from lava_proxy.cli.groups import noun
from lava_proxy.cli.options import Home, Json
from lava_proxy.cli.output import say
from lava_proxy.cli.session import open_house, output, zone_of
from lava_proxy.core.errors import NotFound

if TYPE_CHECKING:
    from lava_proxy.core.pricing import PriceSheet
    from lava_proxy.providers import Provider
    from lava_proxy.wiring import House

app = noun("What providers charge, with the source of every price.")

ProviderOption = Annotated[
    str | None, typer.Option("--provider", metavar="PROVIDER", help="At this provider.", show_default=False)
]


@app.command("show")
def show(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model, such as gpt-4o-mini.", show_default=False)],
    provider: ProviderOption = None,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="WHEN", help="The price of then: 90d, a date, or RFC 3339.", show_default=False),
    ] = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Show what a model costs at every provider that has it.

    \b
    lava prices show gpt-4o-mini
    lava prices show claude-sonnet-4-5 --provider anthropic --at 2026-01-31
    """
    with open_house(home) as house:
        from lava_proxy.core.instants import parse_since
        from lava_proxy.services.catalogue import price_document, sheets_of

        now_us = house.clock.now_us()
        at_us = parse_since(at, now_us=now_us, zone=zone_of(None, house.settings), field="at") if at else now_us
        found = sheets_of(model, providers=_providers(house, provider), prices=house.prices, at_us=at_us)
        if not found:
            raise NotFound(
                f"No price is known for the model {model!r}.", hint=f"lava prices search {model.split('-')[0]}"
            )
        out = output(house, json)
        if json:
            out.document({"model": model, "data": [price_document(sheet, model=model) for _, sheet in found]})
            return
        rows = [
            (provider.id, unit, usd, per, sheet.price_date, sheet.source)
            for provider, sheet in found
            for unit, usd, per in _prices(sheet)
        ]
        out.table(("provider", "unit", "usd", "per", "since", "source"), rows)


@app.command("search")
def search(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="A part of a model's name.", show_default=False)],
    provider: ProviderOption = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=1000, help="How many at most.")] = 50,
    home: Home = None,
    json: Json = False,
) -> None:
    """Find models by a part of their name.

    \b
    lava prices search sonnet
    lava prices search llama --provider groq
    """
    with open_house(home) as house:
        from lava_proxy.services.catalogue import price_document

        names = [known.prices for known in _providers(house, provider)]
        found = house.prices.search(text, providers=names, at_us=house.clock.now_us(), limit=limit)
        out = output(house, json)
        if json:
            out.page([price_document(sheet, model=sheet.model) for sheet in found], None)
            return
        rows = [
            (sheet.provider, sheet.model, _of(sheet, "input_tokens"), _of(sheet, "output_tokens")) for sheet in found
        ]
        out.table(("provider", "model", "input $/1M", "output $/1M"), rows, empty="No model has this in its name.")
        if len(found) == limit:
            say(f"These are the first {limit}; --limit shows more.")


def _providers(house: "House", provider_id: str | None) -> "tuple[Provider, ...]":
    from lava_proxy.services.catalogue import by_maker

    if provider_id is None:
        return by_maker(house.providers)
    found = house.providers.get(provider_id)
    if found is None:
        raise NotFound(f"There is no provider {provider_id!r}.", hint="`lava providers list` shows them all.")
    return (found,)


def _prices(sheet: "PriceSheet") -> list[tuple[str, str, int]]:
    lines: list[tuple[str, str, int]] = []
    for unit, line in json_text.loads(sheet.unit_prices).items():
        lines.append((unit, str(line["usd"]), int(line["per"])))
        for above, usd in line.get("above_input_tokens", {}).items():
            lines.append((f"{unit}, above {int(above):,} input tokens", str(usd), int(line["per"])))
    return lines


def _of(sheet: "PriceSheet", unit: str) -> str:
    line = json_text.loads(sheet.unit_prices).get(unit)
    return str(line["usd"]) if line and line["per"] == 1_000_000 else ""
