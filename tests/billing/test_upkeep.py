"""A running proxy renews and tops up by itself."""

import threading
import time

import pytest

from lava_proxy.core.ids import InstanceId
from lava_proxy.services.upkeep import Chore, Upkeep
from tests.billing.conftest import Shop, at


@pytest.mark.slow
def test_what_is_due_is_done_while_the_proxy_runs(shop: Shop) -> None:
    plan, acme = shop.plan("Pro", "10.00"), shop.customer("acme")
    shop.start(acme, plan)
    registered = shop.house.instances.register(name="main", version="0")
    instance_id = InstanceId(registered.instance.instance_id)
    upkeep = shop.house.upkeep(instance_id, shop.house.calls(instance_id))
    upkeep.start()
    try:
        shop.clock.at_us = at("2026-02-01T00:10")
        for _ in range(300):
            if shop.money() == "$20.00":
                break
            time.sleep(0.1)
    finally:
        upkeep.stop()
    assert (shop.money(), shop.left(acme)) == ("$20.00", "$10.00")


def test_a_chore_that_waits_for_others_does_not_keep_the_rest_waiting() -> None:
    stuck, done = threading.Event(), threading.Event()
    chores = (
        Chore(name="waits", every_seconds=0.01, do=lambda: stuck.wait(30), waits_for_others=True),
        Chore(name="own", every_seconds=0.01, do=done.set),
    )
    upkeep = Upkeep(chores)
    upkeep.start()
    try:
        assert done.wait(20)
    finally:
        stuck.set()
        upkeep.stop()
