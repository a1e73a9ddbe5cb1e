"""A stored usage object, read alone, gives what the whole recorded answer gave. The recordings are not in the project."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from lava_proxy.core.entities import RequestHead, RequestRecord, RequestStatus
from lava_proxy.core.ids import HoldId, MeterId, RequestId
from lava_proxy.dialects import DIALECTS
from lava_proxy.services.price_again import REREAD, read_usage_objects
from tests.dialects.recorded import all_rows

pytestmark = [pytest.mark.recorded, pytest.mark.slow]

DIFFERENT_MAX = 1
"""One answer of a chat says elsewhere than in its usage object how its total comes about."""
RECORD = RequestRecord(
    request_id=RequestId("req_1"),
    hold_id=HoldId("hld_1"),
    customer_id=None,
    key_id=None,
    run_id=None,
    meter_id=MeterId("prd_1"),
    meter_version=1,
    meter_rule="at_cost",
    request=RequestHead(provider="p", dialect="d", op="chat", method="POST", url="https://a.example/"),
    model=None,
    status=RequestStatus.COMPLETED,
    created_us=1,
    settled_us=1,
)


def test_usage_objects_read_alone_give_what_their_answers_gave(shared: Path) -> None:
    looked_at, different = 0, []
    for row in all_rows(shared):
        reading = row.reading() if row.dialect in REREAD else None
        if reading is None or not reading.raw_usage or reading.usage.is_empty():
            continue
        head = replace(RECORD.request, dialect=row.dialect, op=row.op)
        record = replace(RECORD, request=head, usage=reading.usage, raw_usage=reading.raw_usage)
        again = read_usage_objects(DIALECTS[row.dialect], record)
        looked_at += 1
        if again is None or (again.usage, again.billed) != (reading.usage, reading.billed):
            different.append(row.id)
    assert looked_at > 4_000
    assert len(different) <= DIFFERENT_MAX, different
