"""The outbox as an operator sees it, and homes as they are made."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lava_proxy.core.entities import Key, Meter, Mode
from lava_proxy.core.errors import InvalidInput, NotFound, Refused
from lava_proxy.core.ids import EventId
from lava_proxy.core.keys import check_secret, parse_key
from lava_proxy.services.customer_fields import CustomerFields
from lava_proxy.services.outbox import parcel_document
from lava_proxy.settings import Home, Settings
from lava_proxy.wiring import House, is_home, make_home
from tests.services.conftest import ME


def test_what_was_given_up_is_listed_with_its_reason_and_tried_again(house: House) -> None:
    house.customers.create(CustomerFields(reference_id="acme"), by=ME)
    outbox = house.ledger.outbox()
    (event,) = outbox.claim("webhooks", now_us=house.clock.now_us(), lease_us=1, limit=10)
    outbox.failed("webhooks", event.event_id, error="410 Gone", retry_at_us=None)

    (parcel,) = house.outbox.parcels(state="dead")
    document = parcel_document(parcel)
    assert (document["kind"], document["state"], document["attempts"], document["last_error"]) == (
        "customer.created",
        "dead",
        1,
        "410 Gone",
    )
    assert house.outbox.retry_dead(consumer="other") == 0
    assert house.outbox.retry_dead() == 1
    (again,) = outbox.claim("webhooks", now_us=house.clock.now_us(), lease_us=1, limit=10)
    assert again == event
    house.outbox.retry("webhooks", event.event_id)
    outbox.done("webhooks", event.event_id)
    with pytest.raises(Refused, match="delivered"):
        house.outbox.retry("webhooks", event.event_id)
    with pytest.raises(NotFound):
        house.outbox.retry("webhooks", EventId("evt_nosuch"))
    with pytest.raises(InvalidInput, match="state"):
        house.outbox.parcels(state="lost")


def test_a_new_home_has_all_it_needs_and_only_its_owner_may_look(tmp_path: Path) -> None:
    home = Home(tmp_path / "deep" / "home")
    assert not is_home(home)
    made = make_home(home, Settings(), mode=Mode.TEST)
    assert made.is_new and made.mode is Mode.TEST
    assert stat.S_IMODE(home.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(home.ledger_file.stat().st_mode) == 0o600
    assert "BEGIN CERTIFICATE" in made.authority_file.read_text()
    assert home.settings_file.read_text().startswith("#")
    with House(home, Settings()) as house:
        assert house.mode is Mode.TEST
        assert house.meters.get("default").is_default
        parsed = parse_key(made.key_text or "")
        assert parsed is not None and parsed.mode is Mode.TEST
        assert check_secret(house.keys.get(parsed.key_id), parsed.secret)


def test_making_a_home_again_changes_nothing_and_tells_no_key(tmp_path: Path) -> None:
    home = Home(tmp_path)
    first = make_home(home, Settings())
    home.settings_file.write_text("port = 9999\n")
    again = make_home(home, Settings())
    assert (again.key_text, again.is_new, again.mode) == (None, False, Mode.LIVE)
    assert again.authority_file.read_text() == first.authority_file.read_text()
    assert home.settings_file.read_text() == "port = 9999\n"


def test_a_home_keeps_its_mode(tmp_path: Path) -> None:
    make_home(Home(tmp_path), Settings(), mode=Mode.LIVE)
    with pytest.raises(Refused, match="live"):
        make_home(Home(tmp_path), Settings(), mode=Mode.TEST)


def test_several_that_make_a_home_at_once_make_one(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: make_home(home, Settings()), range(4)))
    assert sum(one.is_new for one in made) == 1
    with House(home, Settings()) as house:
        assert len(list(house.ledger.books().rows(Key))) == 1
        assert len(list(house.ledger.books().rows(Meter))) == 1


def test_opening_what_is_no_home_makes_none(tmp_path: Path) -> None:
    with House(Home(tmp_path), Settings()) as house, pytest.raises(NotFound, match="no ledger"):
        house.customers.page()
    assert not is_home(Home(tmp_path))
