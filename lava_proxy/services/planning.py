"""From a recognised request to the question for the ledger, and from its hold to the plan of the call."""

from fractions import Fraction

from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.core.admission import Asked
from lava_proxy.core.entities import Hold, RequestHead
from lava_proxy.core.identity import IdentityPolicy
from lava_proxy.core.ids import CustomerId, EventId, HoldId, InstanceId, RequestId, TransactionId
from lava_proxy.core.keys import parse_key, secret_digest
from lava_proxy.core.meters import AT_COST_ID, MeterRule
from lava_proxy.core.ports import IdSource
from lava_proxy.core.pricing import PriceSheet
from lava_proxy.core.usage import RequestFacts
from lava_proxy.dialects.base import Dialect
from lava_proxy.prices import PriceBook
from lava_proxy.providers import Match
from lava_proxy.services.claims import Said
from lava_proxy.services.exchange import Head
from lava_proxy.services.metered import CallPlan, measured_at_quote
from lava_proxy.services.quoting import Quote, quote
from lava_proxy.services.spool_lines import SentLine
from lava_proxy.settings import Settings


class Recognised(Struct, frozen=True, kw_only=True):
    """A request to an AI provider, read but not yet asked for."""

    head: Head
    body: bytes
    match: Match
    dialect: Dialect
    facts: RequestFacts
    said: Said

    @property
    def asks_for_usage(self) -> bool:
        """Whether we must ask for the usage of this stream, because the caller did not."""
        return self.facts.is_stream and not self.facts.asked_for_usage and self.match.injects_usage

    @property
    def is_by_subscription(self) -> bool:
        """Whether the call goes by the login of a coding tool or a flat plan, which costs no API money."""
        return self.match.provider.is_by_subscription(self.head.headers)


class Planner:
    """Knows the prices and the settings."""

    def __init__(
        self, *, settings: Settings, prices: PriceBook, policy: IdentityPolicy, ids: IdSource, instance_id: InstanceId
    ) -> None:
        self._settings, self._prices, self._policy = settings, prices, policy
        self._ids, self._instance_id = ids, instance_id
        self._unpriced_hold_nanos = settings.unpriced_hold_nanos

    def quote(self, request: Recognised, *, at_us: int) -> Quote:
        """The most that the request is expected to consume and cost, at the prices of that instant."""
        sheet = self._sheet(request, None, None, at_us)
        return quote(request.facts, sheet, assumed_output_tokens=self._settings.assumed_output_tokens)

    def asked(self, request: Recognised, quoted: Quote, *, now_us: int) -> Asked:
        """What the ledger is asked. All ids of one call share one ULID, so that ``hld_X`` is the hold of ``req_X``."""
        settings, request_id = self._settings, self._ids.new("req")
        suffix = request_id.removeprefix("req")
        return Asked(
            claims=request.said.claims,
            request=_request_head(request),
            quantities=quoted.quantities,
            cost=Fraction(0) if request.is_by_subscription else quoted.cost,
            is_charged=not request.is_by_subscription,
            quote_note=quoted.note,
            policy=self._policy,
            unpriced=settings.unpriced,
            unpriced_hold_nanos=self._unpriced_hold_nanos,
            now_us=now_us,
            expires_us=now_us + settings.hold_ttl_seconds * 1_000_000,
            instance_id=self._instance_id,
            request_id=RequestId(request_id),
            hold_id=HoldId("hld" + suffix),
            transaction_id=TransactionId("txn" + suffix),
            new_customer_id=CustomerId("con" + suffix),
            new_event_id=EventId("evt" + suffix),
        )

    def plan(self, request: Recognised, hold: Hold, quoted: Quote) -> CallPlan:
        """How the call is read, priced and settled."""
        settings = self._settings
        return CallPlan(
            hold=hold,
            facts=request.facts,
            quote=quoted,
            dialect=request.dialect,
            op=hold.request.op,
            is_known_endpoint=request.match.endpoint is not None,
            takes_out_usage=request.asks_for_usage,
            price_of=lambda answered, tier: self._sheet(request, answered, tier, hold.created_us),
            charge_hold_if_unpriced=settings.unpriced != "allow",
            charge_hold_without_usage=settings.no_usage == "hold",
            is_by_subscription=request.is_by_subscription,
            trust_provider_cost=settings.trust_provider_cost,
        )

    def spool_line(self, asked: Asked, plan: CallPlan) -> SentLine:
        """What is noted of a call that the ledger could not hold."""
        key = parse_key(asked.claims.key) if asked.claims.key else None
        return SentLine(
            hold=plan.hold,
            claims=replace(asked.claims, key=None),
            key_id=key.key_id if key else None,
            key_sha256=secret_digest(key.secret) if key else "",
            at_quote=measured_at_quote(plan),
        )

    def _sheet(self, request: Recognised, answered: str | None, tier: str | None, at_us: int) -> PriceSheet | None:
        """The prices of the first of the model's names that is in the book."""
        provider = request.match.provider
        deployments = self._settings.azure_deployments if provider.id == "azure" else {}
        for name in request.match.models(requested=request.facts.model, answered=answered):
            sheet = self._prices.sheet(
                provider=provider.prices,
                model=deployments.get(name, name),
                at_us=at_us,
                service_tier=request.facts.service_tier if tier is None else tier,
                region=request.match.region,
            )
            if sheet is not None:
                return sheet
        return None


def hold_of_nothing(asked: Asked) -> Hold:
    """The hold of a call that passes without one: its payer is found when the spool is booked."""
    return Hold(
        hold_id=asked.hold_id,
        request_id=asked.request_id,
        instance_id=asked.instance_id,
        customer_id=None,
        key_id=None,
        run_id=None,
        meter_id=AT_COST_ID,
        meter_version=1,
        meter_rule=MeterRule.AT_COST,
        billed=False,
        amount_nanos=0,
        cost_quote_nanos=None,
        request=asked.request,
        quote=asked.quote_note,
        created_us=asked.now_us,
        expires_us=asked.expires_us,
    )


def _request_head(request: Recognised) -> RequestHead:
    head, match = request.head, request.match
    return RequestHead(
        provider=match.provider.id,
        dialect=request.dialect.name,
        op=match.endpoint.op if match.endpoint else "unknown",
        method=head.method,
        url=f"{head.scheme}://{head.host}{head.path.partition('?')[0]}",
        model=request.facts.model,
        is_stream=request.facts.is_stream,
        metadata=request.said.claims.metadata,
    )
