"""A process that is killed between firing and telling: the next one tells it, under the same id."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lava_proxy.core.alert_rows import AlertKind, DestinationKind
from lava_proxy.core.destinations import Address
from lava_proxy.core.entities import Mode
from lava_proxy.delivery.courier import LEASE_US
from lava_proxy.services.alert_rules import AlertTerms
from lava_proxy.services.credits import GrantTerms
from lava_proxy.services.customer_fields import CustomerFields
from lava_proxy.settings import Home, Settings
from lava_proxy.wiring import House, SystemClock, make_home
from tests.services.conftest import ME
from tests.support.receivers import HttpReceiver, http_receiver

pytestmark = pytest.mark.crash

VICTIM = """
import os, signal, sys
from pathlib import Path
from lava_proxy.settings import Home, Settings
from lava_proxy.store.outbox import LedgerOutbox
from lava_proxy.wiring import House

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

house = House(Home(Path(sys.argv[1])), Settings())
assert house.alerts.look() == 1
if sys.argv[2] == "after the other side has it":
    keep = LedgerOutbox.done
    LedgerOutbox.done = lambda self, consumer, event_id: (
        keep(self, consumer, event_id) if consumer == "alerts:log" else die()
    )
    house.courier.deliver()
die()
"""


class LaterClock(SystemClock):
    """When the lease of the dead is over."""

    def now_us(self) -> int:
        return super().now_us() + LEASE_US


def kill_at(home: Home, point: str) -> None:
    done = subprocess.run([sys.executable, "-c", VICTIM, str(home.folder), point], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def event_ids(receiver: HttpReceiver) -> list[str]:
    return [json.loads(got.body)["event_id"] for got in receiver.received]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    make_home(made, Settings(), mode=Mode.TEST)
    return made


def furnish(home: Home, receiver: HttpReceiver) -> None:
    with House(home, Settings()) as house:
        house.destinations.create("ops", DestinationKind.WEBHOOK, Address(url=receiver.url), by=ME)
        house.alert_rules.create(AlertTerms(kind=AlertKind.BALANCE_BELOW, threshold="5"), by=ME)
        house.customers.create(CustomerFields(reference_id="acme"), by=ME)
        house.credits.grant(GrantTerms(customer="acme", amount_nanos=1), by=ME)


def test_what_fired_before_the_kill_is_told_once_after_it(home: Home) -> None:
    with http_receiver() as receiver:
        furnish(home, receiver)
        kill_at(home, "before anything is sent")
        assert receiver.received == []
        with House(home, Settings()) as house:
            assert house.alerts.look() == 0
            for _ in range(3):
                house.courier.deliver()
        assert len(event_ids(receiver)) == 1


def test_what_was_sent_but_not_noted_comes_again_under_the_same_id(home: Home) -> None:
    with http_receiver() as receiver:
        furnish(home, receiver)
        kill_at(home, "after the other side has it")
        assert len(receiver.received) == 1
        with House(home, Settings()) as house:
            house.courier.deliver()
            assert len(receiver.received) == 1, "the lease of the dead one holds"
        with House(home, Settings(), clock=LaterClock()) as house:
            for _ in range(3):
                house.courier.deliver()
        first, second = event_ids(receiver)
        assert first == second
