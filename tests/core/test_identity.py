"""Who may act for whom. Each test reads: this caller showed that, so they are taken for this one, or refused."""

import pytest
from msgspec.structs import replace

from lava_proxy.core.entities import (
    Customer,
    CustomerStatus,
    Entity,
    HomeFact,
    Key,
    KeyScope,
    Meter,
    MeterStatus,
    MeterVersion,
    Mode,
    RateType,
    Run,
    Tier,
    TierUnit,
)
from lava_proxy.core.identity import (
    DEFAULT_METER_FACT,
    Anonymous,
    Claims,
    Denial,
    Identity,
    IdentityPolicy,
    UnknownCustomer,
    identify,
)
from lava_proxy.core.ids import CustomerId, KeyId, MeterId, RunId
from lava_proxy.core.keys import new_key
from lava_proxy.core.meters import MeterRule
from lava_proxy.core.ports import Decision
from tests.support.paper import PaperLedger

NOW_US = 1_000
OPEN = IdentityPolicy(require_key=False)
STRICT = IdentityPolicy(require_key=True)


def _meter(slug: str, status: MeterStatus = MeterStatus.ACTIVE) -> tuple[Meter, MeterVersion]:
    meter_id = MeterId(f"prd_{slug}")
    made = Meter(
        meter_id=meter_id,
        slug=slug,
        name=slug,
        rate_type=RateType.FIXED,
        tier_unit=TierUnit.REQUESTS,
        version=1,
        status=status,
        created_us=0,
    )
    tiers = (Tier(start=0, rate_nanos=1),)
    version = MeterVersion(
        meter_id=meter_id, version=1, rate_type=RateType.FIXED, tier_unit=TierUnit.REQUESTS, tiers=tiers, created_us=0
    )
    return made, version


def _key(scope: KeyScope, number: int, **more: object) -> tuple[Key, str]:
    return new_key(
        key_id=KeyId(f"key_{number:026d}"),
        scope=scope,
        mode=Mode.TEST,
        random_bytes=bytes([number]) * 32,
        name="",
        created_us=0,
        **more,  # type: ignore[arg-type]
    )


class Home:
    def __init__(self) -> None:
        self.ledger = PaperLedger()
        self.merchant = self.put_key(KeyScope.MERCHANT, 1)
        self.acme_key = self.put_key(KeyScope.CUSTOMER, 2, customer_id=CustomerId("con_acme"))
        self.gold_key = self.put_key(
            KeyScope.CUSTOMER,
            3,
            customer_id=CustomerId("con_acme"),
            meter_ids=(MeterId("prd_gold"), MeterId("prd_iron")),
        )
        self.run_key = self.put_key(KeyScope.RUN, 4, run_id=RunId("run_1"))
        self.put(
            Customer(customer_id=CustomerId("con_acme"), reference_id="acme", created_us=0),
            Customer(
                customer_id=CustomerId("con_beta"), reference_id="beta", meter_id=MeterId("prd_iron"), created_us=0
            ),
            Customer(
                customer_id=CustomerId("con_old"), reference_id="old", status=CustomerStatus.ARCHIVED, created_us=0
            ),
            Run(run_id=RunId("run_1"), created_us=0),
            *_meter("gold"),
            *_meter("iron"),
            *_meter("gone", MeterStatus.ARCHIVED),
        )

    def put(self, *rows: Entity) -> None:
        self.ledger.transact(lambda _: None, lambda _: Decision(result=None, rows=rows))

    def put_key(self, scope: KeyScope, number: int, **more: object) -> str:
        key, text = _key(scope, number, **more)
        self.put(key)
        return text

    def ask(self, policy: IdentityPolicy, **claims: str) -> Identity | Denial:
        return identify(self.ledger, Claims(**claims), policy, now_us=NOW_US)  # type: ignore[arg-type]

    def customer(self, policy: IdentityPolicy, **claims: str) -> str | None:
        found = self.ask(policy, **claims)
        assert isinstance(found, Identity), found
        return found.customer.customer_id if found.customer else found.new_reference

    def code(self, policy: IdentityPolicy, **claims: str) -> str:
        found = self.ask(policy, **claims)
        assert isinstance(found, Denial), found
        return found.code


@pytest.fixture
def home() -> Home:
    return Home()


def test_a_merchant_key_names_any_customer_by_id_or_reference(home: Home) -> None:
    assert home.customer(STRICT, key=home.merchant, user="acme") == "con_acme"
    assert home.customer(STRICT, key=home.merchant, user="con_beta") == "con_beta"
    assert home.customer(STRICT, key=home.merchant, user="acme", customer="beta") == "con_beta"
    assert home.customer(STRICT, key=home.merchant, user="-") is None


