"""`lava prices`: what providers charge."""

import json as json_text
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lava_proxy.cli.groups import noun
from lava_proxy.cli.options import Home, IdempotencyKey, Json
from lava_proxy.cli.output import MISSING, money, say
from lava_proxy.cli.session import by, open_house, output, zone_of
from lava_proxy.core.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from lava_proxy.core.pricing import PriceSheet
    from lava_proxy.providers import Provider
    from lava_proxy.services.price_overrides import PriceDifference, StoredPrice
    from lava_proxy.wiring import House

app = noun("What providers charge, with the source of every price.")


def _dollars(name: str, what: str) -> Any:
    return typer.Option(name, metavar="USD", help=f"Dollars for 1M {what}.", show_default=False)


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


@app.command("set")
def set_price(
    provider: Annotated[
        str, typer.Argument(metavar="PROVIDER", help="A provider's id; '*' for any.", show_default=False)
    ],
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A model; * stands for any characters.", show_default=False)
    ],
    input_usd: Annotated[str | None, _dollars("--input", "input tokens")] = None,
    output_usd: Annotated[str | None, _dollars("--output", "output tokens")] = None,
    cached_usd: Annotated[str | None, _dollars("--cached-input", "input tokens read from a cache")] = None,
    write_usd: Annotated[str | None, _dollars("--cache-write", "input tokens written to a cache")] = None,
    reasoning_usd: Annotated[str | None, _dollars("--reasoning", "reasoning tokens")] = None,
    unit: Annotated[
        list[str] | None,
        typer.Option("--unit", metavar="UNIT=USD[/N]", help="Any unit, for N of it: images=0.04, pages=2/1000."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="WHEN", help="From then on: a date, or RFC 3339.", show_default="now"),
    ] = None,
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="Why, for you.", show_default=False)] = "",
    idempotency_key: IdempotencyKey = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Say what a model costs you, in the place of every book. Running proxies take it up within a second.

    What has no price of its own here costs what it is a part of: cached input as input, reasoning as output. Calls that
    were made since then are corrected by `lava reprice`.

    \b
    lava prices set openai gpt-4o-mini --input 0.12 --cached-input 0.06 --output 0.48 --since 2026-01-01
    lava prices set vllm '*' --input 0 --output 0
    lava prices set fal 'fal-ai/flux*' --unit images=0.04
    """
    with open_house(home) as house:
        from lava_proxy.services.price_overrides import stored_document

        typed = {
            "input_tokens": input_usd,
            "output_tokens": output_usd,
            "cached_input_tokens": cached_usd,
            "cache_write_tokens": write_usd,
            "reasoning_tokens": reasoning_usd,
        }
        units = {name: (_nanos(name, usd), 1_000_000) for name, usd in typed.items() if usd is not None}
        units |= dict(_unit_price(text) for text in unit or ())
        since_us = _instant(house, since, "since")
        made = house.price_overrides.set(
            provider, model, units, since_us=since_us, note=note, by=by(idempotency_key)
        ).value
        out, document = output(house, json), stored_document(made)
        if json:
            out.document(document)
            return
        rows = [(each.unit, money(each.nanos), each.per) for each in made.units]
        out.facts((("provider", made.provider), ("model", made.model), ("since", str(document["since"]))))
        out.table(("unit", "usd", "per"), rows)
        if since_us < house.clock.now_us() and since is not None:
            say(f"Calls made since then are corrected by: lava reprice --since {since} --dry-run")


@app.command("unset")
def unset(
    provider: Annotated[str, typer.Argument(metavar="PROVIDER", help="As it was set.", show_default=False)],
    model: Annotated[str, typer.Argument(metavar="MODEL", help="As it was set.", show_default=False)],
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="WHEN", help="From then on: a date, or RFC 3339.", show_default="now"),
    ] = None,
    idempotency_key: IdempotencyKey = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """End a price of yours: the books' own price holds again. What was priced by it stays so.

    \b
    lava prices unset openai gpt-4o-mini
    lava prices unset openai gpt-4o-mini --since 2026-01-01
    """
    with open_house(home) as house:
        at_us = _instant(house, since, "since")
        ended = house.price_overrides.unset(provider, model, at_us=at_us, by=by(idempotency_key)).value
        out = output(house, json)
        if json:
            out.document({"provider": provider, "model": model, "ended": ended.count})
        else:
            say(f"Ended {ended.count} of your prices for {model} at {provider}.")


@app.command("diff")
def diff(
    provider: ProviderOption = None,
    book: Annotated[
        Path | None,
        typer.Option(
            "--book", metavar="FILE", help="Another release: a data.json of genai-prices.", show_default=False
        ),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="WHEN", help="The book as of then: 90d, a date, or RFC 3339.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=100_000, help="How many at most.")] = 200,
    home: Home = None,
    json: Json = False,
) -> None:
    """Tell what your own prices change in the book; or what another release, or another time, has otherwise.

    \b
    lava prices diff
    lava prices diff --at 90d --provider openai
    lava prices diff --book data.json
    """
    with open_house(home) as house:
        from lava_proxy.core.instants import parse_since
        from lava_proxy.prices import load_price_book
        from lava_proxy.services.price_overrides import difference_document, differences, stored_document

        only = _providers(house, provider)[0].id if provider is not None else None
        now_us = house.clock.now_us()
        at_us = parse_since(at, now_us=now_us, zone=zone_of(None, house.settings), field="at") if at else now_us
        plain = house.prices.with_overrides(())
        before, after = (plain, house.prices)
        if book is not None:
            after = load_price_book(genai_file=book)
        elif at is not None:
            after = plain
        found = differences(
            before, after, providers=house.providers, before_us=at_us, after_us=now_us, only=only
        )
        own = [] if book or at else house.price_overrides.all()
        out = output(house, json)
        if json:
            out.document(
                {
                    "before": before.version,
                    "after": after.version,
                    "own_prices": [stored_document(each) for each in own],
                    "items": [difference_document(each) for each in found],
                }
            )
            return
        if own:
            out.table(("provider", "model", "since", "until", "note"), [_own_line(each) for each in own])
        rows = [
            (each.provider, each.model, each.unit, each.before or MISSING, each.after or MISSING, each.per, _percent(each))
            for each in found[:limit]
        ]
        out.table(("provider", "model", "unit", "before $", "after $", "per", "change"), rows, empty="No difference.")
        if len(found) > limit:
            say(f"These are the first {limit} of {len(found)}; --limit shows more.")


@app.command("update")
def update(home: Home = None, json: Json = False) -> None:
    """Tell how old the book is and how to get a newer one. Nothing is fetched: prices come with the installed packages.

    \b
    lava prices update
    """
    with open_house(home) as house:
        days, command = house.prices.age_days(house.clock.now_us()), "pip install --upgrade genai-prices"
        out = output(house, json)
        if json:
            out.document({"book": house.prices.version, "age_days": days, "command": command})
            return
        out.facts((("book", house.prices.version), ("age", f"{days} days"), ("update", f"{command} && lava restart")))
        say("Before it: `lava prices diff --book data.json` with the data.json of a newer release of genai-prices.")
        say("Afterwards: `lava reprice --since 30d --dry-run` tells what would have been charged otherwise.")


def _instant(house: "House", text: str | None, field: str) -> int:
    from lava_proxy.core.instants import parse_since

    now_us = house.clock.now_us()
    return parse_since(text, now_us=now_us, zone=zone_of(None, house.settings), field=field) if text else now_us


def _nanos(field: str, usd: str) -> int:
    from lava_proxy.core.money import parse_amount

    return parse_amount(usd, field=field)


def _unit_price(text: str) -> tuple[str, tuple[int, int]]:
    """``UNIT=USD`` or ``UNIT=USD/N``."""
    name, sign, price = text.partition("=")
    usd, slash, per = price.partition("/")
    if not sign or (slash and not (per.isascii() and per.isdigit() and 0 < int(per) <= 10**9)):
        raise InvalidInput(f"unit: {text!r} is not UNIT=USD or UNIT=USD/N, such as pages=2/1000", field="unit")
    return name, (_nanos(name, usd), int(per) if slash else 1)


def _own_line(price: "StoredPrice") -> tuple[str, ...]:
    from lava_proxy.core.instants import format_instant

    until = format_instant(price.end_us) if price.end_us is not None else MISSING
    return (price.provider, price.model, format_instant(price.start_us), until, price.note or MISSING)


def _percent(difference: "PriceDifference") -> str:
    basis = difference.change_basis_points
    return MISSING if basis is None else f"{basis / 100:+.2f} %"


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
