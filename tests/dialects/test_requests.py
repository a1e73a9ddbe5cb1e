"""What a request says before it is sent, and asking a stream for its usage."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lava_proxy.core.usage import RequestFacts
from lava_proxy.dialects import DIALECTS
from lava_proxy.dialects.request_size import (
    IMAGE_TOKENS,
    IMAGE_TOKENS_OF_4O_MINI,
    LARGEST_FILE_TOKENS,
    LOW_DETAIL_IMAGE_TOKENS,
    OWN_TOOL_TOKENS,
    TOOL_USE_TOKENS,
    UNSEEN_TOKENS,
)


def facts_of(dialect: str, body: object, *, op: str = "chat", path_model: str | None = None) -> RequestFacts:
    return DIALECTS[dialect].read_request(op, json.dumps(body).encode(), path_model=path_model)


def asked(dialect: str, body: bytes) -> bytes:
    return DIALECTS[dialect].ask_for_usage(body)


def test_a_chat_request_tells_model_size_limit_choices_and_end_user() -> None:
    body = {
        "model": "gpt-4o",
        "messages": [
            {"role": "user", "content": "Grüße"},
            {"role": "user", "content": [{"type": "text", "text": "x"}]},
        ],
        "max_tokens": 9,
        "max_completion_tokens": 50,
        "n": 3,
        "user": "u-1",
        "service_tier": "flex",
    }
    facts = facts_of("openai_chat", body)
    assert (facts.model, facts.is_stream, facts.output_limit, facts.choices) == ("gpt-4o", False, 50, 3)
    assert (facts.end_user, facts.service_tier, facts.has_output, facts.asked_for_usage) == ("u-1", "flex", True, True)
    assert facts.input_text_characters >= len("Grüße" + "x")
    assert facts.input_text_bytes == facts.input_text_characters + 2
    assert facts.input_other_tokens == 0


@pytest.mark.parametrize(
    ("options", "has_asked"),
    [(None, False), ({}, False), ({"include_usage": False}, False), ({"include_usage": True}, True)],
)
def test_a_stream_has_asked_for_usage_or_not(options: object, has_asked: bool) -> None:
    for dialect in ("openai_chat", "openai_completions"):
        facts = facts_of(dialect, {"model": "m", "stream": True, "stream_options": options})
        assert facts.is_stream
        assert facts.asked_for_usage is has_asked


def test_the_paths_model_is_used_where_the_body_names_none() -> None:
    assert facts_of("openai_chat", {"messages": []}, path_model="deployment").model == "deployment"
    assert facts_of("openai_chat", {"model": "m"}, path_model="deployment").model == "m"


def test_tools_and_schemas_are_input() -> None:
    small = facts_of("openai_chat", {"messages": []})
    tools = [{"type": "function", "function": {"name": "go", "description": "d" * 300, "parameters": {}}}]
    assert facts_of("openai_chat", {"messages": [], "tools": tools}).input_text_bytes > small.input_text_bytes + 300
    schema = {"type": "json_schema", "json_schema": {"schema": {"description": "d" * 300}}}
    assert facts_of("openai_chat", {"response_format": schema}).input_text_bytes > 300


def test_images_are_tokens_not_text() -> None:
    def parts(url: str, **detail: str) -> dict[str, object]:
        return {"messages": [{"content": [{"type": "image_url", "image_url": {"url": url, **detail}}]}]}

    image = "data:image/png;base64," + "A" * 100_000
    facts = facts_of("openai_chat", parts(image))
    assert facts.input_other_tokens == IMAGE_TOKENS
    assert facts.input_text_bytes < 100
    assert facts_of("openai_chat", parts(image, detail="low")).input_other_tokens == LOW_DETAIL_IMAGE_TOKENS
    mini = {"model": "gpt-4o-mini", **parts(image)}
    assert facts_of("openai_chat", mini).input_other_tokens == IMAGE_TOKENS_OF_4O_MINI


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        ("openai_responses", {"input": [{"content": [{"type": "input_image", "image_url": "data:…"}]}]}),
        ("anthropic_messages", {"messages": [{"content": [{"type": "image", "source": {"type": "url", "url": "u"}}]}]}),
        ("gemini_generate", {"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": "A"}}]}]}),
        ("gemini_generate", {"contents": [{"parts": [{"inline_data": {"mime_type": "image/png", "data": "A"}}]}]}),
    ],
)
def test_images_are_found_in_every_wire(dialect: str, body: object) -> None:
    assert facts_of(dialect, body).input_other_tokens == IMAGE_TOKENS


def test_media_is_estimated_by_its_size_and_by_a_constant_where_it_is_only_pointed_to() -> None:
    def tokens(part: object) -> int:
        return facts_of("openai_chat", {"messages": [{"content": [part]}]}).input_other_tokens

    def audio(form: str) -> object:
        return {"type": "input_audio", "input_audio": {"data": "A" * 80_000, "format": form}}

    assert tokens(audio("wav")) == 60_000 // 500 + 1
    assert tokens(audio("mp3")) == 60_000 // 60 + 1
    assert tokens({"type": "file", "file": {"file_id": "file-1"}}) == UNSEEN_TOKENS
    assert tokens({"type": "file", "file": {"file_data": "A" * 80_000}}) == 60_000 // 8
    assert tokens({"type": "file", "file": {"file_data": "A" * 8_000_000}}) == LARGEST_FILE_TOKENS
    assert tokens({"type": "document", "source": {"type": "text", "data": "plain"}}) == 0


def test_what_the_request_only_points_to_is_estimated() -> None:
    assert (
        facts_of("openai_responses", {"input": "x", "previous_response_id": "resp_1"}).input_other_tokens
        == UNSEEN_TOKENS
    )
    assert (
        facts_of("openai_responses", {"input": "x", "tools": [{"type": "web_search"}]}).input_other_tokens
        == UNSEEN_TOKENS
    )
    assert (
        facts_of("gemini_generate", {"contents": [], "tools": [{"googleSearch": {}}]}).input_other_tokens
        == UNSEEN_TOKENS
    )
    declared = {"contents": [], "tools": [{"functionDeclarations": [{"name": "go"}]}]}
    assert facts_of("gemini_generate", declared).input_other_tokens == OWN_TOOL_TOKENS


def test_anthropics_tools_bring_a_hidden_prompt() -> None:
    own = {"messages": [], "tools": [{"name": "go", "input_schema": {}}]}
    assert facts_of("anthropic_messages", own).input_other_tokens == TOOL_USE_TOKENS + OWN_TOOL_TOKENS
    bash = {"messages": [], "tools": [{"type": "bash_20250124", "name": "bash"}]}
    assert facts_of("anthropic_messages", bash).input_other_tokens == 2 * TOOL_USE_TOKENS


def test_a_messages_request_tells_its_limit_and_end_user() -> None:
    body = {
        "model": "claude-x",
        "system": "s" * 30,
        "messages": [],
        "max_tokens": 64,
        "metadata": {"user_id": "u"},
        "stream": True,
    }
    facts = facts_of("anthropic_messages", body)
    assert (facts.model, facts.output_limit, facts.end_user, facts.is_stream) == ("claude-x", 64, "u", True)
    assert facts.asked_for_usage
    assert facts.input_text_bytes >= 30


def test_completions_answer_each_prompt_as_often_as_asked() -> None:
    assert facts_of("openai_completions", {"prompt": ["a", "b", "c"], "n": 2, "max_tokens": 5}).choices == 6
    assert facts_of("openai_completions", {"prompt": "a", "best_of": 4}).choices == 4
    assert facts_of("openai_completions", {"prompt": [[1, 2, 3], [4]]}).input_other_tokens == 4
    assert facts_of("openai_completions", {"prompt": [1, 2, 3]}).choices == 1


def test_embeddings_have_no_output() -> None:
    facts = facts_of("openai_embeddings", {"model": "e", "input": ["abc", "de"]})
    assert (facts.has_output, facts.input_text_bytes, facts.output_limit) == (False, 5, None)
    assert facts_of("openai_embeddings", {"input": [5, 6, 7]}).input_other_tokens == 3


def test_a_gemini_request_has_its_model_in_the_path_and_its_stream_in_the_endpoint() -> None:
    body = {"contents": [{"parts": [{"text": "hi"}]}], "generationConfig": {"maxOutputTokens": 70, "candidateCount": 2}}
    facts = facts_of("gemini_generate", body, op="stream_generate", path_model="gemini-2.5-flash")
    assert (facts.model, facts.is_stream, facts.output_limit, facts.choices) == ("gemini-2.5-flash", True, 70, 2)
    assert not facts_of("gemini_generate", body, op="generate").is_stream
    assert (
        facts_of("gemini_generate", body, path_model="models/gemini-2.5-pro:generateContent").model == "gemini-2.5-pro"
    )


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_a_body_that_is_no_json_is_as_large_as_it_is(dialect: str) -> None:
    facts = DIALECTS[dialect].read_request("chat", b"[" * 5000, path_model="m")
    assert facts.model == "m"
    assert facts.input_text_bytes == 5000


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
@given(body=st.binary(max_size=80))
def test_any_bytes_can_be_read_as_a_request(dialect: str, body: bytes) -> None:
    facts = DIALECTS[dialect].read_request("chat", body, path_model=None)
    assert facts.choices >= 1
    assert asked(dialect, body) is body


@pytest.mark.parametrize("dialect", ["openai_chat", "openai_completions"])
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"stream":true}', b'{"stream_options":{"include_usage":true},"stream":true}'),
        (
            b' {\n "x": 1.50, "stream" : true }\n',
            b' {"stream_options":{"include_usage":true},\n "x": 1.50, "stream" : true }\n',
        ),
        (
            b'{"stream":true,"stream_options":{"include_usage":false,"a":1},"z":1E2}',
            b'{"stream":true,"stream_options":{"include_usage":true,"a":1},"z":1E2}',
        ),
        (b'{"stream_options": null, "stream": true}', b'{"stream_options": {"include_usage":true}, "stream": true}'),
    ],
)
def test_asking_for_usage_changes_that_member_and_no_other_byte(dialect: str, body: bytes, expected: bytes) -> None:
    assert asked(dialect, body) == expected
    assert asked(dialect, expected) is expected


@pytest.mark.parametrize(
    "body",
    [
        b'{"stream":false}',
        b"{}",
        b'{"stream":true,"stream_options":{"include_usage":true}}',
        b'{"messages":[{"stream":true}]}',
        b'{"stream":true',
        b'{"stream":true} x',
        b'{"stream":true,}',
        b"[]",
        b"\xff",
        b"",
    ],
)
def test_what_is_no_stream_or_asks_already_or_is_no_json_stays_the_same_object(body: bytes) -> None:
    assert asked("openai_chat", body) is body


@pytest.mark.parametrize("dialect", ["openai_responses", "openai_embeddings", "anthropic_messages", "gemini_generate"])
def test_wires_that_tell_usage_unasked_are_not_asked(dialect: str) -> None:
    body = b'{"stream":true}'
    assert asked(dialect, body) is body


@given(
    body=st.dictionaries(
        st.text(max_size=5),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=9), lambda inner: st.lists(inner, max_size=3)
        ),
        max_size=5,
    )
)
def test_a_request_that_asks_for_usage_is_otherwise_the_same_request(body: dict[str, object]) -> None:
    body["stream"] = True
    sent = json.loads(asked("openai_chat", json.dumps(body, ensure_ascii=False).encode()))
    assert sent.pop("stream_options") == {"include_usage": True}
    body.pop("stream_options", None)
    assert sent == body
