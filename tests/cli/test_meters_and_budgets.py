"""Meters with options, reports of usage and budgets as they are typed; and all that is refused, with nothing written."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import Lava


@pytest.fixture
def acme(lava: Lava) -> str:
    assert lava("customers", "create", "acme").code == 0
    assert lava("credits", "grant", "acme", "100").code == 0
    assert lava("meters", "create", "Storage", "--rate-type", "fixed", "--unit", "gb_hours", "--rate", "0.5").code == 0
    return "acme"


def written(home: Path) -> list[str]:
    """Everything in the ledger, as statements."""
    with closing(sqlite3.connect(home / "ledger.db")) as connection:
        return list(connection.iterdump())


FIXED = ("meters", "create", "New", "--rate-type", "fixed")
CUSTOM = (*FIXED, "--unit", "pages_read", "--rate", "1")
SET = ("budgets", "set", "--customer", "acme")
RECORD = ("usage", "record", "--customer", "acme", "--meter", "storage")
BAD = [
    ((*FIXED, "--tier", "0:5", "--tier", "10:3", "--tier", "10:1"), "tiers", "ascend"),
    ((*FIXED, "--tier", "0:5", "--tier", "10:3", "--tier", "5:1"), "tiers", "ascend"),
    ((*FIXED, "--tier", "1:5"), "tiers", "start at 0"),
    ((*FIXED, "--tier", "0:5", "--tier", "1.5:3"), "tiers", "no start"),
    ((*FIXED, "--rate", "1.005 USD"), "tiers", "no rate"),
    ((*FIXED, "--rate", "-3"), "tiers", "no rate"),
    ((*FIXED, "--rate", "1e9"), "tiers", "no rate"),
    ((*FIXED, "--rate", "NaN"), "tiers", "no rate"),
    ((*FIXED, "--rate", "1.00000000001"), "tiers", "no rate"),
    ((*FIXED, "--rate", "1", "--tier", "0:1"), "rate", "not both"),
    (FIXED, "rate", "say what is charged"),
    ((*FIXED, "--unit-rate", "input_tokens:3"), "rate", "output_tokens"),
    ((*FIXED, "--rate", "1", "--unit-rate", "smells:3"), "unit_rates", "no unit"),
    ((*FIXED, "--rate", "1", "--unit-rate", "images"), "unit_rates", "UNIT:RATE"),
    ((*FIXED, "--rate", "1", "--unit-rate", "images:-3"), "unit_rates", "no rate"),
    ((*FIXED, "--rate", "1", "--unit-rate", "images:1", "--unit-rate", "images:2"), "unit_rates", "twice"),
    ((*FIXED, "--rate", "1", "--tier-type", "requests", "--unit-rate", "requests:2"), "unit_rates", "already"),
    ((*FIXED, "--rate", "1", "--model-rate", "gpt-4o"), "model_rates", "MODEL=RATE"),
    ((*FIXED, "--rate", "1", "--model-rate", "gpt-4o=NaN"), "model_rates", "no rate"),
    ((*FIXED, "--rate", "1", "--model-rate", "a=1", "--model-rate", "a=2"), "model_rates", "two rates"),
    ((*FIXED, "--rate", "1", "--minimum-charge", "1.005 USD"), "minimum_charge", "not an amount"),
    ((*FIXED, "--rate", "1", "--minimum-charge", "-3"), "minimum_charge", "negative"),
    ((*FIXED, "--rate", "1", "--minimum-charge", "1e9"), "minimum_charge", "not an amount"),
    ((*FIXED, "--rate", "1", "--minimum-charge", "NaN"), "minimum_charge", "not an amount"),
    ((*FIXED, "--rate", "1", "--minimum-charge", "0.00000000001"), "minimum_charge", "9 decimals"),
    ((*FIXED, "--rate", "1", "--allowance", "-3"), "allowance", "whole number"),
    ((*FIXED, "--rate", "1", "--allowance", "1.5"), "allowance", "whole number"),
    ((*FIXED, "--tier", "0:1", "--tier", "5:2", "--tier-mode", "volume"), "tiers", "must not rise"),
    ((*FIXED, "--rate", "1", "--aggregation", "max"), "aggregation", "unit of your own"),
    (("meters", "create", "New", "--rate", "20", "--unit-rate", "images:1"), "unit_rates", "fixed"),
    (("meters", "create", "New", "--rate", "20", "--allowance", "5"), "allowance", "fixed"),
    (("meters", "create", "New", "--rate", "20", "--unit", "pages_read"), "rate_type", "fixed"),
    ((*CUSTOM, "--tier-type", "minutes"), "unit", "not both"),
    ((*CUSTOM, "--aggregation", "max"), "reset", "per cycle"),
    ((*CUSTOM, "--unit-rate", "images:1"), "unit_rates", "no parts"),
    ((*CUSTOM, "--default"), "default", "calls"),
    ((*FIXED, "--rate", "1", "--unit", "Gb Hours"), "unit", "lower-case"),
    ((*FIXED, "--rate", "1", "--unit", "input_tokens"), "unit", "already"),
    ((*FIXED, "--rate", "1", "--tier-type", "custom"), "unit", "names its unit"),
    (("meters", "update", "storage", "--tier", "0:5", "--tier", "0:1"), "tiers", "ascend"),
    (("meters", "update", "default", "--allowance", "1M"), "allowance", "fixed"),
    (RECORD, "quantity", "adds up quantities"),
    ((*RECORD, "--quantity", "-3"), "quantity", "no quantity"),
    ((*RECORD, "--quantity", "1e9"), "quantity", "no quantity"),
    ((*RECORD, "--quantity", "NaN"), "quantity", "no quantity"),
    ((*RECORD, "--quantity", "0"), "quantity", "more than 0"),
    ((*RECORD, "--quantity", "1.0000001"), "quantity", "6 decimals"),
    ((*RECORD, "--quantity", "1000000001"), "quantity", "at most"),
    ((*RECORD, "--quantity", "1", "--value", "x"), "quantity", "no value"),
    (("usage", "record", "--customer", "acme", "--quantity", "1"), "meter_slug", "which meter"),
    (("usage", "record", "--meter", "storage", "--quantity", "1"), "customer_id", "whose"),
    (("usage", "record", "--customer", "acme", "--meter", "default", "--quantity", "1"), "meter_slug", "charges calls"),
    (SET, "limit", "exactly one"),
    ((*SET, "--charge", "1", "--cost", "1"), "limit", "exactly one"),
    ((*SET, "--charge", "1.005 USD"), "charge", "not an amount"),
    ((*SET, "--charge", "-3"), "charge", "negative"),
    ((*SET, "--cost", "1e9"), "cost", "not an amount"),
    ((*SET, "--cost", "NaN"), "cost", "not an amount"),
    ((*SET, "--cost", "0.00000000001"), "cost", "9 decimals"),
    ((*SET, "--requests", "1.5"), "requests", "whole number"),
    ((*SET, "--requests", "-3"), "requests", "whole number"),
    ((*SET, "--rate", "1e9"), "rate", "whole number"),
    ((*SET, "--rate", "10", "--burst", "0"), "burst", "whole number"),
    ((*SET, "--charge", "1", "--burst", "3"), "burst", "--rate"),
    ((*SET, "--charge", "1", "--per", "year"), "period", "choose of"),
    ((*SET, "--rate", "1", "--per", "day"), "period", "has none"),
    ((*SET, "--models", " , "), "models", "name 1 to"),
    ((*SET, "--charge", "1", "--key", "key_1"), "subject", "exactly one"),
    (("budgets", "set", "--charge", "1"), "subject", "exactly one"),
    (("budgets", "set", "--charge", "1", "--metadata", "team"), "metadata", "KEY=VALUE"),
    (("budgets", "set", "--charge", "1", "--metadata", "the team=x"), "metadata", "letters"),
    (("meters", "simulate", "default", "--by", "moon"), "by", "choose of"),
    (("meters", "simulate", "default", "--since", "2026-02-30"), "since", "not an instant"),
]


@pytest.mark.parametrize(("arguments", "field", "rule"), BAD, ids=lambda part: " ".join(part) if isinstance(part, tuple) else part)
def test_what_cannot_be_is_refused_by_field_and_rule_and_nothing_is_written(
    lava: Lava, acme: str, home: Path, arguments: tuple[str, ...], field: str, rule: str
) -> None:
    before = written(home)
    said = lava(*arguments, "--json")
    assert said.code == 2, said
    assert said.error["code"] in ("invalid_input", "invalid_amount")
    assert said.error["details"]["field"] == field
    assert field in said.error["message"] and rule in said.error["message"]
    assert said.out == "" and written(home) == before


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("budgets", "set", "--customer", "nobody", "--charge", "1"), "customer_not_found"),
        (("budgets", "set", "--plan", "gold", "--charge", "1"), "not_found"),
        (("budgets", "show", "bud_x"), "not_found"),
        (("budgets", "delete", "bud_x", "--yes"), "not_found"),
        (("meters", "simulate", "nosuch"), "meter_not_found"),
        ((*RECORD[:3], "nobody", *RECORD[4:], "--quantity", "1"), "customer_not_found"),
    ],
)
def test_what_does_not_exist_is_not_found(lava: Lava, acme: str, arguments: tuple[str, ...], code: str) -> None:
    said = lava(*arguments, "--json")
    assert (said.code, said.error["code"]) == (3, code)


def test_a_meter_with_options_is_made_shown_and_changed(lava: Lava) -> None:
    made = lava(
        *FIXED, "--tier", "0:5", "--tier", "1M:3", "--tier-mode", "volume", "--unit-rate", "cached_input_tokens:0.5",
        "--unit-rate", "images:0.04", "--model-rate", "gpt-4o*=10", "--model-rate", "gpt-4o*=images:0.08",
        "--minimum-charge", "0.001", "--allowance", "1M", "--reset", "cycle", "--json",
    ).document  # fmt: skip
    assert made["tier_mode"] == "volume" and made["reset"] == "cycle"
    assert made["unit_rates"] == {"cached_input_tokens": "0.50", "images": "0.04"}
    assert made["model_rates"] == [{"model": "gpt-4o*", "rate": "10.00", "unit_rates": {"images": "0.08"}}]
    assert (made["minimum_charge"], made["allowance"]) == ("0.0010000000", 1_000_000)
    facts = lava("meters", "show", "new").facts
    assert facts["images"] == "$0.04 per 1" and facts["model gpt-4o*"] == "10.00, images $0.08 per 1"
    changed = lava("meters", "update", "new", "--unit-rate", "", "--model-rate", "", "--allowance", "0", "--json").document
    assert changed["version"] == 2 and changed["unit_rates"] == {} and changed["minimum_charge"] == "0.0010000000"
    plain = lava("meters", "update", "new", "--minimum-charge", "0", "--tier-mode", "graduated", "--json").document
    assert "unit_rates" not in plain
    history = lava("meters", "show", "new", "--history", "--json").document["versions"]
    assert [version.get("allowance") for version in history] == [1_000_000, 0, None]
    assert lava("meters", "create", "Parts", "--rate-type", "fixed", "--unit-rate", "input_tokens:3", "--unit-rate", "output_tokens:15").err == (
        "For example, 1,000,000 input_tokens are charged $3.00.\n"
    )


def test_usage_is_reported_once_per_key_and_stands_in_the_lists(lava: Lava, acme: str) -> None:
    arguments = (*RECORD, "--quantity", "2.5", "--metadata", "disk=a", "--idempotency-key", "k", "--json")
    first, again = lava(*arguments).document, lava(*arguments).document
    assert first == again
    assert first["charge"]["amount"] == "1.2500000000" and first["charge"]["breakdown"][0]["units"] == "2.5"
    assert first["charge"]["breakdown"][0]["tier"]["type"] == "gb_hours"
    assert lava(*RECORD, "--quantity", "3", "--idempotency-key", "k").code == 7
    assert lava("credits", "balance", acme).facts["available"] == "$98.75"
    assert lava("usage").rows[-1]["charge"] == "$1.25"
    assert lava("requests", "show", first["request_id"], "--json").document["flags"] == ["reported"]
    assert lava("requests", "list").rows[0]["charge"] == "$1.25"
    assert lava("verify").code == 0
    simulated = lava("meters", "simulate", "storage", "--json").document["totals"]
    assert (simulated["requests"], simulated["charge"], simulated["difference"]) == (1, "1.2500000000", "0.0000000000")
    assert lava("meters", "simulate", "storage", "--by", "customer").rows[0]["customer"] == "acme"


def test_a_budget_is_set_listed_shown_changed_and_taken_away(lava: Lava, acme: str) -> None:
    made = lava(*SET, "--charge", "50", "--per", "month", "--json").document
    assert (made["limit"], made["spent"], made["left"]) == ("50.0000000000", "0.0000000000", "50.0000000000")
    assert made["resets_at"].endswith("-01T00:00:00.000000Z")
    assert lava(*SET, "--charge", "60", "--per", "month", "--json").document["budget_id"] == made["budget_id"]
    lava("budgets", "set", "--customer", "*", "--rate", "60", "--burst", "10")
    lava("budgets", "set", "--metadata", "team=*", "--models", "gpt-4o*, o3")
    assert [(row["measure"], row["limit"]) for row in lava("budgets", "list").rows] == [
        ("charge", "$60.00"),
        ("rate", "60 a minute, 10 at once"),
        ("models", "gpt-4o*, o3"),
    ]
    assert [row["limit"] for row in lava("budgets", "list", "--customer", acme).rows] == ["$60.00"]
    assert lava("budgets", "show", made["budget_id"]).facts["limit"] == "$60.00"
    assert lava("budgets", "delete", made["budget_id"]).code == 2
    assert lava("budgets", "rm", made["budget_id"], "--yes").facts["ended_at"] != "-"
    assert len(lava("budgets", "list", "--json").document["data"]) == 2
    once = ("budgets", "set", "--customer", acme, "--requests", "5", "--idempotency-key", "b", "--json")
    assert lava(*once).document == lava(*once).document
