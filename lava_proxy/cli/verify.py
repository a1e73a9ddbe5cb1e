"""`lava verify`: the books proved again."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from lava_proxy.cli.options import Home, Json
from lava_proxy.cli.output import say
from lava_proxy.cli.session import open_house, output
from lava_proxy.core.errors import LedgerInconsistent

if TYPE_CHECKING:
    from lava_proxy.core.verify import Finding, Report


def verify(
    rebuild: Annotated[
        bool,
        typer.Option(
            "--rebuild-rollups", help="First make the sums of reports anew from the requests.", show_default=False
        ),
    ] = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Prove the books again: replay the journal and compare every balance, hold, record and counter with it.

    Only reads, also while the proxy runs; but for --rebuild-rollups. Ends with 5 and a list if anything does not hold.

    \b
    lava verify
    lava verify --json
    lava verify --rebuild-rollups
    """
    with open_house(home) as house:
        if rebuild:
            say(f"{house.ledger.rebuild_rollups()} rollups were made anew.")
        with _progress(quiet=json) as progress:
            report = house.verify(progress)
        out = output(house, json)
        if json:
            out.document(_document(report))
        else:
            _tell(report)
            out.facts(
                (
                    ("transactions", report.transactions),
                    ("requests", report.requests),
                    ("grants", report.grants),
                    ("open holds", report.open_holds),
                    ("findings", len(report.findings) + report.findings_more),
                    ("head hash", report.head_hash),
                )
            )
        if not report.is_sound:
            raise LedgerInconsistent(
                f"The books do not add up: {len(report.findings) + report.findings_more} findings.",
                hint="Keep a copy of the file as it is; docs/ledger.md tells what each invariant means.",
            )
        if not json:
            say("The books add up.")


def _document(report: "Report") -> dict[str, object]:
    return {
        "is_sound": report.is_sound,
        "transactions": report.transactions,
        "postings": report.postings,
        "requests": report.requests,
        "grants": report.grants,
        "holds": report.holds,
        "open_holds": report.open_holds,
        "events": report.events,
        "head_hash": report.head_hash,
        "findings": [_finding(finding) for finding in report.findings],
        "findings_more": report.findings_more,
        "warnings": [_finding(warning) for warning in report.warnings],
    }


def _finding(finding: "Finding") -> dict[str, str]:
    return {"invariant": finding.invariant, "subject": finding.subject, "message": finding.message}


def _tell(report: "Report") -> None:
    for finding in report.findings:
        print(f"{finding.invariant}\t{finding.subject}\t{finding.message}")
    if report.findings_more:
        print(f"… and {report.findings_more} more")
    for warning in report.warnings:
        say(f"warning: {warning.invariant} {warning.subject}: {warning.message}")


@contextmanager
def _progress(*, quiet: bool) -> "Iterator[Callable[[int, int], None] | None]":
    """A bar on a terminal, nothing elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("replaying the journal", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
