"""The scheduler killed between charge and grant, and two of them at once: money moves once, credit is given once."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lava_proxy.core.billing import Interval
from lava_proxy.core.entities import Mode
from lava_proxy.core.money import format_dollars
from lava_proxy.core.subscriptions import OwnTerms
from lava_proxy.services.customer_fields import CustomerFields
from lava_proxy.services.homes import furnish
from lava_proxy.services.plans import PlanTerms
from lava_proxy.settings import Home, Settings
from lava_proxy.wiring import House
from tests.billing.conftest import ASKED, ME, usd
from tests.billing.victim import FileGateway
from tests.conftest import PROJECT

DAY_US = 86_400 * 1_000_000
CUSTOMERS = 5


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Five customers, each of whom has just been put on a plan of $10 a day and has not paid yet."""
    house = open_home(tmp_path, create=True)
    with house:
        furnish(house.ledger, clock=house.clock, ids=house.ids, random_bytes=lambda length: bytes(range(length)))
        terms = PlanTerms(name="Pro", amount_nanos=usd("10"), interval=Interval.DAY)
        house.plans.create(terms, by=ME)
        for number in range(CUSTOMERS):
            house.customers.create(CustomerFields(reference_id=f"c{number}"), by=ME)
            house.subscriptions.start(f"c{number}", "Pro", OwnTerms(), asked=ASKED)
    return tmp_path


def open_home(folder: Path, *, create: bool = False) -> House:
    house = House(Home(folder), Settings(), mode=Mode.TEST, create=create)
    house.gateway = FileGateway(folder / "bank")
    return house


def scheduler(home: Path, where: str, now_us: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.billing.victim", str(home), where, str(now_us)]
    return subprocess.Popen(command, cwd=PROJECT, text=True, stdout=subprocess.PIPE)


def check(home: Path, *, cycles: int) -> None:
    """Every customer has paid each cycle once, and has the credit of the last."""
    with open_home(home) as house:
        assert FileGateway(home / "bank").moved() == [usd("10")] * (CUSTOMERS * cycles)
        for number in range(CUSTOMERS):
            grants = house.credits.balance(f"c{number}").grants
            assert [format_dollars(g.amount_nanos) for g in grants] == ["$10.00"] * cycles
        assert house.verify().findings == ()


@pytest.mark.crash
@pytest.mark.parametrize("where", ["before the money moved", "after the money moved"])
def test_killed_between_charge_and_grant_money_moves_once_and_buys_its_credit(home: Path, where: str) -> None:
    with open_home(home) as house:
        now_us = house.clock.now_us() + 1_000_000
    for attempt in range(CUSTOMERS):  # each dies over its first payment
        with scheduler(home, where, now_us + attempt * 1_000_000) as victim:
            assert victim.wait(60) == -signal.SIGKILL
    with open_home(home) as house:
        assert house.verify().findings == ()
        house.ticking.tick(now_us=now_us + DAY_US // 2)
    check(home, cycles=1)


@pytest.mark.slow
def test_two_processes_that_renew_five_customers_for_six_days_charge_each_day_once(home: Path) -> None:
    with open_home(home) as house:
        house.ticking.tick()
        now_us = house.clock.now_us() + 5 * DAY_US
    with scheduler(home, "", now_us) as one, scheduler(home, "", now_us) as other:
        assert (one.wait(120), other.wait(120)) == (0, 0)
    with open_home(home) as house:
        house.ticking.tick(now_us=now_us + 600 * 1_000_000)
    check(home, cycles=6)
