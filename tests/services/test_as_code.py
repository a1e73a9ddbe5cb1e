"""A file and the books: what one says and the other has, in both directions."""

import tomllib

import pytest

from lava_proxy.core.alert_rows import AlertKind
from lava_proxy.core.entities import AuditEntry
from lava_proxy.core.errors import CustomerNotFound, InvalidInput, LavaError, NotFound, Refused
from lava_proxy.services.alert_rules import AlertTerms
from lava_proxy.services.as_code import Plan
from lava_proxy.services.customer_fields import CustomerFields
from lava_proxy.services.keys import KeyTerms
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
    assert told(pruned) == ["remove alerts.low", "remove alerts.much", "remove meters.default", "remove meters.volume"]
    house.as_code.apply(pruned, by=ME)
    assert [priced.meter.slug for priced in house.meters.all()] == ["premium"]
    assert told(plan(house, rest, prune=True)) == []


def test_a_default_that_is_not_told_stays(house: House) -> None:
    assert told(plan(house, '[meters.default]\nname = "Default"\nrate = "0"\n')) == []
    assert house.meters.get("default").is_default


WHOLE = """
[meters.premium]
rate = "20"

[meters.parts]
rate_type = "fixed"
unit_rates = ["output_tokens:15", "input_tokens:3", "cached_input_tokens:0.30"]
model_rates = ["gpt-4o-mini*=output_tokens:1", "gpt-4o*=10", "gpt-4o*=input_tokens:2"]
minimum_charge = "0.001"
allowance = "1M"
reset = "cycle"

[meters.volume]
rate_type = "fixed"
tiers = ["0:5", "1M:3"]
tier_mode = "volume"

[meters.storage]
rate_type = "fixed"
unit = "gb_hours"
aggregation = "max"
reset = "cycle"
rate = "0.0002"

[plans.Pro]
amount = "25"
included = "20"
rollover = "full"
rollover_cap = "10"
bundle_rollover = "none"
bundle_rollover_cap = "4"
meters = ["premium", "parts"]
trial_days = 14
overage_cap = "50"
overage_markup = "20"
overage_collect = "10"
grace_days = 0
after_grace = "free"

[plans.Yearly]
amount = "100"
interval = "year"

[plans.Free]
amount = "0"
included = "1"

[bundles."Pro/Ten more"]
plan = "Pro"
cost = "10"
top_up = true

[bundles."Pro/Big one"]
plan = "Pro"
cost = "80"
credit = "100"

[budgets."plan:Pro charge month"]
limit = "40"

[budgets."customer:* rate"]
limit = 60
burst = 10

[budgets."customer:acme cost week"]
limit = "5"

[budgets."metadata:end_user=* requests day"]
limit = 100

[budgets."plan:Yearly models"]
allowed = ["gpt-4o-mini*", "claude-*"]

[budgets."plan:Yearly providers"]
allowed = ["openai"]

[alerts.nearly-out]
kind = "credit_used"
threshold = "80"
plan = "Pro"
"""


def test_everything_that_a_file_may_tell_is_brought_in_once(house: House) -> None:
    assert house.as_code.apply(plan(house, WHOLE), by=ME) == 16
    again = plan(house, WHOLE)
    assert (told(again), again.untold) == ([], ("meters.default",))
    parts = house.meters.get("parts").version
    assert parts.options is not None and parts.options.allowance == 1_000_000
    assert [rates.model for rates in parts.options.models] == ["gpt-4o-mini*", "gpt-4o*"]
    storage = house.meters.get("storage").version
    assert storage.options is not None and storage.options.unit == "gb_hours"
    pro = house.plans.get("Pro")
    assert (pro.plan.amount_nanos, pro.plan.included_nanos) == (25 * 10**9, 20 * 10**9)
    assert pro.plan.top_up_bundle_id == next(b.bundle_id for b in pro.bundles if b.name == "Ten more")
    assert house.plans.get("Free").plan.included_nanos == 10**9
    assert house.alert_rules.get("nearly-out").target == pro.plan.plan_id
    assert {budget.subject for budget in house.budgets.all()} == {
        *("customer:*", f"customer:{house.customers.get('acme').customer_id}", "metadata:end_user=*"),
        *(f"plan:{house.plans.get(name).plan.plan_id}" for name in ("Pro", "Yearly")),
    }


