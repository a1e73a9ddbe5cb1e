"""A plain webhook: the alert as JSON, signed.

``X-Lava-Signature`` is ``v1=`` and the hex HMAC-SHA256, under the destination's secret, of the timestamp, a dot, and the
body as it was sent. A receiver checks it in constant time, refuses timestamps that are minutes old, and remembers the event
id: the same event may come twice.
"""

import hashlib
import hmac
import json

import msgspec

from lava_proxy.core.destinations import Address
from lava_proxy.delivery.answer import Answer
from lava_proxy.delivery.http import send
from lava_proxy.delivery.message import Message


def sign(secret: str, timestamp: int, body: bytes) -> str:
    """The value of ``X-Lava-Signature``."""
    signed = hmac.new(secret.encode(), str(timestamp).encode() + b"." + body, hashlib.sha256)
    return f"v1={signed.hexdigest()}"


def send_webhook(address: Address, message: Message, *, now_us: int) -> Answer:
    """See ``courier.Sender``."""
    timestamp = now_us // 1_000_000
    alert = {name: value for name, value in msgspec.to_builtins(message).items() if name != "event_id"}
    document = {"event_id": message.event_id, "event": f"alert.{message.state}", "alert": alert}
    body = json.dumps(document, separators=(",", ":")).encode()
    headers = {
        "content-type": "application/json",
        "user-agent": "lava-proxy",
        "x-lava-event-id": message.event_id,
        "x-lava-timestamp": str(timestamp),
        "x-lava-signature": sign(address.secret, timestamp, body),
    }
    return send("POST", address.url, body=body, headers=headers)
