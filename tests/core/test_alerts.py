"""Alerts fire once at the crossing, and again only after they cleared."""

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from lava_proxy.core.alert_kinds import BUILT_IN, KINDS, WHOLE
from lava_proxy.core.alert_rows import Alert, AlertKind, AlertRule, AlertScope, AlertState
from lava_proxy.core.alert_units import Unit, read_threshold, show, write_threshold
from lava_proxy.core.alerts import (
    FIRED,
    RESOLVED,
    SYSTEM,
    TOTAL,
    AlertFacts,
    AlertStamp,
    CycleFacts,
    Facts,
    PaymentFacts,
    Standing,
    SystemFacts,
    applies,
    evaluate,
    measure,
)
from lava_proxy.core.entities import Entity, Event
from lava_proxy.core.errors import InvalidInput
from lava_proxy.core.ids import AlertId, AlertRuleId, EventId

ACME = "con_acme"
DOLLAR = 10**9


def rule(kind: AlertKind = AlertKind.BALANCE_BELOW, threshold: int = 5 * DOLLAR, **more: object) -> AlertRule:
    made = AlertRule(
        rule_id=AlertRuleId("alr_1"),
        slug="it",
        kind=kind,
        scope=AlertScope.EACH,
        threshold=threshold,
        created_us=0,
    )
    return replace(made, **more)


class Watch:
    """A rule followed over time; gives what each look told: ``+`` fired, ``-`` resolved."""

    def __init__(self, watched: AlertRule) -> None:
        self.rule = watched
        self.standing = Standing()
        self.alerts: dict[str, Alert] = {}
        self._numbers = count(1)
        self.now_us = 0

    def look(self, facts: Facts) -> str:
        number = next(self._numbers)
        self.now_us += 10
        stamp = AlertStamp(
            now_us=self.now_us,
            alert_id=AlertId(f"alt_{number}"),
            fired_event_id=EventId(f"evt_f{number}"),
            resolved_event_id=EventId(f"evt_r{number}"),
        )
        return self._take(evaluate(self.rule, replace(facts, read_us=self.now_us - 1), self.standing, stamp))

    def _take(self, rows: tuple[Entity, ...]) -> str:
        for row in rows:
            if isinstance(row, Alert):
                self.alerts[row.alert_id] = row
        state = next((row for row in rows if isinstance(row, AlertState)), self.standing.state)
        self.standing = Standing(state=state, alert=self.alerts.get(state.alert_id) if state else None)
        return "".join({FIRED: "+", RESOLVED: "-"}[row.kind] for row in rows if isinstance(row, Event))


def facts(**known: object) -> AlertFacts:
    return replace(AlertFacts(subject=ACME, day="2026-01-01", read_us=0), **known)


def balance(dollars: int) -> AlertFacts:
    return facts(balance_nanos=dollars * DOLLAR)


def test_a_rule_fires_once_at_the_crossing_and_again_after_it_cleared() -> None:
    watch = Watch(rule())
    told = [watch.look(balance(dollars)) for dollars in (6, 5, 4, 3, 4, 5, 4, 4)]
    assert told == ["", "", "+", "", "", "-", "+", ""]
    first, second = watch.alerts.values()
    assert (first.resolved_us, second.resolved_us) == (60, None)
    assert first.message == "balance $4.00 (below $5.00)"


def test_what_is_not_known_changes_nothing() -> None:
    watch = Watch(rule())
    assert watch.look(balance(1)) == "+"
    assert watch.look(facts()) == ""
    assert watch.look(balance(1)) == ""


def test_facts_that_were_read_before_the_last_change_are_stale() -> None:
    watch = Watch(rule())
    watch.look(balance(1))
    stamp = AlertStamp(now_us=20, alert_id=AlertId("a"), fired_event_id=EventId("f"), resolved_event_id=EventId("r"))
    assert evaluate(watch.rule, replace(balance(9), read_us=10), watch.standing, stamp) == ()
    assert evaluate(watch.rule, replace(balance(9), read_us=11), watch.standing, stamp) != ()


def test_a_clock_that_was_set_back_does_not_silence_a_rule() -> None:
    watch = Watch(rule())
    watch.now_us = 10**9
    assert watch.look(balance(1)) == "+"
    watch.now_us = 0
    assert watch.look(balance(9)) == "-"


