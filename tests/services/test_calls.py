"""The straight line, told as calls: what a caller sent, what the provider answered, what stands in the books."""

import json
from collections.abc import Callable
from concurrent.futures import Future
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from lava_proxy.core.entities import (
    Budget,
    BudgetMeasure,
    Customer,
    Entity,
    Grant,
    GrantSource,
    Hold,
    HoldState,
    HomeFact,
    KeyScope,
    Meter,
    MeterVersion,
    Mode,
    RateType,
    Refusal,
    RequestRecord,
    RequestStatus,
    Run,
    Tier,
    TierUnit,
)
from lava_proxy.core.errors import LedgerUnavailable
from lava_proxy.core.identity import DEFAULT_METER_FACT
from lava_proxy.core.ids import BudgetId, CustomerId, GrantId, InstanceId, KeyId, MeterId, RunId
from lava_proxy.core.keys import new_key
from lava_proxy.core.money import parse_amount
from lava_proxy.core.ports import Decision, Rows
from lava_proxy.dialects import DIALECTS
from lava_proxy.prices import PriceBook, load_price_book
from lava_proxy.providers import ProviderIndex, load_providers
from lava_proxy.services.calls import Calls
from lava_proxy.services.exchange import Credentials, Ending, Forward, Head, Refused, Via
from lava_proxy.services.spool import Spool, SpoolBooking
from lava_proxy.settings import Settings
from tests.support.paper import PaperLedger

ACME = CustomerId("con_acme")
AT = 1_790_000_000_000_000
CHAT = {"model": "gpt-4o-mini", "max_tokens": 100, "messages": [{"role": "user", "content": "Hello there"}]}
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "gpt-4o-mini-2024-07-18",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500},
}


@pytest.fixture(scope="session")
def providers() -> ProviderIndex:
    return load_providers()


@pytest.fixture(scope="session")
def prices() -> PriceBook:
    return load_price_book()


class FixedClock:
    def __init__(self) -> None:
        self.at_us = AT

    def now_us(self) -> int:
        self.at_us += 1
        return self.at_us


class CountedIds:
    def __init__(self) -> None:
        self.numbers = count(1)

    def new(self, prefix: str) -> str:
        return f"{prefix}_{next(self.numbers):026d}"


class FailingLedger(PaperLedger):
    """Works until told to fail."""

    fails = False

    def transact[S, R](
        self, load: Callable[[Rows], S], decide: Callable[[S], Decision[R]], *, can_wait: bool = False
    ) -> Future[R]:
        if not self.fails:
            future: Future[R] = Future()
            try:
                return super().transact(load, decide, can_wait=can_wait)
            except Exception as error:  # noqa: BLE001 a real ledger gives it in the future
                future.set_exception(error)
                return future
        failed: Future[R] = Future()
        failed.set_exception(LedgerUnavailable("the disk is full"))
        return failed


