"""The stand-in provider answers the real SDKs as the providers do, and its figures are a function of the request."""

import json
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest
from google import genai
from google.genai import types

from lava_proxy.demo.figures import count_input, figures
from lava_proxy.demo.plan import Plan, plan_from_json
from lava_proxy.demo.provider import StandIn, running_stand_in
from tests.support.certificates import make_authority

MESSAGES: list[Any] = [{"role": "user", "content": "How many tokens is this?"}]
CHAT: dict[str, Any] = {"model": "gpt-4o-mini", "messages": MESSAGES}
TOOL = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}


@pytest.fixture
def provider() -> Iterator[StandIn]:
    with running_stand_in() as running:
        yield running


@pytest.fixture
def gpt(provider: StandIn) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{provider.url}/v1", api_key="sk-test", max_retries=0) as client:
        yield client


@pytest.fixture
def claude(provider: StandIn) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=provider.url, api_key="sk-ant-test", max_retries=0) as client:
        yield client


@pytest.fixture
def gemini(provider: StandIn) -> genai.Client:
    return genai.Client(api_key="test", http_options=types.HttpOptions(base_url=provider.url))


@pytest.fixture
def http(provider: StandIn) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=provider.url, trust_env=False) as client:
        yield client


def _events(answer: httpx.Response) -> list[Any]:
    datas = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
    return [json.loads(item) for item in datas if item != "[DONE]"]


def test_a_chat_completion_reports_the_tokens_that_its_request_makes(gpt: openai.OpenAI) -> None:
    answer = gpt.chat.completions.create(**CHAT)
    expected = figures(CHAT, Plan())
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (expected.input, expected.output)
    assert answer.choices[0].finish_reason == "stop"
    assert len((answer.choices[0].message.content or "").split()) == expected.output


def test_the_tokens_of_a_request_are_counted_as_the_docstring_says() -> None:
    body = {"messages": [{"role": "user", "content": "abcdefgh"}, {"role": "assistant", "content": "x"}]}
    assert count_input(body) == 3 + 2 * 4 + 3  # 9 bytes of text: three tokens


def test_a_longer_prompt_makes_more_tokens() -> None:
    short, long = ({"messages": [{"role": "user", "content": "word " * n}]} for n in (10, 100))
    assert count_input(long) - count_input(short) == 500 // 4 - 13  # 50 bytes are 13 tokens, rounded up


def test_a_stream_has_no_usage_event_unless_it_is_asked_for(http: httpx.Client) -> None:
    plain = _events(http.post("/v1/chat/completions", json={**CHAT, "stream": True}))
    assert all("usage" not in event and event["choices"] for event in plain)
    options = {"stream": True, "stream_options": {"include_usage": True}}
    asked = _events(http.post("/v1/chat/completions", json={**CHAT, **options}))
    assert all(event["usage"] is None and event["choices"] for event in asked[:-1])
    assert asked[-1]["choices"] == []
    assert asked[-1]["usage"]["prompt_tokens"] == count_input(CHAT)


def test_a_streamed_text_is_the_unstreamed_one(gpt: openai.OpenAI) -> None:
    whole = gpt.chat.completions.create(**CHAT).choices[0].message.content
    stream = gpt.chat.completions.create(**CHAT, stream=True)
    assert "".join(part.choices[0].delta.content or "" for part in stream) == whole


def test_n_choices_produce_n_times_the_output(gpt: openai.OpenAI) -> None:
    answer = gpt.chat.completions.create(**CHAT, n=3, max_tokens=7)
    assert answer.usage is not None
    assert [choice.finish_reason for choice in answer.choices] == ["length"] * 3
    assert answer.usage.completion_tokens == 21


def test_chat_calls_a_tool_until_its_result_is_there(gpt: openai.OpenAI) -> None:
    tools: Any = [{"type": "function", "function": TOOL}]
    first = gpt.chat.completions.create(**CHAT, tools=tools)
    calls = first.choices[0].message.tool_calls
    assert calls is not None and calls[0].type == "function"
    assert json.loads(calls[0].function.arguments) == {"city": "Catania"}
    result: Any = {"role": "tool", "tool_call_id": calls[0].id, "content": "sunny"}
    again = gpt.chat.completions.create(model="gpt-4o-mini", messages=[*MESSAGES, result], tools=tools)
    assert again.choices[0].finish_reason == "stop"


