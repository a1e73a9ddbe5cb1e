"""What the proxy promises must not be undone by an option: sets what it needs, refuses what breaks a promise.

For stock mitmproxy, whose options are the user's; `lava up` has its own (see `engine`).
"""

from collections.abc import Mapping
from typing import Final

from mitmproxy.exceptions import OptionsError
from mitmproxy.options import Options

_TCP_TIMEOUT_SECONDS_MIN: Final = 3600  # for models that think in silence

_NEEDED: Final[Mapping[str, object]] = {
    "connection_strategy": "lazy",  # a refused call opens no connection
    "http2": False,  # twenty calls of an HTTP/2 client to an HTTP/1 provider would go five at a time
    "rawtcp": False,  # nothing in an intercepted connection passes unread
    "validate_inbound_headers": True,
    "websocket": True,
}
_MUST_BE_OFF: Final[Mapping[str, str]] = {
    "allow_hosts": "the provider files say what is intercepted",
    "client_replay": "replayed calls would be booked again",
    "ignore_hosts": "the provider files say what is intercepted",
    "map_local": "it answers calls after they were admitted",
    "map_remote": "it sends calls elsewhere after they were priced",
    "proxyauth": "Lava Proxy reads proxy credentials itself",
    "ssl_insecure": "provider keys would go to whoever answers; trust another authority with ssl_verify_upstream_trusted_ca",
    "store_streamed_bodies": "prompts and answers would stay in memory",
    "stream_large_bodies": "a call that streams before it is admitted cannot be refused",
    "tcp_hosts": "calls to these hosts would pass unread",
}
_FORGES_CERTIFICATES: Final = "emudhra"


def set_options(options: Options, *, body_size_limit: int) -> None:
    """Set what is needed; limits that the user has set stay, where they are no smaller than they may be."""
    options.update(  # type: ignore[no-untyped-call]
        **_NEEDED,
        body_size_limit=options.body_size_limit or str(body_size_limit),
        tcp_timeout=max(options.tcp_timeout, _TCP_TIMEOUT_SECONDS_MIN),
    )


def check_options(options: Options) -> None:
    """Raise where an option breaks a promise.

    Raises:
        OptionsError: with the option and the reason; mitmproxy does not start, or takes the change back.
    """
    names = sorted(options.keys())  # type: ignore[no-untyped-call]
    for name in names:
        value = getattr(options, name)
        if _FORGES_CERTIFICATES in name and value:
            raise _refused(f"Lava Proxy does not run with {name}: it forges the certificates of others.")
        if name in _MUST_BE_OFF and value:
            raise _refused(f"Lava Proxy does not run with {name}: {_MUST_BE_OFF[name]}.")
        if name in _NEEDED and value != _NEEDED[name]:
            raise _refused(f"Lava Proxy needs {name}={_NEEDED[name]}.")
    for mode in options.mode:
        if mode.partition("@")[0] != "regular":
            raise _refused(f"Lava Proxy does not run in mode {mode}: it meters a regular forward proxy.")


def _refused(message: str) -> OptionsError:
    return OptionsError(message)  # type: ignore[no-untyped-call]
