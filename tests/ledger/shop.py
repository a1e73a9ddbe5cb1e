"""A small shop for the tests of the ledger: one customer, one meter by requests, and calls that ask to be admitted."""

import sys
from concurrent.futures import Future
from fractions import Fraction
from itertools import count
from pathlib import Path

from lava_proxy.core.admission import Admitted, Asked, Quantities, UnpricedPolicy, admit, load_admission
from lava_proxy.core.entities import (
    Customer,
    Grant,
    GrantSource,
    HomeFact,
    Meter,
    MeterVersion,
    Mode,
    RateType,
    RequestHead,
    RequestRecord,
    Tier,
    TierUnit,
    Transaction,
)
from lava_proxy.core.identity import DEFAULT_METER_FACT, Claims, Denial, IdentityPolicy
from lava_proxy.core.ids import CustomerId, EventId, GrantId, HoldId, InstanceId, MeterId, RequestId, TransactionId
from lava_proxy.core.journal import free_account, funding_account, move
from lava_proxy.core.money import parse_amount
from lava_proxy.core.ports import Decision, Ledger
from lava_proxy.core.settlement import Measured, Stamp, load_holding, settle
from lava_proxy.core.usage import Usage
from lava_proxy.store import open_ledger

CUSTOMER = CustomerId("con_shop")
METER = MeterId("prd_shop")


class SystemClock:
    def now_us(self) -> int:
        return 1_790_000_000_000_000


class Till:
    """Asks for calls under ids of its own."""

    def __init__(self, ledger: Ledger, name: str) -> None:
        self.ledger, self.name, self.numbers = ledger, name, count(1)

    def new(self, prefix: str) -> str:
        return f"{prefix}_{self.name}{next(self.numbers):09d}"

    def ask(self, *, tokens: int = 0) -> Future[Admitted | Denial]:
        now_us = SystemClock().now_us()
        asked = Asked(
            claims=Claims(customer=CUSTOMER),
            request=RequestHead(
                provider="openai", dialect="openai_chat", op="chat", method="POST", url="https://api.openai.com/v1"
            ),
            quantities=Quantities(tokens_micros=tokens * 1_000_000, characters_micros=0, seconds_micros=0),
            cost=Fraction(0),
            quote_note="",
            policy=IdentityPolicy(require_key=False),
            unpriced=UnpricedPolicy.BLOCK,
            unpriced_hold_nanos=0,
            now_us=now_us,
            expires_us=now_us + 1_000_000,
            instance_id=InstanceId(f"ins_{self.name}"),
            request_id=RequestId(self.new("req")),
            hold_id=HoldId(self.new("hld")),
            transaction_id=TransactionId(self.new("txn")),
            new_customer_id=CustomerId(self.new("con")),
            new_event_id=EventId(self.new("evt")),
        )
        return self.ledger.transact(lambda rows: load_admission(rows, asked), admit)

    def settle(self, hold_id: HoldId, *, tokens: int = 0) -> Future[RequestRecord | None]:
        stamp = Stamp(
            now_us=SystemClock().now_us(),
            transaction_id=TransactionId(self.new("txn")),
            event_id=EventId(self.new("evt")),
        )
        measured = Measured(usage=Usage(input_tokens=tokens), cost=Fraction(0), charge_hold_if_unpriced=True)

        def decide(holding: object) -> Decision[RequestRecord | None]:
            assert holding is not None
            return settle(holding, measured, stamp)  # type: ignore[arg-type]

        return self.ledger.transact(lambda rows: load_holding(rows, hold_id), decide)


def furnish(ledger: Ledger, *, credit: str, rate: str, unit: TierUnit = TierUnit.REQUESTS) -> None:
    """One customer with ``credit``, and the default meter at ``rate``."""
    nanos = parse_amount(credit)
    grant = Grant(
        grant_id=GrantId("grt_shop"),
        customer_id=CUSTOMER,
        source=GrantSource.MANUAL,
        amount_nanos=nanos,
        free_nanos=nanos,
        created_us=0,
    )
    transaction = Transaction(
        transaction_id=TransactionId("txn_shop"),
        kind="grant",
        key=f"grant:{grant.grant_id}",
        at_us=0,
        customer_id=CUSTOMER,
        postings=move(funding_account("manual"), free_account(grant.grant_id), nanos),
    )
    tiers = (Tier(start=0, rate_nanos=parse_amount(rate)),)
    rows = (
        Customer(customer_id=CUSTOMER, created_us=0),
        Meter(
            meter_id=METER,
            slug="shop",
            name="Shop",
            rate_type=RateType.FIXED,
            tier_unit=unit,
            version=1,
            created_us=0,
        ),
        MeterVersion(meter_id=METER, version=1, rate_type=RateType.FIXED, tier_unit=unit, tiers=tiers, created_us=0),
        HomeFact(name=DEFAULT_METER_FACT, value=METER),
        grant,
    )
    ledger.transact(lambda _: None, lambda _: Decision(result=None, transactions=(transaction,), rows=rows)).result(20)


def main() -> None:
    """``FILE NAME COUNT``: ask for COUNT calls at once from a process of its own, and print how many were admitted."""
    path, name, wanted = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    with open_ledger(path, mode=Mode.TEST, clock=SystemClock()) as ledger:
        till = Till(ledger, name)
        outcomes = [future.result(60) for future in [till.ask() for _ in range(wanted)]]
    print(sum(isinstance(outcome, Admitted) for outcome in outcomes))


if __name__ == "__main__":
    main()
