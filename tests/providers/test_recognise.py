"""Real requests, by the address they go to."""

import gzip
import json
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from lava_proxy.providers import Action, Match, load_providers

INDEX = load_providers()


def match_of(url: str, method: str = "POST") -> Match:
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    match = INDEX.recognise(host=parts.hostname or "", port=parts.port or 443, method=method, path=target)
    assert match is not None, url
    return match


@pytest.mark.parametrize(
    ("url", "provider", "op", "dialect"),
    [
        ("https://api.openai.com/v1/chat/completions", "openai", "chat", "openai_chat"),
        ("https://api.openai.com/v1/completions", "openai", "completions", "openai_completions"),
        ("https://api.openai.com/v1/responses", "openai", "responses", "openai_responses"),
        ("https://api.openai.com/v1/responses/compact", "openai", "responses", "openai_responses"),
        ("https://eu.api.openai.com/v1/embeddings", "openai", "embeddings", "openai_embeddings"),
        (
            "https://a.openai.azure.com/openai/deployments/d/embeddings?api-version=1",
            "azure",
            "embeddings",
            "openai_embeddings",
        ),
        ("https://a.services.ai.azure.com/models/chat/completions?api-version=1", "azure", "chat", "openai_chat"),
        ("https://a.services.ai.azure.com/anthropic/v1/messages", "azure", "messages", "anthropic_messages"),
        ("https://a.openai.azure.com/openai/responses?api-version=1", "azure", "responses", "openai_responses"),
        (
            "https://a.services.ai.azure.com/api/projects/p/openai/v1/responses",
            "azure",
            "responses",
            "openai_responses",
        ),
        ("https://api.anthropic.com/v1/messages?beta=true", "anthropic", "messages", "anthropic_messages"),
        ("https://api.anthropic.com/v1/chat/completions", "anthropic", "chat", "openai_chat"),
        (
            "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-pro:generateContent?key=k",
            "google",
            "generate",
            "gemini_generate",
        ),
        (
            "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse",
            "google",
            "stream_generate",
            "gemini_generate",
        ),
        ("https://generativelanguage.googleapis.com/v1beta/openai/chat/completions", "google", "chat", "openai_chat"),
        (
            "https://us-east5-aiplatform.googleapis.com/v1/projects/p/locations/l/publishers/anthropic/models/c@1:streamRawPredict",
            "google-vertex",
            "messages",
            "anthropic_messages",
        ),
        (
            "https://aiplatform.googleapis.com/v1beta1/publishers/google/models/gemini-2.5-flash:generateContent",
            "google-vertex",
            "generate",
            "gemini_generate",
        ),
        (
            "https://aiplatform.googleapis.com/v1/projects/p/locations/global/endpoints/openapi/chat/completions",
            "google-vertex",
            "chat",
            "openai_chat",
        ),
        ("https://api.mistral.ai/v1/chat/completions", "mistral", "chat", "openai_chat"),
        ("https://codestral.mistral.ai/v1/fim/completions", "mistral", "completions", "openai_chat"),
        ("https://api.groq.com/openai/v1/chat/completions", "groq", "chat", "openai_chat"),
        ("https://api.deepseek.com/chat/completions", "deepseek", "chat", "openai_chat"),
        ("https://api.deepseek.com/beta/completions", "deepseek", "completions", "openai_completions"),
        ("https://api.deepseek.com/anthropic/v1/messages", "deepseek", "messages", "anthropic_messages"),
        ("https://api.x.ai/v1/responses", "xai", "responses", "openai_responses"),
        ("https://api.together.ai/v1/completions", "together", "completions", "openai_completions"),
        ("https://api.fireworks.ai/inference/v1/chat/completions", "fireworks", "chat", "openai_chat"),
        ("https://openrouter.ai/api/v1/messages", "openrouter", "messages", "anthropic_messages"),
        ("https://api.perplexity.ai/chat/completions", "perplexity", "chat", "openai_chat"),
        ("https://api.cerebras.ai/v1/chat/completions", "cerebras", "chat", "openai_chat"),
    ],
)
def test_an_endpoint_is_recognised(url: str, provider: str, op: str, dialect: str) -> None:
    match = match_of(url)

    assert match.action is Action.METER
    assert match.provider.id == provider
    assert match.endpoint is not None
    assert (match.endpoint.op, match.endpoint.dialect) == (op, dialect)