class Desk:
    """A line over a paper ledger, with one customer who has $1.00, and what a test wants to ask of it."""

    def __init__(self, folder: Path, providers: ProviderIndex, prices: PriceBook, **settings: object) -> None:
        self.ledger = FailingLedger()
        self.clock, self.ids, self.folder = FixedClock(), CountedIds(), folder
        self.settings = Settings(**settings)  # type: ignore[arg-type]
        self.spool = Spool(folder / "spool", InstanceId("ins_1")) if self.settings.fail_open else None
        self.calls = Calls(
            ledger=self.ledger,  # type: ignore[arg-type]
            providers=providers,
            prices=prices,
            dialects=DIALECTS,
            settings=self.settings,
            clock=self.clock,
            ids=self.ids,
            instance_id=InstanceId("ins_1"),
            spool=self.spool,
        )
        self.put(Customer(customer_id=ACME, reference_id="acme", created_us=0))
        self.grant("1.00")

    def put(self, *rows: Entity) -> None:
        self.ledger.transact(lambda _: None, lambda _: Decision(result=None, rows=rows))

    def grant(self, amount: str) -> None:
        nanos = parse_amount(amount)
        grant_id = GrantId(self.ids.new("grt"))
        self.put(
            Grant(
                grant_id=grant_id,
                customer_id=ACME,
                source=GrantSource.MANUAL,
                amount_nanos=nanos,
                free_nanos=nanos,
                created_us=0,
            )
        )

    def meter(self, rate: str, unit: TierUnit = TierUnit.REQUESTS, rate_type: RateType = RateType.FIXED) -> None:
        meter_id = MeterId("prd_m")
        tiers = (Tier(start=0, rate_nanos=parse_amount(rate)),)
        self.put(
            Meter(meter_id=meter_id, slug="m", name="m", rate_type=rate_type, tier_unit=unit, version=1, created_us=0),
            MeterVersion(meter_id=meter_id, version=1, rate_type=rate_type, tier_unit=unit, tiers=tiers, created_us=0),
            HomeFact(name=DEFAULT_METER_FACT, value=meter_id),
        )

    def open(
        self,
        body: object = CHAT,
        *,
        host: str = "api.openai.com",
        path: str = "/v1/chat/completions",
        method: str = "POST",
        user: str = "acme",
        secret: str = "",
        headers: tuple[tuple[str, str], ...] = (),
    ) -> Forward | Refused:
        head = Head(
            via=Via.CONNECT,
            method=method,
            scheme="https",
            host=host,
            port=443,
            path=path,
            headers=(("content-type", "application/json"), *headers),
            credentials=Credentials(user=user, secret=secret) if user or secret else None,
        )
        return self.calls.open(head, json.dumps(body).encode()).result(5)

    def admitted(self, body: object = CHAT, **more: object) -> Forward:
        outcome = self.open(body, **more)  # type: ignore[arg-type]
        assert isinstance(outcome, Forward), outcome
        return outcome

    def refused(self, body: object = CHAT, **more: object) -> dict[str, object]:
        outcome = self.open(body, **more)  # type: ignore[arg-type]
        assert isinstance(outcome, Refused), outcome
        return {"status": outcome.status, "code": outcome.code, "body": json.loads(outcome.body)}

    def answered(
        self, forward: Forward, answer: object = ANSWER, status: int = 200, ending: Ending = Ending.COMPLETE
    ) -> RequestRecord:
        assert forward.call is not None
        forward.call.begin(status, (("content-type", "application/json"),))
        assert forward.call.feed(json.dumps(answer).encode()) == json.dumps(answer).encode()
        assert forward.call.finish() == b""
        forward.call.close(ending).result(5)
        return self.record(forward)

    def record(self, forward: Forward) -> RequestRecord:
        assert forward.call is not None
        record = self.ledger.get(RequestRecord, forward.call.request_id)
        assert record is not None
        return record

    def free(self) -> int:
        return sum(g.free_nanos for g in self.ledger.tables[Grant].values() if isinstance(g, Grant))

    def held(self) -> int:
        return sum(g.held_nanos for g in self.ledger.tables[Grant].values() if isinstance(g, Grant))


@pytest.fixture
def desk(tmp_path: Path, providers: ProviderIndex, prices: PriceBook) -> Desk:
    return Desk(tmp_path, providers, prices)


def sse(*events: object) -> bytes:
    return b"".join(
        b"data: " + (e.encode() if isinstance(e, str) else json.dumps(e).encode()) + b"\n\n" for e in events
    )


def chunk(**more: object) -> dict[str, object]:
    return {"id": "c", "object": "chat.completion.chunk", "model": "gpt-4o-mini-2024-07-18", "choices": [], **more}


def test_a_call_is_held_at_its_quote_and_charged_what_the_provider_reports(desk: Desk) -> None:
    forward = desk.admitted()
    assert desk.held() > 0 and desk.held() + desk.free() == parse_amount("1")
    assert ("x-lava-request-id", forward.call.request_id) in forward.response_headers  # type: ignore[union-attr]
    record = desk.answered(forward)
    # gpt-4o-mini: 1,000 tokens in at $0.15 and 500 out at $0.60 a million
    assert record.cost_nanos == record.charge_nanos == 150_000 + 300_000
    assert (record.usage.input_tokens, record.usage.output_tokens) == (1000, 500)
    assert (record.model, record.status, record.meter_rule) == (
        "gpt-4o-mini-2024-07-18",
        RequestStatus.COMPLETED,
        "at_cost",
    )
    assert desk.held() == 0 and desk.free() == parse_amount("1") - 450_000
    assert desk.calls.open_calls() == 0


def test_closing_a_call_again_charges_nothing_more(desk: Desk) -> None:
    forward = desk.admitted()
    desk.answered(forward)
    before = len(desk.ledger.journal)
    assert forward.call is not None
    forward.call.close(Ending.CLIENT_GONE).result(5)
    assert len(desk.ledger.journal) == before


