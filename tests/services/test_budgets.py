"""Budgets over whole calls: what is refused, reserved, counted, given back, and when it begins anew."""

from pathlib import Path

import pytest

from lava_proxy.core.budget_text import metadata_subject
from lava_proxy.core.entities import Budget, BudgetMeasure, HomeFact, Mode
from lava_proxy.core.errors import InvalidInput, NotFound
from lava_proxy.core.money import parse_amount
from lava_proxy.services.budgets import BudgetTerms
from lava_proxy.services.credits import GrantTerms
from lava_proxy.services.customer_fields import CustomerFields
from lava_proxy.services.exchange import Ending, Forward, Refused
from lava_proxy.services.keys import KeyTerms
from lava_proxy.settings import Home, Settings
from lava_proxy.wiring import House
from tests.services.conftest import DAY_US, ME, CountedIds, TestClock, Traffic

CHARGE = parse_amount("0.00045")
"""Of a call at cost: 1,000 tokens in, 500 out. It is quoted at 0.00061005: 67 in, 1,000 out."""


@pytest.fixture(autouse=True)
def acme(house: House) -> None:
    for name in ("acme", "bolt"):
        house.customers.create(CustomerFields(reference_id=name), by=ME)
        house.credits.grant(GrantTerms(customer=name, amount_nanos=parse_amount("5")), by=ME)


def cap(house: House, measure: BudgetMeasure, limit: str | int, **subject: str) -> Budget:
    amount = parse_amount(limit) if isinstance(limit, str) else limit
    whom = subject or {"customer": "acme"}
    terms = BudgetTerms(measure=measure, limit=amount, **whom)  # type: ignore[arg-type] # subjects only
    return house.budgets.set(terms, by=ME).value


def code(traffic: Traffic, customer: str | None = "acme", **more: object) -> str:
    """How a call that is asked for, and then ends, was answered."""
    answer = traffic.ask(customer, **more)  # type: ignore[arg-type] # what the test passes on
    if isinstance(answer, Refused):
        return answer.code
    assert answer.call is not None
    traffic.end(answer.call)
    return "ok"


def assert_sound(house: House) -> None:
    assert house.verify().findings == ()


def test_a_budget_on_charges_is_reserved_at_the_hold_and_counted_at_the_charge(house: House, traffic: Traffic) -> None:
    budget = cap(house, BudgetMeasure.CHARGE, "0.0016")
    first, second = traffic.begin("acme"), traffic.begin("acme")
    assert code(traffic) == "budget_exceeded"
    held = house.budgets.get(budget.budget_id)
    assert held.held > 2 * CHARGE and held.spent == 0
    traffic.end(first)
    second.close(Ending.NOT_SENT).result()
    counted = house.budgets.get(budget.budget_id)
    assert (counted.held, counted.spent) == (0, CHARGE)
    assert [code(traffic) for _ in range(3)] == ["ok", "ok", "budget_exceeded"]
    assert [code(traffic, "bolt") for _ in range(4)] == ["ok"] * 4
    assert_sound(house)


def test_a_refusal_tells_which_budget_what_is_spent_and_when_it_begins_anew(house: House, traffic: Traffic) -> None:
    budget = cap(house, BudgetMeasure.CHARGE, "0.0001", customer="acme")
    house.budgets.set(BudgetTerms(measure=BudgetMeasure.CHARGE, limit=1, period="week", customer="bolt"), by=ME)
    answer = traffic.ask("acme")
    assert isinstance(answer, Refused) and answer.status == 402
    assert budget.budget_id.encode() in answer.body and b"0.0001000000" in answer.body
    weekly = traffic.ask("bolt")
    assert isinstance(weekly, Refused) and b"2026-09-28T00:00:00" in weekly.body
    assert ("x-should-retry", "false") in weekly.headers


def test_a_weekly_budget_begins_anew_on_monday_and_what_ends_then_counts_in_neither_week(
    house: House, traffic: Traffic, clock: TestClock
) -> None:
    """A budget of two requests a week, from Monday 21 September 2026."""
    terms = BudgetTerms(measure=BudgetMeasure.REQUESTS, limit=2, period="week", customer="acme")
    budget_id = house.budgets.set(terms, by=ME).value.budget_id

    def state() -> tuple[int, int]:
        budget = house.budgets.get(budget_id)
        return budget.spent, budget.held

    assert code(traffic) == "ok" and state() == (1, 0)
    over_sunday = traffic.begin("acme")
    assert code(traffic) == "request_limit_reached" and state() == (1, 1)
    clock.at_us += 7 * DAY_US
    assert state() == (0, 0)
    assert code(traffic) == "ok" and state() == (1, 0)
    traffic.end(over_sunday)
    assert state() == (1, 0)
    assert [code(traffic), code(traffic)] == ["ok", "request_limit_reached"]
    assert_sound(house)
    clock.at_us -= 7 * DAY_US
    assert code(traffic) == "request_limit_reached"
    assert_sound(house)


