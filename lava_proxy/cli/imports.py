"""`lava import`: recorded traffic, metered offline."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lava_proxy.cli.options import CustomerOption, Home
from lava_proxy.cli.output import Cell, Output, money, say
from lava_proxy.cli.session import open_house
from lava_proxy.core.errors import InvalidInput

if TYPE_CHECKING:
    from lava_proxy.core.recorded import Recorded
    from lava_proxy.services.import_metering import Outcome
    from lava_proxy.wiring import House

COLUMNS = ("provider", "endpoint", "exchanges", "metered", "unpriced", "without_usage", "booked_before", "cost", "charge")
_REPORTED_MAX = 20
"""Pieces that could not be read are told one by one up to here."""


def import_(
    files: Annotated[list[str], typer.Argument(metavar="FILE…", help="Recordings, also as .gz; - reads standard input.")],
    form: Annotated[
        str | None,
        typer.Option("--format", metavar="FORMAT", help="jsonl, har or mitm; else as the file shows.", show_default=False),
    ] = None,
    customer_id: CustomerOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Book nothing; tell what would be.", show_default=False)] = False,
    home: Home = None,
    json: Annotated[
        bool, typer.Option("--json", "--jsonl", help="Print one JSON document a line for each exchange.", show_default=False)
    ] = False,
) -> None:
    """Meter recorded traffic: what each exchange used, cost, and would be charged.

    Without --dry-run it is booked, each exchange once, however often it is imported.

    \b
    lava import --dry-run traffic.har
    lava import --dry-run --jsonl recorded.jsonl.gz > usage.jsonl
    lava import --customer acme flows.mitm
    """
    unreadable = 0
    with _house(home, dry_run) as house:
        from lava_proxy.core.recorded import Recorded
        from lava_proxy.imports import read_recording
        from lava_proxy.services.import_documents import outcome_document, unreadable_document

        out = Output(as_json=json, mode=None)
        payer = house.imports.payer(customer_id)
        totals = _Totals()

        def exchanges() -> "Iterator[Recorded]":
            nonlocal unreadable
            for path in files:
                for piece in read_recording(path, form):
                    if isinstance(piece, Recorded):
                        yield piece
                        continue
                    unreadable += 1
                    if unreadable <= _REPORTED_MAX:
                        say(f"not read: {path}:{piece.line}: {piece.why}")
                    if json:
                        print(unreadable_document(piece))

        for outcome in _outcomes(house, exchanges(), payer, dry_run):
            if json:
                sys.stdout.write(outcome_document(outcome) + "\n")
            totals.add(outcome)
    if not json:
        totals.show(out)
        say(f"{totals.exchanges} exchanges" + (", nothing booked." if dry_run else f", {totals.new} booked now."))
    if unreadable:
        raise InvalidInput(f"file: {unreadable} of the pieces could not be read; the others were", field="file")


@contextmanager
def _house(home: Path | None, dry_run: bool) -> "Iterator[House]":
    """A dry run makes no home where there is none."""
    if not dry_run:
        with open_house(home) as house:
            yield house
        return
    from lava_proxy.settings import load_settings, resolve_home
    from lava_proxy.wiring import House

    found = resolve_home(home)
    with House(found, load_settings(found)) as house:
        yield house


def _outcomes(house: "House", exchanges: "Iterator[Recorded]", payer: object, dry_run: bool) -> "Iterator[Outcome]":
    from lava_proxy import __version__
    from lava_proxy.services.importing import Payer

    assert isinstance(payer, Payer)
    if dry_run:
        yield from house.imports.meter_all(exchanges, payer)
        return
    registered = house.instances.register(name="import", version=__version__)
    try:
        yield from house.imports.book_all(exchanges, payer, instance_id=registered.instance.instance_id)
    finally:
        house.instances.end(registered)


class _Totals:
    """Figures by provider and endpoint."""

    def __init__(self) -> None:
        self.exchanges = self.new = 0
        self._counts: Counter[tuple[str, str, str]] = Counter()

    def add(self, outcome: "Outcome") -> None:
        from lava_proxy.core.money import round_half_up

        self.exchanges += 1
        self.new += outcome.is_new is True
        key = (outcome.provider or "-", outcome.op or "-")
        self._counts[*key, "exchanges"] += 1
        self._counts[*key, "without_usage" if outcome.reason else "metered"] += 1
        self._counts[*key, "unpriced"] += "unpriced" in outcome.flags and not outcome.reason
        if outcome.is_new is False:  # its cost and charge were told then
            self._counts[*key, "booked_before"] += 1
            return
        self._counts[*key, "cost"] += 0 if outcome.cost_nanos is None else round_half_up(outcome.cost_nanos)
        self._counts[*key, "charge"] += outcome.charge_nanos or 0

    def show(self, out: Output) -> None:
        rows: list[list[Cell]] = []
        for provider, op in sorted({key[:2] for key in self._counts}):
            counts = [self._counts[provider, op, name] for name in COLUMNS[2:]]
            rows.append([provider, op, *counts[:-2], money(counts[-2]), money(counts[-1])])
        out.table(COLUMNS, rows, empty="No exchanges.")
