"""The command line: one file per noun. It reads, calls one service, prints.

Commands stand in one literal table and are imported when they are asked for, so that `lava --help` costs next to nothing.
"""

import os
from pathlib import Path
from typing import Annotated

import typer

from lava_proxy.cli.entry import run_app
from lava_proxy.cli.groups import Entry, LazyGroup

COMMANDS: dict[str, Entry] = {
    "init": Entry("init:init", "Make a home: ledger, certificate authority, first key, default meter."),
    "up": Entry("proxy:up", "Start the proxy."),
    "down": Entry("proxy:down", "Stop the proxy; calls in flight finish first."),
    "restart": Entry("proxy:restart", "Stop the proxy and start it again, detached."),
    "status": Entry("proxy:status", "Tell whether the proxy is ready, and where."),
    "logs": Entry("proxy:logs", "Show the log of a detached proxy."),
    "run": Entry("run:command", "Run a command with its AI calls sent through the proxy."),
    "env": Entry("env:command", "Print the variables that send a shell's AI calls through the proxy."),
    "doctor": Entry("doctor:command", "Look for what is wrong, and say how to fix it."),
    "demo": Entry("demo:command", "See it work: no key, no network, under 15 seconds."),
    "verify": Entry("verify:verify", "Prove the books again from the journal."),
    "import": Entry("imports:import_", "Meter recorded traffic: HAR files, flow dumps, JSON lines."),
    "quote": Entry("quote:quote", "Tell what a call would cost and be charged."),
    "usage": Entry("usage:usage", "Sum up requests by day, customer, meter, model or provider."),
    "customers": Entry("customers:app", "Whom you bill."),
    "keys": Entry("keys:app", "Keys: yours, and those of customers."),
    "meters": Entry("meters:app", "What customers are charged."),
    "credits": Entry("credits:app", "Credit: give it, see what is left and where it went."),
    "requests": Entry("requests:app", "Calls, in flight and finished."),
    "holds": Entry("holds:app", "Credit set aside for calls in flight."),
    "prices": Entry("prices:app", "What providers charge."),
    "providers": Entry("providers:app", "Whose calls are metered."),
    "outbox": Entry("outbox:app", "Events on their way to others."),
    "config": Entry("config:app", "Settings of this home."),
}
"""Each with the function or group in this package that it is, and its line in `lava --help`."""


class Commands(LazyGroup):
    """The commands of the table above."""

    entries = COMMANDS


app = typer.Typer(
    name="lava",
    cls=Commands,
    help="Meters, gates and bills AI traffic on your own machine.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    epilog="Start with: lava up, then in another shell: lava run -- python app.py",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from lava_proxy import __version__

        print(f"lava {__version__}")
        raise typer.Exit


@app.callback()
def root(
    home: Annotated[
        Path | None, typer.Option("--home", help="The home to use, as with every command.", show_default=False)
    ] = None,
    version: Annotated[
        bool,
        typer.Option("--version", "-V", help="Print the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    del version
    if home is not None:
        os.environ["LAVA_HOME"] = str(home)


def main() -> None:
    """The `lava` command."""
    run_app(app)


__all__ = ["COMMANDS", "app", "main"]
