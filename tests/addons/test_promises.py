"""Options of stock mitmproxy that would undo a promise are refused, each with its reason."""

import pytest
from mitmproxy.addons import clientplayback, maplocal, mapremote, next_layer, proxyauth, proxyserver
from mitmproxy.exceptions import OptionsError
from mitmproxy.options import Options
from mitmproxy.test import taddons

from lava_proxy.addons.promises import check_options, set_options


@pytest.fixture
async def options() -> Options:
    """With all the options that the addons of mitmdump add."""
    addons = (
        proxyserver.Proxyserver(),  # type: ignore[no-untyped-call]
        next_layer.NextLayer(),
        proxyauth.ProxyAuth(),
        mapremote.MapRemote(),
        maplocal.MapLocal(),
        clientplayback.ClientPlayback(),  # type: ignore[no-untyped-call]
    )
    with taddons.context(*addons) as context:  # type: ignore[no-untyped-call]
        found = context.options
        assert isinstance(found, Options)
        return found


async def test_what_is_needed_is_set_and_then_nothing_is_wrong(options: Options) -> None:
    set_options(options, body_size_limit=1000)
    check_options(options)

    assert (options.connection_strategy, options.http2, options.rawtcp) == ("lazy", False, False)
    assert (options.body_size_limit, options.tcp_timeout) == ("1000", 3600)


async def test_limits_that_the_user_has_set_stay(options: Options) -> None:
    options.update(body_size_limit="2m", tcp_timeout=7200)  # type: ignore[no-untyped-call]
    set_options(options, body_size_limit=1000)

    assert (options.body_size_limit, options.tcp_timeout) == ("2m", 7200)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("stream_large_bodies", "1"),
        ("store_streamed_bodies", True),
        ("ssl_insecure", True),
        ("ignore_hosts", ["x"]),
        ("allow_hosts", ["x"]),
        ("tcp_hosts", ["x"]),
        ("map_remote", ["|a|b"]),
        ("proxyauth", "any"),
        ("connection_strategy", "eager"),
        ("http2", True),
        ("rawtcp", True),
        ("websocket", False),
        ("validate_inbound_headers", False),
        ("mode", ["upstream:http://127.0.0.1:1"]),
        ("mode", ["regular", "socks5"]),
        ("mode", ["transparent"]),
    ],
)
async def test_an_option_that_breaks_a_promise_is_refused_by_name(options: Options, option: str, value: object) -> None:
    set_options(options, body_size_limit=1000)
    options._options[option].value = value  # as if it stood in a configuration file
    with pytest.raises(OptionsError, match=option):
        check_options(options)


async def test_a_mitmproxy_that_can_forge_public_certificates_is_refused_when_it_is_told_to(options: Options) -> None:
    options.add_option("tls_emudhra_intermediate", bool, False, "as later versions have it")
    set_options(options, body_size_limit=1000)
    check_options(options)
    options.update(tls_emudhra_intermediate=True)  # type: ignore[no-untyped-call]
    with pytest.raises(OptionsError, match="forges the certificates of others"):
        check_options(options)


async def test_a_regular_proxy_may_be_told_where_to_listen(options: Options) -> None:
    set_options(options, body_size_limit=1000)
    options.update(mode=["regular@127.0.0.1:8081"])  # type: ignore[no-untyped-call]
    check_options(options)
