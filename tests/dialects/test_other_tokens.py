"""The smaller token wires: lines, envelopes, other names for the same counts."""

from decimal import Decimal

import pytest

from lava_proxy.core.usage import NO_USAGE, Usage
from lava_proxy.dialects import DIALECTS
from tests.dialects.feeding import as_bytes, exchange, lines
from tests.dialects.samples_more import (
    CLOUDFLARE_STREAM,
    COMPLETE_STREAM,
    DASHSCOPE_STREAM,
    INTERACTION,
    INTERACTION_STREAM,
    LIVE,
    OLLAMA_LINES,
    REALTIME,
    WATSONX_STREAM,
)


def test_ollamas_last_line_has_the_counts() -> None:
    found = exchange("ollama", OLLAMA_LINES)
    assert found.usage == Usage(input_tokens=26, output_tokens=4)
    assert (found.model, found.is_complete, found.output_text_characters) == ("llama3.2", True, 5)


def test_ollama_leaves_a_cached_prompt_out_and_that_is_not_0() -> None:
    found = exchange("ollama", {"model": "m", "response": "A", "done": True, "eval_count": 58})
    assert found.usage == Usage(output_tokens=58)


def test_ollama_streams_unless_told_not_to_and_may_be_spread_over_lines() -> None:
    request = DIALECTS["ollama"].read_request(
        "chat", b'{"model":"m","messages":[],"options":{"num_predict":9}}', path_model=None
    )
    assert (request.is_stream, request.output_limit) == (True, 9)
    pretty = b'{\n  "model": "m",\n  "done": true,\n  "prompt_eval_count": 3\n}\n'
    assert exchange("ollama", pretty).usage == Usage(input_tokens=3)


@pytest.mark.parametrize("body", [INTERACTION, INTERACTION_STREAM])
def test_interactions_count_thoughts_and_tools_beside_the_rest(body: object) -> None:
    found = exchange("gemini_interactions", body)
    assert found.usage == Usage(
        input_tokens=27, cached_input_tokens=8, input_audio_tokens=5, output_tokens=35, reasoning_tokens=30
    )
    assert (found.model, found.service_tier, found.is_complete) == ("gemini-3-flash", "flex", True)


def test_tool_use_that_the_total_has_no_room_for_is_in_the_input_already() -> None:
    usage = {"total_input_tokens": 20, "total_output_tokens": 5, "total_tool_use_tokens": 7, "total_tokens": 25}
    assert exchange("gemini_interactions", {"model": "m", "usage": usage}).usage.input_tokens == 20


def test_an_interaction_in_the_background_is_pending() -> None:
    assert exchange("gemini_interactions", {"id": "v1_2", "status": "in_progress"}).is_pending


def test_embeddings_of_google_mostly_say_nothing() -> None:
    assert exchange("gemini_embed", {"embeddings": [{"values": [0.1]}]}).usage == NO_USAGE
    assert (
        exchange("gemini_embed", {"embedding": {}, "usageMetadata": {"promptTokenCount": 11}}).usage.input_tokens == 11
    )
    facts = DIALECTS["gemini_embed"].read_request(
        "embeddings",
        as_bytes({"requests": [{"content": {"parts": [{"text": "four words are here"}]}}]}),
        path_model="e",
    )
    assert facts.input_text_characters >= 19 and not facts.has_output


def test_predict_adds_up_its_predictions() -> None:
    body = {
        "predictions": [
            {"embeddings": {"statistics": {"token_count": 5}}},
            {"embeddings": {"statistics": {"token_count": 6}}},
        ],
        "metadata": {"billableCharacterCount": 44},
    }
    assert exchange("google_predict", body).usage == Usage(input_tokens=11, input_characters=44)


def test_predict_counts_pictures_but_those_that_were_filtered() -> None:
    picture = {"mimeType": "image/png", "bytesBase64Encoded": "aaaa"}
    body = {"predictions": [picture, picture, {"raiFilteredReason": "no", "mimeType": "image/png"}]}
    assert exchange("google_predict", body).usage == Usage(images=2)


