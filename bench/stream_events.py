"""For mitmdump -s: pass event streams on as they come. Without it stock mitmdump holds an answer back until its end."""

from mitmproxy.http import HTTPFlow


def responseheaders(flow: HTTPFlow) -> None:
    if flow.response is not None and flow.response.headers.get("content-type", "").startswith("text/event-stream"):
        flow.response.stream = True
