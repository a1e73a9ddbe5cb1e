"""No spelling of a metered path gets away with being free."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lava_proxy.providers import Action, load_providers
from lava_proxy.providers.paths import parse_path, spell

INDEX = load_providers()

CHAT = "/v1/chat/completions"


def action_of(path: str, *, method: str = "POST", host: str = "api.openai.com") -> Action:
    match = INDEX.recognise(host=host, port=443, method=method, path=path)
    assert match is not None
    return match.action


@pytest.mark.parametrize(
    "path",
    [
        CHAT,
        CHAT + "/",
        CHAT + "?x=/v1/files",
        "/V1/Chat/Completions",
        "//v1//chat///completions",
        "/v1/./chat/completions",
        "/v1/files/../chat/completions",
        "/v1/moderations/..//chat/completions",
        "/v1/models/%2e%2e/chat/completions",
        "/v1/models/%252e%252e/chat/completions",
        "/v1/models/.%2E/chat/completions",
        "/v1/files/..%2fchat/completions",
        "/v1%2Fchat%2fcompletions",
        "/v1\\chat\\completions",
        "/v1/files/..\\chat/completions",
        "/v1/files/..;/chat/completions",
        "/v1/chat;v=1/completions;x",
        "/v1/chat/completions%20",
        "/v1/chat/completions%00",
        "/%76%31/chat/completions",
        "/v1/ch%61t/completions",
        "/v1/ch%2561t/completions",
        "/v1/chat/completions#/../../files",
        "v1/chat/completions",
    ],
)
def test_every_spelling_of_chat_is_metered(path: str) -> None:
    assert action_of(path) is Action.METER


@pytest.mark.parametrize(
    "path",
    [
        "/v1/files/../realtime",
        "/v1/moderations/../fine_tuning/jobs",
        "/v1/moderations/%2e%2e/fine_tuning/jobs",
        "/v1//moderations",
        "/v1/%2e/moderations",
        "/v1/files%2f..%2ffine_tuning%2fjobs",
    ],
)
def test_an_odd_spelling_is_never_free(path: str) -> None:
    assert action_of(path) is Action.FLAG


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/models"),
        ("GET", "/v1/models/"),
        ("GET", "/v1/models?limit=5"),
        ("GET", "/v1/models/ft%3Agpt-4o%3Aacme%3A%3A1"),
        ("HEAD", "/v1/models/gpt-4o"),
        ("get", "/v1/models"),
        ("POST", "/v1/moderations"),
        ("POST", "/v1/responses/input_tokens"),
        ("POST", "/v1/files"),
        ("GET", "/v1/files/file-1/content"),
        ("GET", "/v1/responses/resp_1"),
        ("DELETE", "/v1/responses/resp_1"),
        ("OPTIONS", "/v1/chat/completions"),
    ],
)
def test_what_the_provider_does_not_bill_is_free(method: str, path: str) -> None:
    assert action_of(path, method=method) is Action.FREE


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/fine_tuning/jobs"),
        ("POST", "/v1/batches"),
        ("POST", "/v1/threads/runs"),
        ("POST", "/v1/modelsx"),
        ("GET", "/v1/modelsx"),
        ("GET", "/v1/realtime"),
        ("GET", "/v1/responses"),
        ("GET", "/v2/chat/completions"),
        ("PATCH", "/v1/chat/completions"),
        ("POST", "/v1/chat/completions/extra"),
        ("POST", "/"),
        ("POST", "/chat/completions"),
    ],
)
def test_what_nobody_described_is_flagged(method: str, path: str) -> None:
    match = INDEX.recognise(host="api.openai.com", port=443, method=method, path=path)

    assert match is not None
    assert match.endpoint is None
    assert match.action is Action.FLAG


SEGMENTS = st.sampled_from(
    ["v1", "chat", "completions", "models", "files", "..", ".", "", "%2e%2e", "%2f", ";", "a", "\\"]
)


@given(st.lists(SEGMENTS, max_size=8), st.sampled_from(["GET", "POST"]))
def test_a_path_that_could_be_read_as_chat_is_never_free_for_a_post(segments: list[str], method: str) -> None:
    path = "/" + "/".join(segments)
    resolved: list[str] = []
    for segment in re.split(r"[/\\]", path.replace("%2f", "/").replace("%2e", ".")):
        if segment == "..":
            del resolved[-1:]
        elif segment not in ("", ".", ";"):
            resolved.append(segment)

    if resolved == ["v1", "chat", "completions"] and method == "POST":
        assert action_of(path) is Action.METER
    elif spell(path).is_odd:
        assert action_of(path, method=method) is not Action.FREE


def test_a_plain_path_has_one_reading_and_an_odd_one_few() -> None:
    assert spell("/v1/models/gpt-4o?x=1").readings == ("/v1/models/gpt-4o",)
    assert spell("/v1/models/").readings == ("/v1/models",)
    assert spell("/").readings == ("/",)
    assert spell("").readings == ("/",)
    assert len(spell("/a/%252e%252e/..;/b//c#d" * 50).readings) <= 48


@pytest.mark.parametrize(
    "path", ["/" + "%00" * 20_000, "/" + "." * 60_000, "/" + "a;" * 30_000, "/..%2f" * 10_000, "/" * 60_000]
)
def test_a_hostile_path_is_answered_all_the_same(path: str) -> None:
    assert action_of(path) is Action.FLAG


@pytest.mark.parametrize(
    ("pattern", "path", "variables"),
    [
        ("/models/{model}:generateContent", "/models/gemini-2.5-pro:generateContent", {"model": "gemini-2.5-pro"}),
        ("/models/{model}:generateContent", "/models/a/b:generateContent", None),
        ("/models/{model}:generateContent", "/models/:generateContent", None),
        ("/files/**", "/files", {}),
        ("/files/**", "/files/a/b", {}),
        ("/files/**", "/filesystem", None),
        ("/files**", "/filesystem/x", {}),
        ("/v*/x", "/v1beta/x", {}),
        ("/v*/x", "/v1/beta/x", None),
        ("/a.b", "/axb", None),
        ("/A", "/a", {}),
    ],
)
def test_patterns_match_segments_parts_and_rests(pattern: str, path: str, variables: dict[str, str] | None) -> None:
    found = parse_path(pattern).compiled().fullmatch(path)

    assert (found.groupdict() if found else None) == variables


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [("v1", "must start"), ("/{x}/{x}", "twice"), ("/{x", "brace"), ("/x}", "brace"), ("/{X}", "brace")],
)
def test_a_pattern_that_cannot_be_meant_is_refused(pattern: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_path(pattern)