def test_video_is_work_that_goes_on_and_its_seconds_are_those_asked_for() -> None:
    asked = {"instances": [{"prompt": "sea"}], "parameters": {"durationSeconds": 6, "sampleCount": 2}}
    facts = DIALECTS["google_predict"].read_request("predict", as_bytes(asked), path_model="veo-3.1")
    assert facts.counted == Usage(video_seconds=Decimal(12))
    assert exchange("google_predict", {"name": "models/veo-3.1/operations/1"}).is_pending


def test_watsonx_tells_the_input_first_and_the_output_so_far() -> None:
    found = exchange("watsonx", WATSONX_STREAM)
    assert found.usage == Usage(input_tokens=8, output_tokens=11)
    assert (found.model, found.is_complete) == ("ibm/granite", True)
    assert exchange(
        "watsonx", {"model_id": "e", "results": [{"embedding": [0.1]}], "input_token_count": 6}
    ).usage == Usage(input_tokens=6)


def test_a_rerankers_total_is_its_input() -> None:
    assert exchange("rerank", {"model": "r", "usage": {"total_tokens": 43}}).usage == Usage(input_tokens=43)
    found = exchange("rerank", {"model": "r", "usage": {"total_tokens": 17, "cost": 3.4e-7}})
    assert found.reported_cost == Decimal("3.4E-7")


def test_turns_of_a_realtime_session_add_up_and_transcriptions_stay_apart() -> None:
    found = exchange("openai_realtime", REALTIME)
    assert found.usage == Usage(
        input_tokens=244,
        cached_input_tokens=128,
        cached_audio_tokens=20,
        input_audio_tokens=52,
        output_tokens=194,
        output_audio_tokens=138,
    )
    assert found.model == "gpt-realtime"
    assert found.flags == ("transcription_outside_totals",)


def test_xai_tells_its_sessions_usage_beside_the_response_and_bills_seconds() -> None:
    turn = {
        "type": "response.done",
        "response": {"usage": {}},
        "usage": {"input_tokens": 7, "output_tokens": 83, "billable_audio_seconds": 1},
    }
    found = exchange("openai_realtime", lines(turn, turn))
    assert found.usage == Usage(input_tokens=14, output_tokens=166, input_seconds=Decimal(2))


def test_live_turns_add_up_under_their_own_names() -> None:
    setup = lines({"setup": {"model": "models/gemini-live"}}, {"clientContent": {}})
    found = exchange("gemini_live", LIVE, request=setup)
    assert found.usage == Usage(input_tokens=100, output_tokens=13, reasoning_tokens=3, output_audio_tokens=9)
    assert found.model == "models/gemini-live"


def test_dashscopes_usage_is_cumulative() -> None:
    found = exchange("dashscope", DASHSCOPE_STREAM)
    assert found.usage == Usage(input_tokens=9, output_tokens=3)
    assert found.is_complete
    assert exchange("dashscope", {"output": {"task_id": "t", "task_status": "PENDING"}}).is_pending
    done = exchange("dashscope", {"output": {"task_status": "SUCCEEDED"}, "usage": {"image_count": 3}})
    assert done.usage == Usage(images=3)


def test_cloudflares_envelope_stream_and_neurons() -> None:
    assert exchange("cloudflare", CLOUDFLARE_STREAM).usage == Usage(input_tokens=7, output_tokens=5)
    envelope = {"result": {"response": "A", "usage": {"prompt_tokens": 7, "completion_tokens": 2}}, "success": True}
    found = exchange("cloudflare", envelope, headers={"cf-ai-neurons": "12.5"})
    assert found.usage == Usage(input_tokens=7, output_tokens=2, credits=Decimal("12.5"))


