"""The packaged files: each is whole, none takes another's place, and together they know all recorded traffic."""

import gzip
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from lava_proxy.dialects import DIALECTS as READABLE
from lava_proxy.providers import DIALECTS, UNITS, Action, Match, Provider, Settle, load_providers
from lava_proxy.providers.compiled import decode, encode, fingerprint
from lava_proxy.providers.loader import (
    CATALOGUE,
    PACKAGED_FOLDER,
    TEMPLATES,
    packaged_files,
    packaged_providers,
    toml_files,
)
from lava_proxy.providers.reading import read_source
from lava_proxy.providers.vocabulary import LOCAL

INDEX = load_providers()
PROVIDERS = {provider.id: provider for provider in packaged_providers()}

PLANNED: frozenset[str] = frozenset()
"""Wire formats that files name and nobody reads yet. Take a name out when its reader is there; the list ends empty."""


@pytest.mark.parametrize("file", toml_files(PACKAGED_FOLDER), ids=lambda file: file.stem)
def test_a_file_is_whole(file: Path) -> None:
    source = read_source(file, "packaged")
    provider = PROVIDERS[file.stem]

    assert source.file.id == provider.id == file.stem
    assert provider.name and provider.category and provider.hosts and provider.auth
    assert provider.docs.startswith("https://")
    assert provider.checked >= "2026-11-21"
    assert provider.evidence in ("verified", "community") and provider.sources
    assert provider.prices[0] == f"lava:{provider.id}"
    assert provider.unmatched is (Action.FREE if provider.category == LOCAL else Action.FLAG)
    for endpoint in provider.endpoints:
        where = (endpoint.method, endpoint.path)
        assert endpoint.dialect in set(READABLE) | PLANNED, where
        if endpoint.action is Action.METER:
            assert endpoint.units and set(endpoint.units) <= set(UNITS), where
            assert not (provider.signed and endpoint.stream.inject), where
        else:
            assert endpoint.settle is Settle.IMMEDIATE, where
    assert any(endpoint.action is Action.METER for endpoint in provider.endpoints)


@pytest.mark.parametrize("file", toml_files(TEMPLATES), ids=lambda file: file.stem)
def test_a_template_is_one_and_somebody_extends_it(file: Path) -> None:
    used = {name for path in packaged_files() for name in read_source(path, "packaged").file.extends}

    assert read_source(file, "packaged").file.template
    assert file.stem in used


def test_every_wire_format_is_read_or_planned_and_named_by_a_file() -> None:
    named = {endpoint.dialect for provider in PROVIDERS.values() for endpoint in provider.endpoints}
    named |= {provider.dialect for provider in PROVIDERS.values()}

    assert set(DIALECTS) - set(READABLE) <= PLANNED
    assert set(DIALECTS) - named - set(READABLE) == set()


def test_what_is_settled_later_is_settled_by_something() -> None:
    for provider in PROVIDERS.values():
        made = {e.op for e in provider.endpoints if e.action is Action.METER}
        for endpoint in provider.endpoints:
            assert not endpoint.settles or endpoint.settles in made, (provider.id, endpoint.path)


def test_nothing_is_added_to_requests_of_providers_that_report_unasked_or_are_strict() -> None:
    unasked = ("mistral", "groq", "openrouter", "perplexity", "aws-bedrock", "aws-bedrock-mantle", "snowflake-cortex")
    asked = ("openai", "azure", "anthropic", "google", "deepseek", "xai", "together", "fireworks", "cerebras")

    def adding(provider: Provider) -> bool:
        return any(e.stream.inject for e in provider.endpoints if e.op == "chat" and e.dialect == "openai_chat")

    assert [name for name in asked if not adding(PROVIDERS[name])] == []
    assert [name for name in unasked if adding(PROVIDERS[name])] == ["snowflake-cortex"]


