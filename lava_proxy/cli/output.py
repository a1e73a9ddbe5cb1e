"""What a command prints: a table on a terminal, tab-separated lines into a pipe, one document with ``--json``.

Standard output has the result and nothing else; what is said beside it goes to standard error.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import TYPE_CHECKING

from lava_proxy.core.instants import format_instant, to_datetime
from lava_proxy.core.money import format_dollars

if TYPE_CHECKING:
    from lava_proxy.core.entities import Mode

Cell = str | int | None
MISSING = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Where the result of one command goes."""

    as_json: bool
    mode: "Mode | None"

    def document(self, document: Mapping[str, object]) -> None:
        """One JSON document, with the home's mode in it."""
        print(json.dumps({"mode": self.mode.value if self.mode else None, **document}, indent=2, ensure_ascii=False))

    def page(self, documents: Sequence[Mapping[str, object]], next_cursor: str | None) -> None:
        """One page of a list, as the API gives it."""
        more = {"next_cursor": next_cursor} if next_cursor is not None else {}
        self.document({"data": documents, "has_more": next_cursor is not None, **more})

    def more(self, next_cursor: str | None) -> None:
        """Tell a person that there is another page."""
        if next_cursor is not None:
            say(f"There are more: --cursor {next_cursor}")

    def line(self, document: Mapping[str, object]) -> None:
        """One document of a stream, on one line, at once."""
        print(json.dumps({"mode": self.mode.value if self.mode else None, **document}, ensure_ascii=False), flush=True)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Cell]], *, empty: str = "") -> None:
        """Rows under their columns; ``empty`` is said to a person where there are none."""
        cells = [[_text(cell) for cell in row] for row in rows]
        if not sys.stdout.isatty():
            print("\t".join(columns))
            for row in cells:
                print("\t".join(cell.replace("\t", " ").replace("\n", " ") for cell in row))
            return
        if cells:
            _draw(columns, cells, [_is_number(column) for column in zip(*cells, strict=True)])
        elif empty:
            say(empty)

    def facts(self, pairs: Iterable[tuple[str, Cell]]) -> None:
        """Names and values of one thing."""
        known = [(name, _text(value)) for name, value in pairs]
        if not sys.stdout.isatty():
            for name, value in known:
                print(f"{name}\t{value}")
            return
        width = max((len(name) for name, _ in known), default=0)
        for name, value in known:
            print(f"{name:<{width}}  {value}")


def say(text: str) -> None:
    """To the person, beside the result."""
    print(text, file=sys.stderr)


def money(nanos: int | None) -> str:
    """Exact, as short as can be: ``$0.0581``; a dash where it is not known."""
    return MISSING if nanos is None else format_dollars(nanos)


def when(at_us: int | None, zone: tzinfo) -> str:
    """To the second for a person, RFC 3339 for a program."""
    if at_us is None:
        return MISSING
    if not sys.stdout.isatty():
        return format_instant(at_us)
    return to_datetime(at_us, zone).strftime("%Y-%m-%d %H:%M:%S")


def _text(cell: Cell) -> str:
    return MISSING if cell is None or cell == "" else str(cell)


def _is_number(column: Sequence[str]) -> bool:
    return all(
        cell == MISSING or cell.lstrip("-≤ ").startswith("$") or cell.lstrip("-").replace(",", "").isdigit()
        for cell in column
    )


def _draw(columns: Sequence[str], cells: list[list[str]], numeric: list[bool]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name, is_number in zip(columns, numeric, strict=True):
        table.add_column(name, justify="right" if is_number else "left", overflow="fold")
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)
