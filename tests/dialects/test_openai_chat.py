"""Chat completions: OpenAI's own answers and the ways in which compatible providers differ."""

import json
from decimal import Decimal

import pytest

from lava_proxy.core.usage import NO_USAGE, Reading, Usage
from tests.dialects.feeding import DONE, event, read, read_in
from tests.dialects.samples import CHAT_DOCUMENT, CHAT_STREAM, OPENAI_USAGE, chat_chunk, usage_chunk

CHAT = "openai_chat"


def document(usage: object, **fields: object) -> bytes:
    answer = {"id": "c", "model": "some-model", "choices": [{"message": {"content": "Yes."}}], "usage": usage}
    return json.dumps({**answer, **fields}).encode()


def usage_of(usage: object, **fields: object) -> Reading:
    return read(document(usage, **fields), CHAT)


def test_a_document_gives_model_id_and_all_counts() -> None:
    reading = read(CHAT_DOCUMENT, CHAT)
    assert reading.model == "gpt-4o-2024-08-06"
    assert reading.response_id == "chatcmpl-8"
    assert reading.service_tier == "standard"
    assert reading.usage == Usage(
        input_tokens=120,
        cached_input_tokens=64,
        input_audio_tokens=0,
        output_tokens=30,
        reasoning_tokens=12,
        output_audio_tokens=0,
    )
    assert reading.is_complete
    assert (reading.output_text_characters, reading.output_text_bytes) == (4, 4)


def test_a_stream_gives_the_same_counts_as_a_document_and_counts_its_text() -> None:
    reading = read(CHAT_STREAM, CHAT)
    assert reading.usage == read(CHAT_DOCUMENT, CHAT).usage
    assert reading.model == "gpt-4o-2024-08-06"
    assert reading.service_tier == "priority"
    assert reading.is_complete
    assert (reading.output_text_characters, reading.output_text_bytes) == (11, 12)


def test_events_are_read_whatever_their_line_ends_and_whatever_stands_between_them() -> None:
    plain = read(CHAT_STREAM, CHAT)
    for body in (
        CHAT_STREAM.replace(b"\n", b"\r\n"),
        CHAT_STREAM.replace(b"\n", b"\r"),
        b": PROCESSING\n\n" + CHAT_STREAM.replace(b"\n\n", b"\n\n: PROCESSING\n\n"),
        b"\xef\xbb\xbf" + CHAT_STREAM,
        b"\n\n\n" + CHAT_STREAM,
        CHAT_STREAM.replace(b"data: ", b"data:"),
        CHAT_STREAM.replace(b"data: ", b"id: 4\nretry: 10\ndata: "),
        CHAT_STREAM.rstrip(),
    ):
        assert read(body, CHAT) == plain


def test_a_document_after_blank_lines_is_a_document() -> None:
    assert read(b"\n         \n" * 40 + CHAT_DOCUMENT, CHAT) == read(CHAT_DOCUMENT, CHAT)


def test_events_without_empty_lines_between_them_are_still_read() -> None:
    reading = read(CHAT_STREAM.replace(b"\n\n", b"\n"), CHAT)
    assert reading.usage.input_tokens == 120


def test_a_stream_that_was_not_asked_for_usage_has_none() -> None:
    reading = read(event(chat_chunk("Hello")) + event(chat_chunk(" you", usage=None)) + DONE, CHAT)
    assert reading.usage == NO_USAGE
    assert reading.raw_usage == ()
    assert reading.is_complete
    assert reading.output_text_characters == 9


def test_an_aborted_stream_says_what_was_seen_and_that_it_is_not_complete() -> None:
    reading, _ = read_in([event(chat_chunk("Hello")), event(chat_chunk(" you"))[:-30]], CHAT, is_over=False)
    assert not reading.is_complete
    assert reading.model == "gpt-4o-2024-08-06"
    assert reading.output_text_characters == 5


def test_the_first_event_of_azure_has_no_model_and_the_next_names_it() -> None:
    first = {"choices": [], "id": "", "model": "", "object": "", "prompt_filter_results": [{"prompt_index": 0}]}
    reading = read(event(first) + CHAT_STREAM, CHAT)
    assert reading.model == "gpt-4o-2024-08-06"
    assert reading.usage.output_tokens == 30


def test_an_answer_without_a_model_has_none() -> None:
    body = event({"id": "1", "choices": []}) + event({"choices": [], "usage": {"prompt_tokens": 3}})
    assert read(body, CHAT).model is None
    assert usage_of(OPENAI_USAGE, model="").model is None


