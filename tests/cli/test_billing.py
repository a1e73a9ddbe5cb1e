"""Plans, subscriptions, payments and top-ups as a merchant uses them; and what is refused before anything is written."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import Lava


@pytest.fixture
def shop(lava: Lava) -> Lava:
    """A test home with the customer acme, and the plans Small and Big with a bundle each."""
    lava("init", "--mode", "test")
    assert lava("customers", "create", "acme").code == 0
    assert lava("plans", "create", "Small", "10.00").code == 0
    assert lava("plans", "create", "Big", "40", "--included", "50", "--rollover", "full").code == 0
    assert lava("bundles", "create", "Small", "Ten", "10.00").code == 0
    assert lava("bundles", "create", "Big", "Hundred", "80", "--credit", "100").code == 0
    return lava


def dump(home: Path) -> list[str]:
    with closing(sqlite3.connect(home / "ledger.db")) as connection:
        return list(connection.iterdump())


def pay(lava: Lava) -> str:
    """Mark the one open payment as paid."""
    lava("tick")
    (payment,) = lava("payments", "list", "--status", "open", "--json").document["data"]
    assert lava("payments", "mark-paid", payment["payment_id"]).code == 0
    return str(payment["payment_id"])


def test_the_free_plan_is_there_from_the_start_and_can_be_changed(lava: Lava) -> None:
    lava("init", "--mode", "test")
    (free,) = lava("plans", "list", "--json").document["data"]
    assert (free["name"], free["period_amount"], free["included_credit"]) == ("Free", "0.0000000000", "0.0000000000")
    assert lava("plans", "update", "Free", "--included", "1").facts["included"] == "$1.00"
    lava("customers", "create", "acme")
    assert lava("subscriptions", "start", "acme").facts["state"] == "active"
    assert lava("credits", "balance", "acme").facts["available"] == "$1.00"
    assert lava("plans", "archive", "Free").code == 8


def test_plans_from_first_to_last(shop: Lava) -> None:
    big = shop("plans", "show", "Big", "--json").document
    assert big["credit_bundles"][0]["credit_amount"] == "100.0000000000"
    bundle = big["credit_bundles"][0]["credit_bundle_id"]
    changed = shop("plans", "update", "Big", "--top-up-bundle", bundle, "--overage-cap", "5", "--overage-markup", "20")
    assert changed.facts["overage_markup"] == "20.00 %"
    assert shop("plans", "update", "Big", "--top-up-bundle", "none").facts["top_up_bundle"] == "-"
    assert shop("plans", "create", "Big", "1").code == 7
    assert shop("plans", "archive", "Small").facts["status"] == "archived"
    assert [row["name"] for row in shop("plans", "list").rows] == ["Free", "Big"]
    assert shop("subscriptions", "start", "acme", "--plan", "Small").code == 3
    assert shop("bundles", "archive", bundle).facts["status"] == "archived"
    assert "plan.update" in [row["action"] for row in shop("audit", "list", "--action", "plan").rows]


def test_a_preview_writes_nothing_and_its_quote_does_exactly_that(shop: Lava, home: Path) -> None:
    shop("subscriptions", "list")
    before = dump(home)
    seen = shop("subscriptions", "start", "acme", "--plan", "Small", "--preview", "--json").document
    assert dump(home) == before
    assert (seen["due_now"], seen["credit_to_come"]) == ("10.0000000000", "10.0000000000")
    assert (seen["next_amount"], seen["next_renewal_at"] > seen["as_of"]) == ("10.0000000000", True)
    done = shop("subscriptions", "start", "acme", "--plan", "Small", "--quote", seen["quote"], "--json").document
    assert (done["due_now"], done["as_of"]) == (seen["due_now"], seen["as_of"])
    assert done["state"] == "incomplete"
    assert shop("subscriptions", "start", "acme", "--plan", "Small").code == 7


def test_a_quote_that_no_longer_holds_is_refused_and_writes_nothing(shop: Lava, home: Path) -> None:
    shop("subscriptions", "start", "acme", "--plan", "Small")
    pay(shop)
    quote = shop("subscriptions", "cancel", "acme", "--now", "--preview").facts["quote"]
    shop("subscriptions", "cancel", "acme")
    before = dump(home)
    refused = shop("subscriptions", "cancel", "acme", "--now", "--quote", quote.replace(quote[-4:], "0000"), "--json")
    assert refused.code == 7 and "Things have changed" in refused.error["message"]
    assert dump(home) == before


def test_a_subscription_from_first_to_last(shop: Lava) -> None:
    shop("subscriptions", "start", "acme", "--plan", "Small")
    paid = pay(shop)
    assert shop("payments", "show", paid).facts["status"] == "paid"
    assert shop("credits", "balance", "acme").facts["available"] == "$10.00"
    upgrade = shop("subscriptions", "change", "acme", "--plan", "Big", "--preview").facts
    assert upgrade["due now"].startswith(("$29.9", "$30.00")) and upgrade["credit to come"].startswith(("$39.9", "$40"))
    shop("subscriptions", "change", "acme", "--plan", "Big")
    pay(shop)
    assert shop("subscriptions", "show", "acme").facts["plan"] == "Big"
    assert shop("subscriptions", "change", "acme", "--plan", "Small").code == 0
    pending = shop("subscriptions", "show", "acme", "--json").document["pending_change"]
    assert (pending["type"], pending["name"]) == ("downgrade", "Small")
    assert shop("subscriptions", "resume", "acme").code == 0
    assert shop("subscriptions", "pause", "acme").facts["state"] == "paused"
    assert shop("subscriptions", "resume", "acme").facts["state"] == "active"
    assert shop("subscriptions", "cancel", "acme").code == 0
    assert shop("subscriptions", "list").rows[0]["pending"] == "cancellation"
    ended = shop("subscriptions", "cancel", "acme", "--now").facts
    assert ended["state"] == "cancelled" and ended["due now"].startswith("-$")
    assert shop("verify").code == 0


def test_ticking_far_ahead_renews_and_a_second_tick_does_nothing(shop: Lava) -> None:
    shop("subscriptions", "start", "acme", "--plan", "Free")
    assert len(shop("tick", "--at", "40d", "--dry-run").rows) == 1
    assert shop("tick", "--at", "40d").facts["renewals"] == "1"
    assert shop("tick", "--at", "40d").facts["renewals"] == "0"


def test_on_a_live_home_another_instant_is_only_for_looking(lava: Lava) -> None:
    lava("init", "--mode", "live")
    refused = lava("tick", "--at", "2030-01-01", "--json")
    assert refused.code == 2 and refused.error["details"]["field"] == "at"
    assert lava("tick", "--at", "2030-01-01", "--dry-run").code == 0
    assert lava("tick").code == 0


def test_top_ups_are_set_shown_and_switched_off(shop: Lava) -> None:
    assert shop("topups", "set", "acme", "--below", "5", "--amount", "20", "--month-cap", "40").rows[0]["buys"] == "$20.00"
    assert shop("tick").facts["top_ups"] == "1"
    assert shop("tick").facts["top_ups"] == "0"
    (payment,) = shop("payments", "list", "--json").document["data"]
    assert (payment["purpose"], payment["status"], payment["amount"]) == ("top_up", "pending", "20.0000000000")
    shop("payments", "mark-paid", payment["payment_id"])
    assert shop("credits", "balance", "acme").facts["available"] == "$20.00"
    assert shop("topups", "off", "acme").rows[0]["state"] == "off"


def test_a_bundle_that_was_ordered_by_mistake_can_be_dropped(shop: Lava) -> None:
    shop("subscriptions", "start", "acme", "--plan", "Small")
    cycle = pay(shop)
    (bundle,) = (row["bundle_id"] for row in shop("bundles", "list", "--plan", "Small").rows)
    assert shop("bundles", "buy", "acme", bundle, "--preview").facts["credit to come"] == "$10.00"
    shop("bundles", "buy", "acme", bundle)
    (order,) = (row["payment_id"] for row in shop("payments", "list", "--status", "open").rows)
    assert shop("payments", "void", order).facts["status"] == "void"
    assert shop("payments", "void", order).code == 0
    assert shop("payments", "mark-paid", order).code == 8
    assert shop("payments", "void", cycle).code == 8


def test_a_payment_is_marked_once_and_its_reference_is_unique(shop: Lava) -> None:
    shop("customers", "create", "bolt")
    for customer in ("acme", "bolt"):
        shop("subscriptions", "start", customer, "--plan", "Small")
    first, second = (row["payment_id"] for row in shop("payments", "list").rows)
    assert shop("payments", "mark-paid", first, "--preview").facts["credit gained"] == "$10.00"
    assert shop("payments", "mark-paid", first, "--reference", "bank 1").code == 0
    assert shop("payments", "mark-paid", first).code == 0
    assert shop("payments", "mark-paid", first, "--reference", "bank 2").code == 7
    assert shop("payments", "mark-paid", second, "--reference", "bank 1").code == 7
    assert shop("credits", "balance", "acme").facts["available"] == "$10.00"
    assert shop("payments", "refund", first).facts["due now"] == "-$10.00"
    assert shop("payments", "refund", first).code == 8


def test_subscribers_migrate_with_their_next_cycle(shop: Lava) -> None:
    shop("subscriptions", "start", "acme", "--plan", "Free")
    shop("plans", "create", "Free 2", "0", "--included", "2")
    assert shop("plans", "migrate", "Free", "Free 2", "--preview").facts["subscriptions"] == "1"
    assert shop("plans", "migrate", "Free", "Free 2").code == 2
    assert shop("plans", "migrate", "Free", "Free 2", "--yes").facts["subscriptions"] == "1"
    shop("tick", "--at", "40d")
    assert shop("subscriptions", "show", "acme").facts["plan"] == "Free 2"


WRONG_AMOUNTS = ["1.005 USD", "-3", "1e9", "NaN", "1.00000000001", "inf", "", "1,50", "٣", "99999999999"]
AMOUNT_FIELDS = [
    ("amount", ("plans", "create", "X", "{}")),
    ("included", ("plans", "create", "X", "1", "--included", "{}")),
    ("rollover_cap", ("plans", "create", "X", "1", "--rollover-cap", "{}")),
    ("bundle_rollover_cap", ("plans", "create", "X", "1", "--bundle-rollover-cap", "{}")),
    ("overage_cap", ("plans", "update", "Big", "--overage-cap", "{}")),
    ("overage_collect", ("plans", "update", "Big", "--overage-collect", "{}")),
    ("overage_markup", ("plans", "update", "Big", "--overage-markup", "{}")),
    ("cost", ("bundles", "create", "Big", "X", "{}")),
    ("credit", ("bundles", "create", "Big", "X", "1", "--credit", "{}")),
    ("price", ("subscriptions", "start", "acme", "--plan", "Big", "--price", "{}")),
    ("discount", ("subscriptions", "start", "acme", "--plan", "Big", "--discount", "{}")),
    ("minimum", ("subscriptions", "start", "acme", "--plan", "Big", "--minimum", "{}")),
    ("below", ("topups", "set", "acme", "--below", "{}", "--amount", "1")),
    ("amount", ("topups", "set", "acme", "--below", "1", "--amount", "{}")),
    ("month_cap", ("topups", "set", "acme", "--below", "1", "--amount", "1", "--month-cap", "{}")),
]


@pytest.mark.parametrize(("field", "command"), AMOUNT_FIELDS, ids=lambda value: value if isinstance(value, str) else "")
def test_wrong_amounts_are_refused_by_field_and_rule_and_nothing_is_written(
    shop: Lava, home: Path, field: str, command: tuple[str, ...]
) -> None:
    before = dump(home)
    for wrong in WRONG_AMOUNTS:
        arguments = [part.format(wrong) for part in command]
        if wrong == "-3" and arguments[-1] == "-3" and not arguments[-2].startswith("--"):
            arguments.insert(-1, "--")
            arguments.insert(0, arguments.pop(0))
        said = shop(*_json_first(arguments))
        assert said.code == 2, (wrong, said)
        error = said.error
        assert error["code"] in ("invalid_amount", "invalid_input"), (wrong, error)
        assert error["details"].get("field", field) == field and field in error["message"], (wrong, error)
    assert dump(home) == before


def _json_first(arguments: list[str]) -> list[str]:
    """``--json`` before what stands behind ``--``."""
    return [*arguments[:2], "--json", *arguments[2:]]


@pytest.mark.parametrize(
    ("field", "command"),
    [
        ("amount", ("plans", "create", "X", "1.005")),
        ("amount", ("plans", "create", "X", "10000.01")),
        ("currency", ("plans", "create", "X", "1", "--currency", "eur")),
        ("name", ("plans", "create", "", "1")),
        ("name", ("plans", "create", "sc_1", "1")),
        ("trial_days", ("plans", "create", "X", "1", "--trial-days", "400")),
        ("grace_days", ("plans", "create", "X", "1", "--grace-days", "91")),
        ("overage_collect", ("plans", "create", "X", "1", "--overage-cap", "1", "--overage-collect", "2")),
        ("overage_markup", ("plans", "create", "X", "1", "--overage-markup", "1001")),
        ("cost", ("bundles", "create", "Big", "X", "0")),
        ("cost", ("bundles", "create", "Big", "X", "0.001")),
        ("credit", ("bundles", "create", "Big", "X", "1", "--credit", "0")),
        ("discount", ("subscriptions", "start", "acme", "--plan", "Big", "--discount", "101")),
        ("minimum", ("subscriptions", "start", "acme", "--plan", "Big", "--minimum", "0.001")),
        ("bundle", ("topups", "set", "acme", "--below", "1")),
        ("cooldown", ("topups", "set", "acme", "--below", "1", "--amount", "1", "--cooldown", "5s")),
        ("cooldown", ("topups", "set", "acme", "--below", "1", "--amount", "1", "--cooldown", "soon")),
        ("status", ("payments", "list", "--status", "lost")),
        ("status", ("subscriptions", "list", "--status", "lost")),
        ("plan", ("subscriptions", "change", "acme")),
        ("quote", ("subscriptions", "start", "acme", "--plan", "Big", "--quote", "much")),
        ("at", ("tick", "--at", "2026-02-30", "--dry-run")),
        ("at", ("tick", "--at", "2025-02-29", "--dry-run")),
        ("at", ("tick", "--at", "tomorrow", "--dry-run")),
        ("at", ("tick", "--at", "2026-01-01T25:00:00Z", "--dry-run")),
    ],
)
def test_what_cannot_be_is_refused_by_field_and_rule_and_nothing_is_written(
    shop: Lava, home: Path, field: str, command: tuple[str, ...]
) -> None:
    before = dump(home)
    said = shop(*command, "--json")
    assert said.code == 2
    assert said.error["details"]["field"] == field and said.error["message"].startswith(f"{field}: ")
    assert dump(home) == before


def test_a_bundle_of_another_plan_is_refused(shop: Lava, home: Path) -> None:
    shop("subscriptions", "start", "acme", "--plan", "Small")
    (foreign,) = (row["bundle_id"] for row in shop("bundles", "list", "--plan", "Big").rows)
    before = dump(home)
    for command in (
        ("bundles", "buy", "acme", foreign),
        ("topups", "set", "acme", "--below", "1", "--bundle", foreign),
        ("plans", "update", "Small", "--top-up-bundle", foreign),
    ):
        said = shop(*command, "--json")
        assert said.code == 2 and said.error["details"]["field"] == "bundle", said
        assert "belongs to another plan" in said.error["message"]
    assert dump(home) == before


def test_every_change_twice_under_one_key_is_done_once(shop: Lava) -> None:
    commands = [
        ("plans", "create", "Once", "5"),
        ("bundles", "create", "Once", "Five", "5"),
        ("subscriptions", "start", "acme", "--plan", "Once"),
    ]
    for number, command in enumerate(commands):
        first, again = (shop(*command, "--idempotency-key", f"k{number}", "--json").document for _ in range(2))
        assert first == again
    assert shop("plans", "create", "Other", "5", "--idempotency-key", "k0").code == 7
    assert len(shop("payments", "list").rows) == 1
