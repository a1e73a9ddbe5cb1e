"""Money through a gateway that declines, keeps silent and answers twice: it moves once, and what it bought is given once."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from lava_proxy.core.billing import PaymentStatus, Purpose
from lava_proxy.core.gateway import Answer, Outcome
from lava_proxy.payments.memory import DECLINES, LATER, TIMES_OUT, MemoryGateway
from tests.billing.conftest import ASKED, Shop, at, usd

MINUTE_US = 60_000_000


def only(shop: Shop, customer: str, purpose: Purpose = Purpose.CYCLE) -> PaymentStatus:
    (found,) = (p.status for p in shop.payments(customer) if p.purpose is purpose)
    return found


@pytest.mark.parametrize("moves", [False, True], ids=["it did not move", "it moved"])
def test_an_unknown_outcome_is_asked_about_under_the_same_key_until_it_is_known(shop: Shop, moves: bool) -> None:
    plan, acme = shop.plan("Pro", "10.00"), shop.customer("acme")
    shop.gateway.will(TIMES_OUT, moves=moves)
    shop.start(acme, plan)
    assert (only(shop, acme), shop.left(acme)) == (PaymentStatus.UNKNOWN, "$0.00")
    shop.tick()
    assert len(shop.gateway.asked) == 1  # not before a minute is over
    shop.clock.at_us += 2 * MINUTE_US
    shop.tick()
    assert (only(shop, acme), shop.left(acme), shop.money()) == (PaymentStatus.PAID, "$10.00", "$10.00")
    assert len(set(shop.gateway.asked)) == 1


def test_an_unknown_renewal_is_never_treated_as_failed_however_long_it_takes(shop: Shop) -> None:
    plan, acme = shop.plan("Pro", "10.00"), shop.customer("acme")
    shop.start(acme, plan)
    shop.gateway.will(*[TIMES_OUT] * 30)
    for day in range(2, 20):
        shop.go(f"2026-02-{day:02d}")
        assert shop.status(acme) == "active"
        assert not shop.house.subscriptions.get(acme).subscription.is_blocked
    shop.gateway.will()
    for _ in range(20):
        shop.clock.at_us += 6 * 3600 * 1_000_000
        shop.tick()
    assert (shop.money(), shop.left(acme)) == ("$20.00", "$10.00")
    assert len(set(shop.gateway.asked)) == 2  # one key for each cycle


def test_a_gateway_that_raises_leaves_an_unknown_outcome(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, acme = shop.plan("Pro", "10.00"), shop.customer("acme")

    def broken(charge: object) -> Answer:
        raise OSError("the line is dead")

    monkeypatch.setattr(shop.gateway, "charge", broken)
    shop.start(acme, plan)
    assert only(shop, acme) is PaymentStatus.UNKNOWN


def test_an_answer_that_comes_twice_or_late_is_booked_once(shop: Shop) -> None:
    plan, acme = shop.plan("Pro", "10.00"), shop.customer("acme")
    shop.gateway.will(LATER)
    shop.start(acme, plan)
    (payment,) = shop.payments(acme)
    assert payment.status is PaymentStatus.PENDING
    paid = Answer(outcome=Outcome.PAID, reference="late")
    for answer in (paid, paid, DECLINES):
        shop.house.payments.book(
            payment.payment_id, payment.attempts, answer, as_of_us=shop.clock.at_us, now_us=shop.clock.at_us
        )
    assert (only(shop, acme), shop.left(acme)) == (PaymentStatus.PAID, "$10.00")


def test_a_first_payment_that_is_declined_ends_what_never_began(shop: Shop) -> None:
    plan, acme = shop.plan("Pro", "10.00"), shop.customer("acme")
    shop.gateway.will(DECLINES)
    shop.start(acme, plan)
    assert [s.subscription.status.value for s in shop.house.subscriptions.all(status="all")] == ["cancelled"]
    shop.start(acme, plan)
    assert (shop.status(acme), shop.money()) == ("active", "$10.00")


def test_a_declined_upgrade_changes_nothing(shop: Shop) -> None:
    small, big, acme = shop.plan("Small", "10.00"), shop.plan("Big", "40.00"), shop.customer("acme")
    shop.start(acme, small)
    shop.gateway.will(DECLINES)
    shop.house.subscriptions.change(acme, big, asked=ASKED)
    shop.tick()
    assert (shop.house.subscriptions.get(acme).plan.name, shop.left(acme)) == ("Small", "$10.00")


def test_an_upgrade_paid_when_its_cycle_is_over_is_paid_back_in_full(shop: Shop) -> None:
    small, big, acme = shop.plan("Small", "10.00"), shop.plan("Big", "40.00"), shop.customer("acme")
    shop.start(acme, small)
    shop.go("2026-01-31T23:50")
    shop.gateway.will(LATER)
    shop.house.subscriptions.change(acme, big, asked=ASKED)
    shop.go("2026-02-01T00:10")
    (upgrade,) = (p for p in shop.payments(acme) if p.purpose is Purpose.UPGRADE)
    assert upgrade.status is PaymentStatus.VOID
    now_us, paid = shop.clock.at_us, Answer(outcome=Outcome.PAID)
    shop.house.payments.book(upgrade.payment_id, 1, paid, as_of_us=now_us, now_us=now_us)
    shop.tick()
    assert shop.house.subscriptions.get(acme).plan.name == "Small"
    (refund,) = (p for p in shop.payments(acme) if p.purpose is Purpose.REFUND)
    assert (refund.amount_nanos, refund.status) == (upgrade.amount_nanos, PaymentStatus.PAID)


def test_what_was_paid_for_a_subscription_that_has_ended_is_paid_back(shop: Shop) -> None:
    plan, acme = shop.plan("Pro", "10.00"), shop.customer("acme")
    shop.start(acme, plan)
    shop.gateway.will(TIMES_OUT, moves=True)
    shop.go("2026-02-01T00:00:01")
    shop.house.customers.archive(acme, by=ASKED.by)
    shop.go("2026-02-01T01:00")
    shop.go("2026-03-01T01:00")
    assert shop.money() == "$10.00"


def rule(shop: Shop, customer: str, **more: object) -> None:
    from lava_proxy.services.subscriptions import TopUpTerms

    given: dict[str, object] = {"below_nanos": usd("5"), "amount_nanos": usd("20"), **more}
    shop.house.subscriptions.set_top_up(customer, TopUpTerms(**given), asked=ASKED)  # type: ignore[arg-type]


def test_credit_that_runs_low_buys_itself_once(shop: Shop) -> None:
    acme = shop.customer("acme")
    rule(shop, acme)
    shop.tick()
    assert (shop.money(), shop.left(acme)) == ("$20.00", "$20.00")
    shop.clock.at_us += 20 * MINUTE_US
    shop.spend(acme, "14")
    assert shop.tick().top_ups == 0
    shop.spend(acme, "2")
    shop.tick()
    assert (shop.money(), shop.left(acme)) == ("$40.00", "$24.00")


def test_a_call_that_was_refused_asks_for_the_top_up_that_would_let_it_pass(shop: Shop) -> None:
    acme = shop.customer("acme")
    rule(shop, acme, below_nanos=1, cooldown_us=MINUTE_US)
    shop.tick()
    shop.clock.at_us += 2 * MINUTE_US
    shop.spend(acme, "15")
    assert shop.tick().top_ups == 0
    assert shop.refusal(acme, "30") == "insufficient_credits"
    assert shop.tick().top_ups == 0  # 20 more would not be enough
    assert shop.refusal(acme, "10") == "insufficient_credits"
    assert shop.tick().top_ups == 1
    shop.spend(acme, "10")


def test_no_second_top_up_while_the_outcome_of_the_first_is_unknown(shop: Shop) -> None:
    acme = shop.customer("acme")
    rule(shop, acme, cooldown_us=MINUTE_US)
    shop.gateway.will(*[TIMES_OUT] * 3)
    for _ in range(5):
        shop.house.ticking.tick(all_rules=True)
        shop.clock.at_us += 2 * MINUTE_US
    assert len(shop.payments(acme)) == 1
    shop.clock.at_us += 3600 * 1_000_000
    shop.tick()
    assert (only(shop, acme, Purpose.TOP_UP), shop.left(acme)) == (PaymentStatus.PAID, "$20.00")


def test_a_top_up_that_was_declined_does_not_end_the_cooldown_and_three_switch_the_rule_off(shop: Shop) -> None:
    acme = shop.customer("acme")
    rule(shop, acme, cooldown_us=60 * MINUTE_US)
    shop.gateway.will(DECLINES, DECLINES, DECLINES)
    for _ in range(300):
        shop.house.ticking.tick(all_rules=True)
        shop.clock.at_us += MINUTE_US
    assert len(shop.gateway.asked) == 3
    (after,) = shop.house.subscriptions.top_ups(acme)
    assert (after.is_on, after.reason) == (False, "3 top-ups were declined")


def test_top_ups_of_a_month_stay_under_its_cap(shop: Shop) -> None:
    acme = shop.customer("acme")
    rule(shop, acme, month_cap_nanos=usd("50"), cooldown_us=MINUTE_US)
    for _ in range(4):
        shop.tick()
        if shop.left(acme) == "$20.00":
            shop.spend(acme, "20")
        shop.clock.at_us += 2 * MINUTE_US
    assert shop.money() == "$40.00"
    shop.clock.at_us = at("2026-02-01T00:01")
    shop.house.ticking.tick(all_rules=True)
    assert shop.money() == "$60.00"


def test_a_plans_default_bundle_is_bought_for_new_subscriptions(shop: Shop) -> None:
    from lava_proxy.services.plans import PlanChanges

    plan, acme = shop.plan("Pro", "10.00"), shop.customer("acme")
    bundle = shop.bundle(plan, "4.00", "5.00")
    shop.house.plans.update(plan, PlanChanges(top_up_bundle=bundle), by=ASKED.by)
    shop.start(acme, plan)
    shop.spend(acme, "10")
    shop.tick()
    assert (shop.money(), shop.left(acme)) == ("$14.00", "$5.00")


def test_eight_schedulers_at_once_renew_and_top_up_once(shop: Shop) -> None:
    plan = shop.plan("Pro", "10.00")
    for number in range(6):
        shop.start(shop.customer(f"c{number}"), plan)
        rule(shop, f"c{number}", below_nanos=usd("50"))
    shop.tick()
    shop.clock.at_us = at("2026-02-01T00:10")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: shop.house.ticking.tick(all_rules=True), range(8)))
    shop.tick()
    assert shop.money() == "$360.00"
    assert len(set(shop.gateway.asked)) == len(shop.gateway.moved) == 24


def test_the_gateway_in_memory_moves_money_once_for_a_key() -> None:
    from lava_proxy.core.gateway import Charge

    gateway = MemoryGateway()
    charge = Charge(key="k", payment_id="p", customer_id="c", amount_nanos=5, purpose="cycle", description="")
    assert gateway.charge(charge) == gateway.charge(charge)
    assert gateway.moved == {"k": 5}
