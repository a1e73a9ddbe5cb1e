"""Every noun and verb as a new user tries them: what is printed, and how a command ends."""

from pathlib import Path

import pytest

from lava_proxy.cli.entry import EXIT_CODES
from lava_proxy.core.errors import LavaError
from tests.cli.conftest import Lava


@pytest.fixture
def acme(lava: Lava) -> str:
    """A customer with $5.00."""
    assert lava("customers", "create", "acme", "--name", "Acme Inc.").code == 0
    assert lava("credits", "grant", "acme", "5.00").code == 0
    return "acme"


def test_init_makes_a_home_shows_the_key_once_and_says_what_comes_next(lava: Lava, home: Path) -> None:
    first = lava("init", "--mode", "test")
    assert first.code == 0
    assert first.facts["mode"] == "test"
    assert first.facts["secret_key"].startswith("aks_test_")
    assert Path(first.facts["ca_file"]).exists()
    for step in ("lava up", "lava customers create", "lava run"):
        assert step in first.err
    again = lava("init")
    assert again.code == 0 and "secret_key" not in again.facts
    assert "was there already" in again.err
    assert lava("init", "--mode", "live").code == 8


def test_a_command_that_needs_a_home_makes_one_and_says_so_beside_its_result(lava: Lava, home: Path) -> None:
    said = lava("customers", "list", "--json")
    assert said.code == 0
    assert said.document == {"mode": "live", "data": [], "has_more": False}
    assert "Made a new home (live)" in said.err and "aks_live_" in said.err
    assert lava("customers", "list", "--json").err == ""


def test_a_home_is_named_before_or_after_the_command(lava: Lava, tmp_path: Path) -> None:
    lava("init", "--home", str(tmp_path / "a"), "--mode", "test")
    assert lava("--home", str(tmp_path / "a"), "customers", "list", "--json").document["mode"] == "test"
    assert lava("customers", "list", "--json", "--home", str(tmp_path / "b")).document["mode"] == "live"


def test_customers_from_first_to_last(lava: Lava) -> None:
    made = lava("customers", "create", "acme", "--name", "Acme Inc.", "--metadata", "team=search", "--json").document
    assert made["reference_id"] == "acme" and made["metadata"] == {"team": "search"}
    assert "was there already" in lava("customers", "create", "acme").err
    assert lava("customers", "create", "acme", "--name", "Other").code == 7
    assert lava("customers", "update", "acme", "--email", "a@acme.example", "--clear", "name").facts["name"] == "-"
    assert lava("customers", "get", made["customer_id"]).facts["email"] == "a@acme.example"
    assert [row["reference_id"] for row in lava("customers", "ls").rows] == ["acme"]
    assert lava("customers", "rm", "acme").facts["status"] == "archived"
    assert lava("customers", "list").rows == []
    assert lava("customers", "archive", "acme", "--undo").facts["status"] == "active"
    assert lava("customers", "erase", "acme").code == 2
    erased = lava("customers", "erase", "acme", "--yes", "--json").document
    assert (erased["status"], erased["reference_id"], erased["contact"]["email"]) == ("erased", None, None)
    assert lava("customers", "show", "acme").code == 3


def test_a_list_goes_on_where_the_page_before_ended(lava: Lava) -> None:
    for number in range(5):
        lava("customers", "create", f"c{number}")
    first = lava("customers", "list", "--limit", "3", "--json").document
    assert first["has_more"] is True
    rest = lava("customers", "list", "--limit", "3", "--cursor", first["next_cursor"], "--json").document
    seen = [customer["reference_id"] for customer in first["data"] + rest["data"]]
    assert sorted(seen) == [f"c{number}" for number in range(5)]
    assert "--cursor" in lava("customers", "list", "--limit", "3").err


