"""Alerts reach every destination in its own shape, once, whatever fails in between."""

import hashlib
import hmac
import json
import logging
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from lava_proxy.core.alert_rows import DestinationKind
from lava_proxy.core.destinations import Address
from lava_proxy.core.entities import AuditEntry, DeliveryState, HomeFact, IdempotentResult
from lava_proxy.core.pausing import PAUSED_FACT
from lava_proxy.core.ports import Decision
from lava_proxy.delivery.courier import LEASE_US, RETRY_SECONDS, Delivered, consumer_of
from lava_proxy.services.credits import GrantTerms
from lava_proxy.services.destinations import NewDestination
from lava_proxy.services.outbox import Parcel
from lava_proxy.wiring import House
from tests.services.conftest import ME, TestClock
from tests.support.receivers import http_receiver, mail_server

Fire = Callable[[str], None]
SECOND_US = 1_000_000


def destination(house: House, kind: DestinationKind, address: Address, name: str = "ops") -> NewDestination:
    return house.destinations.create(name, kind, address, by=ME).value


def parcels(house: House, made: NewDestination) -> tuple[Parcel, ...]:
    return house.outbox.parcels(consumer=consumer_of(made.destination))


def test_a_webhook_is_signed_over_timestamp_and_body(house: House, fire: Fire, clock: TestClock) -> None:
    with http_receiver() as receiver:
        made = destination(house, DestinationKind.WEBHOOK, Address(url=receiver.url))
        fire("acme")
        assert house.courier.deliver().sent == 2  # and the log
        (got,) = receiver.received

    timestamp = got.headers["x-lava-timestamp"]
    assert made.secret is not None
    signed = hmac.new(made.secret.encode(), timestamp.encode() + b"." + got.body, hashlib.sha256).hexdigest()
    assert got.headers["x-lava-signature"] == f"v1={signed}"
    assert abs(int(timestamp) - clock.at_us // SECOND_US) <= 1
    document = json.loads(got.body)
    assert document["event"] == "alert.fired"
    assert document["event_id"] == got.headers["x-lava-event-id"]
    assert document["alert"]["message"] == "acme: balance $1.00 (below $5.00)"
    assert (document["alert"]["customer"], document["alert"]["value"]) == ("acme", "$1.00")
    assert house.courier.deliver().sent == 0


def test_slack_is_told_in_its_shape_and_a_name_is_no_link(house: House, fire: Fire) -> None:
    with http_receiver() as receiver:
        destination(house, DestinationKind.SLACK, Address(url=receiver.url))
        fire("<!channel>")
        house.courier.deliver()
    document = json.loads(receiver.received[0].body)
    assert document["text"] == "[WARNING] &lt;!channel&gt;: balance $1.00 (below $5.00)"
    assert document["attachments"][0]["color"].startswith("#")


def test_pagerduty_opens_an_incident_and_closes_it(house: House, fire: Fire) -> None:
    with http_receiver(202) as receiver:
        destination(house, DestinationKind.PAGERDUTY, Address(url=receiver.url, secret="routing"))
        fire("acme")
        house.courier.deliver()
        house.credits.grant(GrantTerms(customer="acme", amount_nanos=9 * 10**9), by=ME)
        assert house.alerts.look() == 1
        house.courier.deliver()
    opened, closed = (json.loads(got.body) for got in receiver.received)
    assert (opened["event_action"], closed["event_action"]) == ("trigger", "resolve")
    assert opened["dedup_key"] == closed["dedup_key"]
    assert opened["routing_key"] == "routing"
    assert opened["payload"]["severity"] == "warning"
    assert "payload" not in closed


def test_mail_is_sent_with_a_login_to_everyone(house: House, fire: Fire) -> None:
    with mail_server() as server:
        address = Address(
            host="127.0.0.1",
            port=server.port,
            tls="none",
            user="lava",
            secret="pw",
            sender="lava@example.com",
            recipients=("a@example.com", "b@example.com"),
        )
        destination(house, DestinationKind.EMAIL, address)
        fire("acme")
        assert house.courier.deliver().failed == 0
    (mail,) = server.mails
    assert server.recipients == ["a@example.com", "b@example.com"]
    assert mail["Subject"] == "Lava: [WARNING] acme: balance $1.00 (below $5.00)"
    assert "balance $1.00" in mail.get_payload()
    assert any(command.startswith("AUTH PLAIN") for command in server.commands)


def test_a_password_never_goes_over_a_line_that_was_to_be_encrypted(house: House, fire: Fire) -> None:
    with mail_server() as server:
        address = Address(
            host="127.0.0.1",
            port=server.port,
            user="u",
            secret="pw",
            sender="l@example.com",
            recipients=("a@b.example",),
        )
        made = destination(house, DestinationKind.EMAIL, address)
        fire("acme")
        assert house.courier.deliver().failed == 1
        assert not server.mails and not any(command.startswith("AUTH") for command in server.commands)
    (parcel,) = parcels(house, made)
    assert "STARTTLS" in parcel.delivery.last_error and "pw" not in parcel.delivery.last_error


def test_a_mail_that_is_refused_is_tried_again(house: House, fire: Fire, clock: TestClock) -> None:
    with mail_server(refuses=True) as server:
        address = Address(
            host="127.0.0.1", port=server.port, tls="none", sender="l@example.com", recipients=("a@example.com",)
        )
        destination(house, DestinationKind.EMAIL, address)
        fire("acme")
        assert house.courier.deliver().failed == 1
        server.refuses = False
        clock.at_us += RETRY_SECONDS[0] * SECOND_US
        assert house.courier.deliver().sent == 1
        assert len(server.mails) == 1


def test_what_fails_is_tried_again_later_and_under_the_same_id(house: House, fire: Fire, clock: TestClock) -> None:
    with http_receiver(500, 302, 200, body=b"went wrong") as receiver:
        made = destination(house, DestinationKind.WEBHOOK, Address(url=receiver.url))
        fire("acme")
        assert house.courier.deliver().failed == 1
        assert house.courier.deliver() == Delivered()  # not before its time
        (parcel,) = parcels(house, made)
        assert (parcel.delivery.attempts, parcel.delivery.last_error) == (1, "500 Internal Server Error went wrong")
        clock.at_us += RETRY_SECONDS[0] * SECOND_US
        assert house.courier.deliver().failed == 1, "a redirect is not followed"
        clock.at_us += RETRY_SECONDS[1] * SECOND_US
        assert house.courier.deliver().sent == 1
    assert [got.path for got in receiver.received] == ["/hook"] * 3
    assert len({got.headers["x-lava-event-id"] for got in receiver.received}) == 1


def test_what_fails_for_long_is_put_aside_and_told_itself(house: House, fire: Fire, clock: TestClock) -> None:
    made = destination(house, DestinationKind.WEBHOOK, Address(url="http://127.0.0.1:9/none"))
    fire("acme")
    for seconds in (0, *RETRY_SECONDS):
        clock.at_us += seconds * SECOND_US
        assert house.courier.deliver().failed == 1
    (parcel,) = parcels(house, made)
    assert parcel.delivery.state is DeliveryState.DEAD
    assert house.courier.deliver().failed == 0
    assert house.alerts.look() == 1
    newest = house.alert_rules.history(limit=1)[0]
    assert newest.slug == "outbox-backlog"


def test_a_destination_that_is_gone_is_not_asked_again(house: House, fire: Fire) -> None:
    with http_receiver(410) as receiver:
        made = destination(house, DestinationKind.WEBHOOK, Address(url=receiver.url))
        fire("acme")
        house.courier.deliver()
        assert parcels(house, made)[0].delivery.state is DeliveryState.DEAD


def test_one_that_fails_does_not_hold_up_the_others(house: House, fire: Fire) -> None:
    with http_receiver() as receiver:
        destination(house, DestinationKind.WEBHOOK, Address(url="http://127.0.0.1:9/none"), "broken")
        destination(house, DestinationKind.SLACK, Address(url=receiver.url), "team")
        fire("acme")
        fire("bolt")
        result = house.courier.deliver()
    assert (result.sent, result.failed) == (4, 1)
    assert len(receiver.received) == 2


def test_a_crash_between_firing_and_delivery_delivers_once_it_is_back(
    house: House, fire: Fire, clock: TestClock
) -> None:
    with http_receiver() as receiver:
        made = destination(house, DestinationKind.WEBHOOK, Address(url=receiver.url))
        fire("acme")
        consumer = consumer_of(made.destination)
        taken = house.ledger.outbox().claim(
            consumer, now_us=clock.at_us, lease_us=LEASE_US, limit=1, kinds=("alert.fired",)
        )
        assert len(taken) == 1  # and here its process died
        house.courier.deliver()
        assert receiver.received == [], "another one has it still"
        clock.at_us += LEASE_US
        house.courier.deliver()
        house.courier.deliver()
        assert len(receiver.received) == 1


def test_what_happened_before_a_destination_was_made_is_not_told_there(house: House, fire: Fire) -> None:
    fire("acme")
    with http_receiver() as receiver:
        destination(house, DestinationKind.WEBHOOK, Address(url=receiver.url))
        house.courier.deliver()
        assert receiver.received == []
        fire("bolt")
        house.courier.deliver()
        assert len(receiver.received) == 1


def test_a_paused_home_tells_its_log_alone_until_it_is_resumed(
    house: House, fire: Fire, caplog: pytest.LogCaptureFixture
) -> None:
    def pause(text: str) -> None:
        fact = HomeFact(name=PAUSED_FACT, value=text)
        house.ledger.transact(lambda _: None, lambda _: Decision(result=None, rows=(fact,))).result()

    with http_receiver() as receiver:
        destination(house, DestinationKind.WEBHOOK, Address(url=receiver.url))
        destination(house, DestinationKind.HEARTBEAT, Address(url=receiver.url), "alive")
        pause("restored")
        fire("acme")
        with caplog.at_level(logging.WARNING):
            house.courier.deliver()
        house.courier.beat()
        assert "balance $1.00" in caplog.text
        assert receiver.received == []
        pause("")
        house.courier.deliver()
        assert len(receiver.received) == 1


def test_a_heart_beats_at_its_pace(house: House) -> None:
    with http_receiver() as receiver:
        destination(house, DestinationKind.HEARTBEAT, Address(url=receiver.url, every_seconds=30))
        seconds = iter([100.0, 110.0, 130.0, 159.0, 160.0])
        house.courier._seconds = lambda: next(seconds)
        for _ in range(5):
            house.courier.beat()
    assert [got.method for got in receiver.received] == ["GET"] * 3


@pytest.mark.parametrize("kind", [DestinationKind.WEBHOOK, DestinationKind.SLACK, DestinationKind.HEARTBEAT])
def test_trying_out_tells_what_the_other_side_answered(house: House, kind: DestinationKind) -> None:
    with http_receiver(403, body=b"no_service\n\x1b[31m") as receiver:
        made = destination(house, kind, Address(url=receiver.url))
        answer = house.courier.try_out(house.destinations.get(made.destination.slug))
    assert (answer.is_ok, answer.text) == (False, "403 Forbidden no_service [31m")


def test_a_home_whose_key_was_lost_says_so_and_tells_its_log(house: House, fire: Fire, clock: TestClock) -> None:
    made = destination(house, DestinationKind.WEBHOOK, Address(url="https://example.com/x"))
    destination(house, DestinationKind.HEARTBEAT, Address(url="https://example.com/x"), "alive")
    fire("acme")
    for damaged in (b"x" * 32, b"short"):
        house.home.key_file.unlink()
        house.home.key_file.write_bytes(damaged)
        assert house.courier.deliver().failed == 1
        house.courier.beat()
        clock.at_us += RETRY_SECONDS[0] * SECOND_US
    (parcel,) = parcels(house, made)
    assert "its address cannot be opened" in parcel.delivery.last_error


def test_addresses_and_secrets_are_nowhere_in_the_ledger(house: House) -> None:
    address = Address(url="https://example.com/hooks/very-secret-path")
    by = replace(ME, idempotency_key="k")
    made = house.destinations.create("ops", DestinationKind.WEBHOOK, address, by=by).value
    sealed = house.destinations.get("ops").sealed
    assert made.secret is not None
    kept = "".join(repr(row) for kind in (AuditEntry, IdempotentResult) for row in house.ledger.books().rows(kind))
    kept += repr(house.destinations.all())
    assert "very-secret-path" not in kept and made.secret not in kept
    assert sealed not in "".join(repr(row) for row in house.ledger.books().rows(IdempotentResult))
    again = house.destinations.create("ops", DestinationKind.WEBHOOK, address, by=by)
    assert again.is_repeat and again.value.secret is None
    assert house.destinations.address(house.destinations.get("ops")).secret == made.secret
    house.destinations.delete("ops", by=ME)
    assert house.destinations.all() == ()