def test_hugging_face_tells_in_details_or_headers() -> None:
    body = b'[{"generated_text":"A","details":{"generated_tokens":20,"prefill":[{},{}]}}]'
    assert exchange("huggingface", body).usage == Usage(input_tokens=2, output_tokens=20)
    headers = {"x-compute-characters": "24", "x-compute-time": "0.013", "x-compute-tokens": "6"}
    found = exchange("huggingface", b"[[0.1, 0.2]]", headers=headers)
    assert found.usage == Usage(input_tokens=6, input_characters=24, output_seconds=Decimal("0.013"))


def test_the_old_wires() -> None:
    body = {"completions": [], "model_version": "v", "num_tokens_prompt_total": 9, "num_tokens_generated": 30}
    assert exchange("aleph_alpha", body).usage == Usage(input_tokens=9, output_tokens=30)
    found = exchange("anthropic_complete", COMPLETE_STREAM)
    assert (found.usage, found.model, found.is_complete, found.output_text_characters) == (
        NO_USAGE,
        "claude-2.1",
        True,
        3,
    )


@pytest.mark.parametrize(
    ("body", "usage", "cost"),
    [
        (
            {"result": {"usage": {"inputTextTokens": "12", "completionTokens": "7"}}},
            Usage(input_tokens=12, output_tokens=7),
            None,
        ),
        (
            {"chatResponse": {"usage": {"promptTokens": 5, "completionTokens": 2}}},
            Usage(input_tokens=5, output_tokens=2),
            None,
        ),
        (
            {"results": [], "inference_status": {"cost": 0.001, "tokens_input": 4, "tokens_generated": 9}},
            Usage(input_tokens=4, output_tokens=9),
            Decimal("0.001"),
        ),
        ({"cost": 0.25, "items": []}, NO_USAGE, Decimal("0.25")),
    ],
)
def test_envelopes_are_opened(body: object, usage: Usage, cost: Decimal | None) -> None:
    found = exchange("nested_usage", body)
    assert (found.usage, found.reported_cost) == (usage, cost)


def test_fireworks_tells_the_prompt_in_headers_where_a_stream_was_cut_off() -> None:
    headers = {"fireworks-prompt-tokens": "120", "fireworks-cached-prompt-tokens": "64"}
    cut = b'data: {"model":"m","choices":[{"delta":{"content":"Hi"}}]}\n\n'
    assert exchange("openai_chat", cut, headers=headers).usage == Usage(input_tokens=120, cached_input_tokens=64)
    whole = {"model": "m", "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 1}}
    assert exchange("openai_chat", whole, headers=headers).usage == Usage(input_tokens=9, output_tokens=1)


def test_a_cost_may_stand_beside_the_usage() -> None:
    body = {"model": "m", "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 1}, "cost": 0.0031}
    assert exchange("openai_chat", body).reported_cost == Decimal("0.0031")
    estimated = {"model": "m", "choices": [], "usage": {"prompt_tokens": 9, "estimated_cost": 0.002}}
    assert exchange("openai_chat", estimated).reported_cost == Decimal("0.002")


def test_responses_over_a_socket_add_up_turn_by_turn() -> None:
    turn = {
        "type": "response.completed",
        "response": {"model": "gpt-5", "usage": {"input_tokens": 10, "output_tokens": 4}},
    }
    found = exchange("openai_realtime", lines({"type": "response.created", "response": {"usage": None}}, turn, turn))
    assert (found.usage, found.model) == (Usage(input_tokens=20, output_tokens=8), "gpt-5")


def test_a_call_that_is_counted_in_pictures_is_not_estimated_in_tokens_as_well() -> None:
    wire = DIALECTS["cohere"]
    request = as_bytes({"model": "embed", "images": ["data:image/png;base64," + "A" * 9_000]})
    facts = wire.read_request("embed", request, path_model=None)
    found = exchange("cohere", {"meta": {"billed_units": {"images": 1}}}, request=request)
    assert wire.estimate("embed", facts, found) == Usage(images=1)
    assert wire.estimate("embed", facts, exchange("cohere", {"embeddings": []})) == Usage(images=1)
