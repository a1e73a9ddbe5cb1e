"""`lava credits adjust` and `lava requests dispute`, as their users type them."""

import pytest

from tests.cli.conftest import Lava


@pytest.fixture
def acme(lava: Lava) -> str:
    lava("customers", "create", "acme")
    lava("credits", "grant", "acme", "5")
    return "acme"


def test_credit_is_corrected_after_a_preview(lava: Lava, acme: str) -> None:
    arguments = ("credits", "adjust", acme, "--take", "1.50", "--reason", "granted too much")
    preview = lava(*arguments, "--preview", "--json").document
    assert (preview["is_preview"], preview["credit_lost"], preview["available_after"]) == (
        True,
        "1.5000000000",
        "3.5000000000",
    )
    assert lava("credits", "balance", acme).facts["available"] == "$5.00"
    done = lava(*arguments, "--idempotency-key", "k")
    assert done.facts["available after"] == "$3.50" and done.facts["reason"] == "granted too much"
    assert lava(*arguments, "--idempotency-key", "k").out == done.out
    assert lava("credits", "balance", acme).facts["available"] == "$3.50"
    assert lava("credits", "adjust", acme, "--add", "2", "--reason", "sorry", "--json").document["grant_id"]
    assert lava("verify").code == 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--add", "1"), 2),
        (("--reason", "r"), 2),
        (("--add", "1", "--take", "1", "--reason", "r"), 2),
        (("--add", "1.005 USD", "--reason", "r"), 2),
        (("--add", "-3", "--reason", "r"), 2),
        (("--take", "1e9", "--reason", "r"), 2),
        (("--take", "0", "--reason", "r"), 2),
        (("--add", "0.00000000001", "--reason", "r"), 2),
        (("--take", "5.01", "--reason", "r"), 4),
    ],
)
def test_what_cannot_be_corrected_so_writes_nothing(
    lava: Lava, acme: str, arguments: tuple[str, ...], code: int
) -> None:
    before = lava("export", "postings").out
    said = lava("credits", "adjust", acme, *arguments)
    assert said.code == code and said.out == ""
    assert lava("export", "postings").out == before


def test_a_request_that_is_not_there_cannot_be_disputed(lava: Lava, acme: str) -> None:
    assert lava("requests", "dispute", "req_x", "--reason", "r").code == 3
    assert lava("requests", "dispute", "req_x", "--reason", "r", "--amount", "NaN").code == 2
    assert lava("credits", "adjust", "nobody", "--add", "1", "--reason", "r").code == 3
