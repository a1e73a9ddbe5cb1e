"""One HTTP request to a destination: no redirect is followed, no proxy taken from the environment, little of the answer read.

The environment is left aside because it may name this very proxy.
"""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lava_proxy.delivery.answer import Answer, plain

if TYPE_CHECKING:
    import httpx

TIMEOUT_SECONDS = 10.0
"""Of each step; and again for the answer's body as a whole."""
_ANSWER_BYTES_MAX = 2048
_GONE = 410


def send(method: str, url: str, *, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
    """Anything but a 2xx is a refusal; 410 says that the destination is gone for good. Never raises for the network."""
    import httpx  # slow to import, and needed only where there is a destination

    try:
        with (
            httpx.Client(trust_env=False, timeout=TIMEOUT_SECONDS, follow_redirects=False) as client,
            client.stream(method, url, content=body, headers=dict(headers or {})) as response,
        ):
            text = _read(response)
            answer = plain(f"{response.status_code} {response.reason_phrase} {text}")
            return Answer(is_ok=response.is_success, text=answer, is_final=response.status_code == _GONE)
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        return Answer(is_ok=False, text=plain(f"{type(error).__name__}: {error}"))


def _read(response: "httpx.Response") -> str:
    content, until = b"", time.monotonic() + TIMEOUT_SECONDS
    for chunk in response.iter_raw():
        content += chunk
        if len(content) >= _ANSWER_BYTES_MAX or time.monotonic() > until:
            break
    return content[:_ANSWER_BYTES_MAX].decode(errors="replace")
