"""`lava quote`: what a call would cost and be charged."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lava_proxy.cli.options import CustomerOption, Home, Json, MeterOption
from lava_proxy.cli.output import money, say
from lava_proxy.cli.session import open_house, output
from lava_proxy.core.errors import InvalidInput

if TYPE_CHECKING:
    from lava_proxy.services.quotes import QuoteAnswer


def quote(
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="A model, such as gpt-4o-mini.", show_default=False)
    ] = None,
    input_tokens: Annotated[
        int, typer.Option("--input-tokens", metavar="N", min=0, help="With a model: so many tokens in.")
    ] = 1_000_000,
    output_tokens: Annotated[
        int, typer.Option("--output-tokens", metavar="N", min=0, help="With a model: so many tokens out.")
    ] = 0,
    provider: Annotated[
        str | None,
        typer.Option(
            "--provider",
            metavar="PROVIDER",
            help="With a model: at this provider, if it is not its maker.",
            show_default=False,
        ),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(
            "--url", metavar="URL", help="Instead of a model: a request to this address …", show_default=False
        ),
    ] = None,
    body: Annotated[
        str | None,
        typer.Option(
            "--data", metavar="JSON|@FILE", help="… with this body; @- reads standard input.", show_default=False
        ),
    ] = None,
    method: Annotated[str, typer.Option("--method", metavar="METHOD", help="… and this method.")] = "POST",
    customer_id: CustomerOption = None,
    meter_slug: MeterOption = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Tell what a call would cost and be charged, by the very steps of the proxy. Nothing is sent or written.

    For given tokens the answer is exact; for a request it is the most that the proxy would set aside. Ends with 4 where the
    credit does not suffice, with 8 where the call would be refused for another reason.

    \b
    lava quote gpt-4o-mini --input-tokens 1200 --output-tokens 300
    lava quote gpt-4o-mini --input-tokens 1200 --customer acme
    lava quote --url https://api.openai.com/v1/chat/completions --data @request.json --customer acme
    """
    if (model is None) == (url is None):
        raise InvalidInput("model: give a model, or --url and --data", field="model")
    with open_house(home) as house:
        from lava_proxy.services.quotes import CallQuestion, Payer, TokenQuestion, quote_document

        payer = Payer(customer=customer_id, meter=meter_slug)
        if model is not None:
            tokens = TokenQuestion(
                model=model, provider=provider, input_tokens=input_tokens, output_tokens=output_tokens
            )
            answer = house.quotes.of_tokens(tokens, payer)
        else:
            call = CallQuestion(url=url or "", method=method.upper(), body=read_body(body))
            answer = house.quotes.of_call(call, payer)
        out = output(house, json)
        if json:
            out.document(quote_document(answer))
        else:
            out.facts(_facts(answer))
        if answer.refusal is not None:
            if not json:
                say(f"This call would be refused: {answer.refusal.message}")
            raise typer.Exit(4 if answer.refusal.status == 402 else 8)


def _facts(answer: "QuoteAnswer") -> list[tuple[str, str | int | None]]:
    at_most = "" if answer.is_exact else "at most "
    facts: list[tuple[str, str | int | None]] = [
        ("provider", answer.provider),
        ("model", answer.model),
        ("input_tokens", f"{at_most}{answer.input_tokens}"),
        ("output_tokens", f"{at_most}{answer.output_tokens}"),
        ("cost", at_most + money(answer.cost_nanos) if answer.cost_nanos is not None else "unknown"),
        ("charge", at_most + money(answer.charge_nanos) if answer.charge_nanos is not None else "unknown"),
        ("meter", f"{answer.meter_slug} ({answer.meter_rule})"),
        ("price_source", answer.price_source),
    ]
    if answer.available_nanos is not None:
        facts.append(("held", money(answer.hold_nanos)))
        facts.append(("available", money(answer.available_nanos)))
    return facts


def read_body(given: str | None) -> bytes:
    if given is None:
        raise InvalidInput("data: give the request's body with --data", field="data")
    if given == "@-":
        return sys.stdin.buffer.read()
    if not given.startswith("@"):
        return given.encode()
    try:
        return Path(given[1:]).read_bytes()
    except OSError as error:
        raise InvalidInput(f"data: {given[1:]} cannot be read: {error.strerror}", field="data") from error
