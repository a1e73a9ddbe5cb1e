"""`lava demo`: the whole story on this machine, drawn as it happens. It is played by a process of its own."""

import json as json_text
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

import typer

from lava_proxy.cli import demo_billing
from lava_proxy.cli.options import Json
from lava_proxy.cli.output import Output
from lava_proxy.core.entities import Mode
from lava_proxy.core.errors import NotReachable

type Event = Mapping[str, Any]
"""One line of the scenario: ``event`` is its kind; the rest are its fields, see ``lava_proxy.demo``."""

_NEXT = """\
What next:
  lava init                                         make your own home
  lava up --detach                                  start your own proxy
  lava customers create acme && lava credits grant acme 5.00
  eval "$(lava env --customer acme)"                then call your provider as before
  lava run --customer acme -- python app.py         or just one command
  lava doctor --prove                               which of your runtimes pass through"""


def command(
    keep: Annotated[bool, typer.Option("--keep", help="Keep the home, to look around in it.")] = False,
    billing: Annotated[
        bool, typer.Option("--billing", help="A month of business on a test clock, in place of the proxy's story.")
    ] = False,
    json: Json = False,
) -> None:
    """See it work: no key, no network, under 15 seconds.

    A stand-in provider and the real proxy in a temporary home in test mode: real calls through real TLS, held, metered
    and charged, until one customer is out of credit. Every figure is computed twice; ends with 1 where two differ.

    With --billing: three plans, five customers, renewals, an upgrade, a cancellation, overage, a top-up declined, then paid.
    Every figure was worked out by hand beforehand.

    \b
    lava demo
    lava demo --billing
    lava demo --keep
    """
    events = _play(keep=keep, billing=billing)
    if json:
        told = list(events)
        end = _end_of(told)
        Output(as_json=True, mode=Mode.TEST).document({**_without_kind(end), "events": told[:-1]})
    else:
        end = _draw(events, demo_billing.NEXT if billing else _NEXT)
    raise typer.Exit(0 if end["ok"] else 1)


def _play(*, keep: bool, billing: bool) -> Iterator[Event]:
    """What the scenario tells, line by line. Its process ends with us."""
    command = [sys.executable, "-m", "lava_proxy.demo", *(["--keep"] if keep else []), *(["--billing"] if billing else [])]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                yield json_text.loads(line)
        except BaseException:
            process.terminate()
            raise


def _end_of(told: list[Event]) -> Event:
    if not told or told[-1]["event"] != "end":
        raise NotReachable("The demo ended before its end; what it said stands above.")
    return told[-1]


def _draw(events: Iterator[Event], what_next: str) -> Event:
    """Print each event as it comes; gives the last one."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 120)
    told: list[Event] = []
    for event in events:
        told.append(event)
        _DRAWN[event["event"]](console, event)
    end = _end_of(told)
    if end["ok"]:
        console.print(f"\n{what_next}", markup=False)
    return end


def _step(console: Any, event: Event) -> None:
    console.print(f"[dim]{event['text']} …[/dim]")


def _ready(console: Any, event: Event) -> None:
    console.print(f"Proxy {event['proxy']}, stand-in provider {event['provider']}, mode {event['mode']}\n")


def _customer(console: Any, event: Event) -> None:
    console.print(f"[bold]{event['customer']:<8}[/bold] has ${event['credit']}, pays {event['meter']}")


def _call(console: Any, event: Event) -> None:
    tokens = f"{event['input_tokens']:>2} + {event['output_tokens']:>5,} tokens"
    charge = f"charge [green]{_dollars(event['charge']):<12}[/green]"
    figures = f"cost {_dollars(event['cost']):<12}  {charge}  left {_dollars(event['credit_left']):<12}"
    flags = f"  [yellow]{', '.join(event['flags'])}[/yellow]" if event["flags"] else ""
    console.print(f"{event['customer']:<8} {event['model']:<17} {event['how']:<8} {tokens}  {figures}{flags}")


def _refused(console: Any, event: Event) -> None:
    console.print(
        f"{event['customer']:<8} {event['model']:<17} [red]{event['status']} refused, the provider saw nothing:[/red]"
    )
    console.print(f"         {_message(event['body'])}", markup=False)


def _table(console: Any, event: Event) -> None:
    from rich.table import Table

    columns = ("customer", "calls", "refused", "tokens", "cost", "charge", "margin", "credit_left")
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name in columns:
        table.add_column(name.replace("_", " "), justify="left" if name == "customer" else "right", no_wrap=True)
    for row in event["rows"]:
        dollars = ("cost", "charge", "margin", "credit_left")
        table.add_row(*(_dollars(row[name]) if name in dollars else f"{row[name]}" for name in columns))
    console.print()
    console.print(table)


def _verify(console: Any, event: Event) -> None:
    word = "[green]proved[/green]" if event["ok"] else "[red]do not add up[/red]"
    console.print(
        f"\nlava verify: the books {word}: {event['transactions']} transactions, {event['requests']} requests"
    )


def _finish(console: Any, event: Event) -> None:
    if event["ok"]:
        console.print(f"Every figure is as computed beforehand. {event['seconds']} seconds.")
    for mismatch in event["mismatches"]:
        console.print(f"not as computed: {mismatch}", markup=False, style="red")
    if event["home"]:
        console.print(f"\nThe home is kept: lava --home {event['home']} requests list", markup=False)


_DRAWN: dict[str, Callable[[Any, Event], None]] = {
    "step": _step,
    "ready": _ready,
    "customer": _customer,
    "call": _call,
    "refused": _refused,
    "table": _table,
    "verify": _verify,
    "end": _finish,
    "line": demo_billing.line,
    "statement": demo_billing.statement,
    "month": demo_billing.month,
}


def _dollars(amount: str) -> str:
    """The same amount as short as it can be told exactly, with 2 decimals at least."""
    whole, _, part = amount.partition(".")
    return f"${whole}.{part.rstrip('0').ljust(2, '0')}"


def _message(body: str) -> str:
    """The sentence of a refusal, in whichever shape."""
    try:
        found = json_text.loads(body)["error"]
        return str(found["message"])
    except (ValueError, KeyError, TypeError):
        return body


def _without_kind(event: Event) -> dict[str, object]:
    return {name: value for name, value in event.items() if name != "event"}
