"""What `lava demo --billing` draws: the month line by line, a statement for each customer, and what it came to."""

from collections.abc import Mapping
from itertools import groupby
from typing import Any

type Event = Mapping[str, Any]

NEXT = """\
What next:
  lava plans create Pro 25.00 --rollover full       a plan of your own
  lava subscriptions start acme --plan Pro --preview
  lava pull                                         what you sell, as a file; lava apply -f brings it back
  lava tick --dry-run                               what is due
  lava verify                                       the books proved again"""


def line(console: Any, event: Event) -> None:
    """One line of the month."""
    beyond = f"  beyond the credit [yellow]${event['beyond']}[/yellow]" if event["beyond"] != "0.00" else ""
    refused = f"  [red]{event['refused']}[/red]" if event["refused"] else ""
    when = event["when"].replace("T", " ")
    console.print(
        f"{when}  [bold]{event['customer']:<6}[/bold] {event['text']:<34} paid ${event['paid']:<8} left [green]${event['left']:<7}[/green]"
        f"{beyond}{refused}".rstrip()
    )


def statement(console: Any, event: Event) -> None:
    """Like lines of the same instant are put together."""
    table = _table("at", "what", "change", "balance", title=f"Statement of {event['customer']}")
    for (at, kind, note, amount), group in groupby(event["rows"], key=_alike):
        rows = list(group)
        times = f"{len(rows)} × " if len(rows) > 1 else ""
        what = f"{kind}: {note}" if note else kind
        table.add_row(at[:16].replace("T", " "), what, f"{times}{_signed(amount)}", f"${rows[-1]['balance']}")
    console.print()
    console.print(table)


def month(console: Any, event: Event) -> None:
    """Revenue, cost and margin, and where the money is."""
    table = _table("customer", "requests", "revenue", "cost", "margin", title="The month")
    for row in event["rows"]:
        table.add_row(row["customer"], f"{row['requests']}", *(f"${row[name]}" for name in ("charge", "cost", "margin")))
    requests = sum(row["requests"] for row in event["rows"])
    table.add_row("all", f"{requests}", *(f"${event[name]}" for name in ("revenue", "cost", "margin")), style="bold")
    console.print()
    console.print(table)
    console.print(
        f"\nPaid ${event['paid']} = used ${event['revenue']} + markup on overage ${event['markup']} + lapsed ${event['lapsed']}"
        f" + credit still owed ${event['left']}"
    )
    for alert in event["alerts"]:
        fired, resolved = (alert[name][:16].replace("T", " ") for name in ("fired_at", "resolved_at"))
        console.print(f"Alert {fired}: {alert['message']}; cleared {resolved}", markup=False)


def _table(*columns: str, title: str) -> Any:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, title=title, title_justify="left")
    for name in columns:
        table.add_column(name, justify="left" if name in ("at", "what", "customer") else "right", no_wrap=True)
    return table


def _alike(row: Event) -> tuple[str, str, str, str]:
    return row["at"], row["kind"], row["note"], row["amount"]


def _signed(amount: str) -> str:
    return f"-${amount[1:]}" if amount.startswith("-") else f"+${amount}"