def test_keys_from_first_to_last(lava: Lava, acme: str) -> None:
    made = lava("keys", "create", "--customer", acme, "--name", "app", "--expires-at", "90d", "--json").document
    assert made["secret_key"].startswith("lava_ck_") and made["scope"] == "customer"
    assert [row["name"] for row in lava("keys", "list", "--customer", acme).rows] == ["app"]
    rotated = lava("keys", "rotate", made["secret_key_id"], "--grace", "1h", "--json").document
    assert rotated["secret_key"] != made["secret_key"]
    assert lava("keys", "rotate", made["secret_key_id"]).code == 2
    assert lava("keys", "revoke", rotated["secret_key"], "--yes").facts["revoked_at"] != "-"
    assert lava("keys", "show", rotated["secret_key_id"], "--json").document["revoked_at"] is not None
    assert len(lava("keys", "list", "--customer", acme, "--all").rows) == 2
    assert rotated["secret_key"] not in lava("keys", "list", "--all", "--json").out


def test_a_meter_is_made_with_an_example_and_changed_by_versions(lava: Lava) -> None:
    made = lava("meters", "create", "Premium", "--rate", "20")
    assert "a call that costs $1.00 is charged $1.20" in made.err
    tokens = lava(
        "meters", "create", "Volume", "--rate-type", "fixed", "--tier", "0:5", "--tier", "1M:3", "--json"
    ).document
    assert tokens["tiers"] == [
        {"start": 0, "rate": "5.00", "type": "tokens_1m"},
        {"start": 1_000_000, "rate": "3.00", "type": "tokens_1m"},
    ]
    assert tokens["example"] == "1,000,000 tokens are charged $5.00"
    assert lava("meters", "update", "premium", "--rate", "30", "--default").facts["version"] == "2"
    shown = lava("meters", "show", "premium", "--history", "--json").document
    assert [version["tiers"][0]["rate"] for version in shown["versions"]] == ["20.00", "30.00"]
    assert shown["is_default"] is True
    assert lava("meters", "archive", "volume", "--yes").facts["status"] == "archived"
    assert lava("meters", "archive", "premium", "--yes").code == 8
    assert [row["meter_slug"] for row in lava("meters", "list").rows] == ["default", "premium"]
    for wrong in (["--rate", "-1"], ["--tier", "5:1"], ["--tier", "x"], [], ["--rate", "1", "--tier", "0:1"]):
        assert lava("meters", "create", "Wrong", *wrong).code == 2, wrong


def test_credit_is_given_once_per_idempotency_key(lava: Lava, acme: str) -> None:
    arguments = ("credits", "grant", acme, "10", "--promo", "--note", "welcome", "--idempotency-key", "k1", "--json")
    first, again = lava(*arguments), lava(*arguments)
    assert first.document == again.document
    assert first.document["amount"] == "10.0000000000" and first.document["source"] == "promo"
    conflict = lava("credits", "grant", acme, "11", "--idempotency-key", "k1", "--json")
    assert (conflict.code, conflict.error["code"]) == (7, "idempotency_conflict")
    assert lava("credits", "balance", acme).facts["available"] == "$15.00"
    voided = lava("credits", "void", first.document["grant_id"], "--reason", "by mistake", "--yes", "--json").document
    assert voided["status"] == "voided"
    lines = lava("credits", "statement", acme).rows
    assert [(line["kind"], line["amount"], line["balance"]) for line in lines] == [
        ("grant", "$5.00", "$5.00"),
        ("grant", "$10.00", "$15.00"),
        ("grant_void", "-$10.00", "$5.00"),
    ]
    document = lava("credits", "statement", acme, "--since", "1h", "--json").document
    assert document["closing_balance"] == "5.0000000000"


