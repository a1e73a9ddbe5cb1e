"""Whose host is it?"""

import pytest

from lava_proxy.providers import load_providers
from lava_proxy.providers.hosts import HostIndex, literal_tail, normal_host, parse_host

INDEX = load_providers()


@pytest.mark.parametrize(
    "host",
    [
        "api.openai.com",
        "API.OpenAI.com",
        "api.openai.com.",
        "eu.api.openai.com",
        "acme.openai.azure.com",
        "acme.services.ai.azure.com",
        "api.anthropic.com",
        "generativelanguage.googleapis.com",
        "aiplatform.googleapis.com",
        "europe-west4-aiplatform.googleapis.com",
        "aiplatform.eu.rep.googleapis.com",
        "api.mistral.ai",
        "codestral.mistral.ai",
        "api.groq.com",
        "api.deepseek.com",
        "api.x.ai",
        "api.together.xyz",
        "api.together.ai",
        "api.fireworks.ai",
        "openrouter.ai",
        "api.perplexity.ai",
        "api.cerebras.ai",
        "ａｐｉ．ｏｐｅｎａｉ．ｃｏｍ",
        "api。openai。com",
    ],
)
def test_the_hosts_of_the_listed_providers_are_ai_hosts(host: str) -> None:
    assert INDEX.is_ai_host(host)
    assert INDEX.is_ai_host(host, 443)


@pytest.mark.parametrize(
    "host",
    [
        "api.openai.com.evil.example",
        "notapi.openai.com.example",
        "notapi-openai.com",
        "openai.com",
        "openai.azure.com",
        "evilopenai.azure.com",
        "xopenai.azure.com.evil.example",
        "api.anthropic.com.attacker.test",
        "xapi.anthropic.com",
        "storage.googleapis.com",
        "aiplatform.googleapis.com.evil.example",
        "evil.example/aiplatform.googleapis.com",
        "x.y-aiplatform.googleapis.com.z",
        "a.b-aiplatform.googleapis.com",
        "api.x.ai.example",
        "github.com",
        "",
        ".",
        "api.openai.com..",
    ],
)
def test_a_host_that_merely_looks_like_one_is_not(host: str) -> None:
    assert not INDEX.is_ai_host(host)
    assert INDEX.recognise(host=host, port=443, method="POST", path="/v1/chat/completions") is None


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_this_machine_is_one_at_the_ports_of_known_servers_alone(host: str) -> None:
    assert INDEX.is_ai_host(host, 11434)
    assert not INDEX.is_ai_host(host, 443)
    assert INDEX.recognise(host=host, port=443, method="POST", path="/v1/chat/completions") is None


def test_a_host_is_compared_in_lower_case_without_its_dot_and_brackets() -> None:
    assert normal_host("API.Example.COM.") == "api.example.com"
    assert normal_host("[::1]") == "::1"
    assert normal_host("ｅxample。com") == "example.com"
    assert normal_host("x" * 80 + "é.example") == "x" * 80 + "é.example"


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("https://api.example.com", "has a path"),
        ("api.example.com/v1", "has a path"),
        ("*.com", "top-level domain"),
        ("*", "not a host name"),
        ("api.*.example.com", "not a host name"),
        ("", "not a host name"),
        ("re:api\\.example\\.com", "not anchored"),
        ("re:^api(\\.example$", "not a regular expression"),
        ("api.example.com:0", "no such port"),
        ("api.example.com:70000", "no such port"),
    ],
)
def test_a_pattern_that_cannot_be_meant_is_refused(pattern: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_host(pattern)


@pytest.mark.parametrize(
    ("expression", "tail"),
    [
        (r"^bedrock-runtime\.[a-z0-9-]+\.amazonaws\.com$", ".amazonaws.com"),
        (r"^(eu|us)\.api\.example\.com$", ".api.example.com"),
        (r"^[a-z]+-x\.example$", ".example"),
        (r"^a\.example\.com|b\.example\.org$", ""),
        (r"^.*$", ""),
        (r"^api\.example\.com?$", ""),
        (r"^api\.[a-z]+$", ""),
    ],
)
def test_an_expression_is_kept_under_the_labels_that_its_hosts_end_with(expression: str, tail: str) -> None:
    assert literal_tail(expression) == tail


def test_a_look_up_does_not_grow_with_the_number_of_expressions() -> None:
    patterns = [f"re:^[a-z]+\\.host{number}\\.example$" for number in range(500)]
    index = index_of(*patterns)

    assert {len(kept) for kept in index._regexes.values()} == {1}
    assert index.owners("api.host499.example", 443) == (patterns[499],)
    assert index.owners("api.host500.example", 443) == ()


def test_a_name_that_no_name_server_knows_is_nobodys() -> None:
    assert index_of("*.example.com").owners("a." * 40_000 + "example.com", 443) == ()


def index_of(*patterns: str) -> HostIndex[str]:
    return HostIndex((parse_host(pattern), pattern) for pattern in patterns)


def test_a_pattern_with_a_port_holds_for_that_port_alone() -> None:
    index = index_of("localhost:8000", "[::1]:8000", "re:^box[0-9]+$:9000")

    assert index.owners("localhost", 8000) == ("localhost:8000",)
    assert index.owners("localhost", 8001) == ()
    assert index.owners("localhost", None) == ("localhost:8000",)
    assert index.owners("::1", 8000) == ("[::1]:8000",)
    assert index.owners("box7", 9000) == ("re:^box[0-9]+$:9000",)
    assert index.owners("box7", 443) == ()
    assert index.owners("box7.example", 9000) == ()


def test_the_closest_pattern_wins() -> None:
    index = index_of("*.example.com", "*.eu.example.com", "api.eu.example.com", "re:^.*$")

    assert index.owners("api.eu.example.com", 443) == ("api.eu.example.com",)
    assert index.owners("other.eu.example.com", 443) == ("*.eu.example.com",)
    assert index.owners("deep.under.us.example.com", 443) == ("*.example.com",)
    assert index.owners("example.com", 443) == ("re:^.*$",)
