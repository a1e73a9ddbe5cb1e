"""Where alerts are told: what is refused, and what is shown."""

import pytest
from msgspec.structs import replace

from lava_proxy.core.alert_rows import DestinationKind
from lava_proxy.core.destinations import PAGERDUTY_URL, Address, check_address, hint_of
from lava_proxy.core.errors import InvalidInput

MAIL = Address(host="mail.example.com", sender="lava@example.com", recipients=("ops@example.com",))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com/hook",
        "ftp://example.com",
        "file:///etc/passwd",
        "https://",
        "https://user:pw@example.com/",
        "https://example.com/a b",
        "http://169.254.169.254/latest",
        "http://[fe80::1]/",
        "http://[::ffff:169.254.169.254]/",
        "https://example.com:0/",
        "https://example.com:99999/",
    ],
)
def test_a_url_that_can_only_be_a_mistake_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="url"):
        check_address(DestinationKind.WEBHOOK, Address(url=url, secret="s"))


@pytest.mark.parametrize("url", ["https://example.com/hook", "http://127.0.0.1:9000/", "http://10.0.0.5/x?y=1"])
def test_a_destination_may_stand_anywhere_else(url: str) -> None:
    assert check_address(DestinationKind.WEBHOOK, Address(url=url, secret="s")).url == url


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"host": ""}, "smtp"),
        ({"host": "169.254.169.254"}, "smtp"),
        ({"port": 0}, "smtp"),
        ({"tls": "ssl3"}, "tls"),
        ({"user": "me"}, "secret"),
        ({"recipients": ()}, "to"),
        ({"recipients": ("ops",)}, "to"),
        ({"sender": "a@b\nBcc: c@d"}, "from"),
        ({"recipients": ("a@b, c@d",)}, "to"),
    ],
)
def test_mail_that_could_not_be_sent_is_refused_by_field(change: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInput, match=f"{field}:") as caught:
        check_address(DestinationKind.EMAIL, replace(MAIL, **change))
    assert caught.value.details["field"] == field


def test_pagerduty_needs_its_key_alone() -> None:
    assert check_address(DestinationKind.PAGERDUTY, Address(secret="k")).url == PAGERDUTY_URL
    with pytest.raises(InvalidInput, match="secret"):
        check_address(DestinationKind.PAGERDUTY, Address())


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("https://hooks.example.com/services/T0001/B0002/abcdefghijkl", "https://hooks.example.com/…ijkl"),
        ("https://example.com/short", "https://example.com/…"),
        ("http://127.0.0.1:9000/", "http://127.0.0.1:9000/"),
    ],
)
def test_the_path_of_a_url_is_not_shown(url: str, hint: str) -> None:
    assert hint_of(DestinationKind.SLACK, Address(url=url)) == hint


def test_the_hint_of_mail_has_no_password_in_it() -> None:
    assert hint_of(DestinationKind.EMAIL, replace(MAIL, user="u", secret="pw")) == (
        "ops@example.com by mail.example.com:587"
    )