def test_a_rule_about_days_fires_anew_on_another_day_even_where_nobody_looked_between() -> None:
    watch = Watch(rule(AlertKind.SPEND_PER_DAY, 10 * DOLLAR))
    day_1 = facts(charge_day_nanos=11 * DOLLAR)
    assert [watch.look(day_1), watch.look(day_1)] == ["+", ""]
    assert watch.look(replace(day_1, day="2026-01-02")) == "-+"
    assert watch.look(replace(day_1, day="2026-01-03", charge_day_nanos=0)) == "-"


def cycle(used: int, charge: int = 0, name: str = "cyc_1", granted: int = 20 * DOLLAR) -> AlertFacts:
    return facts(cycle=CycleFacts(cycle=name, granted_nanos=granted, used_nanos=used, charge_nanos=charge))


def test_percent_of_cycle_credit_is_exact_and_of_one_cycle() -> None:
    watch = Watch(rule(AlertKind.CREDIT_USED, 80 * 10**9))
    assert watch.look(cycle(16 * DOLLAR - 1)) == ""
    assert watch.look(cycle(16 * DOLLAR)) == "+"
    assert watch.look(cycle(20 * DOLLAR)) == ""
    assert watch.look(cycle(16 * DOLLAR, name="cyc_2")) == "-+"
    assert watch.look(cycle(1, granted=0)) == ""
    assert measure(AlertKind.CREDIT_USED, facts()) is None


def test_spend_per_cycle_is_the_charge_of_the_cycle() -> None:
    watch = Watch(rule(AlertKind.SPEND_PER_CYCLE, 3 * DOLLAR))
    assert [watch.look(cycle(0, charge)) for charge in (2 * DOLLAR, 3 * DOLLAR, 4 * DOLLAR)] == ["", "+", ""]
    assert watch.look(cycle(0, 0, name="cyc_2")) == "-"


@pytest.mark.parametrize(
    ("kind", "field"), [(AlertKind.PAYMENT_FAILED, "failed_payment"), (AlertKind.TOP_UP_FAILED, "failed_top_up")]
)
def test_every_failed_payment_is_told_once_until_one_succeeds(kind: AlertKind, field: str) -> None:
    watch = Watch(rule(kind, 1))

    def failed(payment: str | None) -> AlertFacts:
        return facts(payments=replace(PaymentFacts(), **{field: payment}))

    told = [watch.look(failed(payment)) for payment in (None, "pay_1", "pay_1", "pay_2", None, "pay_3")]
    assert told == ["", "+", "", "-+", "-", "+"]


@pytest.mark.parametrize(
    ("charge", "cost", "fires"),
    [(100, 80, False), (100, 81, True), (0, 0, False), (0, 5, True), (50, 100, True)],
)
def test_margin_is_of_the_charge(charge: int, cost: int, fires: bool) -> None:
    watch = Watch(rule(AlertKind.MARGIN_BELOW, 20 * 10**9))
    assert watch.look(facts(charge_day_nanos=charge, cost_day_nanos=cost)) == ("+" if fires else "")


def test_unpriced_requests_are_counted() -> None:
    watch = Watch(rule(AlertKind.UNPRICED_REQUESTS, 2))
    assert [watch.look(facts(unpriced_day=number)) for number in (0, 1, 2, 3)] == ["", "", "+", ""]


def test_an_anomaly_is_a_multiple_of_the_mean_of_the_days_before_where_they_tell_enough() -> None:
    watch = Watch(rule(AlertKind.SPEND_ANOMALY, 3 * WHOLE))
    days = (7, 7, 7, 7, 7, 7, 7)
    assert watch.look(facts(charge_day_nanos=20, trailing_nanos=days)) == ""
    assert watch.look(facts(charge_day_nanos=21, trailing_nanos=days)) == "+"
    assert watch.look(facts(charge_day_nanos=10**9, trailing_nanos=(0, 0, 0, 0, 0, 7, 7))) == "-"


