"""What the proofs share. Tests that ask for ``repetition`` run once, and twenty times with --long."""

import contextlib

import pytest

from lava_proxy.core.entities import TierUnit
from lava_proxy.demo.provider import StandIn
from lava_proxy.wiring import MadeHome
from tests.proof.starting import PLAN, Start, module_for
from tests.support.certificates import Authority
from tests.support.proxy import RunningProxy, Shop, running_proxy

TIMES = 20


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "repetition" in metafunc.fixturenames:
        times = TIMES if metafunc.config.getoption("--long") else 1
        metafunc.parametrize("repetition", range(times))


@pytest.fixture
def start(made_home: MadeHome, provider: StandIn, authority: Authority, shop: Shop) -> Start:
    """Starts proxies of a shop whose one customer, acme, has credit and pays by the token."""
    shop.meter("tokens", "1000", unit=TierUnit.TOKENS_1M)
    shop.customer("acme", credit="1000", meter="tokens")
    provider.plan = PLAN

    def start(**settings: str) -> contextlib.AbstractContextManager[RunningProxy]:
        module = module_for(settings)
        return running_proxy(made_home.home, provider=provider, authority=authority, settings=settings, module=module)

    return start
