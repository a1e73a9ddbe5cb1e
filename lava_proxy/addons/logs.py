"""The log of a running proxy: a line an event, with the ids and figures that belong to it; never a key or a body."""

import logging
import sys
import time
from pathlib import Path
from typing import Final

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


class LineFormatter(logging.Formatter):
    """``2026-11-21T20:15:03.120Z INFO lava_proxy.services.metered: request settled charge_nanos=1200 request_id=req_…``"""

    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"
    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        more = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        pairs = " ".join(f"{name}={value}" for name, value in sorted(more.items()))
        first, newline, rest = text.partition("\n")
        return f"{first} {pairs}{newline}{rest}" if pairs else text


def start_logging(level: str, file: Path | None) -> None:
    """Log to ``file``, or to standard error. mitmproxy's own chatter stays out at any level: it has heads of requests."""
    handler: logging.Handler
    if file is None:
        handler = logging.StreamHandler(sys.stderr)
    else:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handler = logging.FileHandler(file, encoding="utf-8")
    handler.setFormatter(LineFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(_LEVELS[level])
    for chatty in ("mitmproxy", "asyncio", "hpack"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