def test_a_customer_may_be_a_default_of_the_shell(lava: Lava, acme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAVA_CUSTOMER", acme)
    monkeypatch.setenv("LAVA_METER", "at-cost")
    assert lava("credits", "balance").facts["available"] == "$5.00"
    assert lava("quote", "gpt-4o-mini", "--input-tokens", "1000").facts["meter"] == "at-cost (named)"


def test_prices_providers_and_quotes(lava: Lava, acme: str, tmp_path: Path) -> None:
    prices = lava("prices", "show", "gpt-4o-mini", "--provider", "openai", "--json").document
    assert prices["data"][0]["unit_prices"]["input_tokens"] == {"usd": "0.15", "per": 1_000_000}
    assert lava("prices", "search", "4o-mini", "--limit", "1").rows[0]["provider"] == "openai"
    assert lava("prices", "show", "nosuch").code == 3
    assert lava("prices", "show", "gpt-4o-mini", "--provider", "nosuch").code == 3
    assert "openai" in [row["provider_id"] for row in lava("providers", "list").rows]
    assert lava("providers", "show", "anthropic", "--json").document["hosts"] == ["api.anthropic.com"]
    assert lava("providers", "show", "nosuch").code == 3
    quote = lava(
        "quote", "gpt-4o-mini", "--input-tokens", "1000", "--output-tokens", "500", "--customer", acme, "--json"
    )
    assert (quote.document["cost"], quote.document["charge"]) == ("0.0004500000", "0.0004500000")
    body = tmp_path / "request.json"
    body.write_text('{"model": "gpt-4o-mini", "max_tokens": 10, "messages": [{"role": "user", "content": "Hi"}]}')
    call = lava(
        "quote", "--url", "https://api.openai.com/v1/chat/completions", "--data", f"@{body}", "--customer", acme
    )
    assert call.facts["cost"].startswith("at most $0.0000")
    poor = lava("quote", "gpt-4o-mini", "--input-tokens", "1000000000", "--customer", acme, "--json")
    assert (poor.code, poor.document["refused"]["code"]) == (4, "insufficient_credits")
    assert "would be refused" in lava("quote", "gpt-4o-mini", "--input-tokens", "1000000000", "--customer", acme).err
    assert lava("quote").code == 2
    assert lava("quote", "--url", "https://example.com", "--data", "{}").code == 2
    assert lava("quote", "--url", "https://api.openai.com/v1/chat/completions", "--data", "@/nosuch").code == 2


def test_settings_are_shown_with_their_source_changed_and_checked(lava: Lava, home: Path) -> None:
    lava("init")
    assert lava("config", "set", "upgrade-url", "https://example.com").code == 0
    shown = lava("config", "show", "--json").document["settings"]
    assert shown["upgrade_url"] == {"value": "https://example.com", "source": str(home / "lava.toml")}
    assert shown["port"] == {"value": 0, "source": "LAVA_PORT"}
    assert shown["host"]["source"] == "default"
    assert "more credit" in lava("config", "show", "upgrade_url").err
    assert lava("config", "validate").facts["valid"] == "yes"
    assert lava("config", "set", "upgrade_url", "--unset").facts["upgrade_url"] == "-"
    assert lava("config", "set", "upgrde_url", "x").code == 2
    assert lava("config", "set", "drain_seconds", "soon").code == 2
    assert lava("config", "set", "drain_seconds").code == 2
    (home / "lava.toml").write_text("prot = 1\n")
    wrong = lava("config", "validate", "--json")
    assert (wrong.code, wrong.error["code"]) == (2, "invalid_settings")
    assert "did you mean 'port'?" in wrong.error["message"]


def test_what_is_empty_is_said_without_an_error(lava: Lava) -> None:
    for noun in ("requests", "holds", "outbox", "customers"):
        assert lava(noun, "list").rows == []
        assert lava(noun, "list", "--json").document["data"] == []
    assert lava("usage", "--json").document["items"] == []
    assert lava("outbox", "retry", "--dead", "--json").document["retried"] == 0
    assert lava("verify").facts["findings"] == "0"
    assert lava("verify", "--json").document["is_sound"] is True


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("requests", "show", "req_nosuch"), 3),
        (("requests", "list", "--customer", "nobody"), 3),
        (("requests", "list", "--meter", "nosuch"), 3),
        (("requests", "list", "--status", "lost"), 2),
        (("requests", "list", "--since", "soon"), 2),
        (("requests", "list", "--since", "1h", "--until", "2h"), 2),
        (("requests", "list", "--metadata", "feature"), 2),
        (("usage", "--by", "planet"), 2),
        (("usage", "--tz", "Europe/Atlantis"), 2),
        (("holds", "show", "hld_nosuch"), 3),
        (("holds", "void", "hld_nosuch", "--yes"), 3),
        (("credits", "balance", "nobody"), 3),
        (("credits", "grant", "nobody", "5"), 3),
        (("credits", "grant", "nobody", "1e3"), 2),
        (("credits", "grant", "nobody", "0"), 2),
        (("customers", "create", "con_x"), 2),
        (("customers", "create", "x", "--meter", "nosuch"), 3),
        (("keys", "show", "key_nosuch"), 3),
        (("meters", "show", "nosuch"), 3),
        (("outbox", "retry"), 2),
        (("outbox", "list", "--state", "lost"), 2),
        (("customers", "list", "--bogus"), 2),
        (("customers", "nosuch"), 2),
        (("nosuch",), 2),
        (("customers", "show"), 2),
        (("status",), 6),
        (("logs",), 3),
    ],
)
def test_wrong_input_ends_with_its_code_in_words_and_in_json(lava: Lava, arguments: tuple[str, ...], code: int) -> None:
    lava("init")
    plain = lava(*arguments)
    assert plain.code == code
    assert "Traceback" not in plain.err
    if arguments == ("status",):
        assert lava("status", "--json").document["ready"] is False
        return
    assert plain.out == ""
    assert plain.err.startswith("error: ")
    as_json = lava(*arguments, "--json")
    assert (as_json.code, as_json.out) == (code, "")
    assert set(as_json.error) == {"code", "message", "hint", "details"}
    assert as_json.error["message"]