def test_usage_on_every_event_is_cumulative_the_last_one_counts_and_nothing_is_added() -> None:
    counts = [{"prompt_tokens": 45, "completion_tokens": n, "total_tokens": 45 + n} for n in (1, 2, 3)]
    body = b"".join(event(chat_chunk("x", usage=usage)) for usage in counts)
    last = event(chat_chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}], usage=counts[-1]))
    assert read(body, CHAT).usage == Usage(input_tokens=45, output_tokens=3)
    assert not read(body, CHAT).is_complete
    assert read(body + last, CHAT).is_complete


def test_a_last_usage_with_nulls_keeps_what_the_first_one_said() -> None:
    first = event(chat_chunk("x", usage={"prompt_tokens": 45, "completion_tokens": None, "total_tokens": None}))
    last = event(chat_chunk("y", usage={"prompt_tokens": None, "completion_tokens": 8}))
    assert read(first + last, CHAT).usage == Usage(input_tokens=45, output_tokens=8)


def test_a_message_that_is_repeated_in_every_event_is_counted_once() -> None:
    def piece(text: str, so_far: str) -> bytes:
        choice = {"index": 0, "delta": {"content": text}, "message": {"role": "assistant", "content": so_far}}
        return event(chat_chunk(choices=[choice]))

    assert read(piece("ab", "ab") + piece("cd", "abcd"), CHAT).output_text_characters == 4


def test_reasoning_told_twice_is_counted_once() -> None:
    delta = {"reasoning": "hmm", "reasoning_details": [{"type": "reasoning.text", "text": "hmm [1]"}]}
    reading = read(event(chat_chunk(choices=[{"index": 0, "delta": delta}])), CHAT)
    assert reading.output_text_characters == 3


def test_tool_calls_count_as_text() -> None:
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "go", "arguments": '{"a":"é"}'}}
    body = event(chat_chunk(choices=[{"index": 0, "delta": {"tool_calls": [call]}}]))
    assert read(body, CHAT).output_text_characters == len("go") + len('{"a":"é"}')


def test_groq_tells_usage_in_its_own_member_and_again_in_the_usual_one() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13, "total_time": 0.11}
    own = event(chat_chunk("x", x_groq={"id": "req_1", "usage": usage}))
    assert read(own, CHAT).usage == Usage(input_tokens=9, output_tokens=4)
    assert read(own + event(usage_chunk(**usage)), CHAT).usage == Usage(input_tokens=9, output_tokens=4)


@pytest.mark.parametrize(
    "cached",
    [
        {"prompt_tokens_details": {"cached_tokens": 64}},
        {"prompt_token_details": {"cached_tokens": 64}},
        {"num_cached_tokens": 64},
        {"prompt_cache_hit_tokens": 64, "prompt_cache_miss_tokens": 36},
        {"cached_tokens": 64},
        {"cache_read_input_tokens": 64},
        {"num_cached_tokens": 64, "prompt_tokens_details": {"cached_tokens": 0}},
    ],
    ids=["openai", "singular", "mistral", "deepseek", "moonshot", "databricks", "two names"],
)
def test_cached_tokens_are_found_under_every_providers_name(cached: dict[str, object]) -> None:
    reading = usage_of({"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 105, **cached})
    assert reading.usage.cached_input_tokens == 64
    assert reading.usage.input_tokens == 100


def test_usage_of_a_choice_is_used_where_there_is_no_other() -> None:
    choice = {"index": 0, "delta": {}, "finish_reason": "stop", "usage": {"prompt_tokens": 5, "completion_tokens": 2}}
    assert read(event(chat_chunk(choices=[choice])), CHAT).usage == Usage(input_tokens=5, output_tokens=2)


def test_cache_writes_stand_inside_the_input() -> None:
    details = {"cached_tokens": 10, "cache_write_tokens": 70}
    reading = usage_of({"prompt_tokens": 100, "completion_tokens": 5, "prompt_tokens_details": details})
    assert reading.usage.input_tokens == 100
    assert reading.usage.cache_write_tokens == 70


def test_reasoning_outside_the_completion_is_added_where_the_total_says_so() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 112}
    reading = usage_of({**usage, "completion_tokens_details": {"reasoning_tokens": 100}})
    assert reading.usage.output_tokens == 102
    assert reading.usage.reasoning_tokens == 100
    assert reading.flags == ("reasoning_outside_output",)


def test_more_reasoning_than_output_is_left_as_reported() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 16, "total_tokens": 26}
    reading = usage_of({**usage, "completion_tokens_details": {"reasoning_tokens": 19}})
    assert (reading.usage.output_tokens, reading.usage.reasoning_tokens) == (16, 19)
    assert reading.flags == ("reasoning_exceeds_output",)


def test_thinking_that_a_gemini_model_shows_in_the_total_alone_is_output() -> None:
    usage = {"prompt_tokens": 66, "completion_tokens": 6, "total_tokens": 100}
    reading = usage_of(usage, model="google/gemini-2.5-pro")
    assert reading.usage.output_tokens == 34
    assert reading.flags == ("output_from_total",)
    assert usage_of(usage, model="other").usage.output_tokens == 6


