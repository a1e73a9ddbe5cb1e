"""What the commands tell of calls: finished ones, those in flight, orphans; and what an operator may do about them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lava_proxy.core.entities import Mode
from lava_proxy.settings import Home, Settings
from lava_proxy.wiring import House, make_home
from tests.cli.conftest import Lava
from tests.services.conftest import Traffic
from tests.services.test_verify import fill

LAVA = [sys.executable, "-c", "from lava_proxy.cli import main; main()"]


@pytest.fixture
def filled(home: Path) -> Path:
    """Books with charges, a void, debt, an orphan, a run's budgets and a call in flight."""
    make_home(Home(home), Settings(), mode=Mode.TEST)
    with House(Home(home), Settings()) as house:
        house.instances.end(fill(house).registered)
    return home


def test_requests_are_listed_and_shown_for_people_and_programs(lava: Lava, filled: Path) -> None:
    rows = lava("requests", "list").rows
    assert [row["status"] for row in rows] == ["pending", "completed", "completed", "error", "completed", "completed"]
    assert [row["customer"] for row in rows] == ["acme", "acme", "poor", "acme", "acme", "acme"]
    assert rows[0]["charge"].startswith("≤ $")
    assert rows[2]["flags"] == "over_hold"
    documents = lava("requests", "list", "--json").document["data"]
    assert [document["request_id"] for document in documents] == [row["request_id"] for row in rows]
    for row in rows:
        assert lava("requests", "show", row["request_id"]).facts["status"] == row["status"]
        assert lava("requests", "get", row["request_id"], "--json").document["status"] == row["status"]
    shown = lava("requests", "show", rows[-1]["request_id"]).facts
    assert (shown["input_tokens"], shown["cost"], shown["charge"]) == ("1000", "$0.00045", "$0.00045")
    assert shown["from 0"] == "$0.00045 at 0.00"


def test_requests_are_found_by_who_what_and_when(lava: Lava, filled: Path) -> None:
    assert [row["customer"] for row in lava("requests", "list", "--customer", "poor").rows] == ["poor"]
    assert len(lava("requests", "list", "--flag", "orphaned").rows) == 1
    assert len(lava("requests", "list", "--status", "pending").rows) == 1
    assert len(lava("requests", "list", "--since", "1h", "--meter", "default").rows) == 6
    assert lava("requests", "list", "--until", "1h").rows == []
    run_id = lava("requests", "list", "--flag", "orphaned", "--json").document["data"][0]["run_id"]
    assert len(lava("requests", "list", "--run-id", run_id).rows) == 4


def test_coverage_tells_why_calls_are_not_exact_with_a_sample(lava: Lava, filled: Path) -> None:
    found = lava("coverage", "--json").document

    counts = {name: grade["requests"] for name, grade in found["grades"].items()}
    assert found["requests"] == sum(counts.values()) == 4
    assert counts == {"exact": 3, "estimated": 1, "unpriced": 0, "unknown": 0}
    assert found["grades"]["exact"]["share_basis_points"] == 7500
    (reason,) = found["reasons"]
    assert reason["reason"] == "its proxy was killed: charged at its hold"
    assert "orphaned" in lava("requests", "show", reason["sample_request_id"], "--json").document["flags"]
    assert lava("coverage", "--customer", "poor").rows[0] == {"grade": "exact", "calls": "1", "share": "100.00 %"}
    assert "no calls" in lava("coverage", "--until", "1h").err
    assert "75.00 % exact, 25.00 % estimated" in lava("doctor").out


def test_usage_is_summed_up_by_name(lava: Lava, filled: Path) -> None:
    rows = lava("usage", "--by", "customer,meter").rows
    assert [(row["customer"], row["meter"], row["requests"]) for row in rows] == [
        ("acme", "default", "4"),
        ("poor", "default", "1"),
        ("total", "-", "5"),
    ]
    document = lava("usage", "--by", "model", "--json").document
    assert [item["model"] for item in document["items"]] == ["gpt-4o-mini"]
    assert document["totals"]["total_requests"] == 5


def test_holds_are_listed_and_voided_by_hand(lava: Lava, filled: Path) -> None:
    (open_hold,) = lava("holds", "list").rows
    assert open_hold["state"] == "in_flight"
    refused = lava("holds", "void", open_hold["hold_id"], "--yes", "--json")
    assert (refused.code, refused.error["code"]) == (8, "refused")
    assert lava("holds", "void", open_hold["hold_id"], "--yes", "--force").code == 2
    arguments = (
        "holds",
        "rm",
        open_hold["request_id"],
        "--yes",
        "--force",
        "--reason",
        "stuck",
        "--idempotency-key",
        "k",
    )
    assert lava(*arguments).facts["state"] == "voided"
    assert lava(*arguments).facts["state"] == "voided"
    (orphan,) = [row for row in lava("holds", "list", "--all").rows if row["state"] == "orphaned"]
    before = lava("credits", "balance", "acme", "--json").document["available"]
    assert (
        lava("holds", "void", orphan["hold_id"], "--yes", "--reason", "never sent", "--json").document["state"]
        == "voided"
    )
    after = lava("credits", "balance", "acme", "--json").document["available"]
    assert float(after) - float(before) == pytest.approx(0.0006111)
    assert lava("verify").code == 0


def test_a_customer_with_a_call_in_flight_is_not_archived(lava: Lava, filled: Path) -> None:
    said = lava("customers", "archive", "acme", "--json")
    assert (said.code, said.error["code"]) == (8, "refused")
    assert "lava holds list" in said.error["hint"]


def test_tail_prints_a_document_a_line_as_calls_end(filled: Path) -> None:
    process = subprocess.Popen([*LAVA, "requests", "tail"], stdout=subprocess.PIPE, text=True)
    with_json = subprocess.Popen(
        [*LAVA, "requests", "tail", "--json", "--limit", "2"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()  # the head stands before anything is followed
    ended = []
    with House(Home(filled), Settings()) as house:
        traffic = Traffic(house)
        while with_json.poll() is None:
            ended.append(traffic.call("acme"))
        house.instances.end(traffic.registered)
    process.terminate()
    table, _ = process.communicate()
    out, _ = with_json.communicate()
    documents = [json.loads(line) for line in out.splitlines()]
    assert len(documents) == 2
    assert {document["request_id"] for document in documents} <= set(ended)
    assert all(document["mode"] == "test" for document in documents)
    assert table.splitlines()[0].split("\t")[1].startswith("req_")