@pytest.mark.parametrize(("period", "days"), [("day", 1), ("month", 31)])
def test_days_and_months_begin_anew_too(
    house: House, traffic: Traffic, clock: TestClock, period: str, days: int
) -> None:
    house.budgets.set(BudgetTerms(measure=BudgetMeasure.REQUESTS, limit=1, period=period, customer="acme"), by=ME)
    for _ in range(3):
        assert [code(traffic), code(traffic)] == ["ok", "request_limit_reached"]
        clock.at_us += days * DAY_US


def test_a_rate_lets_a_burst_through_and_then_one_after_the_other(
    house: House, traffic: Traffic, clock: TestClock
) -> None:
    house.budgets.set(BudgetTerms(measure=BudgetMeasure.RATE, limit=30, burst=3, customer="acme"), by=ME)
    assert [code(traffic) for _ in range(4)] == ["ok", "ok", "ok", "rate_limited"]
    answer = traffic.ask("acme")
    assert isinstance(answer, Refused) and answer.status == 429
    assert dict(answer.headers)["retry-after"] == "2"
    assert "x-should-retry" not in dict(answer.headers)
    clock.at_us += 2_000_000
    assert [code(traffic), code(traffic)] == ["ok", "rate_limited"]
    clock.at_us += 60_000_000
    assert [code(traffic) for _ in range(4)] == ["ok", "ok", "ok", "rate_limited"]
    clock.at_us -= 3600 * 1_000_000
    assert [code(traffic), code(traffic)] == ["ok", "rate_limited"]
    assert_sound(house)


def test_a_call_that_something_else_refuses_takes_nothing_from_a_rate_or_a_budget(
    house: House, traffic: Traffic
) -> None:
    house.budgets.set(BudgetTerms(measure=BudgetMeasure.RATE, limit=1, burst=1, customer="acme"), by=ME)
    one = cap(house, BudgetMeasure.REQUESTS, 1)
    house.budgets.set(BudgetTerms(measure=BudgetMeasure.MODELS, allowed=("gpt-4o",), customer="acme"), by=ME)
    assert [code(traffic), code(traffic)] == ["model_not_allowed", "model_not_allowed"]
    assert code(traffic, model="gpt-4o") == "ok"
    assert house.budgets.get(one.budget_id).spent == 1


def test_models_and_providers_are_allowed_by_pattern(house: House, traffic: Traffic) -> None:
    house.budgets.set(BudgetTerms(measure=BudgetMeasure.MODELS, allowed=("gpt-4o-*", "o3"), customer="acme"), by=ME)
    assert [code(traffic, model=m) for m in ("gpt-4o-mini", "gpt-4o", "o3")] == ["ok", "model_not_allowed", "ok"]
    answer = traffic.ask("acme", model="gpt-4o")
    assert isinstance(answer, Refused) and answer.status == 403 and b"gpt-4o-*, o3" in answer.body
    house.budgets.set(BudgetTerms(measure=BudgetMeasure.PROVIDERS, allowed=("anthropic",), customer="bolt"), by=ME)
    assert code(traffic, "bolt") == "provider_not_allowed"


def test_a_budget_for_each_customer_counts_each_alone_and_an_own_one_takes_its_place(
    house: House, traffic: Traffic
) -> None:
    each = cap(house, BudgetMeasure.REQUESTS, 1, customer="*")
    assert [code(traffic), code(traffic), code(traffic, "bolt")] == ["ok", "request_limit_reached", "ok"]
    cap(house, BudgetMeasure.REQUESTS, 3, customer="acme")
    assert [code(traffic) for _ in range(4)] == ["ok"] * 3 + ["request_limit_reached"]
    cap(house, BudgetMeasure.REQUESTS, 2, customer="*")
    assert [code(traffic, "bolt"), code(traffic, "bolt")] == ["ok", "request_limit_reached"]
    assert_sound(house)
    house.budgets.delete(each.budget_id, by=ME)
    assert [code(traffic, "bolt") for _ in range(3)] == ["ok"] * 3


def test_a_value_of_metadata_has_a_budget_whoever_calls(house: House, traffic: Traffic) -> None:
    cap(house, BudgetMeasure.REQUESTS, 2, metadata=metadata_subject("team=search"))
    cap(house, BudgetMeasure.REQUESTS, 1, metadata=metadata_subject("end_user=*"))

    def ask(customer: str, **pairs: str) -> str:
        headers = tuple((f"x-lava-metadata-{key.replace('_', '-')}", value) for key, value in pairs.items())
        return code(traffic, customer, headers=headers)

    assert [ask("acme", team="search"), ask("bolt", team="search")] == ["ok", "ok"]
    assert ask("bolt", team="search") == "request_limit_reached"
    assert ask("bolt", team="sales") == "ok"
    assert [ask("acme", end_user=u) for u in ("ann", "bob", "ann")] == ["ok", "ok", "request_limit_reached"]
    assert [ask("acme", end_user="*"), ask("acme", end_user="*")] == ["ok", "request_limit_reached"]
    assert_sound(house)


