"""Meters: read from text, changed by versions, kept while somebody needs them."""

import pytest

from lava_proxy.core.entities import MeterStatus, MeterVersion, RateType, Tier, TierUnit
from lava_proxy.core.errors import Conflict, InvalidInput, MeterNotFound, Refused
from lava_proxy.core.tiers import example, read_tiers
from lava_proxy.services.customer_fields import CustomerFields
from lava_proxy.services.meters import MeterChanges, MeterTerms
from lava_proxy.wiring import House
from tests.services.conftest import ME, Traffic


def terms(
    rate: str = "20",
    *,
    name: str = "Premium",
    rate_type: RateType = RateType.PERCENTAGE,
    unit: TierUnit = TierUnit.TOKENS_1M,
) -> MeterTerms:
    return MeterTerms(name=name, rate_type=rate_type, tier_unit=unit, tiers=read_tiers((("0", rate),)))


def test_tiers_are_read_from_text_exactly() -> None:
    assert read_tiers((("0", "5.00"), ("1M", "3"), ("10_000_000", "0.000000001"))) == (
        Tier(start=0, rate_nanos=5_000_000_000),
        Tier(start=1_000_000, rate_nanos=3_000_000_000),
        Tier(start=10_000_000, rate_nanos=1),
    )
    assert read_tiers((("0", "20%"),)) == (Tier(start=0, rate_nanos=20_000_000_000),)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ((), "give 1 to 100"),
        ((("5", "1"),), "must start at 0"),
        ((("0", "1"), ("10", "1"), ("10", "2")), "must ascend"),
        ((("0", "-1"),), "no rate"),
        ((("0", "0.0000000001"),), "no rate"),
        ((("0", "1e3"),), "no rate"),
        ((("0", "free"),), "no rate"),
        ((("0.5", "1"),), "no start"),
    ],
)
def test_tiers_that_cannot_be_are_refused(given: tuple[tuple[str, str], ...], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        read_tiers(given)


@pytest.mark.parametrize(
    ("rate_type", "unit", "rate", "says"),
    [
        (RateType.PERCENTAGE, TierUnit.TOKENS_1M, "20", "a call that costs $1.00 is charged $1.20"),
        (RateType.PERCENTAGE, TierUnit.TOKENS_1M, "0", "a call that costs $1.00 is charged $1.00"),
        (RateType.PERCENTAGE, TierUnit.TOKENS_1M, "12.5", "a call that costs $1.00 is charged $1.125"),
        (RateType.FIXED, TierUnit.TOKENS_1M, "5", "1,000,000 tokens are charged $5.00"),
        (RateType.FIXED, TierUnit.CHARACTERS_1M, "5", "1,000,000 characters are charged $5.00"),
        (RateType.FIXED, TierUnit.MINUTES, "0.006", "a minute is charged $0.006"),
        (RateType.FIXED, TierUnit.REQUESTS, "0.10", "a request is charged $0.10"),
    ],
)
def test_a_meter_explains_itself_by_an_example(
    rate_type: RateType, unit: TierUnit, rate: str, says: str, house: House
) -> None:
    made = house.meters.create(terms(rate, rate_type=rate_type, unit=unit), by=ME).value
    assert example(made.version) == says


def test_the_example_is_what_a_call_is_charged(house: House, traffic: Traffic) -> None:
    made = house.meters.create(terms("20"), by=ME).value
    house.customers.create(CustomerFields(reference_id="acme", meter="premium"), by=ME)
    from lava_proxy.services.credits import GrantTerms

    house.credits.grant(GrantTerms(customer="acme", amount_nanos=10**9), by=ME)
    record = house.requests.get(traffic.call("acme")).record
    assert record is not None and record.cost_nanos == 450_000
    assert record.charge_nanos == 540_000
    assert (record.meter_id, record.meter_version, record.meter_rule) == (made.meter.meter_id, 1, "customer")


def test_a_meter_without_a_slug_gets_one_from_its_name_and_no_two_share_it(house: House) -> None:
    assert house.meters.create(terms(name="Große Mengen!"), by=ME).value.meter.slug == "gro-e-mengen"
    house.meters.create(terms(), by=ME)
    with pytest.raises(Conflict, match="'premium' exists already"):
        house.meters.create(terms("30"), by=ME)
    with pytest.raises(Conflict, match="at-cost"):
        house.meters.create(terms(name="At cost"), by=ME)


def test_other_tiers_are_a_new_version_and_the_old_one_stays(house: House) -> None:
    house.meters.create(terms("20"), by=ME)
    after = house.meters.update("premium", MeterChanges(tiers=read_tiers((("0", "30"),))), by=ME).value
    assert after.meter.version == after.version.version == 2
    assert [v.tiers[0].rate_nanos for v in house.meters.versions("premium")] == [20 * 10**9, 30 * 10**9]
    same = house.meters.update("premium", MeterChanges(tiers=read_tiers((("0", "30"),)), name="Gold"), by=ME).value
    assert (same.meter.version, same.meter.name) == (2, "Gold")
    assert len([v for v in house.ledger.books().rows(MeterVersion) if v.meter_id == after.meter.meter_id]) == 2


def test_the_default_meter_of_a_home_charges_the_cost_until_it_is_changed(house: House) -> None:
    default = house.meters.get("default")
    assert default.is_default and example(default.version).endswith("$1.00")
    other = house.meters.create(terms("20"), by=ME).value
    assert not other.is_default
    assert house.meters.update("premium", MeterChanges(is_default=True), by=ME).value.is_default
    assert not house.meters.get("default").is_default


def test_a_meter_in_use_is_not_archived(house: House) -> None:
    house.meters.create(terms(), by=ME)
    house.customers.create(CustomerFields(reference_id="acme", meter="premium"), by=ME)
    with pytest.raises(Refused, match="home's default"):
        house.meters.archive("default", by=ME)
    with pytest.raises(Refused, match="acme"):
        house.meters.archive("premium", by=ME)
    with pytest.raises(Refused, match="built-in"):
        house.meters.archive("at-cost", by=ME)
    house.customers.update("acme", CustomerFields(meter=None), by=ME)
    assert house.meters.archive("premium", by=ME).value.meter.status is MeterStatus.ARCHIVED
    assert [m.meter.slug for m in house.meters.all()] == ["default"]
    assert [m.meter.slug for m in house.meters.all(include_archived=True)] == ["default", "premium"]
    with pytest.raises(Refused, match="archived"):
        house.meters.update("premium", MeterChanges(name="x"), by=ME)
    with pytest.raises(Refused, match="archived"):
        house.customers.update("acme", CustomerFields(meter="premium"), by=ME)


def test_an_unknown_meter_is_not_found(house: House) -> None:
    with pytest.raises(MeterNotFound, match="'nosuch'"):
        house.meters.get("nosuch")
