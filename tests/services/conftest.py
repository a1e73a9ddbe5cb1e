"""A home with everything in it, once over SQLite and once over memory, and calls to fill its books with."""

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from lava_proxy.core.entities import Mode
from lava_proxy.core.ids import InstanceId
from lava_proxy.core.ports import Decision
from lava_proxy.prices import PriceBook, load_price_book
from lava_proxy.services.calls import Calls
from lava_proxy.services.exchange import Call, Credentials, Ending, Forward, Head, Refused, Via
from lava_proxy.services.homes import furnish
from lava_proxy.services.idempotency import By
from lava_proxy.settings import Home, Settings
from lava_proxy.store import MemoryLedger
from lava_proxy.wiring import House

AT = 1_790_000_000_000_000
DAY_US = 86_400 * 1_000_000
ME = By(actor="test")


class TestClock:
    """Goes on by itself by a microsecond, and further when told."""

    __test__ = False

    def __init__(self) -> None:
        self.at_us = AT

    def now_us(self) -> int:
        self.at_us += 1
        return self.at_us


class CountedIds:
    def __init__(self) -> None:
        self._numbers = count(1)

    def new(self, prefix: str) -> str:
        return f"{prefix}_{next(self._numbers):026d}"


@pytest.fixture(scope="session")
def price_book() -> PriceBook:
    return load_price_book()


@pytest.fixture(params=["memory", "sqlite"])
def house(request: pytest.FixtureRequest, tmp_path: Path, price_book: PriceBook) -> Iterator[House]:
    """A new home in test mode, whose clock stands under the test's hand."""
    clock = TestClock()
    made = House(Home(tmp_path), Settings(), mode=Mode.TEST, create=True, clock=clock, ids=CountedIds())
    if request.param == "memory":
        made.ledger = MemoryLedger(mode=Mode.TEST, clock=clock)
    made.prices = price_book
    with made:
        furnish(made.ledger, clock=made.clock, ids=made.ids, random_bytes=lambda length: bytes(range(length)))
        yield made


@pytest.fixture
def clock(house: House) -> TestClock:
    assert isinstance(house.clock, TestClock)
    return house.clock


class Traffic:
    """Calls to a chat endpoint, from a customer, with the usage that the provider reports."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.registered = house.instances.register(name="main", version="0")
        self.line: Calls = house.calls(InstanceId(self.registered.instance.instance_id))

    def begin(
        self,
        customer: str | None,
        *,
        key: str = "",
        model: str = "gpt-4o-mini",
        headers: tuple[tuple[str, str], ...] = (),
    ) -> Call:
        """A call in flight; its hold is committed."""
        answer = self.ask(customer, key=key, model=model, headers=headers)
        assert isinstance(answer, Forward) and answer.call is not None, answer
        return answer.call

    def ask(
        self,
        customer: str | None,
        *,
        key: str = "",
        model: str = "gpt-4o-mini",
        headers: tuple[tuple[str, str], ...] = (),
    ) -> Forward | Refused:
        head = Head(
            via=Via.CONNECT,
            method="POST",
            scheme="https",
            host="api.openai.com",
            port=443,
            path="/v1/chat/completions",
            headers=(("content-type", "application/json"), *headers),
            credentials=Credentials(user=customer or "", secret=key) if customer or key else None,
        )
        body = {"model": model, "max_tokens": 1000, "messages": [{"role": "user", "content": "Hello"}]}
        return self.line.open(head, json.dumps(body).encode()).result()

    def end(self, call: Call, *, input_tokens: int = 1000, output_tokens: int = 500, status: int = 200) -> str:
        """The provider's answer, whole; gives the request's id."""
        usage = {
            "prompt_tokens": input_tokens,
            "completion_tokens": output_tokens,
            "total_tokens": input_tokens + output_tokens,
        }
        answer = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "model": "gpt-4o-mini",
            "choices": [],
            "usage": usage,
        }
        call.begin(status, (("content-type", "application/json"),))
        call.feed(json.dumps(answer if status == 200 else {"error": {"message": "no"}}).encode())
        call.finish()
        call.close(Ending.COMPLETE).result()
        return call.request_id

    def catch_up(self) -> None:
        """Wait for what nobody waits for: counts of refusals."""
        self.house.ledger.transact(lambda _: None, lambda _: Decision(result=None)).result()

    def call(self, customer: str | None, *, key: str = "", input_tokens: int = 1000, output_tokens: int = 500) -> str:
        """A whole call."""
        return self.end(self.begin(customer, key=key), input_tokens=input_tokens, output_tokens=output_tokens)


@pytest.fixture
def traffic(house: House) -> Traffic:
    return Traffic(house)
