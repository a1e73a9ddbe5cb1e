"""Worked examples, each written like a bank statement: what happened, what was paid, what was left."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from msgspec.structs import replace

from lava_proxy.core.billing import AfterGrace, Interval, PaymentStatus, Purpose, Rollover
from lava_proxy.core.entities import Grant, Posting, Transaction, Wallet
from lava_proxy.core.ids import CustomerId, TransactionId
from lava_proxy.core.instants import to_datetime
from lava_proxy.core.journal import REVENUE, debt_account, free_account, move
from lava_proxy.core.money import format_dollars
from lava_proxy.core.ports import Decision, Rows
from lava_proxy.core.subscriptions import OwnTerms
from lava_proxy.payments.memory import DECLINES
from lava_proxy.services.exchange import Ending, Forward
from tests.billing.conftest import ASKED, ME, Shop, usd


def cycle_ends(shop: Shop, customer: str) -> str:
    return to_datetime(shop.house.subscriptions.get(customer).subscription.cycle_end_us).strftime("%Y-%m-%d %H:%M")


def test_rollover_25_less_15_and_25_more_is_35(shop: Shop) -> None:
    plan, acme = shop.plan("Pro", "25.00", rollover=Rollover.FULL), shop.customer("acme")
    shop.start(acme, plan)  #                   paid     left
    assert (shop.money(), shop.left(acme)) == ("$25.00", "$25.00")
    shop.spend(acme, "15")
    assert (shop.money(), shop.left(acme)) == ("$25.00", "$10.00")
    shop.go("2026-02-01T00:10")
    assert (shop.money(), shop.left(acme)) == ("$50.00", "$35.00")


def test_without_rollover_the_unused_10_lapse_and_are_breakage(shop: Shop) -> None:
    plan, acme = shop.plan("Pro", "25.00"), shop.customer("acme")
    shop.start(acme, plan)
    shop.spend(acme, "15")
    shop.go("2026-02-01T00:10")
    assert (shop.money(), shop.left(acme)) == ("$50.00", "$25.00")
    assert format_dollars(shop.house.credits.balance(acme).lapsed_nanos) == "$10.00"


def test_a_capped_rollover_carries_5_of_the_10(shop: Shop) -> None:
    plan, acme = shop.plan("Pro", "25.00", rollover=Rollover.FULL, rollover_cap_nanos=usd("5")), shop.customer("acme")
    shop.start(acme, plan)
    shop.spend(acme, "15")
    shop.go("2026-02-01T00:10")
    assert shop.left(acme) == "$30.00"


def test_cycles_that_begin_on_the_31st_end_on_the_months_last_day_and_come_back_to_the_31st(shop: Shop) -> None:
    plan, acme = shop.plan("Pro", "10.00"), shop.customer("acme")
    shop.go("2026-01-31T12:00")
    shop.start(acme, plan)
    ends = []
    for day in ("2026-02-01", "2026-02-28T12:30", "2026-03-31T12:30", "2026-04-30T12:30"):
        shop.go(day)
        ends.append(cycle_ends(shop, acme))
    assert ends == ["2026-02-28 12:00", "2026-03-31 12:00", "2026-04-30 12:00", "2026-05-31 12:00"]
    assert shop.money() == "$40.00"


def test_after_three_months_of_downtime_each_cycle_is_renewed_in_its_turn(shop: Shop) -> None:
    plan, acme = shop.plan("Pro", "10.00", rollover=Rollover.FULL), shop.customer("acme")
    shop.start(acme, plan)
    assert shop.go("2026-04-15").renewals == 3
    assert (shop.money(), shop.left(acme)) == ("$40.00", "$40.00")
    assert cycle_ends(shop, acme) == "2026-05-01 00:00"
    assert shop.tick().renewals == 0


def test_an_upgrade_in_mid_cycle_costs_half_of_the_difference_and_brings_half_of_the_credit(shop: Shop) -> None:
    small, big, acme = shop.plan("Small", "10.00"), shop.plan("Big", "40.00"), shop.customer("acme")
    shop.go("2026-06-01")
    shop.start(acme, small)
    shop.spend(acme, "4")  #                    paid     left
    assert (shop.money(), shop.left(acme)) == ("$10.00", "$6.00")
    shop.go("2026-06-16")  # 15 of 30 days are left
    seen = shop.house.subscriptions.change(acme, big, asked=ASKED).value
    assert (format_dollars(seen.due_nanos), format_dollars(seen.credit_to_come_nanos)) == ("$15.00", "$15.00")
    shop.tick()
    assert (shop.money(), shop.left(acme)) == ("$25.00", "$21.00")
    assert cycle_ends(shop, acme) == "2026-07-01 00:00"
    shop.go("2026-07-01T00:10")
    assert (shop.money(), shop.left(acme)) == ("$65.00", "$40.00")


def test_a_downgrade_waits_for_the_cycles_end_and_can_be_revoked(shop: Shop) -> None:
    small, big, acme = shop.plan("Small", "10.00"), shop.plan("Big", "40.00"), shop.customer("acme")
    shop.start(acme, big)
    shop.house.subscriptions.change(acme, small, asked=ASKED)
    assert shop.house.subscriptions.get(acme).subscription.pending_plan_id == small
    shop.house.subscriptions.resume(acme, asked=ASKED)
    shop.go("2026-02-01T00:10")
    assert (shop.money(), shop.left(acme)) == ("$80.00", "$40.00")
    shop.house.subscriptions.change(acme, small, asked=ASKED)
    shop.go("2026-03-01T00:10")
    assert (shop.money(), shop.left(acme)) == ("$90.00", "$10.00")


def test_a_refund_after_half_is_used_is_half(shop: Shop) -> None:
    plan, acme = shop.plan("Pro", "20.00", rollover=Rollover.FULL), shop.customer("acme")
    shop.start(acme, plan)
    shop.spend(acme, "10")  #                   paid     left
    assert (shop.money(), shop.left(acme)) == ("$20.00", "$10.00")
    shop.go("2026-01-08")  # 24 of 31 days are left: more than half
    gone = shop.house.subscriptions.cancel(acme, now=True, asked=ASKED).value
    assert (format_dollars(gone.due_nanos), format_dollars(gone.credit_lost_nanos)) == ("-$10.00", "$10.00")
    shop.tick()
    assert (shop.money(), shop.left(acme)) == ("$10.00", "$0.00")


def test_a_refund_of_unused_credit_late_in_the_cycle_is_by_the_time_that_is_left(shop: Shop) -> None:
    plan, acme = shop.plan("Pro", "31.00"), shop.customer("acme")
    shop.start(acme, plan)
    shop.go("2026-01-31")  # 1 of 31 days
    shop.house.subscriptions.cancel(acme, now=True, asked=ASKED)
    shop.tick()
    assert (shop.money(), shop.left(acme)) == ("$30.00", "$0.00")


def test_cancelled_at_the_end_the_credit_is_good_until_then_and_nothing_is_paid_again(shop: Shop) -> None:
    plan, acme = shop.plan("Pro", "10.00", rollover=Rollover.FULL), shop.customer("acme")
    shop.start(acme, plan)
    shop.house.subscriptions.cancel(acme, asked=ASKED)
    shop.go("2026-01-31T23:59")
    assert (shop.status(acme), shop.left(acme)) == ("active", "$10.00")
    shop.go("2026-02-01T00:10")
    assert [s.subscription.status.value for s in shop.house.subscriptions.all(status="all")] == ["cancelled"]
    assert (shop.money(), shop.left(acme)) == ("$10.00", "$0.00")


def test_overage_goes_to_its_cap_and_is_collected_with_its_markup_at_the_cycles_end(shop: Shop) -> None:
    """$6.00 with 20 % on top: $5.00 of calls beyond the credit."""
    plan = shop.plan("Pro", "10.00", overage_cap_nanos=usd("6"), overage_markup_nanos=20 * 10**9)
    acme = shop.customer("acme")
    shop.start(acme, plan)
    shop.spend(acme, "9")  #       left  overage
    assert overage(shop, acme) == ("$1.00", "$0.00")
    shop.spend(acme, "3")  # 1 of credit, 2 beyond it
    assert overage(shop, acme) == ("$0.00", "$2.00")
    shop.spend(acme, "3")
    assert overage(shop, acme) == ("$0.00", "$5.00")
    assert shop.refusal(acme, "0.01") == "insufficient_credits"
    shop.go("2026-02-01T00:10")
    assert (shop.money(), shop.left(acme)) == ("$26.00", "$10.00")
    assert overage(shop, acme) == ("$10.00", "$0.00")


def overage(shop: Shop, customer: str) -> tuple[str, str]:
    terms = shop.house.subscriptions.get(customer).terms
    assert terms is not None
    return shop.left(customer), format_dollars(terms.overage_used_nanos)


def test_overage_is_held_before_the_call_is_sent_so_that_two_calls_cannot_pass_the_cap(shop: Shop) -> None:
    plan, acme = shop.plan("Pro", "1.00", overage_cap_nanos=usd("5")), shop.customer("acme")
    shop.start(acme, plan)
    first = shop.begin(acme, "4")
    assert shop.refusal(acme, "3") == "insufficient_credits"
    second = shop.begin(acme, "2")
    shop.end(first)
    shop.end(second)
    assert overage(shop, acme) == ("$0.00", "$5.00")


def test_overage_past_its_threshold_is_collected_at_once(shop: Shop) -> None:
    plan = shop.plan("Pro", "1.00", overage_cap_nanos=usd("10"), overage_collect_nanos=usd("3"))
    acme = shop.customer("acme")
    shop.start(acme, plan)
    shop.spend(acme, "3")  # 2 beyond the credit
    shop.tick()
    assert shop.money() == "$1.00"
    shop.spend(acme, "2")
    shop.tick()
    assert shop.money() == "$5.00"
    shop.spend(acme, "2")
    shop.go("2026-02-01T00:10")  # the last 2, and the next cycle
    assert shop.money() == "$8.00"


def test_without_overage_a_call_beyond_the_credit_is_refused(shop: Shop) -> None:
    acme = shop.customer("acme")
    shop.start(acme, shop.plan("Pro", "1.00"))
    assert shop.refusal(acme, "1.01") == "insufficient_credits"


def test_a_trial_gives_credit_and_asks_for_money_at_its_end(shop: Shop) -> None:
    plan, acme = shop.plan("Pro", "20.00", trial_days=7, rollover=Rollover.FULL), shop.customer("acme")
    shop.start(acme, plan)
    assert (shop.status(acme), shop.money(), shop.left(acme)) == ("trialing", "$0.00", "$20.00")
    shop.spend(acme, "5")
    shop.go("2026-01-08T00:10")
    assert (shop.status(acme), shop.money(), shop.left(acme)) == ("active", "$20.00", "$20.00")


def test_a_failed_payment_is_tried_again_and_its_credit_comes_when_it_is_paid(shop: Shop) -> None:
    plan, acme = shop.plan("Pro", "10.00"), shop.customer("acme")
    shop.start(acme, plan)
    shop.gateway.will(DECLINES)
    shop.go("2026-02-01T00:10")
    assert (shop.status(acme), shop.money(), shop.left(acme)) == ("past_due", "$10.00", "$0.00")
    shop.go("2026-02-02T00:20")
    assert (shop.status(acme), shop.money(), shop.left(acme)) == ("active", "$20.00", "$10.00")
    assert cycle_ends(shop, acme) == "2026-03-01 00:00"


def test_after_the_grace_calls_are_blocked_until_it_is_paid_and_then_a_whole_cycle_begins(shop: Shop) -> None:
    plan, acme = shop.plan("Pro", "10.00", rollover=Rollover.FULL), shop.customer("acme")
    shop.start(acme, plan)
    shop.gateway.will(DECLINES, DECLINES, DECLINES)
    shop.go("2026-02-10")
    assert shop.status(acme) == "past_due"
    assert shop.refusal(acme, "1") == "subscription_past_due"
    shop.go("2026-03-15")
    assert shop.money() == "$10.00"
    (failed,) = shop.payments(acme, PaymentStatus.DECLINED)
    shop.house.payments.mark_paid(failed.payment_id, by=ME, reason="by bank")
    assert (shop.status(acme), shop.left(acme)) == ("active", "$20.00")
    assert cycle_ends(shop, acme) == "2026-04-15 00:00"
    shop.spend(acme, "1")


def test_a_plan_may_fall_back_to_the_free_one_instead(shop: Shop) -> None:
    plan, acme = shop.plan("Pro", "10.00", after_grace=AfterGrace.FREE), shop.customer("acme")
    shop.start(acme, plan)
    shop.gateway.will(DECLINES, DECLINES, DECLINES)
    shop.go("2026-02-10")
    standing = shop.house.subscriptions.get(acme)
    assert (standing.plan.name, standing.subscription.status.value) == ("Free", "active")
    assert standing.payments == ()


def test_a_pause_stops_the_clock_and_blocks_and_the_rest_of_the_cycle_comes_after_it(shop: Shop) -> None:
    plan, acme = shop.plan("Pro", "10.00"), shop.customer("acme")
    shop.start(acme, plan)
    shop.go("2026-01-21")  # 11 days are left
    shop.house.subscriptions.pause(acme, asked=ASKED)
    assert shop.refusal(acme, "1") == "subscription_paused"
    shop.go("2026-05-01")
    shop.house.credits.expire_due()
    shop.house.subscriptions.resume(acme, asked=ASKED)
    assert (shop.left(acme), cycle_ends(shop, acme)) == ("$10.00", "2026-05-12 00:00")
    shop.go("2026-05-12T00:10")
    assert (shop.money(), shop.left(acme), cycle_ends(shop, acme)) == ("$20.00", "$10.00", "2026-06-12 00:00")


def test_from_the_free_plan_a_paid_cycle_begins_when_it_is_paid(shop: Shop) -> None:
    plan, acme = shop.plan("Pro", "10.00"), shop.customer("acme")
    shop.start(acme, "Free")
    shop.go("2026-01-15")
    shop.house.subscriptions.change(acme, plan, asked=ASKED)
    assert shop.house.subscriptions.get(acme).plan.name == "Free"
    shop.tick()
    assert (shop.money(), shop.left(acme)) == ("$10.00", "$10.00")
    assert cycle_ends(shop, acme) == "2026-02-15 00:00"


def test_a_customers_own_price_discount_and_minimum_hold_over_the_shared_plan(shop: Shop) -> None:
    plan = shop.plan("Pro", "30.00")
    for name, own in (
        ("price", OwnTerms(own_amount_nanos=usd("20"))),
        ("discount", OwnTerms(discount_nanos=25 * 10**9)),
        ("minimum", OwnTerms(minimum_nanos=usd("50"))),
    ):
        shop.start(shop.customer(name), plan, own)
    paid = {name: sum(p.amount_nanos for p in shop.payments(name)) for name in ("price", "discount", "minimum")}
    assert paid == {"price": usd("20"), "discount": usd("22.5"), "minimum": usd("30")}
    shop.go("2026-02-01T00:10")
    due = [format_dollars(p.amount_nanos) for p in shop.payments("minimum") if p.purpose is Purpose.MINIMUM]
    assert due == ["$20.00"]


def test_bundles_are_drawn_after_cycle_credit_and_roll_over_on_their_own(shop: Shop) -> None:
    plan, acme = shop.plan("Pro", "10.00"), shop.customer("acme")
    bundle = shop.bundle(plan, "8.00", "10.00")
    shop.start(acme, plan)
    shop.house.subscriptions.buy(acme, bundle, asked=ASKED)
    shop.tick()
    assert (shop.money(), shop.left(acme)) == ("$18.00", "$20.00")
    shop.spend(acme, "12")
    shop.go("2026-02-01T00:10")
    assert (shop.money(), shop.left(acme)) == ("$28.00", "$18.00")


@pytest.mark.parametrize(
    ("interval", "end"),
    [(Interval.DAY, "2026-01-02"), (Interval.WEEK, "2026-01-08"), (Interval.YEAR, "2027-01-01")],
)
def test_every_interval_renews_at_its_end(shop: Shop, interval: Interval, end: str) -> None:
    plan, acme = shop.plan("Pro", "1.00", interval=interval), shop.customer("acme")
    shop.start(acme, plan)
    assert cycle_ends(shop, acme) == f"{end} 00:00"
    shop.go(f"{end}T00:10")
    assert shop.money() == "$2.00"


def test_thirty_calls_at_once_of_a_dollar_each_against_one_of_credit_and_five_of_overage_are_six(shop: Shop) -> None:
    plan, acme = shop.plan("Pro", "1.00", overage_cap_nanos=usd("5")), shop.customer("acme")
    shop.start(acme, plan)
    shop.meter("1")
    shop.begin(acme, "0.5").close(Ending.NOT_SENT).result()  # the line is there
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: shop.ask(acme, "1"), range(30)))
    calls = [answer.call for answer in answers if isinstance(answer, Forward)]
    assert len(calls) == 6
    for call in calls:
        assert call is not None
        shop.end(call)
    assert overage(shop, acme) == ("$0.00", "$5.00")


def test_what_is_owed_is_paid_from_new_credit_of_a_plan_for_one_meter_too(shop: Shop) -> None:
    """All $10.00 spent and $2.00 owed: the next cycle's $10.00 pay it, and $8.00 are left."""
    slug = shop.meter("1")
    plan, acme = shop.plan("Pro", "10.00", meters=(slug,)), shop.customer("acme")
    shop.start(acme, plan)
    owe(shop, acme, "2")
    assert shop.refusal(acme, "1") == "insufficient_credits"
    shop.go("2026-02-01T00:10")
    assert shop.house.credits.balance(acme).debt_nanos == 0
    assert shop.left(acme) == "$8.00"


def owe(shop: Shop, customer: str, amount: str) -> None:
    """As a call does that came to more than all credit: the credit is spent, and the rest is debt."""
    house, nanos = shop.house, usd(amount)

    def load(rows: Rows) -> tuple[Grant, ...]:
        return rows.find(Grant, customer_id=customer)

    def decide(grants: tuple[Grant, ...]) -> Decision[None]:
        spent = {grant.grant_id: grant for grant in grants}
        postings: tuple[Posting, ...] = ()
        for grant in grants:
            postings += move(free_account(grant.grant_id), REVENUE, grant.free_nanos)
            spent[grant.grant_id] = replace(grant, free_nanos=0, spent_nanos=grant.spent_nanos + grant.free_nanos)
        postings += move(debt_account(CustomerId(customer)), REVENUE, nanos)
        transaction = Transaction(
            transaction_id=TransactionId("txn_owe"),
            kind="adjust",
            key="owe",
            at_us=shop.clock.at_us,
            customer_id=CustomerId(customer),
            postings=postings,
        )
        wallet = Wallet(customer_id=CustomerId(customer), debt_nanos=nanos)
        return Decision(result=None, transactions=(transaction,), rows=(*spent.values(), wallet))

    house.ledger.transact(load, decide).result()
