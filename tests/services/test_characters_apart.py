"""Characters that the provider does not tell are counted by us, and charged by their parts: never as nothing."""

import pytest

from lava_proxy.core.entities import RateType, RequestRecord, Tier, TierUnit
from lava_proxy.core.meter_options import MeterOptions, UnitRate
from lava_proxy.services.credits import GrantTerms
from lava_proxy.services.customer_fields import CustomerFields
from lava_proxy.services.meters import MeterTerms
from lava_proxy.wiring import House
from tests.services.conftest import ME, Traffic

DOLLAR = 10**9


@pytest.mark.parametrize(
    ("rate", "own"),
    [
        (0, {"input_characters": 1, "output_characters": 4}),
        (50, {"input_characters": 1, "output_characters": 4}),
        (50, {"input_characters": 1}),
        (2, {"output_characters": 40}),
    ],
)
def test_a_chat_on_a_meter_of_characters_is_charged_within_its_quote(
    house: House, traffic: Traffic, rate: int, own: dict[str, int]
) -> None:
    options = MeterOptions(units=tuple(UnitRate(unit=unit, rate_nanos=usd * DOLLAR) for unit, usd in own.items()))
    terms = MeterTerms(
        name="text",
        slug="text",
        rate_type=RateType.FIXED,
        tier_unit=TierUnit.CHARACTERS_1M,
        tiers=(Tier(start=0, rate_nanos=rate * DOLLAR),),
        options=options,
    )
    house.meters.create(terms, by=ME)
    house.customers.create(CustomerFields(reference_id="acme", meter="text"), by=ME)
    house.credits.grant(GrantTerms(customer="acme", amount_nanos=1000 * DOLLAR), by=ME)
    traffic.call("acme")
    (record,) = house.ledger.books().rows(RequestRecord)

    assert 0 < record.charge_nanos <= record.quote_nanos, record
    assert "unit_not_reported" not in record.flags
