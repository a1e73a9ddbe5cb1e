"""What dead or faulty processes leave is resolved once, and the figures that come late make it right."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from msgspec.structs import replace

from lava_proxy.core.entities import Budget, Grant, Hold, HoldState, RequestRecord
from lava_proxy.core.ids import InstanceId
from lava_proxy.core.ports import Decision
from lava_proxy.core.settlement import Holding, Stamp, orphan
from lava_proxy.services import recovery
from lava_proxy.services.credits import GrantTerms
from lava_proxy.services.customer_fields import CustomerFields
from lava_proxy.services.exchange import Call, Ending
from lava_proxy.services.recovery import LOST_US, Recovery, Swept
from lava_proxy.services.runs import RunTerms
from lava_proxy.wiring import House
from tests.services.conftest import ME, TestClock, Traffic

ONE = 1_000_000_000
OTHER = InstanceId("ins_other")


@pytest.fixture(autouse=True)
def customer(house: House) -> None:
    house.customers.create(CustomerFields(reference_id="acme"), by=ME)
    house.credits.grant(GrantTerms(customer="acme", amount_nanos=ONE), by=ME)


def of_another_process(house: House) -> Recovery:
    """Who sweeps while this process counts as dead."""
    return Recovery(
        ledger=house.ledger,
        clock=house.clock,
        ids=house.ids,
        own=OTHER,
        is_alive=lambda _: False,
        is_open=lambda _: False,
    )


def hold_of(house: House, call: Call) -> Hold:
    return house.holds.get(call.request_id)


def record_of(house: House, call: Call) -> RequestRecord:
    found = house.requests.get(call.request_id).record
    assert found is not None
    return found


def settle(call: Call) -> None:
    usage = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}
    call.begin(200, (("content-type", "application/json"),))
    call.feed(json.dumps({"model": "gpt-4o-mini", "choices": [], "usage": usage}).encode())
    call.close(Ending.COMPLETE).result(5)


def prove(house: House) -> None:
    assert house.verify().findings == ()


def test_two_sweeps_at_once_charge_an_orphan_once(house: House, traffic: Traffic) -> None:
    calls = [traffic.begin("acme") for _ in range(5)]
    with ThreadPoolExecutor(4) as threads:
        swept = list(threads.map(lambda _: of_another_process(house).sweep(), range(4)))
    assert sum(outcome.orphaned for outcome in swept) == 5
    assert {hold_of(house, call).state for call in calls} == {HoldState.ORPHANED}
    prove(house)


def test_a_call_whose_process_was_only_taken_for_dead_is_charged_what_it_came_to(
    house: House, traffic: Traffic
) -> None:
    call = traffic.begin("acme")
    assert of_another_process(house).sweep() == Swept(orphaned=1, expired=0)
    at_hold = record_of(house, call)
    assert at_hold.charge_nanos == at_hold.quote_nanos and "orphaned" in at_hold.flags
    settle(call)
    late = record_of(house, call)
    assert late.charge_nanos == 450_000 and "late" in late.flags
    assert house.credits.balance("acme").available_nanos == ONE - 450_000
    prove(house)


def test_the_caps_of_a_run_follow_an_orphan_and_its_correction(house: House, traffic: Traffic) -> None:
    started = house.runs.start(RunTerms(customer="acme", cost_nanos_max=ONE, charge_nanos_max=ONE), by=ME)
    calls = [traffic.begin("acme", key=started.text) for _ in range(3)]
    quote = hold_of(house, calls[0]).amount_nanos
    of_another_process(house).sweep()
    assert [(b.spent, b.held) for b in house.ledger.books().rows(Budget)] == [(3 * quote, 0)] * 2
    settle(calls[0])
    calls[1].close(Ending.NOT_SENT).result(5)
    assert [(b.spent, b.held) for b in house.ledger.books().rows(Budget)] == [(450_000 + quote, 0)] * 2
    prove(house)


def test_one_hold_that_cannot_be_resolved_does_not_hold_up_the_others(
    house: House, traffic: Traffic, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = [traffic.begin("acme") for _ in range(3)]

    def fail(holding: Holding, stamp: Stamp) -> Decision[RequestRecord | None]:
        if holding.hold.request_id == calls[1].request_id:
            raise AssertionError("a bug")
        return orphan(holding, stamp)

    monkeypatch.setattr(recovery, "orphan", fail)
    assert of_another_process(house).sweep() == Swept(orphaned=2, expired=0)
    states = [hold_of(house, call).state for call in calls]
    assert states == [HoldState.ORPHANED, HoldState.IN_FLIGHT, HoldState.ORPHANED]
    monkeypatch.undo()
    assert of_another_process(house).sweep() == Swept(orphaned=1, expired=0)


def test_a_hold_that_the_line_lost_is_charged_after_a_while_and_one_that_it_has_is_left(
    house: House, traffic: Traffic, clock: TestClock
) -> None:
    kept, lost = traffic.begin("acme"), traffic.begin("acme")
    own = house.recovery(
        InstanceId(traffic.registered.instance.instance_id), lambda request_id: request_id == kept.request_id
    )
    assert own.sweep() == Swept(orphaned=0, expired=0)
    clock.at_us += LOST_US
    assert own.sweep() == Swept(orphaned=1, expired=0)
    assert (hold_of(house, kept).state, hold_of(house, lost).state) == (HoldState.IN_FLIGHT, HoldState.ORPHANED)


def test_credit_that_is_due_lapses_though_a_grant_beside_it_cannot(
    house: House, clock: TestClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        house.credits.grant(GrantTerms(customer="acme", amount_nanos=ONE, expires_us=clock.at_us + 1000), by=ME)
    clock.at_us += 1000
    broken = sorted(g.grant_id for g in house.ledger.books().rows(Grant) if g.expires_us)[1]
    transact = house.ledger.transact

    def fail(load: object, decide: object) -> object:
        def check(state: object) -> Decision[object]:
            if isinstance(state, Grant) and state.grant_id == broken:
                raise AssertionError("a bug")
            return decide(state)  # type: ignore[operator, no-any-return]

        return transact(load, check)  # type: ignore[arg-type]

    monkeypatch.setattr(house.ledger, "transact", fail)
    assert house.credits.expire_due() == 2
    monkeypatch.undo()
    assert house.credits.expire_due() == 1
    prove(house)


def test_a_reserved_hold_gives_its_credit_back_when_its_time_is_over(
    house: House, traffic: Traffic, clock: TestClock
) -> None:
    call = traffic.begin("acme")
    hold = hold_of(house, call)
    reserved = replace(hold, state=HoldState.RESERVED)
    house.ledger.transact(
        lambda rows: rows.get(Hold, hold.hold_id), lambda _: Decision(result=None, rows=(reserved,))
    ).result()
    assert of_another_process(house).sweep() == Swept(orphaned=0, expired=0)
    clock.at_us = hold.expires_us
    assert of_another_process(house).sweep() == Swept(orphaned=0, expired=1)
    assert house.credits.balance("acme").available_nanos == ONE
    settle(call)
    assert record_of(house, call).charge_nanos == 450_000
    prove(house)