def test_who_cannot_pay_is_refused_with_402_and_told_what_is_needed(desk: Desk) -> None:
    desk.meter("0.40")
    first, second = desk.admitted(), desk.admitted()
    refusal = desk.refused()
    error = refusal["body"]["error"]  # type: ignore[index]
    assert (refusal["status"], error["code"]) == (402, "insufficient_credits")
    figures = error["details"]
    assert figures["reason"] == "held_by_calls_in_flight"
    assert (figures["needed"], figures["available"], figures["held"]) == (
        "0.4000000000",
        "0.2000000000",
        "0.8000000000",
    )
    desk.answered(first)
    desk.answered(second)
    assert desk.refused()["body"]["error"]["details"]["reason"] == "spent"  # type: ignore[index]
    [refusals] = [row for row in desk.ledger.tables[Refusal].values() if isinstance(row, Refusal)]
    assert (refusals.code, refusals.count, refusals.customer_id) == ("insufficient_credits", 2, ACME)


@pytest.mark.parametrize(
    ("host", "path", "read"),
    [
        ("api.openai.com", "/v1/chat/completions", lambda body: (body["error"]["code"], body["error"]["message"])),
        ("api.anthropic.com", "/v1/messages", lambda body: (body["error"]["code"], body["error"]["message"])),
        (
            "generativelanguage.googleapis.com",
            "/v1beta/models/gemini-2.5-flash:generateContent",
            lambda body: (body["error"]["details"][0]["metadata"]["code"], body["error"]["message"]),
        ),
    ],
)
def test_a_refusal_has_the_shape_of_the_providers_own_errors(
    desk: Desk, host: str, path: str, read: Callable[[Any], tuple[str, str]]
) -> None:
    desk.meter("2.00")
    code, message = read(desk.refused(host=host, path=path)["body"])
    assert code == "insufficient_credits" and "$2.000000" in message and "$1.000000" in message


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 529])
def test_an_error_of_the_provider_gives_the_hold_back(desk: Desk, status: int) -> None:
    record = desk.answered(desk.admitted(), {"error": {"message": "no", "type": "x"}}, status=status)
    assert (record.status, record.charge_nanos, record.cost_nanos, record.http_status) == (
        RequestStatus.ERROR,
        0,
        0,
        status,
    )
    assert desk.free() == parse_amount("1")


@pytest.mark.parametrize("ending", [Ending.NOT_SENT, Ending.UPSTREAM_GONE])
def test_a_call_without_any_answer_of_the_provider_is_not_charged(desk: Desk, ending: Ending) -> None:
    forward = desk.admitted()
    assert forward.call is not None
    forward.call.close(ending).result(5)
    assert desk.record(forward).status is RequestStatus.ERROR
    assert desk.free() == parse_amount("1") and desk.held() == 0


