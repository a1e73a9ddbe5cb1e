"""The shop of the billing demo: a home in test mode whose clock and bank stand under the story's hand.

A proxy goes by its machine's clock, so this month's calls do not pass one: each takes the same line as behind a proxy
(identify, quote, hold, forward, read, price, settle; ``services.calls``), is sent to the stand-in provider over HTTP,
and what the provider answers is read as it comes. `lava demo` without --billing shows the proxy itself.
"""

import contextlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx

from lava_proxy.core.entities import Mode
from lava_proxy.core.errors import Refused as RefusedByRule
from lava_proxy.core.ids import InstanceId
from lava_proxy.core.instants import from_datetime
from lava_proxy.core.money import parse_amount
from lava_proxy.core.subscriptions import OwnTerms
from lava_proxy.demo import month
from lava_proxy.demo.plan import CONTROL_HEADER
from lava_proxy.demo.provider import running_stand_in
from lava_proxy.payments.memory import DECLINES, MemoryGateway
from lava_proxy.services.calls import Calls
from lava_proxy.services.customer_fields import CustomerFields
from lava_proxy.services.exchange import Credentials, Ending, Forward, Head, Refused, Via
from lava_proxy.services.idempotency import By
from lava_proxy.services.subscriptions import Asked, TopUpTerms
from lava_proxy.settings import Home, load_settings
from lava_proxy.wiring import House, make_home

BY = By(actor="demo")
ASKED = Asked(by=BY)


class StoryClock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.at_us = 0

    def set(self, when: str) -> None:
        self.at_us = from_datetime(datetime.fromisoformat(when).replace(tzinfo=UTC))

    def now_us(self) -> int:
        return self.at_us


class Shop:
    """What can be done in the story."""

    def __init__(self, house: House, clock: StoryClock, bank: MemoryGateway, line: Calls, client: httpx.Client) -> None:
        self.house, self.clock, self.bank = house, clock, bank
        self._line, self._client = line, client

    def furnish(self) -> None:
        """Customers, meters, plans and the alert, the last three as code."""
        for name in month.CUSTOMERS:
            self.house.customers.create(CustomerFields(reference_id=name), by=BY)
        code = self.house.as_code
        code.apply(code.plan(month.CODE, place="month.toml"), by=BY)

    def go(self, when: str) -> None:
        """Let it be then, with everything done that came due on the way."""
        self.clock.set(when)
        self.catch_up()

    def catch_up(self) -> None:
        """What the scheduler and the watch of a running proxy do every second."""
        self.house.ticking.tick(all_rules=True)
        self.house.credits.expire_due()
        self.house.alerts.look()

    def do(self, customer: str, act: month.Act) -> str | None:
        """Gives the code of the refusal where a call was refused."""
        subscriptions = self.house.subscriptions
        match act:
            case month.Start(plan=plan):
                subscriptions.start(customer, plan, OwnTerms(), asked=ASKED)
            case month.Change(plan=plan):
                subscriptions.change(customer, plan, asked=ASKED)
            case month.Cancel():
                subscriptions.cancel(customer, asked=ASKED)
            case month.TopUpBelow(below=below, amount=amount):
                terms = TopUpTerms(below_nanos=parse_amount(below), amount_nanos=parse_amount(amount))
                subscriptions.set_top_up(customer, terms, asked=ASKED)
            case month.NextPaymentIsDeclined():
                self.bank.will(DECLINES)
            case month.Calls(meter=meter, count=count):
                refusals = [self._call(customer, meter) for _ in range(count)]
                return next((code for code in refusals if code is not None), None)
            case month.Wait():
                pass
        return None

    def _call(self, customer: str, meter: str) -> str | None:
        output_tokens = month.OUTPUT_TOKENS[meter]
        body = json.dumps(
            {
                "model": month.MODEL,
                "max_tokens": output_tokens,
                "messages": [{"role": "user", "content": month.QUESTION}],
            }
        ).encode()
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
        answer = self._line.open(head, body).result()
        if isinstance(answer, Refused):
            return answer.code
        self._forward(answer, body, output_tokens)
        return None

    def _forward(self, answer: Forward, body: bytes, output_tokens: int) -> None:
        """Send it, and read what comes back."""
        call = answer.call
        if call is None:
            raise RefusedByRule("The call would have passed unbilled.")
        headers = {"content-type": "application/json", CONTROL_HEADER: json.dumps({"output_tokens": output_tokens})}
        with self._client.stream("POST", "/v1/chat/completions", content=body, headers=headers) as heard:
            call.begin(heard.status_code, tuple(heard.headers.items()))
            for part in heard.iter_raw():
                call.feed(part)
        call.finish()
        call.close(Ending.COMPLETE).result()


@contextlib.contextmanager
def open_shop(folder: Path) -> Iterator[Shop]:
    """The shop in a new home in ``folder``, at the month's first instant."""
    home = Home(folder / "home")
    make_home(home, load_settings(home), mode=Mode.TEST)
    clock, bank = StoryClock(), MemoryGateway()
    clock.set(month.FIRST_DAY)
    with House(home, load_settings(home), clock=clock, gateway=bank) as house, running_stand_in() as provider:
        registered = house.instances.register(name="demo", version="0")
        line = house.calls(InstanceId(registered.instance.instance_id))
        try:
            with httpx.Client(base_url=provider.url, trust_env=False, timeout=20) as client:
                yield Shop(house, clock, bank, line, client)
        finally:
            house.instances.end(registered)
