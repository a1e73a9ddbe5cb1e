"""The outbox: every event reaches every consumer at least once, and never two workers at the same time."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from msgspec.structs import replace

from lava_proxy.core.entities import DeliveryState, HomeFact
from lava_proxy.core.errors import NotFound, Refused
from lava_proxy.core.ids import EventId
from lava_proxy.store.ledger import WritingLedger
from lava_proxy.store.outbox import PASSED_BY_MAX
from tests.store.samples import event, write


def claimed(
    ledger: WritingLedger, consumer: str = "hook", *, now_us: int = 0, lease_us: int = 10, limit: int = 100
) -> str:
    found = ledger.outbox().claim(consumer, now_us=now_us, lease_us=lease_us, limit=limit)
    return "".join(e.key for e in found)


def named(key: str) -> EventId:
    return event(key).event_id


def states(ledger: WritingLedger, consumer: str = "hook") -> dict[str, tuple[str, int]]:
    found = ledger.outbox().deliveries(consumer=consumer)
    return {e.key: (delivery.state.value, delivery.attempts) for e, delivery in found}


def test_events_are_claimed_oldest_first_and_once(ledger: WritingLedger) -> None:
    write(ledger, *map(event, "abc"))
    assert claimed(ledger, limit=2) == "ab"
    assert claimed(ledger) == "c"
    assert claimed(ledger) == ""
    write(ledger, event("d"))
    assert claimed(ledger) == "d"


def test_a_consumer_that_is_added_later_gets_all_there_is(ledger: WritingLedger) -> None:
    write(ledger, *map(event, "abc"))
    assert claimed(ledger) == "abc"
    assert claimed(ledger, "late") == "abc"


def test_a_consumer_of_some_kinds_is_not_handed_the_others(ledger: WritingLedger) -> None:
    write(ledger, *map(event, "abc"), replace(event("d"), kind="rare"), event("e"))

    (found,) = ledger.outbox().claim("some", now_us=0, lease_us=10, limit=10, kinds=("rare",))
    assert found.key == "d"
    assert states(ledger, "some") == {"d": ("pending", 0)}
    assert ledger.outbox().claim("some", now_us=0, lease_us=10, limit=10, kinds=("rare",)) == ()
    write(ledger, event("f"), replace(event("g"), kind="rare"), replace(event("h"), kind="rare"))
    assert [e.key for e in ledger.outbox().claim("some", now_us=0, lease_us=10, limit=1, kinds=("rare",))] == ["g"]
    assert [e.key for e in ledger.outbox().claim("some", now_us=0, lease_us=10, limit=1, kinds=("rare",))] == ["h"]


def test_a_cursor_moves_on_when_many_events_of_other_kinds_have_passed_by(ledger: WritingLedger) -> None:
    write(ledger, *(event(f"n{number}") for number in range(PASSED_BY_MAX)))

    assert ledger.outbox().claim("some", now_us=0, lease_us=10, limit=10, kinds=("rare",)) == ()
    cursor = ledger.read(lambda rows: rows.get(HomeFact, "outbox_cursor:some"))
    assert cursor is not None and int(cursor.value) == ledger.outbox().last_sequence()
    write(ledger, replace(event("late"), kind="rare"))
    assert [e.key for e in ledger.outbox().claim("some", now_us=0, lease_us=9, limit=9, kinds=("rare",))] == ["late"]


def test_who_only_looks_leases_nothing(ledger: WritingLedger) -> None:
    assert ledger.outbox().last_sequence() == 0
    write(ledger, *map(event, "abc"), replace(event("d"), kind="rare"))
    first = ledger.outbox().after(0, limit=2)
    assert [e.key for e in first] == ["a", "b"]
    assert [e.key for e in ledger.outbox().after(first[-1].sequence, limit=9)] == ["c", "d"]
    assert [e.key for e in ledger.outbox().after(0, kinds=("rare",), limit=9)] == ["d"]
    assert claimed(ledger) == "abcd"


def test_a_lease_that_runs_out_gives_the_event_to_the_next_who_asks(ledger: WritingLedger) -> None:
    write(ledger, *map(event, "ab"))
    assert claimed(ledger, now_us=0, lease_us=10) == "ab"
    assert claimed(ledger, now_us=9) == ""
    ledger.outbox().done("hook", named("a"))
    assert claimed(ledger, now_us=10) == "b"


def test_what_failed_comes_again_when_its_time_has_come_before_what_is_new(ledger: WritingLedger) -> None:
    write(ledger, *map(event, "ab"))
    claimed(ledger)
    ledger.outbox().failed("hook", named("a"), error="503", retry_at_us=50)
    ledger.outbox().done("hook", named("b"))
    write(ledger, event("c"))
    assert claimed(ledger, now_us=49, limit=1) == "c"
    write(ledger, event("d"))
    assert claimed(ledger, now_us=50, limit=1) == "a"
    assert claimed(ledger, now_us=50) == "d"
    assert states(ledger) == {"a": ("pending", 1), "b": ("delivered", 1), "c": ("pending", 0), "d": ("pending", 0)}


def test_what_failed_for_good_is_dead_until_somebody_retries_it(ledger: WritingLedger) -> None:
    write(ledger, event("a"))
    claimed(ledger)
    ledger.outbox().failed("hook", named("a"), error="410 gone", retry_at_us=None)
    assert claimed(ledger, now_us=10**9) == ""
    (found,) = ledger.outbox().deliveries(state="dead")
    assert (found[1].state, found[1].last_error) == (DeliveryState.DEAD, "410 gone")
    ledger.outbox().retry("hook", named("a"), now_us=20)
    assert claimed(ledger, now_us=20) == "a"


def test_a_waiting_delivery_can_be_made_due_now(ledger: WritingLedger) -> None:
    write(ledger, event("a"))
    claimed(ledger)
    ledger.outbox().failed("hook", named("a"), error="x", retry_at_us=10**9)
    ledger.outbox().retry("hook", named("a"), now_us=20)
    assert claimed(ledger, now_us=20) == "a"


def test_what_was_delivered_stays_delivered(ledger: WritingLedger) -> None:
    write(ledger, event("a"))
    claimed(ledger)
    ledger.outbox().done("hook", named("a"))
    ledger.outbox().done("hook", named("a"))
    ledger.outbox().failed("hook", named("a"), error="late", retry_at_us=0)
    assert states(ledger) == {"a": ("delivered", 1)}
    with pytest.raises(Refused):
        ledger.outbox().retry("hook", named("a"), now_us=0)


def test_what_a_consumer_never_claimed_it_cannot_answer_for(ledger: WritingLedger) -> None:
    write(ledger, event("a"))
    with pytest.raises(NotFound):
        ledger.outbox().done("hook", named("a"))
    with pytest.raises(NotFound):
        ledger.outbox().failed("hook", named("a"), error="", retry_at_us=0)
    with pytest.raises(NotFound):
        ledger.outbox().retry("hook", named("a"), now_us=0)


def test_workers_that_claim_at_once_never_get_the_same_event(ledger: WritingLedger) -> None:
    write(ledger, *(event(f"{n:03d}") for n in range(120)))

    def work(_: int) -> list[str]:
        mine: list[str] = []
        for _ in range(60):
            found = ledger.outbox().claim("hook", now_us=0, lease_us=10, limit=7)
            mine += [e.key for e in found]
        return mine

    with ThreadPoolExecutor(4) as workers:
        keys = [key for mine in workers.map(work, range(4)) for key in mine]
    assert sorted(keys) == [f"{n:03d}" for n in range(120)]