def test_all_of_it_that_is_pulled_changes_nothing_when_it_is_applied_and_makes_the_same_elsewhere(house: House) -> None:
    house.as_code.apply(plan(house, WHOLE), by=ME)
    pulled = house.as_code.pull()
    again = plan(house, pulled, prune=True)
    assert (told(again), again.untold) == ([], ())
    house.as_code.apply(plan(house, '[meters.default]\nrate = "0"\nname = "Default"\n', prune=True), by=ME)
    assert (house.budgets.all(), [each.plan.name for each in house.plans.all()]) == ((), ["Free"])
    rest = pulled.replace("[meters.", "[meters.new-").replace('meters = ["premium", "parts"]', 'meters = ["new-parts"]')
    house.as_code.apply(plan(house, rest.replace("[meters.new-default]", "[meters.default]")), by=ME)
    wanted = rest.replace("[meters.new-default]", "[meters.default]")
    assert tomllib.loads(house.as_code.pull()) == tomllib.loads(wanted)


def test_differences_of_plans_bundles_budgets_and_meters_are_told_and_made(house: House) -> None:
    house.as_code.apply(plan(house, WHOLE), by=ME)
    text = (
        WHOLE.replace('included = "20"', 'included = "30"')
        .replace("top_up = true", "")
        .replace('credit = "100"', 'credit = "100"\ntop_up = true')
        .replace('limit = "40"', 'limit = "45"')
        .replace('minimum_charge = "0.001"', "")
        .replace("burst = 10", "burst = 20")
    )
    changed = plan(house, text)
    assert [(f"{c.kind}.{c.name}", f.field, f.before, f.after) for c in changed.changes for f in c.fields] == [
        ("meters.parts", "minimum_charge", "0.001", None),
        ("plans.Pro", "included", "20.00", "30.00"),
        ("bundles.Pro/Ten more", "top_up", True, None),
        ("bundles.Pro/Big one", "top_up", None, True),
        ("budgets.plan:Pro charge month", "limit", "40.00", "45.00"),
        ("budgets.customer:* rate", "burst", "10", "20"),
    ]
    house.as_code.apply(changed, by=ME)
    assert told(plan(house, text)) == []
    pro = house.plans.get("Pro")
    assert pro.plan.top_up_bundle_id == next(b.bundle_id for b in pro.bundles if b.name == "Big one")
    assert house.meters.get("parts").version.version == 2


def test_a_plan_may_be_given_by_its_id_and_one_that_is_offered_no_more_keeps_it(house: House) -> None:
    house.as_code.apply(plan(house, WHOLE), by=ME)
    plan_id = house.plans.get("Pro").plan.plan_id
    alert = '[alerts.nearly-out]\nkind = "credit_used"\nthreshold = "80"\nplan = "{}"\n'
    assert told(plan(house, alert.format(plan_id))) == told(plan(house, alert.format("Pro"))) == []
    house.plans.archive("Pro", by=ME)
    pulled = house.as_code.pull()
    assert f'[budgets."plan:{plan_id} charge month"]' in pulled and f'plan = "{plan_id}"' in pulled
    assert told(plan(house, pulled, prune=True)) == []


def test_budgets_of_keys_are_told_by_the_id_of_a_key_that_is_there(house: House) -> None:
    key_id = house.keys.create(KeyTerms(name="ci"), by=ME).value.key.key_id
    text = f'[budgets."key:{key_id} requests total"]\nlimit = 5\n'
    house.as_code.apply(plan(house, text), by=ME)
    assert told(plan(house, text)) == [] and told(plan(house, house.as_code.pull())) == []
    with pytest.raises(NotFound):
        plan(house, text.replace(key_id, "key_none"))


