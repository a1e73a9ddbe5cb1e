"""Homes, as the tests of services have them, and an alert that fired in one."""

from collections.abc import Callable

import pytest

from lava_proxy.core.alert_rows import AlertKind
from lava_proxy.services.alert_rules import AlertTerms
from lava_proxy.services.credits import GrantTerms
from lava_proxy.services.customer_fields import CustomerFields
from lava_proxy.wiring import House, make_authority
from tests.services.conftest import ME, clock, house, price_book

__all__ = ["clock", "house", "price_book"]


@pytest.fixture
def fire(house: House) -> Callable[[str], None]:
    """A customer whose balance is below $5.00, and a look: each call fires one alert."""
    make_authority(house.home)
    house.alert_rules.create(AlertTerms(kind=AlertKind.BALANCE_BELOW, threshold="5"), by=ME)

    def fire_one(reference_id: str) -> None:
        house.customers.create(CustomerFields(reference_id=reference_id), by=ME)
        house.credits.grant(GrantTerms(customer=reference_id, amount_nanos=10**9), by=ME)
        assert house.alerts.look() == 1

    return fire_one
