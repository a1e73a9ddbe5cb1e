"""From a reason to an answer: which status, which words, and what to do, in the shape of the provider's own errors."""

from collections.abc import Mapping

from lava_proxy.core.errors import Fault
from lava_proxy.core.identity import Denial
from lava_proxy.core.money import format_amount
from lava_proxy.dialects.base import Dialect
from lava_proxy.services.exchange import Refused

STATUSES: Mapping[str, int] = {
    "insufficient_credits": 402,
    "run_limit_reached": 402,
    "budget_exceeded": 402,
    "request_limit_reached": 402,
    "rate_limited": 429,
    "model_not_allowed": 403,
    "provider_not_allowed": 403,
    "subscription_past_due": 402,
    "subscription_paused": 402,
    "unpriced_model": 403,
    "key_required": 401,
    "invalid_key": 401,
    "key_revoked": 401,
    "key_expired": 401,
    "identity_required": 401,
    "customer_not_found": 403,
    "customer_not_allowed": 403,
    "customer_archived": 403,
    "too_many_new_customers": 429,
    "meter_not_found": 400,
    "meter_archived": 400,
    "meter_not_allowed": 403,
    "meter_without_calls": 400,
    "invalid_metadata": 400,
    "invalid_identity": 400,
    "signed_identity_header": 400,
    "endpoint_blocked": 403,
    "stopping": 503,
    "ledger_unavailable": 503,
    "internal_error": 503,
}
"""Every code that the line answers with. 402 is not retried by the providers' SDKs; 5xx is, with growing pauses."""

_DO: Mapping[str, str] = {
    "run_limit_reached": "Start the run with a higher --max-cost or --max-charge.",
    "budget_exceeded": "Raise the budget with `lava budgets set`, or wait for its next period.",
    "request_limit_reached": "Raise it with `lava budgets set`, or wait for its next period.",
    "model_not_allowed": "Ask for one that is allowed.",
    "provider_not_allowed": "Ask one that is allowed.",
    "meter_without_calls": "Name another meter; `lava usage record` reports to this one.",
    "subscription_past_due": "Pay what is due; calls pass again at once.",
    "subscription_paused": "Resume the subscription.",
    "unpriced_model": "Ask the operator to set a price, or to use a meter with fixed rates.",
    "key_required": "Use http://CUSTOMER:KEY@host:port as the proxy address.",
    "stopping": "Nothing was sent to the provider; try again when it is back.",
    "ledger_unavailable": "Nothing was sent to the provider; try again shortly.",
    "internal_error": "Nothing was sent to the provider; the proxy's log says why.",
}


def fault_of(denial: Denial, *, upgrade_url: str | None) -> Fault:
    """The words for a denial: what happened, the figures, what to do."""
    figures = dict(denial.details)
    message = denial.message
    if denial.code == "insufficient_credits":
        message = f"{message} {_money_sentence(figures)} {_what_to_do(figures, upgrade_url)}"
    elif denial.code in ("run_limit_reached", "budget_exceeded", "request_limit_reached"):
        message = f"{message} {_limit_sentence(figures)} {_DO[denial.code]}"
    elif denial.code in _DO:
        message = f"{message} {_DO[denial.code]}"
    details: dict[str, str | int | bool | None] = {}
    for name, value in figures.items():
        is_amount = name.endswith("_nanos") and isinstance(value, int) and figures.get("measure") != "requests"
        details[name.removesuffix("_nanos")] = format_amount(int(value)) if is_amount else value
    if denial.customer_id:
        details["customer_id"] = denial.customer_id
    if upgrade_url and STATUSES[denial.code] == 402:
        details["upgrade_url"] = upgrade_url
    retry = 60 if denial.code == "too_many_new_customers" else figures.get("retry_after_seconds")
    return Fault(
        status=STATUSES[denial.code],
        code=denial.code,
        message=message,
        details=details,
        retry_after_seconds=None if retry is None else int(retry),
    )


def refused(dialect: Dialect, fault: Fault) -> Refused:
    """``fault`` as an answer. ``x-should-retry`` is understood by the SDKs of OpenAI and Anthropic."""
    body = dialect.error_body(fault)
    headers: list[tuple[str, str]] = [("content-type", "application/json"), ("x-lava-error", fault.code)]
    if fault.status < 500 and fault.status != 429:
        headers.append(("x-should-retry", "false"))
    if fault.status == 503:
        headers.append(("retry-after", "1"))
    if fault.retry_after_seconds is not None:
        headers.append(("retry-after", str(fault.retry_after_seconds)))
    return Refused(code=fault.code, status=fault.status, headers=tuple(headers), body=body)


def _money_sentence(figures: Mapping[str, str | int]) -> str:
    needed, available, held = (int(figures[f"{name}_nanos"]) for name in ("needed", "available", "held"))
    text = f"This call needs up to ${format_amount(needed, decimals=6)}, available are ${format_amount(available, decimals=6)}"
    return f"{text}, and ${format_amount(held, decimals=6)} are held by calls in flight." if held else f"{text}."


def _what_to_do(figures: Mapping[str, str | int], upgrade_url: str | None) -> str:
    if figures.get("reason") == "held_by_calls_in_flight":
        return "Try again when they have ended."
    return f"Add credit: {upgrade_url}" if upgrade_url else "Add credit and try again."


def _limit_sentence(figures: Mapping[str, str | int]) -> str:
    if figures["measure"] == "requests":
        return f"The limit is {figures['limit_nanos']} requests{_until(figures)}."
    needed, limit, spent, held = (int(figures[f"{name}_nanos"]) for name in ("needed", "limit", "spent", "held"))
    shown = [format_amount(nanos, decimals=6) for nanos in (limit, spent, held, needed)]
    return (
        f"The limit is ${shown[0]}{_until(figures)}; ${shown[1]} are spent, ${shown[2]} are held, "
        f"and this call needs up to ${shown[3]}."
    )


def _until(figures: Mapping[str, str | int]) -> str:
    return f" a {figures['period']}, anew at {figures['resets_at']}" if "resets_at" in figures else ""
