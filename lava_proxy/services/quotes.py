"""`lava quote`: what a call would be held at, cost and be charged. The same steps as the line's, and nothing is written."""

import json
from collections.abc import Mapping
from urllib.parse import urlsplit

from msgspec import Struct

from lava_proxy.core.admission import Admitted, Asked, Loaded, Quantities, admit, load_admission
from lava_proxy.core.entities import Counter, MeterVersion, RateType, RequestHead, Wallet
from lava_proxy.core.errors import CustomerNotFound, Fault, InvalidInput, LavaError, MeterNotFound, NotFound, Refused
from lava_proxy.core.identity import Claims, Denial, IdentityPolicy
from lava_proxy.core.ids import CustomerId, EventId, HoldId, InstanceId, RequestId, TransactionId
from lava_proxy.core.money import round_half_up, round_up
from lava_proxy.core.option_ceiling import ceiling_with_options
from lava_proxy.core.option_rating import Consumed, charge_usage, reservable_micros
from lava_proxy.core.option_terms import terms_of
from lava_proxy.core.ports import Clock, IdSource, Ledger
from lava_proxy.core.pricing import Cost, PriceSheet, cost_of
from lava_proxy.core.rating import MICROS, charge_ceiling, rate, units_micros_of
from lava_proxy.core.usage import Usage
from lava_proxy.core.wallet import available_nanos
from lava_proxy.dialects.base import Dialect
from lava_proxy.prices import PriceBook
from lava_proxy.providers import Action, Provider, ProviderIndex
from lava_proxy.services.catalogue import by_maker
from lava_proxy.services.claims import Said
from lava_proxy.services.documents import Document, amount
from lava_proxy.services.exchange import Head, Via
from lava_proxy.services.faults import fault_of
from lava_proxy.services.planning import Planner, Recognised
from lava_proxy.services.quoting import Quote
from lava_proxy.settings import Settings


class Payer(Struct, frozen=True, kw_only=True):
    """For whom is quoted; both may be left to the home's own rules."""

    customer: str | None = None
    meter: str | None = None


class TokenQuestion(Struct, frozen=True, kw_only=True):
    """So many tokens of a model."""

    model: str
    provider: str | None = None
    input_tokens: int
    output_tokens: int


class CallQuestion(Struct, frozen=True, kw_only=True):
    """A request as it would be sent."""

    url: str
    body: bytes
    method: str = "POST"


class QuoteAnswer(Struct, frozen=True, kw_only=True):
    """Amounts in nanos. Exact for given tokens; for a request the most that it can come to."""

    provider: str
    model: str | None
    is_exact: bool
    input_tokens: int
    output_tokens: int
    cost_nanos: int | None
    """``None``: no price is known."""
    charge_nanos: int | None
    """``None``: the meter charges by cost, and that is not known."""
    hold_nanos: int
    """What would be set aside; 0 without a customer, and where the call would be refused."""
    meter_slug: str
    meter_rule: str
    available_nanos: int | None
    """The customer's credit for this meter."""
    refusal: Fault | None
    """Why the call would be refused, if it would."""
    price_source: str


