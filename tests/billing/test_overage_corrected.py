"""Overage of a call whose process died: charged at its hold, then corrected; and what was billed meanwhile comes back."""

from lava_proxy.core.entities import Hold
from lava_proxy.core.ids import EventId, HoldId, TransactionId
from lava_proxy.core.money import format_dollars
from lava_proxy.core.settlement import Stamp, load_holding, orphan, void
from lava_proxy.services.exchange import Call
from tests.billing.conftest import Shop, usd


def resolve(shop: Shop, call: Call, how: object) -> None:
    """By recovery, or by a person: as `lava holds void` does."""
    house = shop.house
    stamp = Stamp(
        now_us=shop.clock.now_us(),
        transaction_id=TransactionId(house.ids.new("txn")),
        event_id=EventId(house.ids.new("evt")),
    )

    def decide(holding: object) -> object:
        return how(holding, stamp)  # type: ignore[operator]

    (hold,) = [h for h in house.ledger.books().rows(Hold) if h.request_id == call.request_id]
    house.ledger.transact(
        lambda rows: load_holding(rows, HoldId(hold.hold_id)),
        decide,  # type: ignore[arg-type]
    ).result()


def standing(shop: Shop) -> tuple[str, str, str]:
    """Credit, overage used, overage held."""
    terms = shop.house.subscriptions.get("acme").terms
    assert terms is not None
    return shop.left("acme"), format_dollars(terms.overage_used_nanos), format_dollars(terms.overage_held_nanos)


def started(shop: Shop) -> Call:
    """A call of $4.00 in flight, of which credit covers $1.00."""
    plan = shop.plan("Pro", "1.00", overage_cap_nanos=usd("5"))
    shop.start(shop.customer("acme"), plan)
    return shop.begin("acme", "4")


def test_an_orphan_is_charged_at_its_hold_and_a_void_gives_overage_and_credit_back(shop: Shop) -> None:
    call = started(shop)
    assert standing(shop) == ("$0.00", "$0.00", "$3.00")
    resolve(shop, call, orphan)
    assert standing(shop) == ("$0.00", "$3.00", "$0.00")
    resolve(shop, call, void)
    assert standing(shop) == ("$1.00", "$0.00", "$0.00")


def test_a_void_of_a_call_in_flight_gives_its_overage_back(shop: Shop) -> None:
    call = started(shop)
    resolve(shop, call, void)
    assert standing(shop) == ("$1.00", "$0.00", "$0.00")


def test_overage_that_was_billed_and_then_voided_lessens_the_next_bill(shop: Shop) -> None:
    call = started(shop)
    resolve(shop, call, orphan)
    shop.go("2026-02-01T00:10")  # $1.00 and $1.00 for two cycles, $3.00 of overage
    assert shop.money() == "$5.00"
    resolve(shop, call, void)
    assert standing(shop)[1] == "-$3.00"
    shop.spend("acme", "5")  # 1 of credit, and 4 of overage
    assert standing(shop)[1] == "$1.00"
    shop.go("2026-03-01T00:10")
    assert shop.money() == "$7.00"


def test_a_call_in_flight_over_the_cycles_end_counts_in_the_new_one(shop: Shop) -> None:
    call = started(shop)
    shop.go("2026-02-01T00:10")
    assert (shop.money(), standing(shop)[2]) == ("$2.00", "$3.00")
    shop.end(call)
    assert standing(shop) == ("$1.00", "$3.00", "$0.00")
    shop.go("2026-03-01T00:10")
    assert shop.money() == "$6.00"


def test_the_last_call_fits_the_cap_exactly(shop: Shop) -> None:
    shop.end(started(shop))
    assert shop.refusal("acme", "2.01") == "insufficient_credits"
    shop.spend("acme", "2")
    assert standing(shop) == ("$0.00", "$5.00", "$0.00")
