"""Hosts in headers: one host, spelled as hosts are, or none at all."""

import pytest

from lava_proxy.http1.names import named_host


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        ("api.openai.com", "api.openai.com"),
        ("API.OpenAI.com.:443", "api.openai.com"),
        ("my-res.openai.azure.com:8443", "my-res.openai.azure.com"),
        ("localhost:11434", "localhost"),
        ("127.0.0.1:8000", "127.0.0.1"),
        ("[::1]:8000", "::1"),
    ],
)
def test_a_host_has_one_spelling(authority: str, host: str) -> None:
    assert named_host(authority) == host


@pytest.mark.parametrize(
    "authority",
    [
        "",
        ":443",
        "a b",
        "a,b",
        "a.com, b.com",
        "user@a.com",
        "a.com/x",
        "a.com:port",
        "[::1",
        "-a.com",
        "a" * 254,
        "a\n",
    ],
)
def test_what_names_no_host_is_refused(authority: str) -> None:
    with pytest.raises(ValueError, match="not one host"):
        named_host(authority)
