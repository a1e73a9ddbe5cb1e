"""A call priced again on a plan with overage: what is dearer goes over the credit, what is cheaper comes back from there first."""

from decimal import Decimal

from lava_proxy.core.entities import RateType, Tier, TierUnit
from lava_proxy.core.money import format_dollars
from lava_proxy.core.ports import RequestFilter
from lava_proxy.core.pricing import rate
from lava_proxy.dialects import DIALECTS
from lava_proxy.prices import PriceBook, PriceOverride
from lava_proxy.services.meters import MeterTerms
from lava_proxy.services.price_again import PriceAgain
from tests.billing.conftest import ME, Shop, usd


def price_at(shop: Shop, price_book: PriceBook, dollars: str) -> None:
    """Let the calls of 5 input and 5 output tokens come to so many dollars."""
    per_million = Decimal(dollars) * 1_000_000 / 10
    rates = {unit: rate(per_million, per=1_000_000) for unit in ("input_tokens", "output_tokens")}
    book = price_book.with_overrides([PriceOverride(provider="openai", model="gpt-4o-mini", rates=rates)])
    house = shop.house
    pricing = PriceAgain(providers=house.providers, prices=book, dialects=DIALECTS, settings=house.settings)
    house.repricing.run(RequestFilter(), pricing, by=ME)
    assert house.verify().findings == ()


def standing(shop: Shop) -> tuple[str, str, str]:
    """Credit, overage used, debt."""
    terms = shop.house.subscriptions.get("acme").terms
    assert terms is not None
    balance = shop.house.credits.balance("acme")
    free = sum(grant.free_nanos for grant in balance.grants)
    return format_dollars(free), format_dollars(terms.overage_used_nanos), format_dollars(balance.debt_nanos)


def test_a_dearer_call_goes_over_the_credit_and_a_cheaper_one_comes_back(shop: Shop, price_book: PriceBook) -> None:
    plan = shop.plan("Pro", "1.00", overage_cap_nanos=usd("5"))
    shop.start(shop.customer("acme"), plan)
    at_cost = MeterTerms(
        name="Cost",
        slug="cost",
        rate_type=RateType.PERCENTAGE,
        tier_unit=TierUnit.REQUESTS,
        tiers=(Tier(start=0, rate_nanos=0),),
    )
    shop.house.meters.create(at_cost, by=ME)
    shop.meter = lambda rate: "cost"  # type: ignore[method-assign]
    shop.spend("acme", "any")
    for dollars, credit, overage, debt in (
        ("0.40", "$0.60", "$0.00", "$0.00"),
        ("4.00", "$0.00", "$3.00", "$0.00"),
        ("2.50", "$0.00", "$1.50", "$0.00"),
        ("0.75", "$0.25", "$0.00", "$0.00"),
        ("8.00", "$0.00", "$5.00", "$2.00"),
        ("6.50", "$0.00", "$5.00", "$0.50"),
        ("1.00", "$0.00", "$0.00", "$0.00"),
        ("0", "$1.00", "$0.00", "$0.00"),
    ):
        price_at(shop, price_book, dollars)
        assert standing(shop) == (credit, overage, debt), dollars


def test_overage_that_was_billed_and_then_priced_lower_lessens_the_next_bill(shop: Shop, price_book: PriceBook) -> None:
    plan = shop.plan("Pro", "1.00", overage_cap_nanos=usd("5"))
    shop.start(shop.customer("acme"), plan)
    shop.house.meters.create(
        MeterTerms(
            name="Cost",
            slug="cost",
            rate_type=RateType.PERCENTAGE,
            tier_unit=TierUnit.REQUESTS,
            tiers=(Tier(start=0, rate_nanos=0),),
        ),
        by=ME,
    )
    own_meter = shop.meter
    shop.meter = lambda rate: "cost"  # type: ignore[method-assign]
    shop.spend("acme", "any")
    price_at(shop, price_book, "4.00")
    shop.go("2026-02-01T00:10")  # $1.00 and $1.00 for two cycles, $3.00 of overage
    assert shop.money() == "$5.00"
    price_at(shop, price_book, "2.00")
    assert standing(shop)[1] == "-$2.00"
    shop.meter = own_meter  # type: ignore[method-assign]
    shop.spend("acme", "4")  # 1 of credit, and 3 of overage
    assert standing(shop)[1] == "$1.00"
    shop.go("2026-03-01T00:10")
    assert shop.money() == "$7.00"
