"""The receipt of a run: what it came to, on standard error, where it does not mix with the command's own output."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from lava_proxy.cli.output import money
from lava_proxy.core.entities import Mode

if TYPE_CHECKING:
    from lava_proxy.services.runs import Receipt

SETTLE_SECONDS = 10.0
"""How long a receipt waits for calls in flight: they settle within milliseconds of the command's end."""


def await_settled(take: "Callable[[], Receipt]", *, timeout_seconds: float = SETTLE_SECONDS) -> "Receipt":
    """The receipt once nothing is in flight any more, or as it is when the time is up."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        receipt = take()
        if not receipt.pending or time.monotonic() >= deadline:
            return receipt
        time.sleep(0.05)


def receipt_text(receipt: "Receipt", *, mode: Mode, customer: str | None) -> str:
    """Some lines for a person. What is nothing to worry about is left out where it is 0."""
    refusals = ", ".join(f"{code} {count}" for code, count in receipt.refusals)
    facts = [
        ("calls", f"{receipt.requests:,}"),
        ("tokens", _tokens(receipt)),
        ("cost", money(receipt.cost_nanos)),
        ("charge", money(receipt.charge_nanos)),
        ("blocked", f"{receipt.blocked:,}" + (f" ({refusals})" if refusals else "")),
        ("unpriced", f"{receipt.unpriced:,}"),
        *((name, f"{count:,}") for name, count in _worries(receipt) if count),
    ]
    width = max(len(name) for name, _ in facts)
    head = " · ".join(filter(None, ("lava run", receipt.run.run_id, mode.value, customer)))
    return "\n".join([head, *(f"  {name:<{width}}  {value}" for name, value in facts)])


def _tokens(receipt: "Receipt") -> str:
    total = receipt.input_tokens + receipt.output_tokens
    return f"{total:,} ({receipt.input_tokens:,} in, {receipt.output_tokens:,} out)"


def _worries(receipt: "Receipt") -> list[tuple[str, int]]:
    return [("estimated", receipt.estimated), ("errors", receipt.errors), ("in flight", receipt.pending)]
