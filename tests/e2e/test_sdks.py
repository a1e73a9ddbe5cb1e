"""The real SDKs of OpenAI, Anthropic and Google, led by HTTPS_PROXY and the authority alone, as a program would use them.

The provider behind the proxy is the stand-in; what it reports is a function of the request, so that every charge can be
worked out here. The meter takes $10 for a million tokens: 10,000 nanos a token.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import errors, types

from lava_proxy.core.entities import RequestRecord, RequestStatus, TierUnit
from lava_proxy.demo.figures import figures
from lava_proxy.demo.plan import Plan
from lava_proxy.demo.provider import StandIn, TlsFiles, running_stand_in
from tests.support.certificates import Authority
from tests.support.proxy import RunningProxy, Shop, eventually, new_home, open_shop, running_proxy

pytestmark = pytest.mark.e2e

NANOS_A_TOKEN = 10_000
GPT, CLAUDE, GEMINI = "gpt-4o-mini", "claude-haiku-4-5", "gemini-2.5-flash"
PROMPT = "How does a call get metered?"
MESSAGES: list[Any] = [{"role": "user", "content": PROMPT}]
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One proxy for all tests here; each test has a customer of its own."""

    shop: Shop
    proxy: RunningProxy
    provider: StandIn


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, provider_files: TlsFiles, authority: Authority) -> Iterator[Site]:
    made = new_home(tmp_path_factory.mktemp("sdks") / "home")
    with (
        running_stand_in(tls=provider_files) as provider,
        running_proxy(made.home, provider=provider, authority=authority) as proxy,
        open_shop(made) as shop,
    ):
        shop.meter("tokens", "10", unit=TierUnit.TOKENS_1M)
        shop.meter("calls", "0.10", unit=TierUnit.REQUESTS)
        yield Site(shop=shop, proxy=proxy, provider=provider)


@pytest.fixture(autouse=True)
def _fresh_provider(site: Site) -> None:
    site.provider.reset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """A customer whom the environment names; ``records`` are their settled calls, oldest first."""

    site: Site
    name: str

    def records(self, count: int) -> list[RequestRecord]:
        """Their calls, once so many are settled."""
        customer_id = self.site.shop.house.customers.get(self.name).customer_id

        def look() -> list[RequestRecord]:
            rows = self.site.shop.house.ledger.books().rows(RequestRecord)
            found = [row for row in rows if row.customer_id == customer_id]
            return found if len(found) >= count else []

        found = eventually(look)
        assert len(found) == count
        return found

    def record(self) -> RequestRecord:
        return self.records(1)[0]

    def available(self) -> int:
        return self.site.shop.available(self.name)


@pytest.fixture
def become(site: Site, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Customer]:
    """Makes a customer and leads the SDKs of this process to the proxy in their name."""

    def lead(name: str, *, credit: str | None = "5.00", meter: str = "tokens", is_known: bool = True) -> Customer:
        if is_known:
            site.shop.customer(name, credit=credit, meter=meter)
        for variable, value in site.proxy.environment(name, site.shop.key).items():
            monkeypatch.setenv(variable, value)
            monkeypatch.delenv(variable.lower(), raising=False)
        return Customer(site=site, name=name)

    return lead


@pytest.fixture
def gpt() -> Callable[..., openai.OpenAI]:
    return lambda **options: openai.OpenAI(api_key="sk-test", **options)


@pytest.fixture
def claude() -> Callable[..., anthropic.Anthropic]:
    return lambda **options: anthropic.Anthropic(api_key="sk-ant-test", **options)


@pytest.fixture
def gemini() -> Callable[[], genai.Client]:
    return lambda: genai.Client(api_key="test")


def sent(site: Site) -> dict[str, Any]:
    """The body of the last request as the provider got it."""
    found: dict[str, Any] = json.loads(site.provider.counters.seen[-1].body)
    return found


def expected(site: Site, plan: Plan | None = None) -> tuple[int, int]:
    """Input and output tokens that the provider reported for it."""
    found = figures(sent(site), plan or Plan())
    return found.input, found.output_total


