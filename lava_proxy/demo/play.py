"""Plays the story: makes every call through the proxy, waits for its record, and compares each figure."""

import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from urllib.parse import quote

import httpx

from lava_proxy.core.entities import RequestRecord
from lava_proxy.core.errors import NotFound
from lava_proxy.core.money import format_amount, round_half_up
from lava_proxy.demo.plan import CONTROL_HEADER
from lava_proxy.demo.stage import Stage
from lava_proxy.demo.story import (
    CUSTOMERS,
    Ask,
    Cast,
    Kind,
    Tokens,
    expected_charge,
    expected_cost,
    expected_tokens,
)
from lava_proxy.services.credits import GrantTerms
from lava_proxy.services.customer_fields import CustomerFields
from lava_proxy.services.idempotency import By

RECORD_SECONDS = 10.0
EVENTS_BEFORE_LEAVING = 12
"""How much of the long answer is read before the client walks away."""
BY = By(actor="demo")

Tell = Callable[..., None]
"""Called with the kind of an event and its fields."""


@dataclass(slots=True, kw_only=True)
class Account:
    """What a customer's calls have come to, by our own arithmetic."""

    calls: int = 0
    blocked: int = 0
    tokens: int = 0
    cost_nanos: int = 0
    charge_nanos: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a client got."""

    status: int
    request_id: str
    body: bytes


class Play:
    """One performance. ``mismatches`` are figures that are not as computed, as sentences."""

    def __init__(self, stage: Stage, tell: Tell) -> None:
        self._stage = stage
        self._tell = tell
        self._clients = ExitStack()
        self._by_customer: dict[str, httpx.Client] = {}
        self.accounts = {cast.reference_id: Account() for cast in CUSTOMERS}
        self.mismatches: list[str] = []

    def prepare(self) -> None:
        """Make the meters and the customers, and give them credit."""
        for cast in CUSTOMERS:
            self._stage.house.meters.create(cast.meter, by=BY)
            fields = CustomerFields(reference_id=cast.reference_id, name=cast.name, meter=cast.meter.slug)
            self._stage.house.customers.create(fields, by=BY)
            grant = GrantTerms(customer=cast.reference_id, amount_nanos=cast.credit_nanos, note="demo")
            self._stage.house.credits.grant(grant, by=BY)
            credit = format_amount(cast.credit_nanos, decimals=2)
            self._tell("customer", customer=cast.reference_id, name=cast.name, meter=cast.meter.name, credit=credit)

    def perform(self, ask: Ask) -> None:
        """Make one call, and check what it came to."""
        account = self.accounts[ask.customer.reference_id]
        seen_before = (self._stage.provider.counters.connections, self._stage.provider.counters.requests)
        heard = self._leave(ask) if ask.kind is Kind.ABORTED else self._call(ask)
        if ask.is_refused:
            account.blocked += 1
            self._check_refusal(ask, heard, seen_before)
            return
        self._expect(f"{ask.model}: HTTP status", heard.status, 200)
        record = self._record(heard.request_id)
        if record is None:
            self.mismatches.append(f"{ask.customer.reference_id}, {ask.model}: the call was never settled")
            return
        tokens = self._check_usage(ask, record)
        cost, charge = self._check_money(ask, record, tokens)
        account.calls += 1
        account.tokens += tokens.total
        account.cost_nanos += cost
        account.charge_nanos += charge
        self._tell_call(ask, record, tokens)

    def close(self) -> None:
        self._clients.close()

    def _call(self, ask: Ask) -> Heard:
        answer = self._client(ask.customer).post(ask.url, json=ask.body, headers=_headers(ask))
        return Heard(status=answer.status_code, request_id=_request_id(answer), body=answer.content)

    def _leave(self, ask: Ask) -> Heard:
        """Read the first events of a stream and close the connection."""
        body, client = b"", self._new_client(ask.customer)
        with client, client.stream("POST", ask.url, json=ask.body, headers=_headers(ask)) as answer:
            for part in answer.iter_raw():
                body += part
                if body.count(b"\n\n") >= EVENTS_BEFORE_LEAVING:
                    break
            return Heard(status=answer.status_code, request_id=_request_id(answer), body=body)

    def _client(self, customer: Cast) -> httpx.Client:
        """One for each customer, kept open as a program would."""
        if customer.reference_id not in self._by_customer:
            client = self._clients.enter_context(self._new_client(customer))
            self._by_customer[customer.reference_id] = client
        return self._by_customer[customer.reference_id]

    def _new_client(self, customer: Cast) -> httpx.Client:
        trust = ssl.create_default_context(cafile=self._stage.presence.ca_file)
        scheme, _, address = self._stage.presence.proxy_url.partition("://")
        proxy = f"{scheme}://{quote(customer.reference_id, safe='')}:{self._stage.key}@{address}"
        return httpx.Client(proxy=proxy, verify=trust, trust_env=False, timeout=20)

    def _record(self, request_id: str) -> RequestRecord | None:
        """The record of a call, once it is settled; nobody told the client to wait for it."""
        deadline = time.monotonic() + RECORD_SECONDS
        while time.monotonic() < deadline:
            try:
                record = self._stage.house.requests.get(request_id).record
            except NotFound:
                return None
            if record is not None:
                return record
            time.sleep(0.02)
        return None

    def _check_usage(self, ask: Ask, record: RequestRecord) -> Tokens:
        counted = Tokens(input=record.usage.input_tokens or 0, output=record.usage.output_tokens or 0)
        whole = expected_tokens(ask)
        if ask.kind is Kind.ABORTED:
            self._expect("aborted call: flagged estimated", "estimated" in record.flags, True)
            self._expect("aborted call: produced something, not all", 0 < counted.output < whole.output, True)
        else:
            self._expect(f"{ask.model}: tokens", counted, whole)
            self._expect(f"{ask.model}: flags", record.flags, ())
        return counted

    def _check_money(self, ask: Ask, record: RequestRecord, tokens: Tokens) -> tuple[int, int]:
        before = self.accounts[ask.customer.reference_id].tokens
        input_nanos, output_nanos = self._prices(ask, record)
        cost = expected_cost(tokens, input_nanos=input_nanos, output_nanos=output_nanos)
        charge = expected_charge(ask.customer, tokens, cost, tokens_before=before)
        name = f"{ask.customer.reference_id}, {ask.model}"
        self._expect(f"{name}: cost", record.cost_nanos, round_half_up(cost))
        self._expect(f"{name}: charge", record.charge_nanos, round_half_up(charge))
        return round_half_up(cost), round_half_up(charge)

    def _prices(self, ask: Ask, record: RequestRecord) -> tuple[Fraction, Fraction]:
        """Of one input token and one output token, from the price book."""
        provider = next(each for each in self._stage.house.providers.providers if each.id == record.request.provider)
        sheet = self._stage.house.prices.sheet(provider=provider.prices, model=ask.model, at_us=record.created_us)
        if sheet is None:
            self.mismatches.append(f"{ask.model} has no price in the book")
            return Fraction(0), Fraction(0)
        return sheet.rates["input_tokens"].nanos, sheet.rates["output_tokens"].nanos

    def _check_refusal(self, ask: Ask, heard: Heard, seen_before: tuple[int, int]) -> None:
        counters = self._stage.provider.counters
        seen = (counters.connections, counters.requests)
        body = heard.body.decode(errors="replace")
        self._expect("refused call: HTTP status", heard.status, 402)
        self._expect("refused call: says insufficient_credits", "insufficient_credits" in body, True)
        self._expect("refused call: connections and requests at the provider", seen, seen_before)
        self._tell("refused", customer=ask.customer.reference_id, model=ask.model, status=heard.status, body=body)

    def _tell_call(self, ask: Ask, record: RequestRecord, tokens: Tokens) -> None:
        left = self._stage.house.credits.balance(ask.customer.reference_id).available_nanos
        self._tell(
            "call",
            customer=ask.customer.reference_id,
            provider=record.request.provider,
            model=ask.model,
            how=ask.kind.value,
            input_tokens=tokens.input,
            output_tokens=tokens.output,
            cost=format_amount(record.cost_nanos or 0, decimals=9),
            charge=format_amount(record.charge_nanos, decimals=9),
            credit_left=format_amount(left, decimals=9),
            flags=list(record.flags),
            request_id=record.request_id,
        )

    def _expect(self, what: str, found: object, wanted: object) -> None:
        if found != wanted:
            self.mismatches.append(f"{what}: {found}, not {wanted}")


def _headers(ask: Ask) -> Mapping[str, str]:
    knobs = f'{{"output_tokens": {expected_tokens(ask).output}, "chunks": {ask.plan.chunks}, "delay_ms": {ask.plan.delay_ms}}}'
    return {**ask.headers, CONTROL_HEADER: knobs}


def _request_id(answer: httpx.Response) -> str:
    return str(answer.headers.get("x-lava-request-id", ""))
