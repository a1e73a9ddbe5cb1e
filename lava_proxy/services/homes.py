"""Homes: what a new one is given, once, whoever comes first and however often they come."""

from collections.abc import Callable

from msgspec import Struct

from lava_proxy.core.entities import AuditEntry, Entity, HomeFact, Key, KeyScope, Mode, RateType, Tier, TierUnit
from lava_proxy.core.identity import DEFAULT_METER_FACT
from lava_proxy.core.ids import KeyId, MeterId
from lava_proxy.core.keys import SECRET_BYTES, new_key
from lava_proxy.core.pausing import HOME_ID_FACT
from lava_proxy.core.ports import Clock, Decision, IdSource, Ledger, Rows
from lava_proxy.services.keys import mode_of
from lava_proxy.services.meters import MeterTerms, make_meter, meter_rows

DEFAULT_METER = MeterTerms(
    name="Default",
    slug="default",
    rate_type=RateType.PERCENTAGE,
    tier_unit=TierUnit.TOKENS_1M,
    tiers=(Tier(start=0, rate_nanos=0),),
    is_default=True,
)
"""What calls are charged where nothing else is said: their cost, until the operator changes it."""

SETTINGS_TEXT = """\
# The settings of this home. Every one has a default: `lava config show` lists them all with their values.
# Write one with `lava config set KEY VALUE`, or here, for example:
#
# port = 8080
# unknown_customer = "create"
# upgrade_url = "https://example.com/credits"
"""


class Furnished(Struct, frozen=True, kw_only=True):
    """What was found or made in a home's ledger."""

    mode: Mode
    key: Key | None
    key_text: str | None
    """The first merchant key, told this once; ``None`` where the home was there already."""

    @property
    def is_new(self) -> bool:
        return self.key is not None


def furnish(ledger: Ledger, *, clock: Clock, ids: IdSource, random_bytes: Callable[[int], bytes]) -> Furnished:
    """Give an empty ledger its default meter and its first merchant key; one that has them is left alone.

    Any number of processes may do so at once: one of them makes the key, and is told it.
    """
    now_us = clock.now_us()
    meter = make_meter(DEFAULT_METER, slug="default", meter_id=MeterId(ids.new("prd")), now_us=now_us)
    key_id, secret = KeyId(ids.new("key")), random_bytes(SECRET_BYTES)
    home_id = ids.new("hom")

    def load(rows: Rows) -> tuple[Mode, bool]:
        return mode_of(rows), rows.get(HomeFact, DEFAULT_METER_FACT) is not None

    def decide(state: tuple[Mode, bool]) -> Decision[Furnished]:
        mode, is_furnished = state
        if is_furnished:
            return Decision(result=Furnished(mode=mode, key=None, key_text=None))
        key, text = new_key(
            key_id=key_id, scope=KeyScope.MERCHANT, mode=mode, random_bytes=secret, name="first key", created_us=now_us
        )
        entry = AuditEntry(at_us=now_us, actor="init", action="home.created", subject=mode.value)
        rows: tuple[Entity, ...] = (key, *meter_rows(meter), HomeFact(name=HOME_ID_FACT, value=home_id), entry)
        return Decision(result=Furnished(mode=mode, key=key, key_text=text), rows=rows)

    if ledger.read(lambda rows: load(rows)[1]):  # the usual case, without waiting for the write lock
        return Furnished(mode=ledger.read(mode_of), key=None, key_text=None)
    return ledger.transact(load, decide).result()
