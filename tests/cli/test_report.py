"""`lava report` and `lava usage --csv` as a merchant uses them: through a pipe, on a terminal, as JSON and CSV."""

import csv
import io
import sys
from pathlib import Path

import pytest

from lava_proxy.cli import bars
from tests.cli.conftest import Lava
from tests.cli.test_billing import dump, pay

KINDS = ("revenue", "margin", "customers", "models", "meters", "providers")

FIGURES = {
    "charge": "4",
    "revenue": "4",
    "credit_sold": "10",
    "credit_given": "5",
    "credit_given_back": "1",
    "credit_used": "3",
    "breakage": "0",
    "overage": "0",
    "uncovered": "1",
    "debt_paid": "0",
    "money_in": "10",
    "refunds": "0",
    "deferred_credit": "13",
}


@pytest.fixture
def shop(lava: Lava) -> Lava:
    """acme paid $10.00 for a plan and was given $5.00; it used $3.00, of which one is given back. bolt owes $1.00."""
    lava("init", "--mode", "test")
    lava("meters", "create", "Scans", "--rate-type", "fixed", "--unit", "scans", "--rate", "0.5")
    lava("plans", "create", "Small", "10")
    for name in ("acme", "bolt"):
        assert lava("customers", "create", name).code == 0
    lava("subscriptions", "start", "acme", "--plan", "Small")
    pay(lava)
    lava("credits", "grant", "acme", "5")
    use = ("usage", "record", "--meter", "scans")
    assert lava(*use, "--customer", "acme", "--quantity", "6", "--metadata", "team=search").code == 0
    assert lava(*use, "--customer", "bolt", "--quantity", "2").code == 0
    (request,) = lava("requests", "list", "--customer", "acme", "--json").document["data"]
    assert lava("requests", "dispute", request["request_id"], "--amount", "1", "--reason", "blurred").code == 0
    return lava


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_revenue_tells_what_became_of_the_credit_that_was_sold(shop: Lava) -> None:
    document = shop("report", "revenue", "--json").document
    (month,) = document["items"]
    told = {name: text.removesuffix(".0000000000") for name, text in document["totals"].items() if name in FIGURES}
    assert told == FIGURES
    assert {name: month[name] for name in FIGURES} == {name: document["totals"][name] for name in FIGURES}
    assert shop("credits", "balance", "acme").facts["available"] == "$13.00"


def test_revenue_of_one_customer_is_theirs_alone(shop: Lava) -> None:
    totals = shop("report", "revenue", "--customer", "bolt", "--json").document["totals"]
    assert (totals["charge"], totals["uncovered"]) == ("1.0000000000", "1.0000000000")
    assert (totals["money_in"], totals["deferred_credit"]) == ("0.0000000000", "0.0000000000")


def test_revenue_of_a_part_of_the_requests_tells_of_requests_alone(shop: Lava) -> None:
    (day,) = shop("report", "revenue", "--by", "day", "--metadata", "team=search", "--json").document["items"]
    assert (day["requests"], day["charge"]) == (1, "3.0000000000")
    assert "deferred_credit" not in day
    assert shop("report", "revenue", "--meter", "scans", "--json").document["totals"]["charge"] == "4.0000000000"


def test_whoever_was_charged_most_comes_first(shop: Lava) -> None:
    rows = shop("report", "customers").rows
    assert [(row["customer"], row["charge"]) for row in rows] == [("acme", "$3.00"), ("bolt", "$1.00"), ("total", "$4.00")]
    assert [row["meter"] for row in shop("report", "meters").rows] == ["scans", "total"]
    by_hour = shop("report", "customers", "--by", "hour", "--json").document
    assert by_hour["by"] == ["hour", "customer"]


def test_a_report_says_the_same_as_table_json_and_csv(shop: Lava) -> None:
    for what in KINDS:
        compare_forms(shop, what)


def compare_forms(shop: Lava, what: str) -> None:
    items = shop("report", what, "--json").document["items"]
    sheet = read_csv(shop("report", what, "--csv").out)
    assert [{name: "" if cell is None else str(cell) for name, cell in item.items()} for item in items] == sheet
    table = shop("report", what).rows
    assert [row["charge"] for row in table[:-1]] == [f"${row['charge'][:-8]}" for row in sheet]
    assert len(sheet) >= 1


def test_a_time_without_anything_has_no_lines(shop: Lava) -> None:
    for what in KINDS:
        report = shop("report", what, "--since", "2020-01-01", "--until", "2020-12-31", "--json").document
        assert (report["items"], report["totals"]["requests"]) == ([], 0), what


def test_usage_comes_as_csv_by_the_week(shop: Lava) -> None:
    (week,) = read_csv(shop("usage", "--by", "week", "--csv").out)
    assert (week["requests"], week["charge"], week["uncovered"]) == ("2", "4.0000000000", "1.0000000000")
    assert "-W" in week["week"]


WRONG = (
    (("report", "profit"), "what"),
    (("report", "margin", "--by", "year"), "by"),
    (("report", "revenue", "--by", "customer"), "by"),
    (("report", "margin", "--since", "2026-02-30"), "since"),
    (("report", "margin", "--since", "2026-02-02", "--until", "2026-02-01"), "until"),
    (("report", "margin", "--tz", "Mars/Olympus"), "tz"),
    (("report", "margin", "--metadata", "team"), "metadata"),
    (("report", "margin", "--csv"), "csv"),
    (("usage", "--csv"), "csv"),
    (("usage", "--by", "year"), "by"),
)


def test_what_cannot_be_reported_is_refused_by_its_field(shop: Lava, home: Path) -> None:
    before = dump(home)
    for arguments, field in WRONG:
        said = shop(*arguments, "--json")
        assert (said.code, said.error["details"]["field"], said.out) == (2, field, ""), arguments
    assert dump(home) == before


def test_nobody_and_nothing_of_that_name_is_reported_as_such(shop: Lava) -> None:
    assert shop("report", "margin", "--customer", "nobody").code == 3
    assert shop("report", "margin", "--meter", "nothing").code == 3


def test_on_a_terminal_a_report_is_short_rounded_and_has_bars(shop: Lava, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    shop("report", "customers")
    lines = terminal.getvalue().splitlines()
    acme, bolt, total = (line.split() for line in lines[1:])
    assert acme[:2] == ["acme", "1"] and acme[-1] == "█" * bars.WIDTH
    assert bolt[0] == "bolt" and bolt[-1] == "█████▎"
    assert total[0] == "total" and "$4.00" in total


class Terminal(io.StringIO):
    """Standard output that somebody looks at."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_a_bar_is_as_long_as_its_figure_and_tells_a_loss() -> None:
    assert bars.bars([4, 2, -1, 0]) == ["█" * 16, "█" * 8, "-" + "█" * 4, ""]
    assert bars.bars([0, 0]) == ["", ""] and bars.bars([]) == []


def test_a_terminal_that_knows_no_blocks_gets_plain_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert bars.bars([2, 1]) == ["#" * 16, "#" * 8]
