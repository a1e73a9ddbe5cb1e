"""The shapes of Slack's incoming webhooks and of PagerDuty's Events API v2."""

import json

from lava_proxy.core.destinations import Address
from lava_proxy.delivery.answer import Answer
from lava_proxy.delivery.http import send
from lava_proxy.delivery.message import Message

_JSON = {"content-type": "application/json", "user-agent": "lava-proxy"}
_COLOURS = {"critical": "#d32f2f", "warning": "#f9a825", "info": "#1976d2"}
_RESOLVED_COLOUR = "#388e3c"
_SUMMARY_CHARACTERS_MAX = 1024


def send_slack(address: Address, message: Message, *, now_us: int) -> Answer:
    """See ``courier.Sender``."""
    del now_us
    colour = _RESOLVED_COLOUR if message.state == "resolved" else _COLOURS.get(message.severity, _COLOURS["info"])
    footer = f"rule {message.rule} · {message.resolved_at or message.fired_at}"
    attachment = {"color": colour, "fallback": message.title, "text": _escaped(message.message), "footer": footer}
    document = {"text": _escaped(message.title), "attachments": [attachment]}
    return send("POST", address.url, body=json.dumps(document).encode(), headers=_JSON)


def send_pagerduty(address: Address, message: Message, *, now_us: int) -> Answer:
    """See ``courier.Sender``. An incident is opened by the firing and closed by its resolution, under the alert's id."""
    del now_us
    document: dict[str, object] = {
        "routing_key": address.secret,
        "event_action": "resolve" if message.state == "resolved" else "trigger",
        "dedup_key": message.alert_id,
    }
    if message.state != "resolved":
        document["payload"] = {
            "summary": message.message[:_SUMMARY_CHARACTERS_MAX],
            "source": "lava-proxy",
            "severity": message.severity,
            "timestamp": message.fired_at,
            "component": message.subject,
            "class": message.kind,
            "custom_details": {"rule": message.rule, "value": message.value, "threshold": message.threshold},
        }
    return send("POST", address.url, body=json.dumps(document).encode(), headers=_JSON)


def _escaped(text: str) -> str:
    """A customer's name must not become a link or a mention."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