def check(record: RequestRecord, tokens: tuple[int, int]) -> None:
    """Exactly these tokens, charged exactly, nothing flagged."""
    assert (record.usage.input_tokens, record.usage.output_tokens) == tokens
    assert record.charge_nanos == sum(tokens) * NANOS_A_TOKEN
    assert record.status is RequestStatus.COMPLETED
    assert record.flags == ()


# Plain and streamed


def test_openai_chat_plain_and_streamed(site: Site, become: Any, gpt: Any) -> None:
    customer = become("gpt-chat")
    with gpt() as client:
        whole = client.chat.completions.create(model=GPT, messages=MESSAGES)
        check(customer.records(1)[0], expected(site))
        parts = list(client.chat.completions.create(model=GPT, messages=MESSAGES, stream=True))
    assert "".join(part.choices[0].delta.content or "" for part in parts) == whole.choices[0].message.content
    assert all(part.choices for part in parts), "the usage event that we asked for must not reach the client"
    assert sent(site)["stream_options"] == {"include_usage": True}
    check(customer.records(2)[1], expected(site))
    assert customer.available() == 5 * 10**9 - sum(record.charge_nanos for record in customer.records(2))


def test_openai_keeps_the_usage_event_that_the_caller_asked_for(site: Site, become: Any, gpt: Any) -> None:
    customer = become("gpt-usage")
    with gpt() as client:
        options = {"include_usage": True}
        *_, last = client.chat.completions.create(model=GPT, messages=MESSAGES, stream=True, stream_options=options)
    assert last.choices == [] and last.usage is not None
    check(customer.record(), (last.usage.prompt_tokens, last.usage.completion_tokens))


async def test_the_async_openai_client_streams_too(site: Site, become: Any) -> None:
    customer = become("gpt-async")
    async with openai.AsyncOpenAI(api_key="sk-test") as client:
        stream = await client.chat.completions.create(model=GPT, messages=MESSAGES, stream=True)
        text = [part.choices[0].delta.content or "" async for part in stream]
    assert "".join(text)
    check(customer.record(), expected(site))


def test_openai_responses_completions_and_embeddings(site: Site, become: Any, gpt: Any) -> None:
    customer = become("gpt-others")
    with gpt() as client:
        client.responses.create(model=GPT, input=PROMPT)
        *_, last = client.responses.create(model=GPT, input=PROMPT, stream=True)
        assert last.type == "response.completed"
        client.completions.create(model="gpt-3.5-turbo-instruct", prompt=PROMPT)
        found = client.embeddings.create(model="text-embedding-3-small", input=[PROMPT])
    assert len(found.data[0].embedding) == 8
    records = customer.records(4)
    assert [record.request.op for record in records] == ["responses", "responses", "completions", "embeddings"]
    assert records[3].usage.input_tokens == found.usage.prompt_tokens
    assert all(record.charge_nanos == record.usage.total_tokens() * NANOS_A_TOKEN for record in records)


def test_listing_models_is_free(site: Site, become: Any, gpt: Any) -> None:
    customer = become("gpt-free", credit=None)
    with gpt() as client:
        assert [model.id for model in client.models.list()]
    assert customer.available() == 0
    assert site.provider.counters.requests == 1


def test_anthropic_messages_plain_and_streamed(site: Site, become: Any, claude: Any) -> None:
    customer = become("claude-messages")
    with claude() as client:
        whole = client.messages.create(model=CLAUDE, max_tokens=100, messages=MESSAGES)
        check(customer.records(1)[0], expected(site))
        with client.messages.stream(model=CLAUDE, max_tokens=100, messages=MESSAGES) as stream:
            final = stream.get_final_message()
        assert final.content[0].text == whole.content[0].text
        check(customer.records(2)[1], expected(site))
        assert client.messages.count_tokens(model=CLAUDE, messages=MESSAGES).input_tokens == final.usage.input_tokens
    assert len(customer.records(2)) == 2, "counting tokens is free"


