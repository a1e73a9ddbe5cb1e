"""`lava verify`: the books proved again."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lava_proxy.cli.options import Home, Json
from lava_proxy.cli.output import say
from lava_proxy.cli.session import open_house, output
from lava_proxy.core.errors import LedgerInconsistent

if TYPE_CHECKING:
    from lava_proxy.services.verify import Verification
    from lava_proxy.wiring import House


def verify(home: Home = None, json: Json = False) -> None:
    """Prove the books again: replay the journal and compare every balance, hold, record and counter with it.

    Only reads, also while the proxy runs. Ends with 5 and a list if anything does not hold.

    \b
    lava verify
    lava verify --json
    """
    with open_house(home) as house:
        with _progress(house, quiet=json) as progress:
            found = house.verify(progress)
        out = output(house, json)
        if json:
            out.document(_document(found))
        else:
            _tell(found)
            facts = (
                ("journal entries", found.entries),
                ("requests", found.requests),
                ("grants", found.grants),
                ("findings", len(found.findings) + found.findings_more),
            )
            out.facts(facts)
        if not found.is_well:
            raise LedgerInconsistent(
                f"The books do not add up: {len(found.findings) + found.findings_more} findings.",
                hint="Keep a copy of the file as it is; docs/ledger.md tells what each invariant means.",
            )
        if not json:
            say("The books add up.")


def _document(found: "Verification") -> dict[str, object]:
    return {
        "is_well": found.is_well,
        "entries": found.entries,
        "requests": found.requests,
        "grants": found.grants,
        "findings": [
            {"invariant": finding.invariant, "subject": finding.subject, "message": finding.message}
            for finding in found.findings
        ],
        "findings_more": found.findings_more,
        "in_motion": found.in_motion,
        "notes": list(found.notes),
    }


def _tell(found: "Verification") -> None:
    for finding in found.findings:
        print(f"{finding.invariant}\t{finding.subject}\t{finding.message}")
    if found.findings_more:
        print(f"… and {found.findings_more} more")
    for note in found.notes:
        say(f"note: {note}")
    if found.in_motion:
        say(f"note: {found.in_motion} comparisons were left out because calls were going on.")


@contextmanager
def _progress(house: "House", *, quiet: bool) -> "Iterator[Callable[[int], None]]":
    """A bar on a terminal, nothing elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("replaying the journal", total=house.requests.last_sequence())
        yield lambda sequence: bar.update(task, completed=sequence)
