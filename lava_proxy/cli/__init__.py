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
    "backup": Entry("backup:backup", "Write a backup of this home to a file, while calls go on."),
    "restore": Entry("backup:restore", "Make a home from a backup; it waits to be resumed."),
    "resume": Entry("backup:resume", "Let a restored home send payments, usage and webhooks again."),
    "export": Entry("export:app", "Requests, postings and statements as CSV, JSON lines or Parquet."),
    "apply": Entry("as_code:apply", "Bring meters, plans, budgets and alerts to what a file says."),
    "pull": Entry("as_code:pull", "Write them as such a file."),
    "reprice": Entry("reprice:reprice", "Correct recorded calls whose price or usage was wrong."),
    "quote": Entry("quote:quote", "Tell what a call would cost and be charged."),
    "usage": Entry("usage:app", "Sum up requests by time, customer, meter, model or provider; report usage."),
    "report": Entry("report:report", "Report revenue, margin, deferred credit; by customer, model, meter, provider."),
    "coverage": Entry("coverage:coverage", "Tell how many calls became exact, and why others did not."),
    "customers": Entry("customers:app", "Whom you bill."),
    "keys": Entry("keys:app", "Keys: yours, and those of customers."),
    "meters": Entry("meters:app", "What customers are charged."),
    "budgets": Entry("budgets:app", "Caps on what customers, keys and teams may spend and ask."),
    "credits": Entry("credits:app", "Credit: give it, see what is left and where it went."),
    "plans": Entry("plans:app", "Recurring prices with included credit."),
    "bundles": Entry("bundles:app", "Credit that subscribers can buy beside their plan."),
    "subscriptions": Entry("subscriptions:app", "Customers on plans."),
    "topups": Entry("topups:app", "Credit that buys itself when it runs low."),
    "payments": Entry("payments:app", "Money that is due, that came, and that went back."),
    "tick": Entry("tick:tick", "Renew, collect and top up what is due."),
    "audit": Entry("audit:app", "Who changed what."),
    "requests": Entry("requests:app", "Calls, in flight and finished."),
    "holds": Entry("holds:app", "Credit set aside for calls in flight."),
    "prices": Entry("prices:app", "What providers charge."),
    "providers": Entry("providers:app", "Whose calls are metered."),
    "alerts": Entry("alerts:app", "What is to be told, and what was."),
    "destinations": Entry("destinations:app", "Where alerts are told."),
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
