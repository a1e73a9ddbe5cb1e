"""Pictures, sound, video, documents, tools: counted by what the answer tells, else by what was asked for."""

from decimal import Decimal

import pytest

from lava_proxy.core.usage import NO_USAGE, Usage
from lava_proxy.dialects import DIALECTS
from tests.dialects.feeding import as_bytes, event, exchange, lines
from tests.dialects.samples_more import BATCH_LINES, EXA, IMAGE_STREAM, PREDICTION, RUN, RUN_STREAM
from tests.dialects.test_sound_length import wav

FORM = (
    b'--xyz\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
    b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n'
    + wav(seconds=2)
    + b"\r\n--xyz--\r\n"
)


def counted(dialect: str, request: object, **more: str) -> Usage:
    return DIALECTS[dialect].read_request("op", as_bytes(request), path_model=more.get("path_model")).counted


def test_pictures_are_counted_where_nothing_else_is_told() -> None:
    found = exchange("openai_images", {"data": [{"url": "u"}, {"url": "v"}], "size": "256x256"})
    assert found.usage == Usage(images=2)
    assert found.raw_usage == ('{"size":"256x256"}',)


def test_tokens_of_pictures_are_the_outputs_unless_it_is_split() -> None:
    found = exchange("openai_images", IMAGE_STREAM)
    assert found.usage == Usage(
        input_tokens=30, input_image_tokens=10, output_tokens=4160, output_image_tokens=4160, images=1
    )
    assert found.is_complete


def test_a_partial_picture_is_none() -> None:
    partial = IMAGE_STREAM[: IMAGE_STREAM.index(b"\n\n") + 2]
    found = exchange("openai_images", partial)
    assert found.usage == NO_USAGE
    assert not found.is_complete


def test_xais_ticks_are_dollars_and_a_picture_may_be_the_body() -> None:
    found = exchange("openai_images", {"data": [{"url": "u"}], "usage": {"cost_in_usd_ticks": 700_000_000}})
    assert (found.usage.images, found.reported_cost) == (1, Decimal("0.07"))
    png = exchange(
        "openai_images", b"\x89PNG\r\n", request={"prompt": "p", "n": 2}, headers={"content-type": "image/png"}
    )
    assert png.usage == Usage(images=2)


def test_characters_are_those_of_the_request() -> None:
    headers = {"content-type": "audio/mpeg"}
    found = exchange("speech", b"ID3\x04", request={"model": "tts-1", "input": "grüß dich 👋"}, headers=headers)
    assert found.usage == Usage(input_characters=11)


@pytest.mark.parametrize(
    ("answer", "headers", "told"),
    [
        (b"ID3", {"content-type": "audio/mpeg", "dg-char-count": "64"}, 64),
        (b"ID3", {"content-type": "audio/mpeg", "x-amzn-requestcharacters": "7"}, 7),
        ({"audio_data": "aa", "billable_characters_count": 12}, {}, 12),
        ({"result": {"usage": {"processedCharactersCount": 9}}}, {}, 9),
        ({"data": {}, "extra_info": {"usage_characters": 30}}, {}, 30),
        ({"audio_data": "aa"}, {}, 3),
    ],
)
def test_what_the_provider_counts_wins(answer: object, headers: dict[str, str], told: int) -> None:
    assert exchange("speech", answer, request={"text": "abc"}, headers=headers).usage.input_characters == told


def test_speech_by_tokens_is_not_by_characters_as_well() -> None:
    done = {"type": "speech.audio.done", "usage": {"input_tokens": 14, "output_tokens": 101, "total_tokens": 115}}
    body = event({"type": "speech.audio.delta", "audio": "aa"}) + event(done)
    assert exchange("speech", body, request={"input": "abc"}).usage == Usage(input_tokens=14, output_tokens=101)


@pytest.mark.parametrize(
    ("answer", "usage"),
    [
        ({"text": "x", "usage": {"type": "duration", "seconds": 6}, "duration": 5.49}, Usage(input_seconds=Decimal(6))),
        ({"text": "x", "duration": 5.49}, Usage(input_seconds=Decimal("5.49"))),
        ({"metadata": {"duration": 10.5, "channels": 2}}, Usage(input_seconds=Decimal(21))),
        ({"status": "completed", "audio_duration": 281}, Usage(input_seconds=Decimal(281))),
        ({"status": "done", "result": {"metadata": {"audio_duration": 36.74}}}, Usage(input_seconds=Decimal("36.74"))),
        ({"RecognitionStatus": "Success", "Offset": 5_000_000, "Duration": 20_000_000}, Usage(input_seconds=Decimal("2.5"))),
        ({"durationMilliseconds": 1500, "combinedPhrases": []}, Usage(input_seconds=Decimal("1.5"))),
        (
            {"usage": {"type": "tokens", "input_tokens": 26, "output_tokens": 4, "input_token_details": {"audio_tokens": 21}}},
            Usage(input_tokens=26, input_audio_tokens=21, output_tokens=4),
        ),
    ],
)  # fmt: skip
def test_transcriptions_tell_seconds_or_tokens(answer: object, usage: Usage) -> None:
    assert exchange("transcription", answer).usage == usage


