"""Proxy credentials in all the ways that clients write them."""

import base64
import gc

import pytest
from mitmproxy.test import tflow

from lava_proxy.addons.arrivals import Arrivals, Tunnel
from lava_proxy.http1.names import host_name, read_credentials
from lava_proxy.services.exchange import Credentials


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("", None),
        (basic("acme:aks_live_1"), Credentials(user="acme", secret="aks_live_1")),
        (basic("acme:"), Credentials(user="acme", secret="")),
        (basic(":k"), Credentials(user="", secret="k")),
        (basic("acme"), Credentials(user="acme", secret="")),
        (basic("a:b:c"), Credentials(user="a", secret="b:c")),
        (basic("a%3Ab:c%40d"), Credentials(user="a:b", secret="c@d")),
        (basic("ünïcode:ключ"), Credentials(user="ünïcode", secret="ключ")),
        ("basic " + basic("a:b").partition(" ")[2], Credentials(user="a", secret="b")),
        ("Bearer aks_live_1", Credentials(user="", secret="aks_live_1")),
    ],
)
def test_credentials_are_read(header: str | None, expected: Credentials | None) -> None:
    assert read_credentials(header) == expected


@pytest.mark.parametrize("header", ["Basic !!!", "Basic /w==", "Digest x", "nonsense"])
def test_what_cannot_be_read_is_not_taken_for_no_credentials(header: str) -> None:
    found = read_credentials(header)

    assert found is not None
    assert found.secret


@pytest.mark.parametrize("spelling", ["a.example", "A.Example", "a.example.", "A.EXAMPLE."])
def test_a_host_has_one_spelling(spelling: str) -> None:
    assert host_name(spelling) == "a.example"


def test_nothing_is_kept_of_a_connection_that_is_gone() -> None:
    arrivals = Arrivals()
    client = tflow.tclient_conn()
    arrivals.remember(client, Tunnel(host="a", port=1, credentials=None, is_intercepted=True))
    assert arrivals.tunnel(client) is not None
    del client
    gc.collect()

    assert len(arrivals._tunnels) == 0
