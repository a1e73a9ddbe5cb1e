"""`lava providers` as an operator uses it who adds one of their own."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.cli.conftest import Lava

CORP = """
schema = 1
extends = "openai_compat"
id = "corp"
name = "The company's gateway"
hosts = ["llm.corp.example:8000"]
base_paths = ["/v1"]
prices = ["genai-prices:openai"]
"""
CHAT = "https://api.openai.com/v1/chat/completions"


@pytest.fixture
def folder(lava: Lava, home: Path) -> Path:
    """``providers.d`` of a home that is made."""
    assert lava("init").code == 0
    found = home / "providers.d"
    found.mkdir(exist_ok=True)
    return found


def test_providers_are_found_by_name_wire_format_evidence_and_alias(lava: Lava, folder: Path) -> None:
    (folder / "corp.toml").write_text(CORP)

    def ids(*arguments: str) -> list[str]:
        return [row["provider_id"] for row in lava("providers", "list", *arguments).rows]

    assert len(ids()) > 345
    assert ids("--own") == ["corp"]
    assert ids("codestral") == ["mistral"]
    assert "xai" in ids("x-ai")
    assert {"cohere", "openai"} & set(ids("--dialect", "cohere")) == {"cohere"}
    assert "parasail" in ids("--evidence", "community") and "parasail" not in ids("--evidence", "verified")
    assert ids("no such thing") == []
    assert lava("providers", "show", "x-ai", "--json").document["provider_id"] == "xai"


def test_a_provider_is_shown_with_its_key_units_and_what_is_settled_later(lava: Lava, folder: Path) -> None:
    document = lava("providers", "show", "deepgram", "--json").document
    listen = next(each for each in document["endpoints"] if each["operation"] == "transcription")

    assert document["auth"][0] == {"in": "header", "name": "authorization", "scheme": "Token"}
    assert listen["quantities"] == [{"unit": "seconds", "from": "response:metadata.duration"}]
    assert "on_download" in lava("providers", "show", "openai").out


def test_files_are_checked_before_they_are_used(lava: Lava, folder: Path, tmp_path: Path) -> None:
    (folder / "corp.toml").write_text(CORP)
    good = lava("providers", "validate", "--json").document
    assert good["valid"] is True and [each["provider_id"] for each in good["own"]] == ["corp"]

    new = tmp_path / "new.toml"
    new.write_text(CORP.replace("hosts =", "host ="))
    refused = lava("providers", "validate", str(new), "--json")
    assert (refused.code, refused.error["code"]) == (2, "invalid_provider_file")
    assert refused.error["details"] == {"file": str(new), "field": "host"}
    assert refused.error["hint"] == "did you mean 'hosts'?"

    new.write_text(CORP.replace('"corp"', '"other"'))
    twice = lava("providers", "validate", str(new))
    assert twice.code == 2 and "already belongs to" in twice.err
    assert lava("providers", "validate", str(tmp_path / "absent.toml")).code == 2


def test_every_file_that_is_wrong_is_told_at_once(lava: Lava, tmp_path: Path, folder: Path) -> None:
    one, two = tmp_path / "one.toml", tmp_path / "two.toml"
    one.write_text("schema = 1\n")
    two.write_text(CORP + "unmatched = { action = 'allow' }\n")

    refused = lava("providers", "validate", str(one), str(two))

    assert refused.code == 2
    assert str(one) in refused.err and str(two) in refused.err


def test_a_file_that_replaces_one_of_the_home_is_checked_in_its_place(lava: Lava, folder: Path, tmp_path: Path) -> None:
    (folder / "corp.toml").write_text(CORP)
    (tmp_path / "corp.toml").write_text(CORP.replace('"corp"', '"renamed"'))

    assert lava("providers", "validate", str(tmp_path / "corp.toml")).facts["own"] == "renamed"


def test_a_request_is_told_what_it_is_taken_for(lava: Lava, folder: Path) -> None:
    body = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]})

    found = lava("providers", "test", CHAT, "--data", body, "--json").document

    assert (found["provider_id"], found["operation"], found["dialect"]) == ("openai", "chat", "openai_chat")
    assert (found["outcome"], found["model"]) == ("metered", "gpt-4o-mini")
    assert found["price_source"].startswith("genai-prices")
    assert found["auth"] == [{"in": "header", "name": "authorization", "scheme": "Bearer"}]
    assert lava("providers", "test", "https://api.openai.com/v1/models", "--method", "get").facts["outcome"] == (
        "not billed: passed on"
    )
    unheard = lava("providers", "test", "https://api.openai.com/v1/unheard").facts
    assert unheard["outcome"] == "passed on and recorded as unknown: nobody described it"
    assert lava("providers", "test", "https://github.com/login").code == 3
    assert lava("providers", "test", "github.com").code == 2


def test_an_endpoint_whose_wire_format_has_no_reader_is_told(lava: Lava, folder: Path) -> None:
    (folder / "corp.toml").write_text(
        CORP + '[[endpoint]]\nmethod = "POST"\npath = "/x"\nop = "x"\ndialect = "agent_calls"\n'
    )
    from lava_proxy.dialects import DIALECTS

    if "agent_calls" in DIALECTS:
        pytest.skip("every wire format has a reader")
    said = lava("providers", "test", "http://llm.corp.example:8000/v1/x")
    assert said.facts["outcome"] == "passed on and recorded as unknown: its wire format has no reader yet"
    assert "agent_calls" in lava("providers", "validate").err


class OneAnswer(BaseHTTPRequestHandler):
    """A model that says hello to everybody."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        assert self.headers["host"] == "llm.corp.example:8000"
        assert self.headers["authorization"] == "Bearer k"
        answer = {
            "id": "c1",
            "model": "gpt-4o-mini",
            "choices": [{"message": {"content": "hello"}}],
            "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
        }
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[int]:
    """The port of a server on this machine."""
    made = HTTPServer(("127.0.0.1", 0), OneAnswer)
    thread = Thread(target=made.serve_forever)
    thread.start()
    yield made.server_address[1]
    made.shutdown()
    thread.join()
    made.server_close()


def test_a_server_near_by_is_asked_once_and_its_answer_read(lava: Lava, folder: Path, server: int) -> None:
    (folder / "corp.toml").write_text(CORP)
    url = "http://llm.corp.example:8000/v1/chat/completions"
    ask = ("providers", "test", url, "--data", '{"model":"gpt-4o-mini","messages":[]}', "--header", "authorization: Bearer k")

    found = lava(*ask, "--connect-to", f"llm.corp.example:8000:127.0.0.1:{server}", "--json").document["answer"]

    assert found["status"] == 200
    assert found["model"] == "gpt-4o-mini"
    assert found["usage"] == {"input_tokens": 7, "output_tokens": 2}


@pytest.mark.parametrize(
    "rule", ["nonsense", "other.example:1:127.0.0.1:1", "::8.8.8.8:80", "::example.com:80", "::169.254.169.254:80"]
)
def test_nothing_is_sent_where_it_was_not_meant_to_go(lava: Lava, folder: Path, rule: str) -> None:
    refused = lava("providers", "test", CHAT, "--data", "{}", "--connect-to", rule, "--json")

    assert (refused.code, refused.error["details"]["field"]) == (2, "connect_to")


def test_a_server_that_is_not_there_is_told(lava: Lava, folder: Path) -> None:
    refused = lava("providers", "test", CHAT.replace("https", "http"), "--data", "{}", "--connect-to", "::127.0.0.1:9")

    assert refused.code == 6
