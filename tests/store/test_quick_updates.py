"""Rows that change in the usual way are written by fewer columns; in any other way, by all that differ."""

import pytest
from msgspec.structs import replace

from lava_proxy.core.entities import Entity, Grant, GrantStatus, HoldState
from lava_proxy.store.ledger import WritingLedger
from lava_proxy.store.tables import TABLES
from tests.store.samples import FOUNDATION, grant, hold, write

HELD = hold("quick", state=HoldState.IN_FLIGHT)
SETTLED = replace(HELD, state=HoldState.SETTLED, resolved_us=HELD.created_us + 5)
GIVEN = grant("quick")


def moved(row: Grant, amount: int) -> Grant:
    return replace(row, free_nanos=row.free_nanos - amount, held_nanos=row.held_nanos + amount)


CHANGES: dict[str, tuple[Entity, Entity, bool]] = {
    "a hold is settled": (HELD, SETTLED, True),
    "a hold is settled and says more": (HELD, replace(SETTLED, quote='{"more":1}'), False),
    "a hold lives longer": (HELD, replace(HELD, expires_us=HELD.expires_us + 7), False),
    "credit is held": (GIVEN, moved(GIVEN, 3), True),
    "all credit is spent": (GIVEN, replace(GIVEN, free_nanos=0, spent_nanos=GIVEN.free_nanos), False),
    "credit is held and a note changes": (GIVEN, replace(moved(GIVEN, 3), note="other"), False),
    "a grant is voided": (
        GIVEN,
        replace(GIVEN, free_nanos=0, lapsed_nanos=GIVEN.free_nanos, status=GrantStatus.VOIDED),
        False,
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_every_change_of_a_row_is_written_whole(ledger: WritingLedger, what: str) -> None:
    old, new, is_usual = CHANGES[what]
    table = TABLES[type(old)]
    write(ledger, *FOUNDATION, old)
    write(ledger, new)

    assert tuple(row for row in ledger.books().rows(type(new)) if table.key_of(row) == table.key_of(new)) == (new,)
    assert table.quick is not None
    assert (table.quick(new, old) is not None) == is_usual