def test_a_ledger_that_cannot_be_used_is_code_9(lava: Lava, home: Path) -> None:
    lava("init")
    for file in home.glob("ledger.db*"):
        file.unlink()
    (home / "ledger.db").write_bytes(b"this is no ledger" * 1000)
    said = lava("customers", "list", "--json")
    assert (said.code, said.error["code"]) == (9, "ledger_unavailable")


def test_books_that_do_not_add_up_are_code_5_with_a_list(lava: Lava, home: Path, acme: str) -> None:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(home / "ledger.db", isolation_level=None)) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute("UPDATE grants SET free_nanos = free_nanos + 1, amount_nanos = amount_nanos + 1")
    said = lava("verify", "--json")
    assert (said.code, said.error["code"]) == (5, "ledger_inconsistent")
    assert said.document["is_sound"] is False
    assert {finding["invariant"] for finding in said.document["findings"]} == {"I2"}
    plain = lava("verify")
    assert plain.code == 5 and "when it is counted again" in plain.out


def test_every_error_of_ours_has_an_exit_code() -> None:
    def kinds(kind: type[LavaError]) -> set[str]:
        return {kind.code}.union(*(kinds(child) for child in kind.__subclasses__()))

    assert kinds(LavaError) <= set(EXIT_CODES)


WRITES = {
    "customers create": ("customers", "create", "new"),
    "customers update": ("customers", "update", "acme", "--name", "Acme 2"),
    "customers archive": ("customers", "archive", "acme"),
    "customers erase": ("customers", "erase", "acme", "--yes"),
    "keys create": ("keys", "create", "--customer", "acme"),
    "keys rotate": ("keys", "rotate", "KEY", "--yes"),
    "keys revoke": ("keys", "revoke", "KEY", "--yes"),
    "meters create": ("meters", "create", "New", "--rate", "1"),
    "meters update": ("meters", "update", "extra", "--rate", "2"),
    "meters archive": ("meters", "archive", "extra", "--yes"),
    "credits grant": ("credits", "grant", "acme", "1"),
    "credits void": ("credits", "void", "GRANT", "--yes"),
}