def test_a_streamed_tool_call_arrives_in_pieces(gpt: openai.OpenAI) -> None:
    tools: Any = [{"type": "function", "function": TOOL}]
    arguments = ""
    for part in gpt.chat.completions.create(**CHAT, tools=tools, stream=True):
        for call in part.choices[0].delta.tool_calls or []:
            arguments += call.function.arguments or "" if call.function else ""
    assert json.loads(arguments) == {"city": "Catania"}


def test_completions_embeddings_and_models_answer_the_sdk(gpt: openai.OpenAI) -> None:
    done = gpt.completions.create(model="gpt-3.5-turbo-instruct", prompt="Once upon a time")
    assert done.usage is not None and done.usage.completion_tokens == 16
    found = gpt.embeddings.create(model="text-embedding-3-small", input=["one", "two"], dimensions=4)
    assert [len(item.embedding) for item in found.data] == [4, 4]
    assert found.usage.prompt_tokens == 3 + 2
    assert [model.id for model in gpt.models.list()] == ["gpt-4o-mini", "text-embedding-3-small"]


def test_streamed_completions_end_with_their_usage(http: httpx.Client) -> None:
    body = {
        "model": "gpt-3.5-turbo-instruct",
        "prompt": "Once",
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    events = _events(http.post("/v1/completions", json=body))
    assert events[-1]["choices"] == [] and events[-1]["usage"]["completion_tokens"] == 16


def test_responses_answer_whole_streamed_cut_and_with_tools(gpt: openai.OpenAI) -> None:
    whole = gpt.responses.create(model="gpt-4o-mini", input="How many tokens is this?")
    assert whole.status == "completed" and whole.usage is not None and whole.usage.output_tokens > 0
    *_, last = gpt.responses.create(model="gpt-4o-mini", input="How many tokens is this?", stream=True)
    assert last.type == "response.completed" and last.response.usage == whole.usage
    assert last.response.output_text == whole.output_text
    *_, cut = gpt.responses.create(model="gpt-4o-mini", input="Hello", max_output_tokens=16, stream=True)
    assert cut.type == "response.incomplete"
    tool: Any = {"type": "function", "strict": False, **TOOL}
    called = gpt.responses.create(model="gpt-4o-mini", input="Weather?", tools=[tool])
    assert called.output[0].type == "function_call" and called.output[0].arguments == '{"city": "Catania"}'


def test_anthropic_messages_answer_whole_streamed_and_with_tools(claude: anthropic.Anthropic) -> None:
    asked: Any = {"model": "claude-haiku-4-5", "max_tokens": 100, "messages": MESSAGES}
    whole = claude.messages.create(**asked)
    expected = figures(asked, Plan())
    assert (whole.usage.input_tokens, whole.usage.output_tokens) == (expected.input, expected.output)
    with claude.messages.stream(**asked) as stream:
        final = stream.get_final_message()
    assert [block.to_dict() for block in final.content] == [block.to_dict() for block in whole.content]
    assert final.usage.output_tokens == whole.usage.output_tokens
    tool: Any = {"name": "weather", "input_schema": TOOL["parameters"]}
    with claude.messages.stream(**asked, tools=[tool]) as stream:
        called = stream.get_final_message()
    assert called.stop_reason == "tool_use"
    assert called.content[0].type == "tool_use" and called.content[0].input == {"city": "Catania"}
    assert claude.messages.count_tokens(model="claude-haiku-4-5", messages=MESSAGES).input_tokens == expected.input


def test_anthropic_input_leaves_out_what_a_cache_gave(claude: anthropic.Anthropic, provider: StandIn) -> None:
    provider.plan = Plan(cached_tokens=1_000, cache_write_tokens=200)
    usage = claude.messages.create(model="claude-haiku-4-5", max_tokens=10, messages=MESSAGES).usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (0, 1_000, 200)


def test_gemini_answers_whole_streamed_and_with_tools(gemini: genai.Client) -> None:
    whole = gemini.models.generate_content(model="gemini-2.5-flash", contents="How many tokens is this?")
    assert whole.usage_metadata is not None
    parts = list(gemini.models.generate_content_stream(model="gemini-2.5-flash", contents="How many tokens is this?"))
    assert "".join(part.text or "" for part in parts) == whole.text
    assert parts[-1].usage_metadata == whole.usage_metadata
    config = types.GenerateContentConfig(
        tools=[
            types.Tool(
                function_declarations=[
                    types.FunctionDeclaration(name="weather", parameters_json_schema=TOOL["parameters"])
                ]
            )
        ],
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
    )
    called = gemini.models.generate_content(model="gemini-2.5-flash", contents="Weather?", config=config)
    assert called.function_calls is not None and called.function_calls[0].args == {"city": "Catania"}


def test_gemini_streams_one_json_array_where_nobody_asked_for_events(http: httpx.Client) -> None:
    body = {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}
    answer = http.post("/v1beta/models/gemini-2.5-flash:streamGenerateContent", json=body)
    found = answer.json()
    assert isinstance(found, list) and len(found) == 5
    assert found[-1]["usageMetadata"]["promptTokenCount"] == count_input(body)


def test_errors_have_the_shape_of_each_provider(
    gpt: openai.OpenAI, claude: anthropic.Anthropic, gemini: genai.Client, provider: StandIn
) -> None:
    provider.plan = Plan(status=429, retry_after_seconds=3)
    with pytest.raises(openai.RateLimitError, match="asked to answer 429") as limited:
        gpt.chat.completions.create(**CHAT)
    assert limited.value.response.headers["retry-after"] == "3"
    provider.plan = Plan(status=529)
    with pytest.raises(anthropic.InternalServerError, match="overloaded_error"):
        claude.messages.create(model="claude-haiku-4-5", max_tokens=10, messages=MESSAGES)
    provider.plan = Plan(status=500)
    with pytest.raises(genai.errors.ServerError, match="INTERNAL"):
        gemini.models.generate_content(model="gemini-2.5-flash", contents="Hello")


def test_a_plan_is_taken_from_the_header_then_the_queue_then_the_model_then_the_rest(
    http: httpx.Client, provider: StandIn
) -> None:
    provider.plan = Plan(output_tokens=1)
    provider.plans["gpt-4o-mini"] = Plan(output_tokens=2)
    provider.next_plans.append(Plan(output_tokens=3))

    def tokens(model: str, **headers: str) -> int:
        answer = http.post("/v1/chat/completions", json={**CHAT, "model": model}, headers=headers)
        return int(answer.json()["usage"]["completion_tokens"])

    assert tokens("gpt-4o-mini") == 3
    assert tokens("gpt-4o-mini") == 2
    assert tokens("o3") == 1
    assert tokens("gpt-4o-mini", **{"x-stand-in": '{"output_tokens": 4}'}) == 4


def test_an_unknown_knob_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="no knob 'chunk'"):
        plan_from_json('{"chunk": 3}')
    with pytest.raises(ValueError, match="status: '429'"):
        plan_from_json('{"status": "429"}')


