"""Our own errors, as the providers' real SDKs turn them into exceptions."""

import json
from collections.abc import Callable

import anthropic
import google.genai.errors
import httpx2
import openai
import pytest

from lava_proxy.core.errors import Fault
from lava_proxy.dialects import DIALECTS

FAULT = Fault(
    status=402,
    code="insufficient_credits",
    message="This call needs up to $0.02, and $0.01 is available. Add credit to go on.",
    details={"needed": "0.020000000", "available": "0.010000000", "is_held": True, "upgrade_url": None},
    retry_after_seconds=5,
)
OPENAI = ("openai_chat", "openai_completions", "openai_responses", "openai_embeddings")


def body_of(dialect: str, fault: Fault = FAULT) -> dict[str, object]:
    body = json.loads(DIALECTS[dialect].error_body(fault))
    assert isinstance(body, dict)
    return body


def response_of(dialect: str, fault: Fault = FAULT) -> Callable[[httpx2.Request], httpx2.Response]:
    return lambda request: httpx2.Response(fault.status, content=DIALECTS[dialect].error_body(fault), request=request)


@pytest.mark.parametrize("dialect", OPENAI)
def test_openais_shape_has_message_type_param_and_code(dialect: str) -> None:
    error = body_of(dialect)["error"]
    assert error == {
        "message": FAULT.message,
        "type": "insufficient_quota",
        "param": None,
        "code": "insufficient_credits",
        "details": dict(FAULT.details),
    }


def test_the_openai_sdk_raises_a_readable_error_and_does_not_try_again() -> None:
    calls: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        calls.append(request)
        return response_of("openai_chat")(request)

    client = openai.OpenAI(api_key="k", http_client=httpx2.Client(transport=httpx2.MockTransport(answer)))
    with pytest.raises(openai.APIStatusError) as raised:
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])
    assert raised.value.status_code == 402
    assert raised.value.code == "insufficient_credits"
    assert FAULT.message in str(raised.value)
    assert isinstance(raised.value.body, dict)
    assert raised.value.body["details"]["needed"] == "0.020000000"
    assert len(calls) == 1


def test_the_anthropic_sdk_raises_a_readable_error_and_does_not_try_again() -> None:
    calls: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        calls.append(request)
        return response_of("anthropic_messages")(request)

    client = anthropic.Anthropic(api_key="k", http_client=httpx2.Client(transport=httpx2.MockTransport(answer)))
    with pytest.raises(anthropic.APIStatusError) as raised:
        client.messages.create(model="m", max_tokens=1, messages=[{"role": "user", "content": "x"}])
    assert raised.value.status_code == 402
    assert raised.value.type == "billing_error"
    assert raised.value.error_code == "insufficient_credits"
    assert FAULT.message in str(raised.value)
    assert len(calls) == 1


def test_anthropics_shape_has_a_type_of_its_own_list() -> None:
    body = body_of("anthropic_messages")
    assert body["type"] == "error"
    assert body["error"] == {
        "type": "billing_error",
        "message": FAULT.message,
        "code": "insufficient_credits",
        "details": {"error_code": "insufficient_credits", **FAULT.details},
    }


def test_googles_shape_has_a_number_a_status_and_typed_details() -> None:
    error = body_of("gemini_generate")["error"]
    assert error == {
        "code": 402,
        "message": FAULT.message,
        "status": "RESOURCE_EXHAUSTED",
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "INSUFFICIENT_CREDITS",
                "domain": "lava-proxy",
                "metadata": {
                    "code": "insufficient_credits",
                    "needed": "0.020000000",
                    "available": "0.010000000",
                    "is_held": "true",
                },
            },
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "5s"},
        ],
    }


def test_the_google_sdk_reads_code_status_and_message() -> None:
    error = google.genai.errors.ClientError(402, body_of("gemini_generate"), None)
    assert (error.code, error.status, error.message) == (402, "RESOURCE_EXHAUSTED", FAULT.message)


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 407, 409, 413, 418, 429, 500, 502, 503, 529])
def test_every_status_has_a_body_with_message_and_code(dialect: str, status: int) -> None:
    body = DIALECTS[dialect].error_body(
        Fault(status=status, code="some_code", message="What happened.", details={"n": 1})
    )
    assert b"some_code" in body
    assert b"What happened." in body
    assert isinstance(json.loads(body)["error"], dict)


def test_awss_shape_has_a_type_and_a_message_at_the_top() -> None:
    body = json.loads(DIALECTS["bedrock_converse"].error_body(FAULT))
    assert (body["__type"], body["message"]) == ("ServiceQuotaExceededException", FAULT.message)
    unknown = json.loads(DIALECTS["bedrock_invoke"].error_body(Fault(status=418, code="c", message="m")))
    assert unknown["__type"] == "ValidationException"


def test_the_plain_shape_has_message_and_detail_at_the_top() -> None:
    body = json.loads(DIALECTS["elevenlabs"].error_body(FAULT))
    assert body["message"] == body["detail"] == FAULT.message
    assert body["code"] == "insufficient_credits"
