"""The spool: what it must not lose, must not book twice, and must not book on somebody else."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lava_proxy.core.entities import (
    Budget,
    BudgetMeasure,
    Hold,
    HoldState,
    HomeFact,
    Key,
    KeyScope,
    Mode,
    RequestRecord,
    Run,
)
from lava_proxy.core.errors import LedgerInconsistent, LedgerUnavailable
from lava_proxy.core.ids import BudgetId, InstanceId, KeyId, RunId
from lava_proxy.core.keys import new_key
from lava_proxy.core.money import parse_amount
from lava_proxy.prices import PriceBook
from lava_proxy.providers import load_providers
from lava_proxy.services.exchange import Ending, Forward
from lava_proxy.services.spool import Booked, SpoolBooking
from tests.services.test_calls import ACME, ANSWER, Desk


@pytest.fixture
def desk(tmp_path: Path, price_book: PriceBook) -> Desk:
    """Its ledger cannot be written, and it fails open."""
    return failing(Desk(tmp_path, load_providers(), price_book, fail_open=True))


@pytest.fixture
def strict(tmp_path: Path, price_book: PriceBook) -> Desk:
    """The same where every caller must show a key."""
    return failing(Desk(tmp_path, load_providers(), price_book, fail_open=True, require_key="always"))


def failing(desk: Desk) -> Desk:
    desk.ledger.fails = True
    return desk


def key_of(desk: Desk, scope: KeyScope, *, run_id: RunId | None = None, **more: object) -> tuple[Key, str]:
    key, text = new_key(
        key_id=KeyId(f"key_{7:026d}"),
        scope=scope,
        mode=Mode.TEST,
        random_bytes=b"7" * 32,
        name="",
        created_us=0,
        run_id=run_id,
        **more,  # type: ignore[arg-type]
    )
    desk.ledger.fails = False
    desk.put(key)
    desk.ledger.fails = True
    return key, text


def end(forward: Forward) -> None:
    assert forward.call is not None
    forward.call.begin(200, (("content-type", "application/json"),))
    forward.call.feed(json.dumps(ANSWER).encode())
    forward.call.close(Ending.COMPLETE).result(5)


def booking(desk: Desk, *, own: bool = True, is_alive: Callable[[InstanceId], bool] = lambda _: False) -> SpoolBooking:
    return SpoolBooking(
        folder=desk.folder / "spool",
        ledger=desk.ledger,  # type: ignore[arg-type]
        clock=desk.clock,
        ids=desk.ids,
        own=desk.spool if own else None,
        is_alive=is_alive,
    )


def book(desk: Desk) -> Booked:
    desk.ledger.fails = False
    return booking(desk).book_all()


def files(desk: Desk) -> list[str]:
    return sorted(path.name for path in (desk.folder / "spool").iterdir())


class FullDisk:
    """Takes the first bytes of a write and then has no room, for as long as it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_full = False
        self._write = os.write
        monkeypatch.setattr(os, "write", self.write)

    def write(self, descriptor: int, text: bytes) -> int:
        if not self.is_full:
            return self._write(descriptor, text)
        if len(text) > 20:
            return self._write(descriptor, text[:20])
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_call_that_could_not_be_noted_does_not_keep_the_others_from_being_booked(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FullDisk(monkeypatch)
    end(desk.admitted())
    disk.is_full = True
    assert desk.refused()["code"] == "ledger_unavailable"
    disk.is_full = False
    assert book(desk) == Booked(calls=1, files=1) and files(desk) == []


def test_half_a_line_does_not_spoil_the_next_one(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = FullDisk(monkeypatch)
    disk.is_full = True
    assert desk.refused()["code"] == "ledger_unavailable"
    disk.is_full = False
    forward = desk.admitted()
    end(forward)
    assert book(desk).calls == 1 and desk.record(forward).charge_nanos == 450_000


def test_a_call_whose_end_could_not_be_noted_is_booked_at_its_quote(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FullDisk(monkeypatch)
    forward = desk.admitted()
    disk.is_full = True
    end(forward)
    disk.is_full = False
    assert book(desk).calls == 1
    record = desk.record(forward)
    assert record.charge_nanos > 0 and {"fail_open", "estimated"} <= set(record.flags)


def test_a_second_file_never_takes_the_place_of_one_that_is_not_booked_yet(desk: Desk) -> None:
    assert desk.spool is not None
    forwards = []
    for _ in range(2):
        forwards.append(desk.admitted())
        end(forwards[-1])
        desk.spool.put_aside()
    (desk.folder / "spool" / "ins_1.1.jsonl").unlink()  # booked; then the ledger failed again
    forwards.append(desk.admitted())
    end(forwards[-1])
    desk.spool.put_aside()
    assert book(desk).calls == 2
    assert desk.record(forwards[1]).charge_nanos == desk.record(forwards[2]).charge_nanos == 450_000


def test_a_call_that_cannot_be_booked_is_kept_aside_and_holds_up_no_other(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = desk.admitted(), desk.admitted()
    end(bad)
    end(good)
    assert bad.call is not None
    book_call = SpoolBooking._book_call

    def fail(self: SpoolBooking, call: object, measured: object) -> None:
        if call.hold.request_id == bad.call.request_id:  # type: ignore[attr-defined, union-attr]
            raise LedgerInconsistent("a bug")
        book_call(self, call, measured)  # type: ignore[arg-type]

    monkeypatch.setattr(SpoolBooking, "_book_call", fail)
    assert book(desk).calls == 1 and desk.record(good).charge_nanos == 450_000
    assert files(desk) == ["ins_1.1.jsonl.unbooked"]
    assert book(desk) == Booked(calls=0, files=0)


def test_a_line_that_cannot_be_read_is_kept_aside(desk: Desk) -> None:
    end(desk.admitted())
    assert desk.spool is not None
    with open(desk.spool.path, "a") as file:
        file.write("{}\n")
    assert book(desk).calls == 1 and files(desk) == ["ins_1.1.jsonl.unbooked"]


def test_a_torn_last_line_is_no_trouble_for_its_call_never_left(desk: Desk) -> None:
    end(desk.admitted())
    assert desk.spool is not None
    with open(desk.spool.path, "a") as file:
        file.write('{"kind": "sen')
    assert book(desk).calls == 1 and files(desk) == []


def test_a_file_that_another_process_has_just_booked_is_no_trouble(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    end(desk.admitted())
    assert desk.spool is not None
    desk.spool.put_aside()
    desk.ledger.fails = False
    other = booking(desk, own=False)
    unlink = Path.unlink

    def unlink_late(path: Path, *, missing_ok: bool = False) -> None:
        monkeypatch.setattr(Path, "unlink", unlink)
        assert other.book_all().calls == 1
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink_late)
    assert booking(desk).book_all().calls == 1
    assert len(desk.ledger.tables[RequestRecord]) == 1 and desk.free() == parse_amount("1") - 450_000


def test_the_ledger_that_fails_while_booking_leaves_the_file_for_the_next_time(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = desk.admitted()
    end(forward)
    with pytest.raises(LedgerUnavailable):
        booking(desk).book_all()
    assert files(desk) == ["ins_1.1.jsonl"] and book(desk).calls == 1
    assert desk.record(forward).charge_nanos == 450_000


def test_a_key_that_is_none_of_ours_cannot_book_its_call_on_a_customer(desk: Desk) -> None:
    _, text = new_key(
        key_id=KeyId(f"key_{9:026d}"),
        scope=KeyScope.MERCHANT,
        mode=Mode.TEST,
        random_bytes=b"9" * 32,
        name="",
        created_us=0,
    )
    forward = desk.admitted(user="acme", secret=text)
    end(forward)
    book(desk)
    record = desk.record(forward)
    assert (record.customer_id, record.charge_nanos, record.cost_nanos) == (None, 0, 450_000)


def test_a_key_that_was_revoked_before_the_call_does_not_book_on_its_owner(desk: Desk) -> None:
    _, text = key_of(desk, KeyScope.CUSTOMER, customer_id=ACME, expires_us=1)
    forward = desk.admitted(user="", secret=text)
    end(forward)
    book(desk)
    assert desk.record(forward).customer_id is None


@pytest.mark.parametrize(("secret", "code"), [("", "key_required"), ("wrong", "invalid_key")])
def test_failing_open_still_asks_for_a_key_where_one_is_needed(strict: Desk, secret: str, code: str) -> None:
    assert strict.refused(user="acme", secret=secret)["code"] == code
    assert not strict.spool or not strict.spool.path.exists()


def test_what_passed_unheld_counts_against_the_caps_of_its_run(desk: Desk) -> None:
    run_id, limit = RunId("run_1"), parse_amount("0.000500")
    budget = Budget(
        budget_id=BudgetId("bud_1"), subject=f"run:{run_id}", measure=BudgetMeasure.COST, limit=limit, created_us=0
    )
    _, text = key_of(desk, KeyScope.RUN, run_id=run_id)
    desk.ledger.fails = False
    desk.put(Run(run_id=run_id, created_us=0), budget)
    desk.ledger.fails = True
    forward = desk.admitted(user="-", secret=text)
    end(forward)
    book(desk)
    kept = desk.ledger.get(Budget, "bud_1")
    assert desk.record(forward).run_id == run_id and kept and (kept.spent, kept.held) == (450_000, 0)
    assert desk.refused(user="-", secret=text)["code"] == "run_limit_reached"
    assert [h.state for h in desk.ledger.tables[Hold].values() if isinstance(h, Hold)] == [HoldState.SETTLED]


def test_what_passed_unheld_counts_against_a_budget_for_each_customer(desk: Desk) -> None:
    each = Budget(
        budget_id=BudgetId("bud_each"), subject="customer:*", measure=BudgetMeasure.REQUESTS, limit=1, created_us=0
    )
    desk.ledger.fails = False
    desk.put(each, HomeFact(name="budget_subjects", value="customer*"))
    desk.ledger.fails = True
    forward = desk.admitted(user="acme")
    end(forward)
    book(desk)
    kept = desk.ledger.get(Budget, f"bud_each~{ACME}")
    assert kept and (kept.template_id, kept.spent, kept.held) == ("bud_each", 1, 0)
    assert desk.refused(user="acme")["code"] == "request_limit_reached"
