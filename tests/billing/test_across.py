"""Plans beside budgets and counters: a cap of a plan binds its customers, and counts follow the subscription's cycle."""

from lava_proxy.core.entities import BudgetMeasure
from lava_proxy.core.ids import CustomerId
from lava_proxy.core.periods import cycle_start_us
from lava_proxy.services.budgets import BudgetTerms
from tests.billing.conftest import ME, Shop, at, usd


def test_a_budget_of_a_plan_binds_its_customers_alone(shop: Shop) -> None:
    shop.plan("Pro", "10.00", included_nanos=usd("100.00"))
    for name in ("acme", "bolt"):
        shop.customer(name)
        shop.start(name, "Pro" if name == "acme" else "Free")
    (due,) = shop.payments("acme")
    assert due.paid_us is not None
    shop.house.budgets.set(
        BudgetTerms(measure=BudgetMeasure.CHARGE, limit=usd("3.00"), period="month", plan="Pro"), by=ME
    )

    shop.spend("acme", "2.00")
    assert shop.refusal("acme", "2.00") == "budget_exceeded"
    assert shop.refusal("bolt", "2.00") == "insufficient_credits"
    shop.go("2026-02-02")
    shop.spend("acme", "2.00")


def test_the_cycle_of_counters_is_the_subscriptions(shop: Shop) -> None:
    shop.go("2026-01-20")
    customer_id = CustomerId(shop.customer("acme"))

    def start() -> int:
        return shop.house.ledger.read(lambda rows: cycle_start_us(rows, customer_id, shop.clock.at_us))

    assert start() == at("2026-01-01")
    shop.plan("Pro", "10.00")
    shop.start("acme", "Pro")
    began = start()
    assert at("2026-01-19") < began <= shop.clock.at_us
    shop.go("2026-02-25")
    assert at("2026-02-19") < start() < at("2026-02-21")