def test_a_stream_is_asked_for_its_usage_and_the_extra_event_does_not_reach_the_client(desk: Desk) -> None:
    forward = desk.admitted({**CHAT, "stream": True})
    assert forward.call is not None and forward.body is not None
    assert json.loads(forward.body) == {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
    assert ("accept-encoding", "identity") in forward.set_headers
    text = chunk(choices=[{"index": 0, "delta": {"content": "Hi"}}])
    end = chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
    usage = chunk(usage={"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12})
    sent = sse(text, end, usage, "[DONE]")
    forward.call.begin(200, (("content-type", "text/event-stream"),))
    seen = b"".join(forward.call.feed(sent[i : i + 7]) for i in range(0, len(sent), 7)) + forward.call.finish()
    forward.call.close(Ending.COMPLETE).result(5)
    assert seen == sse(text, end, "[DONE]")
    record = desk.record(forward)
    assert (record.usage.input_tokens, record.usage.output_tokens, record.flags) == (9, 3, ())


def test_a_stream_that_asks_for_usage_itself_is_left_alone(desk: Desk) -> None:
    forward = desk.admitted({**CHAT, "stream": True, "stream_options": {"include_usage": True}})
    assert forward.body is None and forward.set_headers == ()


def test_a_client_that_leaves_a_stream_pays_for_what_was_produced(desk: Desk) -> None:
    forward = desk.admitted({**CHAT, "stream": True})
    assert forward.call is not None
    forward.call.begin(200, (("content-type", "text/event-stream"),))
    for _ in range(50):
        forward.call.feed(sse(chunk(choices=[{"index": 0, "delta": {"content": "some words of text "}}])))
    forward.call.close(Ending.CLIENT_GONE).result(5)
    record = desk.record(forward)
    assert {"aborted", "estimated"} <= set(record.flags) and record.status is RequestStatus.COMPLETED
    assert record.charge_nanos > 0 and (record.usage.output_tokens or 0) >= 100


def test_an_answer_without_usage_is_estimated_or_charged_at_its_hold_and_flagged(
    tmp_path: Path, providers: ProviderIndex, prices: PriceBook
) -> None:
    answer = {key: value for key, value in ANSWER.items() if key != "usage"}
    estimating = Desk(tmp_path, providers, prices)
    record = estimating.answered(estimating.admitted(), answer)
    assert {"no_usage", "estimated"} <= set(record.flags) and 0 < record.charge_nanos < record.quote_nanos
    holding = Desk(tmp_path, providers, prices, no_usage="hold")
    record = holding.answered(holding.admitted(), answer)
    assert "charged_at_hold" in record.flags and record.charge_nanos == record.quote_nanos


def test_a_fixed_meter_charges_exactly_what_no_price_book_knows(desk: Desk) -> None:
    desk.meter("0.02")
    record = desk.answered(desk.admitted({**CHAT, "model": "nobody-knows-me"}), {**ANSWER, "model": "nobody-knows-me"})
    assert (record.charge_nanos, record.cost_nanos) == (20_000_000, None) and "unpriced" in record.flags


def test_an_unpriced_call_on_a_meter_by_cost_follows_the_policy(
    tmp_path: Path, providers: ProviderIndex, prices: PriceBook
) -> None:
    unknown, answer = {**CHAT, "model": "nobody-knows-me"}, {**ANSWER, "model": "nobody-knows-me"}
    assert Desk(tmp_path, providers, prices).refused(unknown)["code"] == "unpriced_model"
    holding = Desk(tmp_path, providers, prices, unpriced="hold", unpriced_hold="0.25")
    record = holding.answered(holding.admitted(unknown), answer)
    assert record.charge_nanos == parse_amount("0.25") and "unpriced" in record.flags
    allowing = Desk(tmp_path, providers, prices, unpriced="allow")
    record = allowing.answered(allowing.admitted(unknown), answer)
    assert record.charge_nanos == 0 and "unpriced" in record.flags


def test_the_merchants_own_calls_are_tracked_and_never_charged(desk: Desk) -> None:
    record = desk.answered(desk.admitted(user=""))
    assert (record.customer_id, record.charge_nanos, record.cost_nanos) == (None, 0, 450_000)
    record = desk.answered(
        desk.admitted({**CHAT, "model": "nobody-knows-me"}, user=""), {**ANSWER, "model": "x-unknown"}
    )
    assert record.cost_nanos is None and "unpriced" in record.flags


def test_identity_never_reaches_the_provider(desk: Desk) -> None:
    headers = (
        ("x-lava-customer", "acme"),
        ("x-lava-meter", "at-cost"),
        ("x-lava-metadata", '{"team":"a"}'),
        ("x-lava-odd", "1"),
    )
    forward = desk.admitted(
        user="", headers=(*headers, ("proxy-authorization", "Basic x"), ("authorization", "Bearer sk"))
    )
    assert {name for name, _ in headers} | {
        "proxy-authorization",
        "proxy-connection",
        "x-http-method-override",
    } == forward.drop_headers
    assert desk.answered(forward).request.metadata == (("team", "a"),)


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{",
        '{"a": null}',
        '{"": "x"}',
        '{"a b": "x"}',
        '{"a": ""}',
        json.dumps({"a": "x" * 256}),
        '{"a": "\\ud800"}',
    ],
)
def test_metadata_that_cannot_be_kept_is_refused(desk: Desk, text: str) -> None:
    assert desk.refused(headers=(("x-lava-metadata", text),))["code"] == "invalid_metadata"


def test_a_signed_identity_header_is_refused_with_the_reason(desk: Desk) -> None:
    signed = "AWS4-HMAC-SHA256 Credential=x, SignedHeaders=content-type;host;x-lava-customer, Signature=y"
    refusal = desk.refused(headers=(("authorization", signed), ("x-lava-customer", "acme")))
    assert (refusal["status"], refusal["code"]) == (400, "signed_identity_header")


def test_what_the_provider_does_not_bill_passes_without_a_hold_but_not_without_a_key(
    tmp_path: Path, providers: ProviderIndex, prices: PriceBook
) -> None:
    desk = Desk(tmp_path, providers, prices)
    assert desk.admitted(method="GET", path="/v1/models").call is None
    assert desk.refused(method="GET", path="/v1/models", secret="wrong")["code"] == "invalid_key"
    strict = Desk(tmp_path, providers, prices, require_key="always")
    assert strict.refused(method="GET", path="/v1/models")["code"] == "key_required"


def test_an_endpoint_that_nobody_described_is_recorded_or_blocked(
    tmp_path: Path, providers: ProviderIndex, prices: PriceBook
) -> None:
    desk = Desk(tmp_path, providers, prices, unpriced="allow")
    record = desk.answered(desk.admitted(path="/v1/never/heard/of/it"))
    assert "unknown" in record.flags and record.cost_nanos is None
    strict = Desk(tmp_path, providers, prices, unknown_endpoint="block")
    assert strict.refused(path="/v1/never/heard/of/it")["code"] == "endpoint_blocked"


def test_a_websocket_that_nobody_reads_is_charged_at_its_quote_and_never_as_nothing(
    tmp_path: Path, providers: ProviderIndex, prices: PriceBook
) -> None:
    desk = Desk(tmp_path, providers, prices, unpriced="allow")
    record = desk.answered(desk.admitted(method="GET", path="/v1/realtime"), status=101)
    assert {"unknown", "estimated"} <= set(record.flags)
    assert record.usage.total_tokens() > 0 and record.charge_nanos == record.quote_nanos


def test_an_endpoint_whose_wire_format_nobody_reads_is_recorded_or_blocked_as_an_unknown_one(
    tmp_path: Path, prices: PriceBook
) -> None:
    providers = load_providers(readable=DIALECTS.keys() - {"openai_embeddings"})
    desk = Desk(tmp_path, providers, prices, unpriced="allow")
    record = desk.answered(desk.admitted(path="/v1/embeddings"))
    assert (record.request.op, record.request.provider) == ("unknown", "openai")
    assert "unknown" in record.flags and record.cost_nanos is None and record.usage.is_empty()
    assert "unknown" not in desk.answered(desk.admitted()).flags
    strict = Desk(tmp_path, providers, prices, unknown_endpoint="block")
    assert strict.refused(path="/v1/embeddings")["code"] == "endpoint_blocked"


def test_the_error_of_a_provider_whose_wire_format_nobody_reads_has_openais_shape(
    tmp_path: Path, prices: PriceBook
) -> None:
    (tmp_path / "mine.toml").write_text(
        'schema = 1\nextends = "search"\nid = "mine"\nhosts = ["api.openai.example"]\nbase_paths = [""]\n'
    )
    providers = load_providers(tmp_path, readable=DIALECTS.keys() - {"web_tools"})
    dialects = {name: dialect for name, dialect in DIALECTS.items() if name != "web_tools"}
    desk = Desk(tmp_path, providers, prices, unknown_endpoint="block")
    desk.calls._dialects = dialects
    head = Head(
        via=Via.ABSOLUTE, method="POST", scheme="https", host="api.openai.example", port=443, path="/x", headers=()
    )

    refused = desk.calls.open(head, b"{}").result()

    assert isinstance(refused, Refused)
    assert json.loads(refused.body)["error"]["code"] == "endpoint_blocked"


def test_the_caps_of_a_run_hold_for_the_merchants_own_calls(desk: Desk) -> None:
    key, text = new_key(
        key_id=KeyId(f"key_{7:026d}"),
        scope=KeyScope.RUN,
        mode=Mode.TEST,
        random_bytes=b"7" * 32,
        name="",
        created_us=0,
        run_id=RunId("run_1"),
    )
    budget = Budget(
        budget_id=BudgetId("bud_1"),
        subject="run:run_1",
        measure=BudgetMeasure.COST,
        limit=parse_amount("0.000500"),
        created_us=0,
    )
    desk.put(key, Run(run_id=RunId("run_1"), created_us=0), budget)
    first = desk.answered(desk.admitted(user="-", secret=text))
    assert first.run_id == "run_1" and first.cost_nanos == 450_000
    refusal = desk.refused(user="-", secret=text)
    assert (refusal["status"], refusal["code"]) == (402, "run_limit_reached")
    assert desk.refused({**CHAT, "model": "nobody-knows-me"}, user="-", secret=text)["code"] == "unpriced_model"


def test_an_unknown_customer_is_made_where_the_setting_says_so_and_not_too_many_a_minute(
    tmp_path: Path, providers: ProviderIndex, prices: PriceBook
) -> None:
    desk = Desk(tmp_path, providers, prices, unknown_customer="create", unknown_customers_per_minute=2)
    assert [desk.refused(user=f"new-{n}")["code"] for n in range(3)] == ["insufficient_credits"] * 2 + [
        "too_many_new_customers"
    ]
    assert {c.reference_id for c in desk.ledger.tables[Customer].values() if isinstance(c, Customer)} == {
        "acme",
        "new-0",
        "new-1",
    }


def test_a_caller_that_no_longer_waits_leaves_no_hold(desk: Desk) -> None:
    head = Head(
        via=Via.CONNECT,
        method="POST",
        scheme="https",
        host="api.openai.com",
        port=443,
        path="/v1/chat/completions",
        headers=(),
    )
    desk.calls.abandon(desk.calls.open(head, json.dumps(CHAT).encode()))
    assert {h.state for h in desk.ledger.tables[Hold].values() if isinstance(h, Hold)} == {HoldState.VOIDED}


def test_nothing_leaves_while_the_ledger_cannot_be_written(desk: Desk) -> None:
    desk.ledger.fails = True
    refusal = desk.refused()
    assert (refusal["status"], refusal["code"]) == (503, "ledger_unavailable")
    assert "the disk is full" in refusal["body"]["error"]["message"]  # type: ignore[index]


def test_a_settlement_that_the_ledger_could_not_take_is_tried_again(desk: Desk) -> None:
    forward = desk.admitted()
    assert forward.call is not None
    forward.call.begin(200, (("content-type", "application/json"),))
    forward.call.feed(json.dumps(ANSWER).encode())
    desk.ledger.fails = True
    closing = forward.call.close(Ending.COMPLETE)
    assert desk.calls.retry_unsettled() == 1 and not closing.done()
    assert desk.calls.is_open(forward.call.request_id)
    desk.ledger.fails = False
    assert desk.calls.retry_unsettled() == 1
    closing.result(5)
    assert desk.record(forward).charge_nanos == 450_000 and desk.calls.retry_unsettled() == 0


def test_failing_open_notes_the_call_first_and_charges_it_when_the_ledger_is_back(
    tmp_path: Path, providers: ProviderIndex, prices: PriceBook
) -> None:
    desk = Desk(tmp_path, providers, prices, fail_open=True)
    assert desk.spool is not None
    desk.ledger.fails = True
    ended = desk.admitted()
    lost = desk.admitted(user="nobody")
    assert len(desk.spool.path.read_text().splitlines()) == 2 and ended.call is not None and lost.call is not None
    ended.call.begin(200, (("content-type", "application/json"),))
    ended.call.feed(json.dumps(ANSWER).encode())
    ended.call.close(Ending.COMPLETE).result(5)
    desk.ledger.fails = False
    booking = SpoolBooking(
        folder=tmp_path / "spool",
        ledger=desk.ledger,  # type: ignore[arg-type]
        clock=desk.clock,
        ids=desk.ids,
        own=None,
        is_alive=lambda _: False,
    )
    assert booking.book_all().calls == 2 and booking.book_all().calls == 0
    record = desk.record(ended)
    assert (record.charge_nanos, record.customer_id) == (450_000, ACME) and "fail_open" in record.flags
    orphan = desk.record(lost)
    assert (
        orphan.customer_id is None and {"fail_open", "estimated"} <= set(orphan.flags) and (orphan.cost_nanos or 0) > 0
    )


def test_a_fault_while_metering_never_breaks_the_answer(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    forward = desk.admitted()
    assert forward.call is not None
    forward.call.begin(200, (("content-type", "application/json"),))

    class Broken:
        def feed(self, chunk: bytes) -> bytes:
            raise RuntimeError("a bug")

    monkeypatch.setattr(forward.call, "_reader", Broken())
    assert forward.call.feed(b"abc") == b"abc" and forward.call.feed(b"def") == b"def" and forward.call.finish() == b""
    forward.call.close(Ending.COMPLETE).result(5)
    record = desk.record(forward)
    assert {"metering_failed", "estimated"} <= set(record.flags) and record.charge_nanos > 0


def test_large_answers_are_read_aside_and_all_calls_can_be_closed_at_once(desk: Desk) -> None:
    forwards = [desk.admitted() for _ in range(3)]
    for forward in forwards:
        assert forward.call is not None
        forward.call.begin(200, (("content-type", "application/json"),))
        forward.call.feed(json.dumps({**ANSWER, "padding": "x" * 300_000}).encode())
    desk.calls.close_all(Ending.COMPLETE).result(10)
    assert [desk.record(f).charge_nanos for f in forwards] == [450_000] * 3 and desk.calls.open_calls() == 0
    desk.calls.close_all(Ending.STOPPED).result(1)
