"""A file and the books: what one says and the other has, in both directions."""

import pytest

from lava_proxy.core.alert_rows import AlertKind
from lava_proxy.core.entities import AuditEntry
from lava_proxy.core.errors import CustomerNotFound, InvalidInput, LavaError, Refused
from lava_proxy.services.alert_rules import AlertTerms
from lava_proxy.services.as_code import Plan
from lava_proxy.services.customer_fields import CustomerFields
from lava_proxy.wiring import House
from tests.services.conftest import ME

FILE = """
[meters.premium]
name = "Premium"
rate = "20"
default = true

[meters.volume]
rate_type = "fixed"
tier_type = "requests"
tiers = ["0:0.10", "1k:0.05"]

[alerts.low]
kind = "balance_below"
threshold = "5"
customer = "acme"

[alerts.much]
kind = "spend_per_day"
threshold = 500
total = true
"""


@pytest.fixture(autouse=True)
def acme(house: House) -> None:
    house.customers.create(CustomerFields(reference_id="acme"), by=ME)


def plan(house: House, text: str, *, prune: bool = False) -> Plan:
    return house.as_code.plan(text, place="f.toml", prune=prune)


def told(plan: Plan) -> list[str]:
    return [f"{change.action.value} {change.kind}.{change.name}" for change in plan.changes]


def test_a_file_is_brought_in_once(house: House) -> None:
    first = plan(house, FILE)
    assert told(first) == ["create meters.premium", "create meters.volume", "create alerts.low", "create alerts.much"]
    assert first.untold == ("meters.default",)
    assert house.as_code.apply(first, by=ME) == 4
    assert told(plan(house, FILE)) == []
    assert house.meters.get("premium").is_default
    assert [tier.start for tier in house.meters.get("volume").version.tiers] == [0, 1000]
    assert house.alert_rules.get("much").threshold == 500 * 10**9
    actions = [entry.action for entry in house.ledger.books().rows(AuditEntry)]
    assert actions[-4:] == ["meter.create", "meter.create", "alert.created", "alert.created"]


def test_what_is_pulled_changes_nothing_when_it_is_applied(house: House) -> None:
    house.as_code.apply(plan(house, FILE), by=ME)
    for kind, threshold in (
        ("credit_used", "80.5"),
        ("disk_low", "20GiB"),
        ("writer_lag", "30s"),
        ("backup_old", "3d"),
    ):
        house.alert_rules.create(AlertTerms(kind=AlertKind(kind), threshold=threshold, slug=f"own-{kind}"), by=ME)
    pulled = house.as_code.pull()
    again = plan(house, pulled, prune=True)
    assert (told(again), again.untold) == ([], ())
    assert house.as_code.pull() == pulled
    assert 'tiers = ["0:0.10", "1000:0.05"]' in pulled


def test_a_difference_is_told_field_by_field_and_made_a_new_version(house: House) -> None:
    house.as_code.apply(plan(house, FILE), by=ME)
    changed = plan(house, FILE.replace('rate = "20"', 'rate = "30"').replace('threshold = "5"', 'threshold = "7.50"'))
    assert [(c.name, f.field, f.before, f.after) for c in changed.changes for f in c.fields] == [
        ("premium", "tiers", ["0:20.00"], ["0:30.00"]),
        ("low", "threshold", "5.00", "7.50"),
    ]
    house.as_code.apply(changed, by=ME)
    assert house.meters.get("premium").version.version == 2
    assert house.alert_rules.get("low").threshold == 7_500_000_000


def test_what_a_file_does_not_name_goes_only_when_pruned(house: House) -> None:
    house.as_code.apply(plan(house, FILE), by=ME)
    rest = FILE.partition("[meters.volume]")[0]
    kept = plan(house, rest)
    assert told(kept) == [] and "meters.volume" in kept.untold
    pruned = plan(house, rest, prune=True)
    assert told(pruned) == ["remove meters.default", "remove meters.volume", "remove alerts.low", "remove alerts.much"]
    house.as_code.apply(pruned, by=ME)
    assert [priced.meter.slug for priced in house.meters.all()] == ["premium"]
    assert told(plan(house, rest, prune=True)) == []


def test_a_default_that_is_not_told_stays(house: House) -> None:
    assert told(plan(house, '[meters.default]\nname = "Default"\nrate = "0"\n')) == []
    assert house.meters.get("default").is_default


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("meters = 1", "meters: write a table"),
        ("[meters]\npremium = 1", "meters.premium: write a table"),
        ("port = 8080", "port: there is no such table"),
        ("[meter.x]\nrate='1'", "did you mean 'meters'"),
        ("[meters.x", "not valid TOML"),
        ("[meters.x]\nrate = 1.5", "meters.x: rate: write it in quotes"),
        ("[meters.x]\nrate = '1'\nrates = '2'", "meters.x: rates: there is no such field; did you mean 'rate'"),
        ("[meters.x]", "meters.x: rate: give one of"),
        ("[meters.x]\ntiers = ['5:1']", "the first must start at 0"),
        ("[meters.x]\ntiers = ['0:1', '0:2']", "the starts must ascend"),
        ("[meters.x]\ntiers = '0:1'", "tiers: write a list"),
        ("[meters.x]\nrate = 'NaN'", "is no rate"),
        ("[meters.x]\nrate = '1'\nrate_type = 'free'", "rate_type: 'free' is none of"),
        ("[meters.X]\nrate = '1'", "meter_slug"),
        ("[meters.x]\nrate = '1'\ndefault = 'yes'", "default: write true or false"),
        ("[meters.x]\nrate='1'\ndefault=true\n[meters.y]\nrate='1'\ndefault=true", "only one meter"),
        ("[alerts.x]\nthreshold = '5'", "alerts.x: kind: it is missing"),
        ("[alerts.x]\nkind = 'hunger'", "kind: 'hunger' is none of"),
        ("[alerts.x]\nkind = 'balance_below'", "threshold"),
        ("[alerts.x]\nkind = 'balance_below'\nthreshold = '5'\ntotal = true", "total"),
        ("[alerts.disk-low]\nkind = 'disk_low'", "built-in"),
    ],
)
def test_a_file_that_says_what_cannot_be_is_refused_with_its_place(house: House, text: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=r"f\.toml: ") as caught:
        plan(house, text)
    assert said in caught.value.message


def test_nothing_is_written_where_any_of_it_cannot_be(house: House) -> None:
    before = house.as_code.pull()
    for wrong, kind in (
        (
            "[meters.new]\nrate = '1'\n[alerts.x]\nkind = 'balance_below'\nthreshold = '1'\ncustomer = 'nobody'",
            CustomerNotFound,
        ),
        ("[meters.new]\nrate = '1'\n[meters.default]\nrate = '1'\nrate_type = 'fixed'", Refused),
    ):
        with pytest.raises(kind):
            plan(house, wrong)
    assert house.as_code.pull() == before


def test_a_change_that_fails_half_way_names_its_place_and_can_be_repeated(house: House) -> None:
    text = "[meters.premium]\nrate = '1'\n"
    planned = plan(house, text, prune=True)
    assert told(planned) == ["create meters.premium", "remove meters.default"]
    with pytest.raises(LavaError, match=r"meters\.default: The meter default is the home's default"):
        house.as_code.apply(planned, by=ME)
    assert told(plan(house, text, prune=True)) == ["remove meters.default"]