def test_a_file_is_measured_where_the_answer_does_not_tell() -> None:
    found = exchange("transcription", b"Hello.\n", request=FORM)
    assert found.usage == Usage(input_seconds=Decimal(2))
    assert "seconds_measured" in found.flags
    assert DIALECTS["transcription"].read_request("t", FORM, path_model=None).model == "whisper-1"
    assert exchange("transcription", {"text": "x", "duration": 1.9}, request=FORM).usage.input_seconds == Decimal("1.9")


def test_a_job_that_is_not_done_tells_nothing() -> None:
    found = exchange("transcription", {"id": "t", "status": "in_progress", "audio_duration": 30}, request=FORM)
    assert (found.usage, found.is_pending) == (NO_USAGE, True)


def test_elevenlabs_counts_credits_and_characters_apart() -> None:
    headers = {"content-type": "audio/mpeg", "character-cost": "5.5"}
    found = exchange("elevenlabs", b"ID3", request={"text": "hello world"}, headers=headers)
    assert found.usage == Usage(input_characters=11, credits=Decimal("5.5"))


def test_elevenlabs_words_tell_a_length_of_last_resort() -> None:
    words = {"text": "Hi", "words": [{"text": "Hi", "start": 0.1, "end": 1.75}]}
    found = exchange("elevenlabs", words)
    assert (found.usage, found.flags) == (Usage(input_seconds=Decimal("1.75")), ("seconds_from_words",))
    measured = exchange("elevenlabs", words, request=FORM)
    assert (measured.usage, measured.flags) == (Usage(input_seconds=Decimal(2)), ("seconds_measured",))


def test_results_of_a_batch_add_up_at_its_rate_and_are_told_again() -> None:
    found = exchange("batch_results", BATCH_LINES, op="poll")
    assert found.usage == Usage(input_tokens=20, cached_input_tokens=6, output_tokens=5)
    assert (found.model, found.service_tier, found.is_replay) == ("gpt-4o", "batch", True)


def test_a_batch_tells_its_total_when_it_ended() -> None:
    usage = {"input_tokens": 100, "output_tokens": 20, "total_tokens": 120}
    running = exchange("batch_results", {"id": "b", "status": "in_progress", "usage": usage})
    assert (running.usage, running.is_pending) == (NO_USAGE, True)
    assert exchange("batch_results", {"id": "b", "status": "completed", "usage": usage}).usage.input_tokens == 100