def test_a_key_has_a_budget_a_merchants_own_too(house: House, traffic: Traffic) -> None:
    made = house.keys.create(KeyTerms(name="app"), by=ME).value
    cap(house, BudgetMeasure.COST, "0.0007", key=made.key.key_id)
    assert [code(traffic, None, key=made.text), code(traffic, None, key=made.text)] == ["ok", "budget_exceeded"]
    assert_sound(house)


def test_setting_a_budget_again_changes_its_limit_and_keeps_what_is_spent(house: House, traffic: Traffic) -> None:
    first = cap(house, BudgetMeasure.REQUESTS, 1)
    assert [code(traffic), code(traffic)] == ["ok", "request_limit_reached"]
    again = cap(house, BudgetMeasure.REQUESTS, 2)
    assert (again.budget_id, again.spent, again.limit) == (first.budget_id, 1, 2)
    assert [code(traffic), code(traffic)] == ["ok", "request_limit_reached"]
    cap(house, BudgetMeasure.REQUESTS, 0)
    assert code(traffic) == "request_limit_reached"


def test_a_budget_that_was_taken_away_caps_nothing_and_calls_in_flight_end_well(house: House, traffic: Traffic) -> None:
    budget = cap(house, BudgetMeasure.REQUESTS, 1)
    call = traffic.begin("acme")
    assert house.budgets.delete(budget.budget_id, by=ME).value.ended_us is not None
    assert code(traffic) == "ok"
    traffic.end(call)
    assert house.budgets.all() == ()
    assert_sound(house)
    assert cap(house, BudgetMeasure.REQUESTS, 1).budget_id != budget.budget_id


def test_verify_finds_a_budget_whose_counts_were_changed(house: House, traffic: Traffic) -> None:
    from msgspec.structs import replace

    from lava_proxy.core.ports import Decision

    budget = cap(house, BudgetMeasure.CHARGE, "1")
    assert code(traffic) == "ok"
    assert_sound(house)
    kept = house.ledger.read(lambda rows: rows.get(Budget, budget.budget_id))
    assert kept is not None
    changed = replace(kept, spent=kept.spent + 1)
    house.ledger.transact(lambda _: None, lambda _: Decision(result=None, rows=(changed,))).result()
    (finding,) = house.verify().findings
    assert finding.invariant == "I2" and budget.budget_id in finding.subject


def test_a_home_without_budgets_has_no_fact_about_them(house: House, traffic: Traffic) -> None:
    """By this one row a call knows that nothing else needs to be looked up."""
    assert house.ledger.read(lambda rows: rows.get(HomeFact, "budget_subjects")) is None
    cap(house, BudgetMeasure.REQUESTS, 1, metadata=metadata_subject("team=*"))
    cap(house, BudgetMeasure.REQUESTS, 1)
    fact = house.ledger.read(lambda rows: rows.get(HomeFact, "budget_subjects"))
    assert fact is not None and fact.value == "customer metadata:team*"


def test_whom_a_budget_caps_must_be_said_once_and_exist(house: House) -> None:
    limit = BudgetTerms(measure=BudgetMeasure.REQUESTS, limit=1)
    with pytest.raises(InvalidInput, match="exactly one"):
        house.budgets.set(limit, by=ME)
    with pytest.raises(NotFound, match="'key_x'"):
        house.budgets.set(BudgetTerms(measure=BudgetMeasure.REQUESTS, limit=1, key="key_x"), by=ME)
    with pytest.raises(NotFound, match="no plan"):
        house.budgets.set(BudgetTerms(measure=BudgetMeasure.REQUESTS, limit=1, plan="gold"), by=ME)
    assert house.budgets.all() == ()


def test_a_budget_that_another_process_sets_binds_the_very_next_call(tmp_path: Path) -> None:
    """Two houses on one file, as the proxy and the command line are."""
    clock, home = TestClock(), Home(tmp_path / "two")
    home.folder.mkdir()
    with House(home, Settings(), mode=Mode.TEST, create=True, clock=clock, ids=CountedIds()) as proxy:
        proxy.customers.create(CustomerFields(reference_id="acme"), by=ME)
        proxy.credits.grant(GrantTerms(customer="acme", amount_nanos=parse_amount("5")), by=ME)
        traffic = Traffic(proxy)
        assert code(traffic) == "ok"
        with House(home, Settings(), clock=clock) as command:
            budget = cap(command, BudgetMeasure.REQUESTS, 0)
            assert code(traffic) == "request_limit_reached"
            command.budgets.delete(budget.budget_id, by=ME)
            assert isinstance(traffic.ask("acme"), Forward)
