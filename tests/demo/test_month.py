"""`lava demo --billing`: the hand-worked month agrees with itself, with the books, and with what the commands say."""

import contextlib
import io
import json
import signal
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from lava_proxy.demo import month
from lava_proxy.demo.__main__ import main
from tests.support.lava import clean_environment, lava

PRICES = {"answer": (Decimal(1), Decimal("0.0597")), "report": (Decimal(5), Decimal("0.2997"))}
"""What a call is charged and costs."""


def test_what_each_has_used_is_the_sum_of_the_calls_in_the_statement() -> None:
    calls = [(line.customer, line.act) for line in month.STATEMENT if isinstance(line.act, month.Calls)]
    requests: Counter[str] = Counter()
    charges, costs = dict.fromkeys(month.CUSTOMERS, Decimal(0)), dict.fromkeys(month.CUSTOMERS, Decimal(0))
    for customer, act in calls:
        if not act.is_refused:
            charge, cost = PRICES[act.meter]
            requests[customer] += act.count
            charges[customer] += act.count * charge
            costs[customer] += act.count * cost
    for name, used in month.USED.items():
        found = (requests[name], charges[name], costs[name], charges[name] - costs[name])
        assert found == (used.requests, Decimal(used.charge), Decimal(used.cost), Decimal(used.margin)), name
    everyone = month.ALL_USED
    assert (requests.total(), sum(charges.values())) == (everyone.requests, Decimal(everyone.charge))
    assert sum(costs.values()) == Decimal(everyone.cost)


def test_what_was_paid_is_used_marked_up_lapsed_or_left() -> None:
    last = {line.customer: line for line in month.STATEMENT}
    assert sum(Decimal(line.paid) for line in last.values()) == Decimal(month.PAID)
    assert sum(Decimal(line.left) for line in last.values()) == Decimal(month.LEFT)
    used = (month.ALL_USED.charge, month.MARKUP, month.LAPSED, month.LEFT)
    assert sum(map(Decimal, used)) == Decimal(month.PAID)


@pytest.mark.slow
@pytest.mark.e2e
def test_the_command_plays_the_month_and_every_figure_is_as_computed(tmp_path: Path) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    said = lava(
        tmp_path, "demo", "--billing", "--json", environment=clean_environment(tmp_path / "unused", TMPDIR=str(folder))
    )
    assert said.code == 0, said.out + said.err
    document: Any = said.json()
    assert (document["ok"], document["mode"], document["mismatches"]) == (True, "test", [])
    told = Counter(event["event"] for event in document["events"])
    assert (told["line"], told["statement"], told["month"], told["verify"]) == (len(month.STATEMENT), 5, 1, 1)
    assert list(folder.iterdir()) == []


@pytest.mark.slow
@pytest.mark.e2e
def test_figures_that_differ_from_the_books_are_named_and_fail_it(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = list(month.STATEMENT)
    upgrade = next(i for i, line in enumerate(lines) if isinstance(line.act, month.Change))
    refused = next(i for i, line in enumerate(lines) if isinstance(line.act, month.Calls) and line.act.is_refused)
    lines[upgrade] = replace(lines[upgrade], paid="17.51", left="13.49")
    lines[refused] = replace(lines[refused], beyond="9.99")
    monkeypatch.setattr(month, "STATEMENT", tuple(lines))
    monkeypatch.setattr(month, "ALL_USED", replace(month.ALL_USED, cost="10.1276"))
    monkeypatch.setitem(month.USED, "acme", replace(month.USED["acme"], margin="14.10", requests=4))
    monkeypatch.setattr(month, "MARKUP", "2.01")
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # this process keeps its own
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(["--billing"]) == 1
    end = json.loads(out.getvalue().splitlines()[-1])
    assert end["ok"] is False
    assert end["mismatches"] == [
        "2026-04-16 bolt, upgrades to Pro, mid-cycle: paid: 17.50, not 17.51",
        "2026-04-16 bolt, upgrades to Pro, mid-cycle: left: 13.50, not 13.49",
        "2026-04-22 delta, 1 more is refused: beyond: 10.00, not 9.99",
        "2026-04-16 bolt, upgrades to Pro, mid-cycle: left, by the statement: 13.50, not 13.49",
        "2026-04-16 bolt, upgrades to Pro, mid-cycle: paid, by the payments: 17.50, not 17.51",
        "lava usage of acme: requests: 3, not 4",
        "lava usage of acme: margin: 14.1009, not 14.10",
        "lava usage of all: cost: 10.1277, not 10.1276",
        "what is paid, less what was used, lapsed or is left: the markup: 2.00, not 2.01",
    ]