def test_geminis_batch_holds_its_answers_itself() -> None:
    answer = {"response": {"modelVersion": "g", "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 2}}}
    job = {
        "name": "batches/1",
        "metadata": {"state": "BATCH_STATE_SUCCEEDED", "model": "models/gemini-2.5-flash"},
        "response": {"inlinedResponses": {"inlinedResponses": [answer, answer]}},
    }
    found = exchange("batch_results", job, op="poll")
    assert found.usage == Usage(input_tokens=20, output_tokens=4)
    assert (found.model, found.service_tier) == ("models/gemini-2.5-flash", "batch")
    running = {**job, "metadata": {"state": "BATCH_STATE_RUNNING"}}
    assert exchange("batch_results", running).is_pending


def test_lines_that_are_no_results_are_none() -> None:
    assert exchange("batch_results", lines({"messages": []}, {"messages": []})).usage == NO_USAGE


@pytest.mark.parametrize("body", [RUN, RUN_STREAM])
def test_a_runs_steps_are_not_counted_beside_the_run(body: object) -> None:
    found = exchange("openai_runs", body)
    assert (found.usage, found.model) == (Usage(input_tokens=90, output_tokens=12), "gpt-4o")


def test_a_video_is_pending_until_it_is_done() -> None:
    assert counted("video_task", {"model": "sora-2", "seconds": "8", "n": 1}) == Usage(video_seconds=Decimal(8))
    queued = exchange("video_task", {"id": "video_1", "status": "queued", "seconds": "8"})
    assert (queued.usage, queued.is_pending) == (NO_USAGE, True)
    done = exchange(
        "video_task", {"id": "video_1", "status": "completed", "model": "sora-2", "seconds": "8"}, op="poll"
    )
    assert (done.usage, done.is_replay) == (Usage(video_seconds=Decimal(8)), True)


def test_predictions_tell_seconds_of_work_and_pictures() -> None:
    found = exchange("replicate", PREDICTION)
    assert found.usage == Usage(output_seconds=Decimal("3.25"), images=1)
    newer = {"status": "succeeded", "metrics": {"input_token_count": 5, "output_token_count": 9}}
    assert exchange("replicate", newer).usage == Usage(input_tokens=5, output_tokens=9)
    assert exchange("replicate", {"id": "p", "status": "starting", "metrics": {"predict_time": 1}}).is_pending


@pytest.mark.parametrize(
    ("answer", "headers", "usage", "cost"),
    [
        ({"images": [{"url": "u"}]}, {"x-fal-billable-units": "2.5"}, Usage(credits=Decimal("2.5"), images=1), None),
        (
            {"code": 0, "data": {"task_status": "succeed", "final_unit_deduction": "3.5"}},
            {},
            Usage(credits=Decimal("3.5")),
            None,
        ),
        (
            {"id": "t", "status": "SUCCEEDED", "estimatedCost": {"credits": 25}},
            {},
            Usage(credits=Decimal(25)),
            Decimal("0.25"),
        ),
    ],
)
def test_media_by_the_providers_own_account(
    answer: object, headers: dict[str, str], usage: Usage, cost: Decimal | None
) -> None:
    found = exchange("media_task", answer, headers=headers)
    assert (found.usage, found.reported_cost) == (usage, cost)


def test_a_job_in_the_queue_is_pending() -> None:
    assert exchange("media_task", {"request_id": "r", "status": "IN_QUEUE"}).is_pending


@pytest.mark.parametrize(
    ("request_body", "answer", "usage", "cost"),
    [
        ({"query": "q"}, EXA, Usage(searches=1), Decimal("0.0075")),
        ({"query": "q"}, {"results": [], "usage": {"credits": 2}}, Usage(searches=1, credits=Decimal(2)), None),
        ({"q": "q"}, {"organic": [], "credits": 1}, Usage(searches=1, credits=Decimal(1)), None),
        ({"url": "u"}, {"success": True, "data": {"metadata": {"creditsUsed": 5}}}, Usage(requests=1, credits=Decimal(5)), None),
        ({"url": "u"}, {"data": {"usage": {"tokens": 77}}}, Usage(requests=1, input_tokens=77), None),
        ({"text": ["abc", "de"], "target_lang": "DE"}, {"translations": [{"text": "x"}, {"text": "y"}]}, Usage(input_characters=5), None),
        ({"text": "abcd", "target_lang": "DE"}, {"translations": [{"billed_characters": 3}]}, Usage(input_characters=3), None),
        ({}, {"version": "0", "cost": 0.002, "tasks_count": 1, "tasks": []}, Usage(requests=1), Decimal("0.002")),
    ],
)  # fmt: skip
def test_tools_by_call_search_credit_or_character(
    request_body: object, answer: object, usage: Usage, cost: Decimal | None
) -> None:
    found = exchange("web_tools", answer, request=request_body)
    assert (found.usage, found.reported_cost) == (usage, cost)


def test_a_search_with_its_question_in_the_address_is_a_search() -> None:
    assert exchange("web_tools", {"web": {}}, request=b"", op="search").usage == Usage(searches=1)
    assert exchange("web_tools", {"web": {}}, request=b"", op="scrape").usage == Usage(requests=1)


def test_documents_are_counted_by_the_page() -> None:
    body = {
        "pages": [{}, {}],
        "model": "mistral-ocr-latest",
        "usage_info": {"pages_processed": 2, "pages_processed_annotation": 1},
    }
    found = exchange("doc_pages", body)
    assert (found.usage, found.flags) == (Usage(pages=2), ("annotated_pages_in_pages",))
    assert exchange("doc_pages", {"status": "succeeded", "analyzeResult": {"pages": [{}, {}, {}]}}).usage == Usage(
        pages=3
    )


def test_a_telephone_call_is_told_when_it_ended() -> None:
    found = exchange(
        "agent_calls",
        {"call_id": "c", "call_status": "ended", "call_cost": {"combined_cost": 25}, "duration_ms": 61500},
    )
    assert (found.usage, found.reported_cost) == (Usage(output_seconds=Decimal("61.5")), Decimal("0.25"))
    assert exchange("agent_calls", {"id": "c", "status": "in-progress", "cost": 0}).is_pending
