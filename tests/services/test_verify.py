"""The books that the services keep are proved by the house. What a change by hand is told as: ``tests/core/test_verify.py``."""

from msgspec.structs import replace

from lava_proxy.core.entities import Hold, HoldState
from lava_proxy.core.ports import Decision, Rows
from lava_proxy.services.credits import GrantTerms
from lava_proxy.services.customer_fields import CustomerFields
from lava_proxy.services.recovery import Recovery
from lava_proxy.services.runs import RunTerms
from lava_proxy.wiring import House
from tests.services.conftest import ME, TestClock, Traffic

DOLLAR = 10**9


def fill(house: House) -> Traffic:
    """Books with everything in them: charges, a void, debt, an orphan, a run's budgets, a call in flight."""
    traffic = Traffic(house)
    house.customers.create(CustomerFields(reference_id="acme"), by=ME)
    house.customers.create(CustomerFields(reference_id="poor"), by=ME)
    house.credits.grant(GrantTerms(customer="acme", amount_nanos=10 * DOLLAR), by=ME)
    house.credits.grant(GrantTerms(customer="poor", amount_nanos=DOLLAR // 1000), by=ME)
    run = house.runs.start(RunTerms(customer="acme", cost_nanos_max=DOLLAR, charge_nanos_max=DOLLAR), by=ME)
    traffic.call("acme")
    traffic.call("acme", key=run.text)
    traffic.end(traffic.begin("acme", key=run.text), status=500)
    traffic.end(traffic.begin("poor"), input_tokens=10_000_000)
    traffic.begin("acme", key=run.text)
    Recovery(
        ledger=house.ledger,
        clock=house.clock,
        ids=house.ids,
        own=None,
        is_alive=lambda _: False,
        is_open=lambda _: False,
    ).sweep()
    traffic.begin("acme", key=run.text)
    house.credits.grant(GrantTerms(customer="poor", amount_nanos=2 * DOLLAR), by=ME)
    return traffic


def test_books_with_everything_in_them_add_up(house: House) -> None:
    fill(house)
    seen: list[tuple[int, int]] = []
    report = house.verify(lambda done, total: seen.append((done, total)))
    assert report.findings == report.warnings == ()
    assert (report.requests, report.grants, report.holds, report.open_holds) == (5, 3, 6, 1)
    assert seen[-1] == (report.transactions, report.transactions) == (house.requests.last_sequence(),) * 2


def test_an_empty_ledger_adds_up(house: House) -> None:
    assert house.verify().is_sound


def test_open_holds_without_a_proxy_are_told_and_no_fault(house: House) -> None:
    traffic = fill(house)
    house.instances.end(traffic.registered)
    report = house.verify()
    assert report.is_sound
    (warning,) = report.warnings
    assert warning.message == "1 holds are open and no proxy runs; the next `lava up` resolves them"


def test_a_reserved_hold_long_past_its_time_is_a_fault_only_while_a_proxy_runs(house: House, clock: TestClock) -> None:
    traffic = fill(house)

    def reserve(rows: Rows) -> Hold:
        (hold,) = rows.find(Hold, state=HoldState.IN_FLIGHT)
        return replace(hold, state=HoldState.RESERVED)

    hold = house.ledger.transact(reserve, lambda hold: Decision(result=hold, rows=(hold,))).result(30)
    assert house.verify().is_sound
    clock.at_us = hold.expires_us + 601 * 1_000_000
    (finding,) = house.verify().findings
    assert (finding.invariant, finding.subject) == ("I10", hold.request_id)
    house.instances.end(traffic.registered)
    assert house.verify().is_sound
