"""`lava alerts` and `lava destinations`, as their users type them."""

import io
import json

import pytest

from tests.cli.conftest import Lava
from tests.support.receivers import http_receiver, mail_server


def test_alerts_from_first_to_last(lava: Lava) -> None:
    lava("customers", "create", "acme")
    lava("credits", "grant", "acme", "3")
    made = lava("alerts", "create", "balance_below", "--threshold", "5.00", "--customer", "acme", "--name", "balance-below-acme", "--json").document
    assert (made["name"], made["threshold"], made["scope"]) == ("balance-below-acme", "5.00", "customer")
    assert lava("alerts", "list").rows == []
    assert lava("alerts", "check", "--json").document["changed"] == 1
    (told,) = lava("alerts", "list").rows
    assert told["message"] == "acme: balance $3.00 (below $5.00)" and told["resolved_at"] == "-"
    firing = {row["name"]: row["firing"] for row in lava("alerts", "rules").rows}
    assert firing["balance-below-acme"] == "1" and firing["disk-low"] == "0"
    lava("credits", "grant", "acme", "3")
    assert lava("alerts", "check").facts == {"changed": "1", "delivered": "1", "failed": "0"}
    assert lava("alerts", "list", "--firing").rows == []
    (told,) = lava("alerts", "list", "--customer", "acme", "--json").document["data"]
    assert (told["state"], told["value"]) == ("resolved", "$3.00")
    assert lava("alerts", "delete", "balance-below-acme").code == 2
    assert lava("alerts", "delete", "balance-below-acme", "--yes").facts["status"] == "deleted"
    assert lava("alerts", "rm", "disk-low", "--yes").code == 0
    assert "disk-low" not in lava("alerts", "rules").out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("balance_below",), 2),
        (("balance_below", "--threshold", "NaN"), 2),
        (("balance_below", "--threshold", "5", "--customer", "nobody"), 3),
        (("disk_low", "--threshold", "5y"), 2),
        (("hunger",), 2),
    ],
)
def test_a_rule_that_cannot_be_ends_with_its_code(lava: Lava, arguments: tuple[str, ...], code: int) -> None:
    said = lava("alerts", "create", *arguments)
    assert said.code == code and said.out == ""


def test_a_destination_is_made_tried_and_shown_without_its_secret(lava: Lava) -> None:
    assert lava("alerts", "test").code == 0
    with http_receiver(200, 500) as receiver:
        made = lava("destinations", "create", "ops", "--url", receiver.url, "--json").document
        assert made["secret"].startswith("whsec_")
        assert lava("alerts", "test", "ops").rows[0]["result"] == "ok"
        failed = lava("alerts", "test", "--json")
        assert failed.code == 6
        assert failed.document["data"] == [
            {"destination": "ops", "kind": "webhook", "ok": False, "answer": "500 Internal Server Error ok"}
        ]
    assert json.loads(receiver.received[0].body)["event"] == "alert.test"
    listed = lava("destinations", "list", "--json").out
    assert made["secret"] not in listed and "/hook" not in listed
    assert lava("destinations", "create", "ops", "--url", receiver.url).code == 7
    assert lava("alerts", "test", "nobody").code == 3
    assert lava("destinations", "delete", "ops", "--yes").facts["status"] == "deleted"
    assert lava("destinations", "list").rows == []


def test_a_secret_is_read_from_standard_input(lava: Lava, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("routing-key\n"))
    with http_receiver(202) as receiver:
        made = lava("destinations", "create", "call", "--kind", "pagerduty", "--url", receiver.url, "--secret", "-")
        assert made.code == 0 and "routing-key" not in made.out
        lava("alerts", "test", "call")
    assert json.loads(receiver.received[0].body)["routing_key"] == "routing-key"


def test_mail_is_tried(lava: Lava) -> None:
    with mail_server() as server:
        where = ("--smtp", f"127.0.0.1:{server.port}", "--tls", "none", "--from", "l@example.com", "--to", "o@example.com")
        assert lava("destinations", "create", "mail", "--kind", "email", *where).code == 0
        assert lava("alerts", "test", "mail").rows[0]["answer"] == "127.0.0.1 took it for o@example.com"
    assert server.mails[0]["Subject"] == "Lava: [TEST] This is a test of Lava Proxy's alerts."


@pytest.mark.parametrize(
    "arguments",
    [
        ("--url", "ftp://example.com"),
        ("--url", "https://u:p@example.com"),
        ("--kind", "email", "--smtp", "h:x"),
        ("--kind", "pagerduty"),
        ("--kind", "heartbeat", "--url", "https://example.com", "--every", "1s"),
    ],
)
def test_a_destination_that_cannot_be_is_refused(lava: Lava, arguments: tuple[str, ...]) -> None:
    assert lava("destinations", "create", "x", *arguments).code == 2
    assert lava("destinations", "list").rows == []