def test_an_aborted_stream_ends_after_exactly_the_planned_events(http: httpx.Client, provider: StandIn) -> None:
    provider.plan = Plan(abort_after_events=3, chunks=10)
    got = _bytes_before_the_break(http)
    assert got.count(b"data: ") == 3 and got.endswith(b"\n\n")
    assert provider.counters.wait_until(lambda seen: seen.broken == 1)


def test_a_torn_stream_ends_within_an_event(http: httpx.Client, provider: StandIn) -> None:
    provider.plan = Plan(abort_after_events=1, tear=True)
    got = _bytes_before_the_break(http)
    assert got.count(b"data: ") == 2 and not got.endswith(b"\n\n")


def test_an_abort_before_the_head_answers_nothing(http: httpx.Client, provider: StandIn) -> None:
    provider.plan = Plan(abort_after_events=-1)
    with pytest.raises(httpx.RemoteProtocolError):
        http.post("/v1/chat/completions", json=CHAT)


def test_an_error_event_ends_a_stream(claude: anthropic.Anthropic, provider: StandIn) -> None:
    provider.plan = Plan(error_after_events=2)
    with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
        list(claude.messages.create(model="claude-haiku-4-5", max_tokens=10, messages=MESSAGES, stream=True))


def test_a_latch_withholds_answers_until_it_is_released(provider: StandIn) -> None:
    provider.plan = Plan(latch="door")
    sockets = [socket.create_connection((provider.host, provider.port)) for _ in range(3)]
    body = json.dumps(CHAT).encode()
    for each in sockets:
        each.sendall(b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
    assert provider.counters.wait_until(lambda seen: seen.waiting == 3)
    assert provider.counters.answered == 0
    provider.release("door")
    assert [each.recv(12) for each in sockets] == [b"HTTP/1.1 200"] * 3
    for each in sockets:
        each.close()


def test_a_latch_within_a_stream_lets_the_first_events_pass(http: httpx.Client, provider: StandIn) -> None:
    provider.plan = Plan(latch="middle", latch_after_events=2)
    with http.stream("POST", "/v1/chat/completions", json={**CHAT, "stream": True}) as answer:
        assert answer.status_code == 200
        assert provider.counters.wait_until(lambda seen: seen.waiting == 1)
        provider.release("middle")
        assert answer.read().endswith(b"data: [DONE]\n\n")


def test_gzip_is_sent_only_where_plan_and_request_agree(http: httpx.Client, provider: StandIn) -> None:
    plain = http.post("/v1/chat/completions", json={**CHAT, "stream": True})
    provider.plan = Plan(gzip=True)
    packed = http.post("/v1/chat/completions", json={**CHAT, "stream": True}, headers={"accept-encoding": "gzip"})
    unasked = http.post("/v1/chat/completions", json=CHAT, headers={"accept-encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip" and packed.text.count("data:") == plain.text.count("data:")
    assert "content-encoding" not in unasked.headers


def test_usage_can_be_left_out_or_be_zero(http: httpx.Client, provider: StandIn) -> None:
    for path, body, key in (
        ("/v1/chat/completions", CHAT, "usage"),
        ("/v1/messages", {**CHAT, "max_tokens": 5}, "usage"),
        ("/v1/models/gemini-2.5-flash:generateContent", {"contents": []}, "usageMetadata"),
    ):
        provider.plan = Plan(usage="no")
        assert key not in http.post(path, json=body).json()
        provider.plan = Plan(usage="zero")
        assert set(_numbers(http.post(path, json=body).json()[key])) == {0}


def test_a_padded_answer_is_large_and_costs_no_more(http: httpx.Client, provider: StandIn) -> None:
    provider.plan = Plan(pad_bytes=2_000_000)
    answer = http.post("/v1/chat/completions", json=CHAT)
    assert len(answer.content) > 2_000_000
    assert answer.json()["usage"]["completion_tokens"] == figures(CHAT, Plan()).output


def test_what_arrived_is_counted_and_kept(http: httpx.Client, provider: StandIn) -> None:
    http.post("/v1/chat/completions", json=CHAT, headers={"x-lava-customer": "acme"})
    http.post("/v1/chat/completions", content=iter([json.dumps(CHAT).encode()]))  # a chunked request body
    assert (provider.counters.connections, provider.counters.requests) == (1, 2)
    first, second = provider.counters.seen
    assert first.header("X-Lava-Customer") == "acme" and second.header("x-lava-customer") is None
    assert json.loads(second.body) == CHAT
    assert provider.counters.wait_until(lambda seen: seen.answered == 2)
    provider.reset()
    assert provider.counters.requests == 0


def test_a_body_that_is_no_object_is_a_400_of_the_provider(http: httpx.Client) -> None:
    assert http.post("/v1/messages", content=b"[1]").json()["error"]["type"] == "invalid_request_error"
    assert http.post("/v1/nothing", json={}).status_code == 404


def test_as_a_process_it_prints_its_port_speaks_tls_and_is_controlled_over_http(tmp_path: Path) -> None:
    authority = make_authority(tmp_path)
    files = authority.issue("api.openai.com", "127.0.0.1")
    command = [
        sys.executable,
        "-m",
        "lava_proxy.demo.provider",
        "--tls-cert",
        str(files.certificate),
        "--tls-key",
        str(files.key),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = f"https://127.0.0.1:{int(process.stdout.readline())}"
            trust = ssl.create_default_context(cafile=str(authority.certificate_file))
            with httpx.Client(base_url=url, verify=trust, trust_env=False) as client:
                assert client.post("/_stand_in/plan", json={"output_tokens": 9}).json() == {"ok": True}
                assert client.post("/_stand_in/plan", json={"nonsense": 9}).status_code == 400
                assert client.post("/v1/chat/completions", json=CHAT).json()["usage"]["completion_tokens"] == 9
                assert client.get("/_stand_in/counters").json()["requests"] == 1
        finally:
            process.terminate()


def _bytes_before_the_break(http: httpx.Client) -> bytes:
    received: list[bytes] = []
    with (
        http.stream("POST", "/v1/chat/completions", json={**CHAT, "stream": True}) as answer,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        received.extend(answer.iter_raw())
    return b"".join(received)


def _numbers(value: object) -> Iterator[int]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _numbers(item)
    elif isinstance(value, list):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, int):
        yield value
