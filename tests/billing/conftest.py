"""A home whose clock and gateway stand under the test's hand, and a shop that speaks in dollars and dates."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lava_proxy.core.billing import Interval, Payment, PaymentStatus
from lava_proxy.core.entities import Mode, RateType, Tier, TierUnit
from lava_proxy.core.ids import InstanceId
from lava_proxy.core.instants import from_datetime
from lava_proxy.core.money import format_dollars, parse_amount
from lava_proxy.core.subscriptions import OwnTerms
from lava_proxy.payments.memory import MemoryGateway
from lava_proxy.prices import PriceBook, load_price_book
from lava_proxy.services.billing import Effects
from lava_proxy.services.calls import Calls
from lava_proxy.services.customer_fields import CustomerFields
from lava_proxy.services.exchange import Call, Credentials, Ending, Forward, Head, Refused, Via
from lava_proxy.services.homes import furnish
from lava_proxy.services.idempotency import By
from lava_proxy.services.meters import MeterTerms
from lava_proxy.services.payments import PaymentFilter
from lava_proxy.services.plans import BundleTerms, PlanChanges, PlanTerms
from lava_proxy.services.subscriptions import Asked
from lava_proxy.services.ticking import Ticked
from lava_proxy.settings import Home, Settings
from lava_proxy.store import MemoryLedger
from lava_proxy.wiring import House
from tests.services.conftest import CountedIds, TestClock

ME = By(actor="test")
ASKED = Asked(by=ME)


def at(text: str) -> int:
    """An instant of UTC."""
    return from_datetime(datetime.fromisoformat(text).replace(tzinfo=UTC))


def usd(text: str) -> int:
    return parse_amount(text)


class Shop:
    """Plans, customers and calls; every call is charged by a meter of requests, at a price of its own."""

    def __init__(self, house: House, clock: TestClock, gateway: MemoryGateway) -> None:
        self.house, self.clock, self.gateway = house, clock, gateway
        self._line: Calls | None = None

    def go(self, when: str) -> Ticked:
        """Let it be then, with everything done that is due."""
        self.clock.at_us = at(when) - 1
        return self.tick()

    def tick(self) -> Ticked:
        return self.house.ticking.tick(now_us=self.clock.at_us + 1)

    def plan(self, name: str, amount: str, **more: object) -> str:
        interval = more.pop("interval", Interval.MONTH)
        assert isinstance(interval, Interval)
        changes = PlanChanges(**more)  # type: ignore[arg-type]
        terms = PlanTerms(name=name, amount_nanos=usd(amount), interval=interval, more=changes)
        return self.house.plans.create(terms, by=ME).value.plan_id

    def bundle(self, plan: str, cost: str, credit: str) -> str:
        terms = BundleTerms(plan=plan, name=f"{credit} more", cost_nanos=usd(cost), credit_nanos=usd(credit))
        return self.house.plans.create_bundle(terms, by=ME).value.bundle_id

    def customer(self, name: str) -> str:
        return self.house.customers.create(CustomerFields(reference_id=name), by=ME).value.customer_id

    def start(self, customer: str, plan: str, own: OwnTerms | None = None) -> Effects:
        effects = self.house.subscriptions.start(customer, plan, own or OwnTerms(), asked=ASKED).value
        self.tick()
        return effects

    def left(self, customer: str) -> str:
        """Available credit."""
        return format_dollars(self.house.credits.balance(customer).available_nanos)

    def money(self) -> str:
        """What the gateway really moved."""
        return format_dollars(sum(self.gateway.moved.values()))

    def status(self, customer: str) -> str:
        return self.house.subscriptions.get(customer).subscription.status.value

    def payments(self, customer: str, status: PaymentStatus | None = None) -> list[Payment]:
        which = PaymentFilter(customer=customer, status=status.value if status else None)
        return list(self.house.payments.list(which))

    def meter(self, rate: str) -> str:
        """A meter that charges ``rate`` for each request."""
        terms = MeterTerms(
            name=f"a call {rate}",
            slug=f"call-{rate.replace('.', '-')}",
            rate_type=RateType.FIXED,
            tier_unit=TierUnit.REQUESTS,
            tiers=(Tier(start=0, rate_nanos=usd(rate)),),
        )
        if not any(m.meter.slug == terms.slug for m in self.house.meters.all()):
            self.house.meters.create(terms, by=ME)
        return terms.slug or ""

    def ask(self, customer: str, price: str) -> Forward | Refused:
        """A call that will be charged ``price``."""
        meter = self.meter(price)
        if self._line is None:
            registered = self.house.instances.register(name="main", version="0")
            self._line = self.house.calls(InstanceId(registered.instance.instance_id))
        head = Head(
            via=Via.CONNECT,
            method="POST",
            scheme="https",
            host="api.openai.com",
            port=443,
            path="/v1/chat/completions",
            headers=(("content-type", "application/json"), ("x-lava-meter", meter)),
            credentials=Credentials(user=customer, secret=""),
        )
        body = {"model": "gpt-4o-mini", "max_tokens": 10, "messages": [{"role": "user", "content": "Hello"}]}
        return self._line.open(head, json.dumps(body).encode()).result()

    def begin(self, customer: str, price: str) -> Call:
        answer = self.ask(customer, price)
        assert isinstance(answer, Forward) and answer.call is not None, answer
        return answer.call

    def end(self, call: Call) -> None:
        usage = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
        answer = {"id": "1", "object": "chat.completion", "model": "gpt-4o-mini", "choices": [], "usage": usage}
        call.begin(200, (("content-type", "application/json"),))
        call.feed(json.dumps(answer).encode())
        call.finish()
        call.close(Ending.COMPLETE).result()

    def spend(self, customer: str, price: str) -> None:
        """One whole call that costs the customer ``price``."""
        self.end(self.begin(customer, price))

    def refusal(self, customer: str, price: str) -> str:
        """The code with which a call is refused."""
        answer = self.ask(customer, price)
        assert isinstance(answer, Refused), answer
        return answer.code


@pytest.fixture(scope="session")
def price_book() -> PriceBook:
    return load_price_book()


@pytest.fixture(params=["memory", "sqlite"])
def shop(request: pytest.FixtureRequest, tmp_path: Path, price_book: PriceBook) -> Iterator[Shop]:
    """A new home on 1 January 2026, in which every test ends with books that add up."""
    clock, gateway = TestClock(), MemoryGateway()
    clock.at_us = at("2026-01-01")
    house = House(Home(tmp_path), Settings(), mode=Mode.TEST, create=True, clock=clock, ids=CountedIds())
    if request.param == "memory":
        house.ledger = MemoryLedger(mode=Mode.TEST, clock=clock)
    house.prices, house.gateway = price_book, gateway
    with house:
        furnish(house.ledger, clock=house.clock, ids=house.ids, random_bytes=lambda length: bytes(range(length)))
        yield Shop(house, clock, gateway)
        report = house.verify()
        assert report.findings == (), report.findings