@pytest.mark.parametrize(
    ("url", "model"),
    [
        ("https://a.openai.azure.com/openai/deployments/my-gpt/chat/completions", "my-gpt"),
        ("https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-pro%3AgenerateContent", "gemini-2.5-pro"),
        ("https://generativelanguage.googleapis.com/v1beta/models/Gemini-X:streamGenerateContent", "Gemini-X"),
        ("https://api.openai.com/v1/chat/completions", None),
    ],
)
def test_the_model_of_a_path_is_found(url: str, model: str | None) -> None:
    assert match_of(url).path_model == model


def test_the_answers_model_is_more_telling_than_the_requested_one() -> None:
    match = match_of("https://api.openai.com/v1/chat/completions")

    assert match.models(requested="gpt-4o", answered="gpt-4o-2024-11-20") == ("gpt-4o-2024-11-20", "gpt-4o")
    assert match.models(requested="gpt-4o", answered=None) == ("gpt-4o",)
    assert match.models(requested=None, answered=None) == ()


@pytest.mark.parametrize(
    ("query", "injects"),
    [
        ("?api-version=2023-05-15", False),
        ("?api-version=2024-08-01-preview", False),
        ("?api-version=2024-09-01-preview", True),
        ("?api-version=2024-10-21", True),
        ("?api-version=2024-10-21&api-version=2024-02-01", False),
        ("?api-version=preview", True),
        ("", True),
    ],
)
def test_azure_is_asked_for_usage_only_in_versions_that_know_the_option(query: str, injects: bool) -> None:
    assert match_of(f"https://a.openai.azure.com/openai/deployments/d/chat/completions{query}").injects_usage is injects


@pytest.mark.parametrize(
    ("url", "injects"),
    [
        ("https://api.openai.com/v1/chat/completions", True),
        ("https://api.openai.com/v1/completions", True),
        ("https://api.openai.com/v1/responses", False),
        ("https://api.openai.com/v1/embeddings", False),
        ("https://api.mistral.ai/v1/chat/completions", False),
        ("https://api.groq.com/openai/v1/chat/completions", False),
        ("https://openrouter.ai/api/v1/chat/completions", False),
        ("https://api.perplexity.ai/chat/completions", False),
        ("https://api.deepseek.com/anthropic/v1/messages", False),
        ("https://api.anthropic.com/v1/messages", False),
    ],
)
def test_usage_is_asked_for_where_a_stream_would_not_carry_it(url: str, injects: bool) -> None:
    assert match_of(url).injects_usage is injects


@pytest.mark.parametrize(
    ("url", "region"),
    [
        ("https://api.openai.com/v1/responses", None),
        ("https://eu.api.openai.com/v1/responses", "regional"),
        ("https://US.api.openai.com/v1/responses", "regional"),
        ("https://us.api.x.ai/v1/responses", "us"),
        ("https://aiplatform.googleapis.com/v1/publishers/google/models/g:generateContent", None),
        ("https://us-central1-aiplatform.googleapis.com/v1/publishers/google/models/g:generateContent", "regional"),
    ],
)
def test_a_host_may_name_the_region_whose_prices_hold(url: str, region: str | None) -> None:
    assert match_of(url).region == region


def test_a_model_in_the_path_is_decoded_whole() -> None:
    arn = "arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fus.anthropic.claude-v1%3A0"
    match = match_of(f"https://bedrock-runtime.us-east-1.amazonaws.com/model/{arn}/converse")

    assert match.path_model == "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-v1:0"
