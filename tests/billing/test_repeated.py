"""Every change of billing sent several times in parallel under one key is made once; sent without one, it is made or refused."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from lava_proxy.core.billing import PaymentStatus
from lava_proxy.core.errors import LavaError
from lava_proxy.core.subscriptions import OwnTerms
from lava_proxy.services.idempotency import By
from lava_proxy.services.subscriptions import Asked, TopUpTerms
from tests.billing.conftest import ME, Shop, usd


@pytest.mark.parametrize("times", [1, 2, 5])
def test_one_key_makes_one_change_however_often_it_comes(shop: Shop, times: int) -> None:
    plan, acme = shop.plan("Pro", "10.00"), shop.customer("acme")
    big, subscriptions = shop.plan("Big", "40.00"), shop.house.subscriptions
    bundle = shop.bundle(plan, "5.00", "5.00")

    def all_at_once(key: str, change: object) -> None:
        asked = Asked(by=By(actor="test", idempotency_key=key))
        with ThreadPoolExecutor(times) as pool:
            answers = list(pool.map(lambda _: change(asked), range(times)))  # type: ignore[operator]
        assert len({repr(answer.value) for answer in answers}) == 1
        assert sum(not answer.is_repeat for answer in answers) == 1

    all_at_once("start", lambda asked: subscriptions.start(acme, plan, OwnTerms(), asked=asked))
    shop.tick()
    all_at_once("buy", lambda asked: subscriptions.buy(acme, bundle, asked=asked))
    shop.tick()
    all_at_once("change", lambda asked: subscriptions.change(acme, big, asked=asked))
    shop.tick()
    terms = TopUpTerms(below_nanos=1, amount_nanos=usd("1"))
    all_at_once("topup", lambda asked: subscriptions.set_top_up(acme, terms, asked=asked))
    all_at_once("cancel", lambda asked: subscriptions.cancel(acme, now=True, asked=asked))
    paid = [p for p in shop.payments(acme) if p.status is PaymentStatus.PAID]
    assert [p.purpose.value for p in paid] == ["cycle", "bundle", "upgrade"]
    shop.tick()


def test_a_customer_is_put_on_a_plan_once_by_eight_at_once(shop: Shop) -> None:
    plan, acme = shop.plan("Pro", "10.00"), shop.customer("acme")

    def start(_: int) -> str:
        try:
            shop.house.subscriptions.start(acme, plan, OwnTerms(), asked=Asked(by=ME))
        except LavaError as error:
            return error.code
        return "started"

    with ThreadPoolExecutor(8) as pool:
        outcomes = sorted(pool.map(start, range(8)))
    assert outcomes == ["conflict"] * 7 + ["started"]
