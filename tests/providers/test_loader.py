"""What an operator may write, and what they are told when it cannot be."""

from pathlib import Path

import pytest

from lava_proxy.core.errors import InvalidProviderFile
from lava_proxy.providers import DIALECTS, Action, StreamUsage, load_providers

MINE = """
schema = 1
extends = "openai_compat"
id = "mine"
hosts = ["llm.corp.example:8443"]
base_paths = ["/v1"]
"""


def load(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    load_providers(folder)


def refusal(folder: Path, text: str) -> InvalidProviderFile:
    with pytest.raises(InvalidProviderFile) as caught:
        load(folder, acme=text)
    assert str(folder / "acme.toml") in caught.value.message or "acme" in caught.value.message
    return caught.value


def test_the_packaged_providers_are_complete() -> None:
    index = load_providers()

    assert [provider.id for provider in index.providers] == [
        "anthropic",
        "azure",
        "cerebras",
        "deepseek",
        "fireworks",
        "google",
        "google-vertex",
        "groq",
        "mistral",
        "openai",
        "openrouter",
        "perplexity",
        "together",
        "xai",
    ]
    for provider in index.providers:
        assert provider.docs and provider.pricing and provider.checked, provider.id
        assert provider.auth and provider.prices[0] == f"lava:{provider.id}", provider.id
        assert provider.unmatched is Action.FLAG, provider.id
        assert provider.dialect in DIALECTS, provider.id
        assert {endpoint.dialect for endpoint in provider.endpoints} <= set(DIALECTS), provider.id
        assert any(endpoint.action is Action.METER for endpoint in provider.endpoints), provider.id
        assert provider.origin == "packaged"


def test_every_dialect_that_a_provider_may_name_can_be_read() -> None:
    from lava_proxy.dialects import DIALECTS as READABLE

    assert set(DIALECTS) <= set(READABLE)


def test_nothing_is_added_to_requests_of_providers_that_report_unasked_or_are_strict() -> None:
    index = load_providers()
    adding = {
        provider.id
        for provider in index.providers
        for endpoint in provider.endpoints
        if endpoint.dialect == "openai_chat" and endpoint.op == "chat" and endpoint.stream.inject
    }

    assert adding == {
        "anthropic",
        "azure",
        "cerebras",
        "deepseek",
        "fireworks",
        "google",
        "google-vertex",
        "openai",
        "together",
        "xai",
    }


def test_an_absent_folder_of_the_operators_is_no_fault(tmp_path: Path) -> None:
    assert load_providers(tmp_path / "nowhere").providers == load_providers().providers


def test_an_operator_adds_a_provider_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(MINE, encoding="utf-8")

    index = load_providers(tmp_path)

    mine = index.get("mine")
    assert mine is not None
    assert mine.origin == str(tmp_path / "mine.toml")
    assert mine.prices == ("lava:mine",)
    assert index.is_ai_host("llm.corp.example", 8443)
    assert not index.is_ai_host("llm.corp.example", 443)
    match = index.recognise(host="llm.corp.example", port=8443, method="POST", path="/v1/chat/completions")
    assert match is not None and match.endpoint is not None
    assert (match.endpoint.op, match.endpoint.dialect) == ("chat", "openai_chat")
    assert index.recognise(host="llm.corp.example", port=443, method="POST", path="/v1/chat/completions") is None


def test_the_same_id_replaces_keys_and_keeps_the_others(tmp_path: Path) -> None:
    text = 'schema = 1\nid = "groq"\nhosts = ["groq.corp.example"]\nunmatched = { action = "block" }\n'
    (tmp_path / "groq.toml").write_text(text, encoding="utf-8")

    groq, packaged = load_providers(tmp_path).get("groq"), load_providers().get("groq")

    assert groq is not None and packaged is not None
    assert groq.hosts == ("groq.corp.example",)
    assert groq.unmatched is Action.BLOCK
    assert groq.origin == str(tmp_path / "groq.toml")
    assert (groq.endpoints, groq.base_paths, groq.prices) == (packaged.endpoints, packaged.base_paths, packaged.prices)


def test_a_provider_can_be_switched_off(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text('schema = 1\nid = "xai"\nenabled = false\n', encoding="utf-8")

    index = load_providers(tmp_path)

    assert index.get("xai") is None
    assert not index.is_ai_host("api.x.ai")


def test_deployments_are_the_operators_table(tmp_path: Path) -> None:
    text = 'schema = 1\nid = "azure"\n[deployments]\nprod = "gpt-4o"\n'
    (tmp_path / "azure.toml").write_text(text, encoding="utf-8")
    index = load_providers(tmp_path)
    path = "/openai/deployments/prod/chat/completions?api-version=2024-10-21"

    match = index.recognise(host="acme.openai.azure.com", port=443, method="POST", path=path)
    modern = index.recognise(host="acme.openai.azure.com", port=443, method="POST", path="/openai/v1/responses")

    assert match is not None and modern is not None
    assert match.path_model == "gpt-4o"
    assert match.models(requested=None, answered="gpt-4o-2024-11-20") == ("gpt-4o-2024-11-20", "gpt-4o", "prod")
    assert modern.models(requested="prod", answered=None) == ("gpt-4o", "prod")
    assert modern.models(requested="prod", answered="") == ("gpt-4o", "prod")


def test_an_operators_template_can_be_extended(tmp_path: Path) -> None:
    template = """
schema = 1
template = true
extends = "openai_compat"
unmatched = { action = "block" }
stream = { usage = "never" }
model = ["const:house-model"]
"""
    (tmp_path / "house.toml").write_text(template, encoding="utf-8")
    (tmp_path / "mine.toml").write_text(MINE.replace("openai_compat", "house"), encoding="utf-8")

    mine = load_providers(tmp_path).get("mine")

    assert mine is not None
    assert mine.unmatched is Action.BLOCK
    assert mine.dialect == "openai_chat"
    assert {endpoint.stream.usage for endpoint in mine.endpoints if endpoint.op == "chat"} == {StreamUsage.NEVER}
    assert {endpoint.model for endpoint in mine.endpoints} == {("const:house-model",)}


@pytest.mark.parametrize(
    ("change", "key", "hint"),
    [
        ('host = ["a.example"]', "host", "did you mean 'hosts'?"),
        ('base_path = "/v1"', "base_path", "did you mean 'base_paths'?"),
        ("zzzzzz = 1", "zzzzzz", "known here: schema, template"),
        (
            '[[endpoint]]\nmethod = "POST"\npath = "/x"\noperation = "chat"',
            "endpoint[0].operation",
            "known here: method",
        ),
        ('[[endpoint]]\nmethod = "POST"\npaht = "/x"', "endpoint[0].paht", "did you mean 'path'?"),
        ('[stream]\nusag = "always"', "stream.usag", "did you mean 'usage'?"),
        ('[[auth]]\nplace = "header"\nname = "x"', "auth[0].place", "known here: in, name, scheme"),
    ],
)
def test_an_unknown_key_is_refused_with_its_place_and_a_hint(tmp_path: Path, change: str, key: str, hint: str) -> None:
    refused = refusal(tmp_path, MINE + change + "\n")

    assert f"{key}:" in refused.message
    assert hint in refused.hint
    assert refused.code == "invalid_provider_file"
    assert refused.details["file"] == str(tmp_path / "acme.toml")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("schema = 2\nid = 'mine'\nhosts = ['a.example']\n", "schema"),
        ("id = 'mine'\nhosts = ['a.example']\n", "schema: is missing"),
        ("schema = 1\nhosts = ['a.example']\n", "id is missing"),
        ("schema = 1\nid = 'Mine!'\nhosts = ['a.example']\n", "id"),
        ("schema = 1\nid = 'mine'\nextends = 'openai_compat'\n", "hosts: are missing"),
        ("schema = 1\nid = 'mine'\nhosts = ['a.example']\n", "dialect: is missing"),
        ("schema = 1\nid = 'mine'\nhosts = ['a.example']\nextends = 'opena'\n", "there is no template 'opena'"),
        ("schema = 1\nid = 'mine'\nhosts = ['*.com']\nextends = 'openai_compat'\n", "top-level domain"),
        (
            "schema = 1\nid = 'mine'\nhosts = 'a.example'\nextends = 'openai_compat'\n",
            "hosts: Input should be a valid list",
        ),
        (MINE + "dialect = 'openai_chats'\n", "did you mean 'openai_chat'?"),
        (MINE + "unmatched = { action = 'allow' }\n", "'free', 'flag' or 'block'"),
        (MINE + "prices = ['litellm:x']\n", "prices[0]"),
        (MINE + "model = ['body:model']\n", "model[0]"),
        (MINE + "[[endpoint]]\nmethod = 'POST'\npath = 'x'\naction = 'free'\n", "must start with '/'"),
        (MINE + "[[endpoint]]\nmethod = 'post'\npath = '/x'\naction = 'free'\n", "endpoint[0].method"),
        (MINE + "[[endpoint]]\nmethod = 'POST'\npath = '/x'\n", "is metered, but has no op"),
        (MINE + "[stream]\nusage = 'on_request'\ninject = 'stream_options.usage'\n", "stream.inject"),
        (MINE + "id = 'twice'\n", "is not TOML"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(tmp_path: Path, text: str, what: str) -> None:
    assert what in refusal(tmp_path, text).message


def test_a_template_that_extends_itself_is_refused(tmp_path: Path) -> None:
    template = "schema = 1\ntemplate = true\nextends = 'b'\n"

    with pytest.raises(InvalidProviderFile, match="extends itself"):
        load(tmp_path, a=template, b=template.replace("'b'", "'a'"), mine=MINE.replace('"openai_compat"', '"a"'))


@pytest.mark.parametrize("hosts", ["['api.openai.com']", "['*.openai.azure.com']", "['API.OpenAI.com']"])
def test_no_host_is_owned_twice(tmp_path: Path, hosts: str) -> None:
    refused = refusal(tmp_path, f"schema = 1\nid = 'acme'\nextends = 'openai_compat'\nhosts = {hosts}\n")

    assert "already belongs to" in refused.message
    assert "enabled = false" in refused.hint


def test_two_providers_may_share_a_host_at_different_paths(tmp_path: Path) -> None:
    text = "schema = 1\nid = '{}'\nextends = 'openai_compat'\nhosts = ['ai.corp.example']\nowns_host = {}\nbase_paths = ['{}']\n"
    (tmp_path / "a.toml").write_text(text.format("first", "false", "/first"), encoding="utf-8")
    (tmp_path / "b.toml").write_text(text.format("second", "true", "/second"), encoding="utf-8")

    index = load_providers(tmp_path)

    def owner(path: str) -> str | None:
        match = index.recognise(host="ai.corp.example", port=443, method="POST", path=path)
        return match.provider.id if match else None

    assert owner("/first/chat/completions") == "first"
    assert owner("/second/chat/completions") == "second"
    assert owner("/first/unheard/of") == "first"
    assert owner("/elsewhere") == "second"

    (tmp_path / "c.toml").write_text(text.format("third", "false", "/first"), encoding="utf-8")
    with pytest.raises(
        InvalidProviderFile, match=r"third: hosts: ai.corp.example with /first already belongs to first"
    ):
        load_providers(tmp_path)


def test_a_host_that_serves_others_too_is_ours_only_below_our_bases() -> None:
    index = load_providers()

    assert index.recognise(host="openrouter.ai", port=443, method="GET", path="/models") is None
    assert index.recognise(host="openrouter.ai", port=443, method="POST", path="/login") is None
    flagged = index.recognise(host="openrouter.ai", port=443, method="POST", path="/api/v1/pictures")
    assert flagged is not None and flagged.action is Action.FLAG
    disguised = index.recognise(host="openrouter.ai", port=443, method="POST", path="/x/../api/v1/chat/completions")
    assert disguised is not None and disguised.action is Action.METER


def test_a_binary_or_unreadable_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "acme.toml").write_bytes(b"\xff\xfe\x00")

    with pytest.raises(InvalidProviderFile, match=r"acme\.toml: cannot be read"):
        load_providers(tmp_path)
