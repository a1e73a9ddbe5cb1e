"""What holds and records have in common: the head of the request, and who pays."""

from functools import lru_cache

from lava_proxy.core.entities import Hold, RequestHead, RequestRecord
from lava_proxy.core.ids import Metadata
from lava_proxy.store.table import Cells, Key, Row, from_json, to_json

HEAD_COLUMNS = (
    "provider",
    "dialect",
    "op",
    "method",
    "url",
    "requested_model",
    "provider_key_type",
    "is_stream",
    "metadata",
    "caller_request_id",
)


@lru_cache(maxsize=4096)
def _encode_metadata(metadata: Metadata) -> str:
    return to_json(dict(metadata)) if metadata else "{}"


def _decode_metadata(text: str) -> Metadata:
    return tuple(from_json(text).items()) if text != "{}" else ()


def encode_head(head: RequestHead) -> Row:
    """The cells of ``HEAD_COLUMNS``."""
    return (
        head.provider,
        head.dialect,
        head.op,
        head.method,
        head.url,
        head.model,
        head.provider_key_type,
        1 if head.is_stream else 0,
        _encode_metadata(head.metadata),
        head.caller_request_id,
    )


def decode_head(cells: Cells) -> RequestHead:
    """From those cells."""
    provider, dialect, op, method, url, model, provider_key_type, is_stream, metadata, caller_request_id = cells
    return RequestHead(
        provider=provider,
        dialect=dialect,
        op=op,
        method=method,
        url=url,
        model=model,
        provider_key_type=provider_key_type,
        is_stream=is_stream == 1,
        metadata=_decode_metadata(metadata),
        caller_request_id=caller_request_id,
    )


def payer(row: Hold | RequestRecord) -> tuple[Key, ...]:
    """The customer that a call refers to, where it has one."""
    return ((row.customer_id,),) if row.customer_id is not None else ()
