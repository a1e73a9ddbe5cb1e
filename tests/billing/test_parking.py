"""With ``park_seconds`` a call that would be refused waits for a top-up on its way, and then goes on."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from lava_proxy.core.entities import Mode
from lava_proxy.core.gateway import Answer, Charge
from lava_proxy.payments.memory import DECLINES, MemoryGateway
from lava_proxy.prices import PriceBook
from lava_proxy.services.exchange import Forward, Refused
from lava_proxy.services.homes import furnish
from lava_proxy.services.subscriptions import TopUpTerms
from lava_proxy.settings import Home, Settings
from lava_proxy.store import MemoryLedger
from lava_proxy.wiring import House
from tests.billing.conftest import ASKED, Shop, usd
from tests.services.conftest import CountedIds, TestClock


class SlowGateway(MemoryGateway):
    """Answers when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.is_asked, self.may_answer = threading.Event(), threading.Event()

    def charge(self, charge: Charge) -> Answer:
        self.is_asked.set()
        assert self.may_answer.wait(30)
        return super().charge(charge)


@pytest.fixture
def parked(tmp_path: Path, price_book: PriceBook) -> Iterator[Shop]:
    """A shop whose calls wait half a minute; acme has no credit, and a rule that buys $20.00."""
    clock, gateway = TestClock(), SlowGateway()
    house = House(Home(tmp_path), Settings(park_seconds=30), mode=Mode.TEST, create=True, clock=clock, ids=CountedIds())
    house.ledger = MemoryLedger(mode=Mode.TEST, clock=clock)
    house.prices, house.gateway = price_book, gateway
    furnish(house.ledger, clock=house.clock, ids=house.ids, random_bytes=lambda length: bytes(range(length)))
    shop = Shop(house, clock, gateway)
    shop.customer("acme")
    terms = TopUpTerms(below_nanos=1, amount_nanos=usd("20"))
    house.subscriptions.set_top_up("acme", terms, asked=ASKED)
    with house:
        yield shop


def ask(shop: Shop, price: str) -> Future[Forward | Refused]:
    """On a thread of its own, as an edge would not wait for it either."""
    outcome: Future[Forward | Refused] = Future()
    shop.meter(price)
    threading.Thread(target=lambda: outcome.set_result(shop.ask("acme", price)), daemon=True).start()
    return outcome


def tick(shop: Shop) -> threading.Thread:
    thread = threading.Thread(target=shop.house.ticking.tick)
    thread.start()
    return thread


def gateway_of(shop: Shop) -> SlowGateway:
    assert isinstance(shop.gateway, SlowGateway)
    return shop.gateway


def test_a_call_waits_for_the_top_up_that_is_being_paid_and_goes_on(parked: Shop) -> None:
    gateway, scheduler = gateway_of(parked), tick(parked)
    assert gateway.is_asked.wait(30)
    call = ask(parked, "5")
    with pytest.raises(TimeoutError):
        call.result(0.3)
    gateway.may_answer.set()
    answer = call.result(30)
    assert isinstance(answer, Forward) and answer.call is not None
    parked.end(answer.call)
    scheduler.join(30)
    assert parked.left("acme") == "$15.00"


def test_a_call_whose_top_up_is_declined_is_refused_then(parked: Shop) -> None:
    gateway = gateway_of(parked)
    gateway.will(DECLINES)
    call = ask(parked, "5")
    with pytest.raises(TimeoutError):
        call.result(0.2)
    gateway.may_answer.set()
    parked.house.ticking.tick()
    answer = call.result(30)
    assert isinstance(answer, Refused) and answer.code == "insufficient_credits"


def test_a_call_that_no_top_up_would_help_is_refused_at_once(parked: Shop) -> None:
    parked.customer("bolt")
    assert parked.refusal("bolt", "5") == "insufficient_credits"


def test_without_the_setting_nothing_waits(shop: Shop) -> None:
    shop.customer("acme")
    shop.house.subscriptions.set_top_up("acme", TopUpTerms(below_nanos=1, amount_nanos=usd("20")), asked=ASKED)
    assert shop.refusal("acme", "5") == "insufficient_credits"