@pytest.mark.parametrize("name", WRITES)
def test_a_write_repeated_under_its_key_is_done_once_and_told_again(
    lava: Lava, acme: str, home: Path, name: str
) -> None:
    key = lava("keys", "create", "--json").document["secret_key_id"]
    grant = lava("credits", "grant", acme, "2", "--json").document["grant_id"]
    lava("meters", "create", "Extra", "--rate", "1")
    arguments = [{"KEY": key, "GRANT": grant}.get(word, word) for word in WRITES[name]]

    first = lava(*arguments, "--idempotency-key", "once", "--json")
    transactions = lava("verify", "--json").document["transactions"]
    again = lava(*arguments, "--idempotency-key", "once", "--json")
    other = lava("customers", "create", "somebody-else", "--idempotency-key", "once")

    assert first.code == again.code == 0, first.err + again.err
    told, repeated = first.document, again.document
    assert (told.pop("secret_key", None), repeated.pop("secret_key", None))[1] is None
    assert told == repeated
    assert lava("verify", "--json").document["transactions"] == transactions
    assert other.code == 7


def test_a_provider_file_that_is_wrong_is_found_by_validate(lava: Lava, home: Path) -> None:
    lava("init")
    (home / "providers.d" / "mine.toml").write_text('id = "mine"\nhosst = ["ai.example"]\n')
    said = lava("config", "validate", "--json")
    assert (said.code, said.error["code"]) == (2, "invalid_provider_file")
    assert "mine.toml" in said.error["message"]


def test_prices_of_your_own_and_calls_priced_again(lava: Lava, tmp_path: Path) -> None:
    lava("init", "--mode", "test")
    made = lava("prices", "set", "openai", "gpt-4o-mini", "--input", "0.12", "--unit", "pages=2/1000", "--json").document
    assert made["unit_prices"] == {"input_tokens": {"usd": "0.12", "per": 1_000_000}, "pages": {"usd": "2", "per": 1000}}
    shown = lava("prices", "show", "gpt-4o-mini", "--provider", "openai", "--json").document["data"][0]
    assert (shown["price_source"], shown["unit_prices"]["input_tokens"]["usd"]) == ("operator", "0.12")
    told = lava("prices", "diff", "--json").document
    assert [own["model"] for own in told["own_prices"]] == ["gpt-4o-mini"]
    lines = {line["unit"]: line for line in told["items"] if line["model"] == "gpt-4o-mini"}
    assert (lines["input_tokens"]["before"], lines["input_tokens"]["change_percent"]) == ("0.15", "-20")
    assert lava("prices", "unset", "openai", "gpt-4o-mini", "--json").document["ended"] == 1
    assert lava("prices", "unset", "openai", "gpt-4o-mini").code == 3
    assert lava("prices", "diff", "--json").document["items"] == []
    assert lava("prices", "update", "--json").document["command"].startswith("pip install")
    (tmp_path / "data.json").write_text("[1]")
    for wrong in (
        ("prices", "set", "openai", "m", "--input", "1e3"),
        ("prices", "set", "openai", "m", "--input", "-1"),
        ("prices", "set", "openai", "m", "--input", "0.0000000001"),
        ("prices", "set", "openai", "m", "--unit", "bananas=1"),
        ("prices", "set", "openai", "m", "--unit", "pages=1/0"),
        ("prices", "set", "openai", "m"),
        ("prices", "set", "openai", "m", "--input", "1", "--since", "2026-02-30"),
        ("prices", "diff", "--book", str(tmp_path / "data.json")),
        ("reprice",),
        ("reprice", "--since", "yesterdayish"),
    ):
        assert lava(*wrong).code == 2, wrong
    done = lava("reprice", "--since", "30d", "--dry-run", "--json").document
    assert (done["is_preview"], done["looked_at"], done["items"]) == (True, 0, [])
    assert lava("audit", "list", "--json").document["data"][0]["action"] == "prices.unset"
