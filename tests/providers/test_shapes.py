"""What a path alone tells."""

import pytest

from lava_proxy.dialects import DIALECTS as WIRES
from lava_proxy.providers import DIALECTS, Action
from lava_proxy.providers.shapes import SHAPES, shape_of


def found(method: str, path: str, host: str = "gateway.example") -> tuple[str, str, str | None] | None:
    shape = shape_of(method=method, host=host, path=path)
    if shape is None:
        return None
    endpoint, variables = shape
    return (endpoint.dialect if endpoint.action is Action.METER else "free", endpoint.op, variables.get("model"))


def test_every_shape_and_every_file_names_a_wire_that_exists() -> None:
    assert {shape.dialect for shape in SHAPES if shape.dialect} <= set(WIRES)
    assert set(DIALECTS) == set(WIRES)


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/v1/chat/completions?x=1", ("openai_chat", "chat", None)),
        ("POST", "/llm/openai/v1/completions", ("openai_completions", "completions", None)),
        ("POST", "/v1/responses", ("openai_responses", "responses", None)),
        ("GET", "/v1/responses/resp_1?stream=true", ("openai_responses", "poll", None)),
        ("POST", "/v1/responses/input_tokens", ("free", "free", None)),
        ("POST", "/proxy/anthropic/v1/messages", ("anthropic_messages", "messages", None)),
        ("POST", "/v1/messages/count_tokens", ("free", "free", None)),
        ("POST", "/v1/threads/thread_1/messages", ("free", "free", None)),
        ("POST", "/v1/threads/thread_1/runs", ("openai_runs", "runs", None)),
        ("GET", "/v1/threads/thread_1/runs/run_1", ("openai_runs", "poll", None)),
        ("POST", "/v1beta/models/gemini-x:streamGenerateContent", ("gemini_generate", "stream_generate", "gemini-x")),
        ("POST", "/v1/publishers/google/models/imagen-4:predict", ("google_predict", "predict", "imagen-4")),
        ("POST", "/model/us.amazon.nova-lite-v1%3A0/converse", ("bedrock_converse", "converse", "us.amazon.nova-lite-v1:0")),
        ("POST", "/model/m/invoke-with-response-stream", ("bedrock_invoke", "invoke_stream", "m")),
        ("POST", "/api/chat", ("ollama", "chat", None)),
        ("WS", "/v1/realtime", ("openai_realtime", "realtime", None)),
        ("WS", "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent", ("gemini_live", "live", None)),
        ("GET", "/v1/messages/batches/b/results", ("batch_results", "poll", None)),
        ("POST", "/client/v4/accounts/a/ai/run/@cf/meta/llama", ("cloudflare", "run", "@cf/meta/llama")),
        ("POST", "/v1/publishers/mistralai/models/codestral:rawPredict", ("openai_chat", "chat", "codestral")),
        ("POST", "/v1/publishers/anthropic/models/claude:streamRawPredict", ("anthropic_messages", "messages", "claude")),
        ("POST", "/ml/v1/deployments/d/text/generation_stream", ("watsonx", "generation", None)),
        ("GET", "/v1/models", None),
        ("DELETE", "/v1/responses/resp_1", None),
        ("POST", "/v1/chat", None),
    ],
)
def test_a_path_tells_its_wire(method: str, path: str, expected: tuple[str, str, str | None] | None) -> None:
    assert found(method, path) == expected


def test_a_path_that_many_use_needs_its_host() -> None:
    assert found("POST", "/v2/chat", "api.cohere.com") == ("cohere", "cohere", None)
    assert found("POST", "/v2/chat") is None
    router, cloud = "router.huggingface.co", "queue.fal.run"
    assert found("POST", "/hf-inference/models/a/b", router) == ("huggingface", "inference", None)
    assert found("POST", "/hf-inference/models/a/b/v1/chat/completions", router) == ("openai_chat", "chat", None)
    assert found("GET", "/fal-ai/flux/requests/r", cloud) == ("media_task", "inference", None)
    assert found("GET", "/fal-ai/flux/requests/r/status", cloud) is None