def test_what_a_file_leaves_out_is_removed_with_prune_bundles_of_a_removed_plan_too(house: House) -> None:
    house.as_code.apply(plan(house, WHOLE), by=ME)
    kept = '[meters.default]\nname = "Default"\nrate = "0"\n'
    house.as_code.apply(plan(house, kept, prune=True), by=ME)
    assert told(plan(house, kept, prune=True)) == []
    assert house.plans.get("Free").plan.included_nanos == 0


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('amount = "25"', 'amount = "26"', "plans.Pro: amount cannot change"),
        ('interval = "year"', 'interval = "month"', "plans.Yearly: interval cannot change"),
        ('credit = "100"', 'credit = "101"', "bundles.Pro/Big one: credit cannot change"),
        ('aggregation = "max"', "", "meters.storage: aggregation cannot change"),
        ('allowance = "1M"\nreset = "cycle"', "", "meters.parts: reset cannot change"),
    ],
)
def test_what_is_fixed_once_made_is_refused(house: House, before: str, after: str, said: str) -> None:
    house.as_code.apply(plan(house, WHOLE), by=ME)
    with pytest.raises(Refused) as caught:
        plan(house, WHOLE.replace(before, after, 1))
    assert said in caught.value.message


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
        ("[meters.x]\nrate_type = 'fixed'\nunit_rates = ['input_tokens:3']", "no rate is given for output_tokens"),
        ("[meters.x]\nrate = '1'\nunit_rates = ['input_tokens:3']", "only a fixed meter has them"),
        ("[meters.x]\nrate = '1'\nrate_type='fixed'\nunit_rates = ['tea:3']", "'tea' is no unit"),
        ("[meters.x]\nrate = '1'\nminimum_charge = '-3'", "minimum_charge"),
        ("[meters.x]\nrate = '1'\nrate_type='fixed'\nallowance = '1.5'", "allowance: '1.5' is no number"),
        ("[meters.x]\nrate = '1'\nunit = 'gb_hours'", "rate_type: a unit that is reported has no cost"),
        ("[meters.x]\nrate_type='fixed'\ntiers = ['0:1', '5:2']\ntier_mode = 'volume'", "must not rise"),
        ("[plans.X]", "plans.X: amount: it is missing"),
        ("[plans.X]\namount = '1.005'", "at most 2 decimals"),
        ("[plans.X]\namount = '1'\ninterval = 'hour'", "interval: 'hour' is none of day, week"),
        ("[plans.X]\namount = '1'\nmeters = ['nothing']", "there is no meter 'nothing'"),
        ("[plans.X]\namount = '1'\ntrial_days = 999", "trial_days"),
        ("[plans.X]\namount = '1'\noverage_collect = '2'", "at most the overage cap"),
        ("[plans.X]\namount = '1'\nincluded = 2.5", "included: write it in quotes"),
        ("[plans.sc_x]\namount = '1'", "name: 1 to 100"),
        ("[bundles.Ten]\nplan = 'Pro'\ncost = '1'", "named PLAN/NAME"),
        ("[bundles.'Pro/Ten']\nplan = 'Pro'\ncost = '1'", "Pro/Ten: plan: there is no plan 'Pro'"),
        ("[bundles.'Free/Ten']\nplan = 'Free'\ncost = '0'", "cost"),
        (
            "[bundles.'Free/A']\nplan='Free'\ncost='1'\ntop_up=true\n[bundles.'Free/B']\nplan='Free'\ncost='1'\ntop_up=true",
            "only one bundle",
        ),
        ("[budgets.'acme charge']\nlimit = '1'", "is not SUBJECT MEASURE PERIOD"),
        ("[budgets.'customer:* charge']\nlimit = '1'", "end it with the period"),
        ("[budgets.'customer:* charge hour']\nlimit = '1'", "period: 'hour' is none"),
        ("[budgets.'customer:* charge day']\nlimit = 'NaN'", "charge"),
        ("[budgets.'customer:* rate']\nlimit = '1'\nburst = 0", "burst"),
        ("[budgets.'customer:* models']\nallowed = []", "models"),
        ("[budgets.'customer:* charge day']\nlimit = '1'\nburst = 2", "burst: there is no such field"),
        ("[budgets.'plan:Pro charge day']\nlimit = '1'", "there is no plan 'Pro'"),
        ("[budgets.'plan:sc_free charge day']\nlimit = '1'", "write 'plan:Free charge day'"),
        ("[alerts.x]\nkind = 'balance_below'\nthreshold = '5'\nplan = 'Pro'", "x: plan: there is no plan 'Pro'"),
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