def test_anthropics_cache_is_counted_once(site: Site, become: Any, claude: Any) -> None:
    customer = become("claude-cache")
    plan = Plan(cached_tokens=900, cache_write_tokens=300)
    site.provider.plan = plan
    with claude() as client:
        usage = client.messages.create(model=CLAUDE, max_tokens=100, messages=MESSAGES).usage
    assert usage.cache_read_input_tokens == 900
    record = customer.record()
    assert (record.usage.input_tokens, record.usage.cached_input_tokens) == (1_200, 900)
    assert record.usage.cache_write_tokens == 300


def test_gemini_plain_and_streamed(site: Site, become: Any, gemini: Any) -> None:
    customer = become("gemini-generate")
    client = gemini()
    whole = client.models.generate_content(model=GEMINI, contents=PROMPT)
    check(customer.records(1)[0], expected(site))
    parts = list(client.models.generate_content_stream(model=GEMINI, contents=PROMPT))
    assert "".join(part.text or "" for part in parts) == whole.text
    check(customer.records(2)[1], expected(site))
    client.close()


# Tool calls


def test_tool_calls_pass_and_are_metered(site: Site, become: Any, gpt: Any, claude: Any, gemini: Any) -> None:
    customer = become("tools")
    with gpt() as client:
        function: Any = {"type": "function", "function": {"name": "weather", "parameters": CITY}}
        whole = client.chat.completions.create(model=GPT, messages=MESSAGES, tools=[function])
        assert json.loads(whole.choices[0].message.tool_calls[0].function.arguments) == {"city": "Catania"}
        check(customer.records(1)[0], expected(site))
        arguments = ""
        for part in client.chat.completions.create(model=GPT, messages=MESSAGES, tools=[function], stream=True):
            for call in part.choices[0].delta.tool_calls or []:
                arguments += call.function.arguments
        assert json.loads(arguments) == {"city": "Catania"}
        check(customer.records(2)[1], expected(site))
    with claude() as client:
        tool: Any = {"name": "weather", "input_schema": CITY}
        with client.messages.stream(model=CLAUDE, max_tokens=100, messages=MESSAGES, tools=[tool]) as stream:
            assert stream.get_final_message().content[0].input == {"city": "Catania"}
        check(customer.records(3)[2], expected(site))
    declared = types.FunctionDeclaration(name="weather", parameters_json_schema=CITY)
    config = types.GenerateContentConfig(
        tools=[types.Tool(function_declarations=[declared])],
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
    )
    client = gemini()
    called = client.models.generate_content(model=GEMINI, contents=PROMPT, config=config)
    assert called.function_calls[0].args == {"city": "Catania"}
    check(customer.records(4)[3], expected(site))
    client.close()


# Refusals


def refuse_nothing_upstream(site: Site, name: str, code: str) -> None:
    """The provider saw neither connection nor request, and the SDK asked once only."""
    assert (site.provider.counters.connections, site.provider.counters.requests) == (0, 0)
    assert eventually(lambda: site.shop.refusals(name)) == {code: 1}


def test_openai_raises_a_readable_402_and_does_not_retry_it(site: Site, become: Any, gpt: Any) -> None:
    become("gpt-poor", credit="0.05", meter="calls")
    with gpt() as client, pytest.raises(openai.APIStatusError) as raised:
        client.chat.completions.create(model=GPT, messages=MESSAGES)
    assert raised.value.status_code == 402
    assert raised.value.code == "insufficient_credits"
    assert "0.10" in str(raised.value) and "0.05" in str(raised.value), "what it needs and what is there"
    refuse_nothing_upstream(site, "gpt-poor", "insufficient_credits")


def test_openai_raises_the_same_for_a_stream(site: Site, become: Any, gpt: Any) -> None:
    become("gpt-poor-stream", credit=None, meter="calls")
    with gpt() as client, pytest.raises(openai.APIStatusError) as raised:
        client.chat.completions.create(model=GPT, messages=MESSAGES, stream=True)
    assert (raised.value.status_code, raised.value.code) == (402, "insufficient_credits")
    refuse_nothing_upstream(site, "gpt-poor-stream", "insufficient_credits")


