"""Which of the rows that a call's end may change it did change."""

from lava_proxy.core.billing import Terms
from lava_proxy.core.entities import Grant, Wallet
from lava_proxy.core.ids import GrantId, MeterId
from lava_proxy.core.overage import noticed


def changed_grants(before: tuple[Grant, ...], after: dict[GrantId, Grant]) -> tuple[Grant, ...]:
    return tuple(after[g.grant_id] for g in before if after[g.grant_id] is not g)


def changed_wallet(before: Wallet | None, after: Wallet | None) -> tuple[Wallet, ...]:
    if after is None or after == before or (before is None and not after.debt_nanos):
        return ()
    return (after,)


def changed_terms(
    before: Terms | None,
    terms: Terms | None,
    grants: dict[GrantId, Grant],
    wallet: Wallet | None,
    *,
    meter_id: MeterId,
    now_us: int,
) -> tuple[Terms, ...]:
    if terms is None:
        return ()
    after = noticed(terms, grants.values(), wallet, meter_id=meter_id, now_us=now_us)
    return () if after is None or after == before else (after,)