def test_more_cached_than_input_tokens_means_that_they_are_counted_outside() -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8}
    reading = usage_of({**usage, "prompt_tokens_details": {"cached_tokens": 161}})
    assert reading.usage.input_tokens == 168
    assert reading.usage.cached_input_tokens == 161
    assert reading.flags == ("cached_outside_input",)


def test_audio_that_is_charged_by_the_second_does_not_become_tokens() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 11, "total_tokens": 389, "prompt_audio_seconds": 3}
    reading = usage_of({**usage, "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 375}})
    assert reading.usage.input_tokens == 3
    assert reading.usage.input_audio_tokens is None
    assert reading.usage.input_seconds == Decimal(3)
    assert reading.flags == ("tokens_outside_totals",)


def test_openrouter_reports_what_it_charges() -> None:
    reading = usage_of({"prompt_tokens": 1, "completion_tokens": 1, "cost": 0.0076509169000000005, "is_byok": False})
    assert reading.reported_cost == Decimal("0.0076509169000000005")
    assert reading.flags == ()


def test_with_the_callers_own_key_openrouters_cost_is_a_fee_beside_the_upstream_cost() -> None:
    details = {"upstream_inference_cost": 0.004}
    reading = usage_of({"prompt_tokens": 1, "cost": 0.0002, "is_byok": True, "cost_details": details})
    assert reading.reported_cost == Decimal("0.0042")
    assert reading.flags == ("byok",)
    assert usage_of({"prompt_tokens": 1, "cost": 0.0002, "is_byok": True}).reported_cost is None


def test_perplexity_reports_the_cost_of_everything_together() -> None:
    cost = {"input_tokens_cost": 9e-05, "output_tokens_cost": 0.00312, "request_cost": 0.006, "total_cost": 0.00921}
    reading = usage_of({"prompt_tokens": 45, "completion_tokens": 208, "num_search_queries": 2, "cost": cost})
    assert reading.reported_cost == Decimal("0.00921")
    assert reading.usage.searches == 2


def test_xai_reports_its_cost_in_ticks() -> None:
    assert usage_of({"prompt_tokens": 1, "cost_in_usd_ticks": 161508500}).reported_cost == Decimal("0.01615085")


def test_searches_of_the_providers_own_tools_are_counted() -> None:
    assert usage_of({"prompt_tokens": 1, "server_tool_use_details": {"web_search_requests": 3}}).usage.searches == 3


def test_an_error_in_a_2xx_answer_is_an_error() -> None:
    body = json.dumps({"error": {"code": "content_filter", "message": "no"}}).encode()
    assert read(body, CHAT).is_error
    stream = event(chat_chunk("x")) + event({"error": {"message": "upstream died", "code": 502}}) + DONE
    assert read(stream, CHAT).is_error
    assert not read(CHAT_STREAM, CHAT).is_error


def test_counts_that_are_no_counts_are_left_out() -> None:
    nonsenses: list[object] = [-1, True, "12", 10**30, None, [], {}, 1e300]
    for nonsense in nonsenses:
        assert usage_of({"prompt_tokens": nonsense, "completion_tokens": 4}).usage == Usage(output_tokens=4)
    not_numbers = b'{"usage": {"prompt_tokens": NaN, "completion_tokens": Infinity, "total_tokens": 1E400}}'
    assert read(not_numbers, CHAT).usage == NO_USAGE


def test_a_text_that_looks_like_usage_is_text() -> None:
    spoof = 'data: {"choices": [], "usage": {"prompt_tokens": 0}}\n\ndata: [DONE]\n\n'
    reading = read(event(chat_chunk(spoof)) + event(usage_chunk(prompt_tokens=8, completion_tokens=9)), CHAT)
    assert reading.usage == Usage(input_tokens=8, output_tokens=9)
    assert reading.output_text_characters == len(spoof)


def test_usage_inside_something_else_is_not_the_answers_usage() -> None:
    nested = {"index": 0, "delta": {"content": "x", "extra": {"usage": {"prompt_tokens": 1}}}}
    body = event(usage_chunk(prompt_tokens=8, completion_tokens=9)) + event(chat_chunk(choices=[nested]))
    assert read(body, CHAT).usage == Usage(input_tokens=8, output_tokens=9)
    assert read(event(chat_chunk(choices=[nested])), CHAT).usage == NO_USAGE


def test_the_raw_usage_keeps_numbers_and_words_but_no_text() -> None:
    usage = {"prompt_tokens": 1, "cost": 6.2e-07, "is_byok": False, "size": "low", "note": "a free text", "x": None}
    (raw,) = usage_of(usage).raw_usage
    assert raw == '{"prompt_tokens":1,"cost":0.00000062,"is_byok":false,"size":"low","x":null}'