def test_anthropic_raises_a_readable_402_and_does_not_retry_it(site: Site, become: Any, claude: Any) -> None:
    become("claude-poor", credit="0.05", meter="calls")
    with claude() as client, pytest.raises(anthropic.APIStatusError) as raised:
        client.messages.create(model=CLAUDE, max_tokens=10, messages=MESSAGES)
    assert raised.value.status_code == 402
    body: Any = raised.value.body
    assert body["error"]["code"] == "insufficient_credits"
    assert "0.10" in str(raised.value) and "0.05" in str(raised.value)
    refuse_nothing_upstream(site, "claude-poor", "insufficient_credits")


def test_gemini_raises_a_readable_402_and_does_not_retry_it(site: Site, become: Any, gemini: Any) -> None:
    become("gemini-poor", credit="0.05", meter="calls")
    client = gemini()
    with pytest.raises(errors.ClientError) as raised:
        client.models.generate_content(model=GEMINI, contents=PROMPT)
    assert raised.value.code == 402
    assert "insufficient_credits" in json.dumps(raised.value.details)
    assert "0.10" in str(raised.value) and "0.05" in str(raised.value)
    refuse_nothing_upstream(site, "gemini-poor", "insufficient_credits")
    client.close()


def test_credit_that_is_spent_refuses_the_next_call_of_an_open_client(site: Site, become: Any, gpt: Any) -> None:
    customer = become("gpt-spending", credit="0.20", meter="calls")
    with gpt() as client:
        for _ in range(2):
            client.chat.completions.create(model=GPT, messages=MESSAGES)
        before = (site.provider.counters.connections, site.provider.counters.requests)
        with pytest.raises(openai.APIStatusError, match=r"402 - .*credit") as raised:
            client.chat.completions.create(model=GPT, messages=MESSAGES)
        assert raised.value.code == "insufficient_credits"
        assert (site.provider.counters.connections, site.provider.counters.requests) == before
        assert customer.available() == 0
        site.shop.grant("gpt-spending", "0.10")
        client.chat.completions.create(model=GPT, messages=MESSAGES)
    assert len(customer.records(3)) == 3


def test_an_unknown_customer_is_a_403_in_each_shape(
    site: Site, become: Any, gpt: Any, claude: Any, gemini: Any
) -> None:
    become("nobody-of-ours", is_known=False)
    with gpt() as client, pytest.raises(openai.PermissionDeniedError, match="nobody-of-ours") as refused:
        client.chat.completions.create(model=GPT, messages=MESSAGES)
    assert refused.value.code == "customer_not_found"
    with claude() as client, pytest.raises(anthropic.PermissionDeniedError, match="customer_not_found"):
        client.messages.create(model=CLAUDE, max_tokens=10, messages=MESSAGES)
    google = gemini()
    with pytest.raises(errors.ClientError, match="nobody-of-ours") as denied:
        google.models.generate_content(model=GEMINI, contents=PROMPT)
    assert denied.value.code == 403
    google.close()
    assert site.provider.counters.connections == 0


# The provider's own errors


def test_a_429_is_retried_by_the_sdk_and_only_the_answer_is_charged(site: Site, become: Any, gpt: Any) -> None:
    customer = become("gpt-limited")
    site.provider.next_plans.extend([Plan(status=429, retry_after_seconds=0), Plan(status=429, retry_after_seconds=0)])
    with gpt(max_retries=2) as client:
        client.chat.completions.create(model=GPT, messages=MESSAGES)
    assert site.provider.counters.requests == 3
    assert 5 * 10**9 - eventually_settled(customer) == sum(expected(site)) * NANOS_A_TOKEN


def test_a_429_and_a_500_and_a_529_reach_the_client_as_they_are_and_cost_nothing(
    site: Site, become: Any, gpt: Any, claude: Any, gemini: Any
) -> None:
    customer = become("errors")
    site.provider.plan = Plan(status=429, retry_after_seconds=7)
    with gpt(max_retries=0) as client, pytest.raises(openai.RateLimitError) as limited:
        client.chat.completions.create(model=GPT, messages=MESSAGES)
    assert limited.value.response.headers["retry-after"] == "7"
    assert limited.value.code == "rate_limit_exceeded"
    site.provider.plan = Plan(status=529)
    with claude(max_retries=0) as client, pytest.raises(anthropic.InternalServerError, match="overloaded_error"):
        client.messages.create(model=CLAUDE, max_tokens=10, messages=MESSAGES, stream=True)
    site.provider.plan = Plan(status=500)
    google = gemini()
    with pytest.raises(errors.ServerError, match="INTERNAL"):
        google.models.generate_content(model=GEMINI, contents=PROMPT)
    google.close()
    assert eventually_settled(customer) == 5 * 10**9