def test_no_header_leaves_the_customer_of_a_customer_key(home: Home) -> None:
    assert home.customer(STRICT, key=home.acme_key) == "con_acme"
    assert home.customer(STRICT, key=home.acme_key, customer="acme", user="con_acme") == "con_acme"
    assert home.code(STRICT, key=home.acme_key, customer="beta") == "customer_not_allowed"
    assert home.code(OPEN, key=home.acme_key, user="beta") == "customer_not_allowed"
    assert home.customer(STRICT, key=home.acme_key, body_user="beta") == "con_acme"


def test_a_key_that_is_wrong_revoked_or_expired_is_told_so(home: Home) -> None:
    assert home.code(OPEN, key="aks_test_nonsense") == "invalid_key"
    assert home.code(OPEN, key=home.merchant[:-1] + ("a" if home.merchant[-1] != "a" else "b")) == "invalid_key"
    revoked = home.put_key(KeyScope.MERCHANT, 8, expires_us=NOW_US)
    assert home.code(OPEN, key=revoked) == "key_expired"
    key = home.ledger.get(Key, f"key_{1:026d}")
    assert key is not None
    home.put(Key(**{n: getattr(key, n) for n in key.__struct_fields__} | {"revoked_us": NOW_US}))
    assert home.code(OPEN, key=home.merchant) == "key_revoked"


def test_a_revocation_binds_a_call_that_asked_before_it_and_waited_for_the_ledger(home: Home) -> None:
    key = home.ledger.get(Key, f"key_{1:026d}")
    assert key is not None
    home.put(replace(key, revoked_us=NOW_US + 5))
    assert home.code(OPEN, key=home.merchant) == "key_revoked"


def test_without_a_key_a_loopback_caller_may_choose_and_others_may_not_call(home: Home) -> None:
    assert home.customer(OPEN, user="acme") == "con_acme"
    assert home.customer(OPEN) is None
    assert home.code(STRICT, user="acme") == "key_required"
    assert home.code(IdentityPolicy(require_key=False, anonymous=Anonymous.REFUSE)) == "identity_required"


def test_a_run_without_a_customer_may_name_one_only_where_anybody_could(home: Home) -> None:
    assert home.customer(OPEN, key=home.run_key, customer="acme") == "con_acme"
    assert home.customer(STRICT, key=home.run_key) is None
    assert home.code(STRICT, key=home.run_key, customer="acme") == "customer_not_allowed"


def test_an_unknown_customer_is_refused_or_made_by_policy(home: Home) -> None:
    creating = IdentityPolicy(require_key=False, unknown_customer=UnknownCustomer.CREATE)
    assert home.code(OPEN, user="nobody") == "customer_not_found"
    assert home.customer(creating, user="nobody") == "nobody"
    assert home.code(creating, user="con_nobody") == "customer_not_found"
    assert home.code(OPEN, user="old") == "customer_archived"


def test_the_meter_comes_from_the_caller_then_the_key_the_customer_the_home(home: Home) -> None:
    def chosen(policy: IdentityPolicy, **claims: str) -> tuple[str, str]:
        found = home.ask(policy, **claims)
        assert isinstance(found, Identity), found
        return found.meter.meter.slug, found.meter.rule

    assert chosen(OPEN, user="acme") == ("at-cost", MeterRule.AT_COST)
    home.put(HomeFact(name=DEFAULT_METER_FACT, value="prd_gold"))
    assert chosen(OPEN, user="acme") == ("gold", MeterRule.HOME_DEFAULT)
    assert chosen(OPEN, user="beta") == ("iron", MeterRule.CUSTOMER)
    assert chosen(STRICT, key=home.gold_key) == ("gold", MeterRule.KEY)
    assert chosen(STRICT, key=home.gold_key, meter="iron") == ("iron", MeterRule.NAMED)
    assert chosen(STRICT, key=home.merchant, user="beta", meter="prd_gold") == ("gold", MeterRule.NAMED)
    assert home.code(STRICT, key=home.acme_key, meter="iron") == "meter_not_allowed"
    assert home.code(STRICT, key=home.gold_key, meter="at-cost") == "meter_not_allowed"
    assert home.code(OPEN, meter="nowhere") == "meter_not_found"
    assert home.code(OPEN, meter="gone") == "meter_archived"
