"""The ids and the instant of what is written."""

from msgspec import Struct

from lava_proxy.core.ids import EventId, TransactionId


class Stamp(Struct, frozen=True, kw_only=True):
    """The ids and the instant of a resolution."""

    now_us: int
    transaction_id: TransactionId
    event_id: EventId
    actor: str = ""
    note: str = ""