def eventually_settled(customer: Customer) -> int:
    """What is available once nothing is held."""

    def look() -> bool:
        return customer.site.shop.house.credits.balance(customer.name).held_nanos == 0

    assert eventually(look)
    return customer.available()


# Streams that end early


def test_a_stream_that_the_client_leaves_is_charged_for_what_was_produced(site: Site, become: Any, gpt: Any) -> None:
    customer = become("gpt-leaving")
    plan = Plan(output_tokens=400, chunks=200, delay_ms=10)
    site.provider.plan = plan
    with gpt() as client:
        stream = client.chat.completions.create(model=GPT, messages=MESSAGES, stream=True)
        for number, _ in enumerate(stream):
            if number == 20:
                stream.close()
                break
    record = customer.record()
    whole = expected(site, plan)
    assert set(record.flags) >= {"estimated", "aborted"}
    assert 20 <= (record.usage.output_tokens or 0) < whole[1]
    assert record.charge_nanos == record.usage.total_tokens() * NANOS_A_TOKEN
    assert site.provider.counters.wait_until(lambda seen: seen.broken == 1), "the provider was told to stop"


def test_a_left_anthropic_stream_keeps_the_input_that_the_provider_reported(
    site: Site, become: Any, claude: Any
) -> None:
    customer = become("claude-leaving")
    plan = Plan(output_tokens=90, chunks=80, delay_ms=10)
    site.provider.plan = plan
    with claude() as client, client.messages.stream(model=CLAUDE, max_tokens=100, messages=MESSAGES) as stream:
        for number, _ in enumerate(stream.text_stream):
            if number == 10:
                break
    record = customer.record()
    assert "estimated" in record.flags
    assert record.usage.input_tokens == expected(site, plan)[0]
    assert 0 < (record.usage.output_tokens or 0) < 90
    assert record.charge_nanos == record.usage.total_tokens() * NANOS_A_TOKEN


def test_a_stream_that_the_provider_breaks_off_is_charged_for_what_was_produced(
    site: Site, become: Any, gpt: Any
) -> None:
    customer = become("gpt-broken")
    plan = Plan(output_tokens=200, chunks=100, abort_after_events=50, tear=True)
    site.provider.plan = plan
    with gpt(max_retries=0) as client:
        stream = client.chat.completions.create(model=GPT, messages=MESSAGES, stream=True)
        with pytest.raises(openai.APIError):
            list(stream)
    record = customer.record()
    assert set(record.flags) >= {"estimated", "upstream_gone"}
    assert 0 < (record.usage.output_tokens or 0) < expected(site, plan)[1]
    assert record.charge_nanos == record.usage.total_tokens() * NANOS_A_TOKEN


def test_an_answer_without_usage_is_estimated_and_flagged(site: Site, become: Any, gpt: Any) -> None:
    customer = become("gpt-silent")
    site.provider.plan = Plan(usage="no")
    with gpt() as client:
        assert client.chat.completions.create(model=GPT, messages=MESSAGES).usage is None
    record = customer.record()
    assert "estimated" in record.flags and record.charge_nanos > 0


# Identity


def test_identity_never_reaches_the_provider(site: Site, become: Any, gpt: Any) -> None:
    become("gpt-private")
    headers = {"x-lava-metadata": '{"team": "search"}', "x-lava-request-id": "mine-1"}
    with gpt() as client:
        client.chat.completions.create(model=GPT, messages=MESSAGES, extra_headers=headers)
    seen = site.provider.counters.seen[-1]
    told = " ".join(f"{name}: {value}" for name, value in seen.headers).lower() + seen.body.decode().lower()
    assert not any(
        word in told for word in ("lava", "gpt-private", "proxy-", "mine-1", "search", site.shop.key.lower())
    )
    assert seen.header("authorization") == "Bearer sk-test"