def test_whom_a_rule_is_about() -> None:
    total, bolt = replace(facts(), subject=TOTAL), replace(facts(), subject="con_bolt", plan_id="sc_pro")
    everyone: list[Facts] = [facts(), bolt, total, SystemFacts(read_us=0)]

    def meant(scope: AlertScope, target: str = "") -> list[str]:
        return [known.subject for known in everyone if applies(rule(scope=scope, target=target), known)]

    assert meant(AlertScope.EACH) == [ACME, "con_bolt"]
    assert meant(AlertScope.CUSTOMER, ACME) == [ACME]
    assert meant(AlertScope.PLAN, "sc_pro") == ["con_bolt"]
    assert meant(AlertScope.PLAN, "") == []
    assert meant(AlertScope.TOTAL) == [TOTAL]
    assert meant(AlertScope.SYSTEM) == [SYSTEM]


WRONG = SystemFacts(
    disk_free_bytes=1024**3 - 1,
    writer_lag_us=5_000_000,
    holds_overdue=1,
    undelivered=1,
    certificate_days=29,
    backup_overdue_days=1,
    spool_files=1,
    read_us=0,
)
WELL = SystemFacts(
    disk_free_bytes=1024**3,
    writer_lag_us=4_999_999,
    holds_overdue=0,
    undelivered=0,
    certificate_days=30,
    backup_overdue_days=0,
    spool_files=0,
    read_us=0,
)


@pytest.mark.parametrize("built_in", BUILT_IN, ids=lambda built_in: built_in.slug)
def test_every_rule_about_the_system_fires_at_its_default_and_clears(built_in: AlertRule) -> None:
    watch = Watch(built_in)
    assert [watch.look(known) for known in (WELL, WRONG, WRONG, WELL)] == ["", "+", "", "-"]
    assert watch.look(SystemFacts(read_us=0)) == ""


def test_every_kind_is_described_and_measures_something() -> None:
    known = facts(
        balance_nanos=0,
        charge_day_nanos=0,
        cost_day_nanos=0,
        unpriced_day=0,
        trailing_nanos=(1,) * 7,
        cycle=CycleFacts(cycle="c", granted_nanos=1, used_nanos=0, charge_nanos=0),
        payments=PaymentFacts(),
    )
    assert set(KINDS) == set(AlertKind)
    silent = [kind for kind, about in KINDS.items() if measure(kind, WELL if about.is_system else known) is None]
    assert silent == []


@given(st.lists(st.integers(0, 10), max_size=40), st.integers(0, 10))
def test_firings_and_resolutions_alternate_and_follow_the_condition(values: list[int], threshold: int) -> None:
    watch = Watch(rule(threshold=threshold * DOLLAR))
    told = "".join(watch.look(balance(value)) for value in values)
    assert "++" not in told and "--" not in told and not told.startswith("-")
    is_firing = watch.standing.state is not None and watch.standing.state.is_firing
    assert is_firing == bool(values and values[-1] < threshold) == told.endswith("+")


@pytest.mark.parametrize(
    ("text", "unit", "value", "shown"),
    [
        ("5.00", Unit.DOLLARS, 5 * DOLLAR, "$5.00"),
        ("-1", Unit.DOLLARS, -DOLLAR, "-$1.00"),
        ("80%", Unit.PERCENT, 80 * 10**9, "80.00 %"),
        ("12.5", Unit.PERCENT, 12_500_000_000, "12.50 %"),
        ("3", Unit.COUNT, 3, "3"),
        ("512MiB", Unit.BYTES, 512 * 1024**2, "512.0 MiB"),
        ("2gb", Unit.BYTES, 2 * 10**9, "1.8 GiB"),
        ("90", Unit.BYTES, 90, "90 B"),
        ("30s", Unit.SECONDS, 30_000_000, "30 s"),
        ("5", Unit.SECONDS, 5_000_000, "5 s"),
        ("2w", Unit.DAYS, 14, "14 d"),
    ],
)
def test_thresholds_are_read_and_shown(text: str, unit: Unit, value: int, shown: str) -> None:
    assert read_threshold(text, unit) == value
    assert show(value, unit) == shown
    assert read_threshold(write_threshold(value, unit), unit) == value


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("1.0000000001", Unit.DOLLARS),
        ("1e9", Unit.PERCENT),
        ("NaN", Unit.DOLLARS),
        ("1.5", Unit.COUNT),
        ("-1", Unit.COUNT),
        ("many", Unit.BYTES),
        ("5y", Unit.DAYS),
        ("", Unit.SECONDS),
    ],
)
def test_a_threshold_that_is_none_is_refused_by_name(text: str, unit: Unit) -> None:
    with pytest.raises(InvalidInput, match="threshold"):
        read_threshold(text, unit)
