"""Our own answers in the error shapes that the providers' SDKs parse.

The SDKs choose the exception by status and show ``message``; ``code`` stands where each of them looks for it:
``APIError.code`` (openai), ``APIStatusError.error_code`` (anthropic), ``details[].metadata.code`` (google).
Checked against openai 3.54, anthropic 2.12 and google-genai 3.4.
"""

import json

from lava_proxy.core.errors import Fault

_OPENAI_TYPES = {
    400: "invalid_request_error",
    401: "invalid_request_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "invalid_request_error",
    407: "invalid_request_error",
    409: "conflict_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
}

_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    407: "authentication_error",
    409: "invalid_request_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}

_GOOGLE_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "RESOURCE_EXHAUSTED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    407: "UNAUTHENTICATED",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


_BEDROCK_TYPES = {
    401: "AccessDeniedException",
    402: "ServiceQuotaExceededException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    407: "AccessDeniedException",
    409: "ConflictException",
    429: "ThrottlingException",
    503: "ServiceUnavailableException",
}


def openai_fault(fault: Fault) -> bytes:
    """``{"error": {message, type, param, code, details}}``; the details stand beside the code, where the SDK's ``body`` shows them."""
    kind = _OPENAI_TYPES.get(fault.status, "server_error" if fault.status >= 500 else "invalid_request_error")
    error = {"message": fault.message, "type": kind, "param": None, "code": fault.code, "details": dict(fault.details)}
    return _json({"error": error})


def anthropic_fault(fault: Fault) -> bytes:
    """``{"type": "error", "error": {type, message, code, details: {error_code, …}}}``."""
    kind = _ANTHROPIC_TYPES.get(fault.status, "api_error" if fault.status >= 500 else "invalid_request_error")
    details = {"error_code": fault.code, **fault.details}
    error = {"type": kind, "message": fault.message, "code": fault.code, "details": details}
    return _json({"type": "error", "error": error})


def google_fault(fault: Fault) -> bytes:
    """``{"error": {code, message, status, details: [google.rpc.ErrorInfo]}}``; metadata values are strings, as there."""
    status = _GOOGLE_STATUSES.get(fault.status, "INTERNAL" if fault.status >= 500 else "FAILED_PRECONDITION")
    metadata = {name: _metadata_text(value) for name, value in fault.details.items() if value is not None}
    information: dict[str, object] = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": fault.code.upper(),
        "domain": "lava-proxy",
        "metadata": {"code": fault.code, **metadata},
    }
    details: list[dict[str, object]] = [information]
    if fault.retry_after_seconds is not None:
        delay = f"{fault.retry_after_seconds}s"
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay})
    return _json({"error": {"code": fault.status, "message": fault.message, "status": status, "details": details}})


def bedrock_fault(fault: Fault) -> bytes:
    """``{"__type", "message"}``, as AWS' SDKs read it, who choose the exception by ``__type``; and ``error`` for people."""
    kind = _BEDROCK_TYPES.get(fault.status, "InternalServerException" if fault.status >= 500 else "ValidationException")
    return _json({"__type": kind, **_plain(fault)})


def plain_fault(fault: Fault) -> bytes:
    """For the many who choose the exception by status and show ``message`` or ``detail``: both, and the whole as ``error``."""
    return _json({"detail": fault.message, **_plain(fault)})


def _plain(fault: Fault) -> dict[str, object]:
    error = {"message": fault.message, "code": fault.code, "details": dict(fault.details)}
    return {"message": fault.message, "code": fault.code, "error": error}


def _metadata_text(value: str | int | bool | None) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _json(value: dict[str, object]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