def test_an_openai_compatible_provider_takes_few_lines() -> None:
    lengths = [
        len(file.read_text().splitlines())
        for file in toml_files(PACKAGED_FOLDER)
        if read_source(file, "packaged").file.extends == ["openai_community"]
    ]

    assert len(lengths) > 100
    assert sorted(lengths)[len(lengths) // 2] <= 10


def test_the_catalogue_is_what_the_files_say() -> None:
    expected = encode(packaged_providers(), of=fingerprint(packaged_files()))

    assert CATALOGUE.read_bytes() == expected, "run `make catalogue`"
    assert decode(expected, of=fingerprint(packaged_files())) == sorted(PROVIDERS.values(), key=lambda each: each.id)


def test_a_catalogue_of_other_files_or_a_broken_one_is_not_believed() -> None:
    content = CATALOGUE.read_bytes()

    assert decode(content, of="0" * 64) is None
    assert decode(content[:1000], of=fingerprint(packaged_files())) is None


def test_a_changed_name_or_byte_changes_the_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("x")
    (tmp_path / "b.toml").write_text("")
    first = fingerprint(toml_files(tmp_path))
    (tmp_path / "a.toml").write_text("")
    (tmp_path / "b.toml").write_text("x")
    second = fingerprint(toml_files(tmp_path))
    (tmp_path / "b.toml").rename(tmp_path / "c.toml")

    assert len({first, second, fingerprint(toml_files(tmp_path))}) == 3


def test_the_catalogue_is_read_without_the_checks_of_files() -> None:
    program = (
        "import sys; from lava_proxy.providers import load_providers; load_providers();"
        "print('pydantic' in sys.modules, 'tomllib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.split() == ["False", "False"]


def test_help_does_not_load_it() -> None:
    program = (
        "import sys; from lava_proxy.cli import app; from lava_proxy.cli.entry import run\n"
        "run(app, ['--help'])\n"
        "print([name for name in sys.modules if name.startswith('lava_proxy.providers')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.splitlines()[-1] == "[]"


def rows(file: Path) -> Iterator[dict[str, str]]:
    """The table of known providers: one a line, its hosts with ``*`` for a label or a part of one."""
    names, *lines = file.read_text().splitlines()
    for line in lines:
        yield dict(zip(names.lstrip("#").split("\t"), line.split("\t"), strict=True))


@pytest.mark.recorded
def test_every_listed_provider_has_a_file_that_owns_its_hosts(shared: Path) -> None:
    listed = list(rows(shared / "data" / "providers.tsv"))

    assert len(listed) == 345
    for row in listed:
        provider = INDEX.get(row["id"])
        assert provider is not None, row["id"]
        for written in row["hosts"].split(","):
            host, _, port = written.partition("/")[0].replace("*", "x").partition(":")
            found = {owner.id for owner in INDEX.owners(host, int(port or 443))}
            moved = {"azure-apim"} if host.endswith(".azure-api.net") else set()
            assert found & ({provider.id} | moved), written


METERED = {
    "chat.completions": {"openai_chat"},
    "completions": {"openai_completions", "openai_chat"},
    "responses": {"openai_responses"},
    "embeddings": {"openai_embeddings"},
    "messages": {"anthropic_messages"},
    "generateContent": {"gemini_generate"},
    "streamGenerateContent": {"gemini_generate"},
    "converse": {"bedrock_converse"},
    "converse-stream": {"bedrock_converse"},
    "invoke": {"bedrock_invoke"},
    "invoke-stream": {"bedrock_invoke"},
    "realtime-ws": {"openai_realtime", "gemini_live"},
    "images": {"openai_images"},
    "audio.transcriptions": {"transcription", "cohere"},
    "audio.speech": {"speech"},
    "rerank": {"cohere", "rerank", "bedrock_agent"},
}
"""What each kind of recorded endpoint must be read as."""
NOT_BILLED = {"models", "count_tokens", "moderations", "responses.retrieve", "predictions.get", "messages.batch_results"}
SAME = {
    "alibaba": "alibaba",
    "bedrock": "aws-bedrock",
    "bedrock-agent": "aws-bedrock",
    "bedrock-mantle": "aws-bedrock-mantle",
    "cloudflare": "cloudflare-workers-ai",
    "gpustack": "vllm",
    "huggingface-router": "huggingface",
    "llamacpp": "vllm",
    "local-openai": "vllm litellm-proxy",
    "mirascope-router": "mirascope",
    "sagemaker": "aws-sagemaker",
    "snowflake": "snowflake-cortex",
}
"""Names of the recordings that are other than ours."""


def match_of(row: dict[str, str]) -> Match | None:
    parts = urlsplit(row["url"])
    port = parts.port or (443 if parts.scheme in ("https", "wss") else 80)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    return INDEX.recognise(host=parts.hostname or "", port=port, method=row["method"], path=target)


@pytest.mark.recorded
def test_every_recorded_request_is_recognised(shared: Path) -> None:
    counted: Counter[Action] = Counter()
    for file in ("recorded.jsonl.gz", "errors.jsonl.gz"):
        with gzip.open(shared / "traffic" / file, "rt", encoding="utf-8") as lines:
            for row in map(json.loads, lines):
                match, guess = match_of(row), row["provider_guess"]
                where = f"{row['method']} {row['url']}"
                if guess == "openai-compatible" or (guess, row["endpoint"]) == ("ollama", "other"):
                    assert match is None, where  # a host that cannot exist; a look at whether a server is there
                    continue
                assert match is not None, where
                assert match.provider.id in SAME.get(guess, guess).split(), where
                expected = METERED.get(row["endpoint"])
                if expected:
                    assert match.endpoint is not None and match.action is Action.METER, where
                    assert match.endpoint.dialect in expected, where
                elif row["endpoint"] in NOT_BILLED:
                    assert match.action is Action.FREE, where
                elif row["expected"]:
                    assert match.endpoint is not None, where
                    assert match.action is Action.METER or match.endpoint.settles, where
                counted[match.action] += 1

    assert counted[Action.METER] > 4_900
    assert counted[Action.FLAG] == 3  # a context that is kept, and lists of responses, which a WebSocket looks like


def test_every_name_in_the_price_book_exists() -> None:
    from genai_prices.data import providers as priced

    known = {f"genai-prices:{provider.id}" for provider in priced}
    named = {name for provider in PROVIDERS.values() for name in provider.prices[1:]}

    assert named - known == set()
