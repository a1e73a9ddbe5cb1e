"""Node of any version goes through the proxy: fetch, https, agents of a program's own, plain http; nothing goes around."""

import base64
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lava_proxy.cli.environment import Access, TrustFiles, build_variables, child_environment
from lava_proxy.demo.provider import StandIn, running_stand_in
from tests.support.certificates import Authority, make_authority
from tests.support.tunnels import TunnelProxy, running_tunnel_proxy

NODE = os.environ.get("LAVA_TEST_NODE") or shutil.which("node")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(NODE is None, reason="there is no node on this machine")]

ASK = """
const https = require('node:https'), http = require('node:http');
const size = (answer, done) => { let n = 0; answer.on('data', (d) => (n += d.length)).on('end', () => done(n)); };
const get = (library, url, options = {}) => new Promise((done) => library
  .get(url, options, (answer) => size(answer, (n) => done(`${answer.statusCode} ${n > 0}`)))
  .on('error', (error) => done(error.message)));
const viaFetch = (url) => fetch(url).then(
  async (answer) => `${answer.status} ${(await answer.text()).length > 0}`,
  (error) => String(error.cause?.message ?? error));
"""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return make_authority(tmp_path)


@pytest.fixture
def provider(authority: Authority) -> Iterator[StandIn]:
    with running_stand_in(tls=authority.issue("api.openai.com", "refused.example")) as running:
        yield running


@pytest.fixture
def tunnels(provider: StandIn) -> Iterator[TunnelProxy]:
    with running_tunnel_proxy(provider.port) as running:
        yield running


def ask(script: str, port: int, ca: Path, *, scheme: str = "http", **present: str) -> list[str]:
    assert NODE is not None
    trust = TrustFiles(variables={"NODE_EXTRA_CA_CERTS": ca})
    variables = build_variables(present, Access(address=f"{scheme}://127.0.0.1:{port}", user="cus@t", key="k:1"), trust)
    answer = subprocess.run(
        [NODE, "-e", ASK + script],
        env=child_environment({"PATH": os.environ["PATH"], **present}, variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.splitlines()


def test_fetch_and_https_and_agents_of_ones_own_go_through_the_proxy(
    provider: StandIn, tunnels: TunnelProxy, authority: Authority
) -> None:
    script = """(async () => {
      const url = 'https://api.openai.com/v1/models';
      console.log(await viaFetch(url));
      console.log(await get(https, url));
      console.log(await get(https, url, { agent: new https.Agent({ keepAlive: true }) }));
    })()"""
    assert ask(script, tunnels.port, authority.certificate_file) == ["200 true"] * 3
    assert [head.splitlines()[0] for head in tunnels.heads] == ["CONNECT api.openai.com:443 HTTP/1.1"] * 3
    credentials = base64.b64encode(b"cus@t:k:1").decode()
    assert all(f"proxy-authorization: basic {credentials.lower()}" in head.lower() for head in tunnels.heads)
    assert provider.counters.requests == 3


def test_a_body_and_a_stream_pass_whole(provider: StandIn, tunnels: TunnelProxy, authority: Authority) -> None:
    script = """(async () => {
      const messages = [{ role: 'user', content: 'x'.repeat(300000) }];
      const body = JSON.stringify({ model: 'gpt-4o-mini', stream: true, messages });
      const options = { method: 'POST', body };
      const answer = await fetch('https://api.openai.com/v1/chat/completions', options);
      console.log((await answer.text()).endsWith('data: [DONE]\\n\\n'));
      const agent = new https.Agent({ keepAlive: true });
      const request = https.request('https://api.openai.com/v1/chat/completions', { method: 'POST', agent }, (got) => {
        let text = ''; got.on('data', (d) => (text += d)).on('end', () => console.log(text.endsWith('data: [DONE]\\n\\n')));
      });
      request.end(body);
    })()"""
    assert ask(script, tunnels.port, authority.certificate_file) == ["true", "true"]
    assert [len(seen.body) > 300_000 for seen in provider.counters.seen] == [True, True]


def test_a_refused_tunnel_is_an_error_and_not_a_way_around(
    provider: StandIn, tunnels: TunnelProxy, authority: Authority
) -> None:
    script = """(async () => {
      console.log(await viaFetch('https://refused.example/v1/models'));
      console.log(await get(https, 'https://refused.example/v1/models', { agent: new https.Agent() }));
    })()"""
    first, second = ask(script, tunnels.port, authority.certificate_file)
    assert not first.startswith("200") and "403" in second
    assert provider.counters.requests == 0


def test_a_proxy_that_does_not_run_is_an_error_and_not_a_way_around(provider: StandIn, authority: Authority) -> None:
    script = f"""(async () => {{
      console.log(await viaFetch('https://api.openai.com:{provider.port}/v1/models'));
      console.log(await get(https, 'https://api.openai.com:{provider.port}/v1/models', {{ agent: new https.Agent() }}));
    }})()"""
    assert all("ECONNREFUSED" in line for line in ask(script, 1, authority.certificate_file))


def test_no_proxy_is_obeyed(provider: StandIn, tunnels: TunnelProxy, authority: Authority) -> None:
    script = f"""(async () => {{
      process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
      console.log(await get(https, 'https://127.0.0.1:{provider.port}/v1/models', {{ agent: new https.Agent() }}));
      console.log(await viaFetch('https://localhost:{provider.port}/v1/models'));
    }})()"""
    answers = ask(script, tunnels.port, authority.certificate_file)
    assert answers[0] == "200 true"
    assert not tunnels.heads


def test_plain_http_goes_through_the_proxy_too(tunnels: TunnelProxy, authority: Authority) -> None:
    with running_stand_in() as plain, running_tunnel_proxy(plain.port) as proxy:
        script = "get(http, 'http://models.example/v1/models', { agent: new http.Agent() }).then(console.log)"
        assert ask(script, proxy.port, authority.certificate_file) == ["200 true"]
        assert proxy.heads[0].startswith("CONNECT models.example:80 ")


def test_a_proxy_whose_port_speaks_tls_is_reached_by_tls(provider: StandIn, authority: Authority) -> None:
    with running_tunnel_proxy(provider.port, tls=authority.issue("127.0.0.1")) as proxy:
        script = """(async () => {
          console.log(await viaFetch('https://api.openai.com/v1/models'));
          console.log(await get(https, 'https://api.openai.com/v1/models', { agent: new https.Agent() }));
        })()"""
        assert ask(script, proxy.port, authority.certificate_file, scheme="https") == ["200 true"] * 2
        assert len(proxy.heads) == 2