class Quotes:
    def __init__(
        self,
        *,
        ledger: Ledger,
        providers: ProviderIndex,
        prices: PriceBook,
        dialects: Mapping[str, Dialect],
        settings: Settings,
        clock: Clock,
        ids: IdSource,
    ) -> None:
        self._ledger, self._providers, self._prices, self._dialects = ledger, providers, prices, dialects
        self._settings, self._clock, self._ids = settings, clock, ids
        self._policy = IdentityPolicy(require_key=False)
        self._planner = Planner(
            settings=settings, prices=prices, policy=self._policy, ids=ids, instance_id=InstanceId("ins_quote")
        )

    def of_tokens(self, question: TokenQuestion, payer: Payer) -> QuoteAnswer:
        """What exactly these tokens would cost and be charged now.

        Raises:
            NotFound: no provider has a price for the model, or there is no such provider.
            InvalidInput, CustomerNotFound, MeterNotFound
        """
        if min(question.input_tokens, question.output_tokens) < 0:
            raise InvalidInput("tokens: they must be 0 or more", field="input_tokens")
        provider, sheet = self._find_sheet(question)
        usage = Usage(input_tokens=question.input_tokens, output_tokens=question.output_tokens)
        cost = cost_of(sheet, usage)
        exact = cost.exact_nanos if isinstance(cost, Cost) else None
        quoted = Quote(
            input_tokens=question.input_tokens,
            output_tokens=question.output_tokens,
            quantities=Quantities(
                tokens_micros=usage.total_tokens() * MICROS,
                characters_micros=0,
                seconds_micros=0,
                input_tokens_micros=question.input_tokens * MICROS,
                images_micros=0,
                searches_micros=0,
                pages_micros=0,
            ),
            cost=exact,
            note=json.dumps({"price_source": sheet.source}),
        )
        request = RequestHead(
            provider=provider.id, dialect=provider.dialect, op="chat", method="POST", url="", model=question.model
        )
        return self._answer(request, quoted, payer, usage=usage)

    def of_call(self, question: CallQuestion, payer: Payer) -> QuoteAnswer:
        """The most that this request is expected to cost and be charged.

        Raises:
            InvalidInput: the address is no AI provider's, or nothing is metered there.
            CustomerNotFound, MeterNotFound
        """
        recognised = self._recognise(question)
        quoted = self._planner.quote(recognised, at_us=self._clock.now_us())
        request = RequestHead(
            provider=recognised.match.provider.id,
            dialect=recognised.dialect.name,
            op=recognised.match.endpoint.op if recognised.match.endpoint else "unknown",
            method=question.method,
            url=question.url.partition("?")[0],
            model=recognised.facts.model or recognised.match.path_model,
        )
        return self._answer(request, quoted, payer, usage=None)

    def _answer(self, request: RequestHead, quoted: Quote, payer: Payer, *, usage: Usage | None) -> QuoteAnswer:
        asked = self._asked(request, quoted, payer)
        loaded = self._ledger.read(lambda rows: load_admission(rows, asked))
        if isinstance(loaded.identity, Denial):
            raise _not_found(loaded.identity, payer)
        outcome = admit(loaded).result
        meter = loaded.identity.meter
        return QuoteAnswer(
            provider=request.provider,
            model=request.model,
            is_exact=usage is not None,
            input_tokens=quoted.input_tokens,
            output_tokens=quoted.output_tokens,
            cost_nanos=_cost_nanos(quoted, is_exact=usage is not None),
            charge_nanos=_charge_nanos(loaded, quoted, usage),
            hold_nanos=outcome.hold.amount_nanos if isinstance(outcome, Admitted) else 0,
            meter_slug=meter.meter.slug,
            meter_rule=meter.rule.value,
            available_nanos=_available_nanos(loaded),
            refusal=fault_of(outcome, upgrade_url=self._settings.upgrade_url) if isinstance(outcome, Denial) else None,
            price_source=str(json.loads(quoted.note).get("price_source", "")),
        )

    def _asked(self, request: RequestHead, quoted: Quote, payer: Payer) -> Asked:
        now_us, new = self._clock.now_us(), self._ids.new
        return Asked(
            claims=Claims(customer=payer.customer, meter=payer.meter),
            request=request,
            quantities=quoted.quantities,
            cost=quoted.cost,
            quote_note=quoted.note,
            policy=self._policy,
            unpriced=self._settings.unpriced,
            unpriced_hold_nanos=self._settings.unpriced_hold_nanos,
            now_us=now_us,
            expires_us=now_us,
            instance_id=InstanceId("ins_quote"),
            request_id=RequestId(new("req")),
            hold_id=HoldId(new("hld")),
            transaction_id=TransactionId(new("txn")),
            new_customer_id=CustomerId(new("con")),
            new_event_id=EventId(new("evt")),
        )

    def _recognise(self, question: CallQuestion) -> Recognised:
        parts = urlsplit(question.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidInput(f"url: {question.url!r} is no http address", field="url")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        match = self._providers.recognise(host=parts.hostname, port=port, method=question.method, path=path)
        if match is None:
            hint = "`lava providers list` shows the hosts that are metered."
            raise InvalidInput(f"url: {parts.hostname} is no AI provider's host.", hint=hint, field="url")
        if match.action is not Action.METER or match.endpoint is None:
            raise InvalidInput(
                f"url: nothing is metered at {question.method} {parts.path} of {match.provider.name}.", field="url"
            )
        dialect = self._dialects[match.endpoint.dialect]
        head = Head(
            via=Via.ABSOLUTE,
            method=question.method,
            scheme=parts.scheme,
            host=parts.hostname,
            port=port,
            path=path,
            headers=(),
        )
        return Recognised(
            head=head,
            body=question.body,
            match=match,
            dialect=dialect,
            facts=dialect.read_request(match.endpoint.op, question.body, path_model=match.path_model),
            said=Said(claims=Claims(), drop_headers=frozenset()),
        )

    def _find_sheet(self, question: TokenQuestion) -> tuple[Provider, PriceSheet]:
        now_us = self._clock.now_us()
        for provider in self._candidates(question.provider):
            sheet = self._prices.sheet(provider=provider.prices, model=question.model, at_us=now_us)
            if sheet is not None:
                return provider, sheet
        where = f" at {question.provider}" if question.provider else ""
        hint = "`lava prices search TEXT` finds models by a part of their name."
        raise NotFound(f"No price is known for the model {question.model!r}{where}.", hint=hint)

    def _candidates(self, provider_id: str | None) -> tuple[Provider, ...]:
        if provider_id is not None:
            found = self._providers.get(provider_id)
            if found is None:
                raise NotFound(f"There is no provider {provider_id!r}.", hint="`lava providers list` shows them all.")
            return (found,)
        return by_maker(self._providers)


def quote_document(answer: QuoteAnswer) -> Document:
    refusal = answer.refusal
    return {
        "provider": answer.provider,
        "model": answer.model,
        "is_exact": answer.is_exact,
        "input_tokens": answer.input_tokens,
        "output_tokens": answer.output_tokens,
        "cost": amount(answer.cost_nanos),
        "charge": amount(answer.charge_nanos),
        "hold": amount(answer.hold_nanos),
        "meter_slug": answer.meter_slug,
        "meter_rule": answer.meter_rule,
        "available": amount(answer.available_nanos),
        "refused": {"code": refusal.code, "message": refusal.message} if refusal else None,
        "price_source": answer.price_source,
    }


def _cost_nanos(quoted: Quote, *, is_exact: bool) -> int | None:
    if quoted.cost is None:
        return None
    return round_half_up(quoted.cost) if is_exact else round_up(quoted.cost)


def _charge_nanos(loaded: Loaded, quoted: Quote, usage: Usage | None) -> int | None:
    assert not isinstance(loaded.identity, Denial)
    version = loaded.identity.meter.version
    if version.rate_type is RateType.PERCENTAGE and quoted.cost is None:
        return None
    counter = loaded.counter or Counter(customer_id="", meter_id=version.meter_id)
    if version.options is not None:
        return _charge_with_options(loaded, version, counter, quoted, usage)
    if usage is None:
        units = quoted.quantities.of(version.tier_unit)
        return round_up(charge_ceiling(version, counter, units_micros=units, cost=quoted.cost))
    units_used = units_micros_of(version.tier_unit, usage) or 0
    return rate(version, counter, units_micros=units_used, cost=quoted.cost).nanos


def _charge_with_options(
    loaded: Loaded, version: MeterVersion, counter: Counter, quoted: Quote, usage: Usage | None
) -> int:
    terms = terms_of(version, loaded.asked.request.model)
    if usage is not None:
        return charge_usage(terms, counter, loaded.allowance, Consumed(usage=usage, cost=quoted.cost)).charge.nanos
    units = quoted.quantities.of(version.tier_unit)
    free = reservable_micros(terms, loaded.allowance, units)
    limits = quoted.quantities.limits(units)
    return round_up(ceiling_with_options(terms, counter, limits, cost=quoted.cost, reserved_micros=free))


def _available_nanos(loaded: Loaded) -> int | None:
    identity = loaded.identity
    if isinstance(identity, Denial) or identity.customer is None:
        return None
    wallet = loaded.wallet or Wallet(customer_id=identity.customer.customer_id)
    meter_id = identity.meter.meter.meter_id
    return available_nanos(loaded.grants, wallet, meter_id=meter_id, now_us=loaded.asked.now_us)


def _not_found(denial: Denial, payer: Payer) -> LavaError:
    """Who or what was named does not exist, or may not be used."""
    if denial.code == "customer_not_found":
        return CustomerNotFound(
            f"There is no customer {payer.customer!r}.", hint="`lava customers list` shows them all."
        )
    if denial.code == "meter_not_found":
        return MeterNotFound(f"There is no meter {payer.meter!r}.", hint="`lava meters list` shows them all.")
    return Refused(denial.message)
