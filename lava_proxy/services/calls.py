"""The straight line of a request: identify, recognise, quote, hold; then forward, tap, parse, price, settle.

An edge hands over a head and a body and gets back what to forward or what to answer. Identity, quote and credit are
decided together under the ledger's lock, so a revoked key or a spent wallet binds the very next call.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from lava_proxy.core.admission import Admitted, Asked, Loaded, admit, count_refusal, load_admission, load_refusal
from lava_proxy.core.entities import Hold, RequestHead
from lava_proxy.core.errors import LedgerUnavailable
from lava_proxy.core.identity import Claims, Denial, Identity, IdentityPolicy, find_key, identify
from lava_proxy.core.ids import CustomerId, EventId, HoldId, InstanceId, RequestId, TransactionId
from lava_proxy.core.keys import parse_key, secret_digest
from lava_proxy.core.meters import AT_COST_ID, MeterRule
from lava_proxy.core.ports import Clock, Decision, IdSource, Ledger, Rows
from lava_proxy.core.pricing import PriceSheet
from lava_proxy.core.usage import RequestFacts
from lava_proxy.dialects.base import Dialect
from lava_proxy.prices import PriceBook
from lava_proxy.providers import Match, ProviderIndex
from lava_proxy.services.claims import Said, read_claims, split_credentials
from lava_proxy.services.exchange import Credentials, Ending, Forward, Head, Refused
from lava_proxy.services.faults import fault_of, refused
from lava_proxy.services.futures import chain, done, then
from lava_proxy.services.metered import CallPlan, Desk, MeteredCall, measured_at_quote
from lava_proxy.services.quoting import Quote, quote
from lava_proxy.services.spool import Spool, SpooledCall
from lava_proxy.services.spool_lines import SentLine
from lava_proxy.settings import Settings

log = logging.getLogger(__name__)

_MINUTE_US = 60_000_000


class Calls:
    """See ``exchange.Line``. One for each process; made by ``wiring``."""

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
        instance_id: InstanceId,
        spool: Spool | None = None,
    ) -> None:
        """``spool``: where calls are noted while the ledger cannot be written; ``None`` refuses them then."""
        self._spool = spool
        self._ledger, self._providers, self._prices, self._dialects = ledger, providers, prices, dialects
        self._settings, self._clock, self._ids, self._instance_id = settings, clock, ids, instance_id
        self._policy = IdentityPolicy(
            require_key=settings.key_is_required,
            anonymous=settings.anonymous,
            unknown_customer=settings.unknown_customer,
        )
        self._open: dict[str, MeteredCall] = {}
        self._creations: deque[int] = deque()
        self._lock = threading.Lock()
        self._unsettled: deque[Callable[[], None]] = deque()
        aside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lava-read")
        self._desk = Desk(
            ledger=ledger, clock=clock, ids=ids, aside=aside, closed=self._forget, unsettled=self._unsettled.append
        )

    def is_ai_host(self, host: str, port: int) -> bool:
        return self._providers.is_ai_host(host, port)

    def admit_tunnel(self, host: str, port: int, credentials: Credentials | None) -> Future[Refused | None]:
        """Where keys are required, a tunnel needs a good one; its provider's errors are not ours to shape."""
        key, _ = split_credentials(credentials)
        if not self._policy.require_key:
            return done(None)
        dialect = self._dialects["openai_chat"]
        if key is None:
            return done(
                self._refuse(dialect, Denial(code="key_required", message=f"A tunnel to {host}:{port} needs a key."))
            )
        now_us = self._clock.now_us()

        def decide(found: object) -> Decision[Refused | None]:
            denial = fault_of(found, upgrade_url=None) if isinstance(found, Denial) else None
            return Decision(result=refused(dialect, denial) if denial else None)

        future = self._ledger.transact(lambda rows: find_key(rows, key, now_us=now_us), decide)
        return then(future, lambda answer: answer, failed=lambda error: self._failed(dialect, error))

    def open(self, head: Head, body: bytes) -> Future[Forward | Refused]:
        dialect = self._dialects["openai_chat"]
        try:
            match = self._providers.recognise(host=head.host, port=head.port, method=head.method, path=head.path)
            dialect = self._dialect(match)
            return self._open_at(head, body, match, dialect)
        except Exception as error:  # noqa: BLE001 whatever it is, the call does not leave
            return done(self._failed(dialect, error))

    def abandon(self, opening: Future[Forward | Refused]) -> None:
        def void(finished: Future[Forward | Refused]) -> None:
            outcome = finished.result()
            if isinstance(outcome, Forward) and outcome.call is not None:
                outcome.call.close(Ending.NOT_SENT)

        opening.add_done_callback(void)

    def open_calls(self) -> int:
        return len(self._open)

    def is_open(self, request_id: str) -> bool:
        """Whether this process still has the call, or its settlement, in hand."""
        return request_id in self._open

    def retry_unsettled(self) -> int:
        """Try once more what the ledger could not take; gives how many."""
        count = len(self._unsettled)
        for _ in range(count):
            self._unsettled.popleft()()
        return count

    def close_all(self, ending: Ending) -> Future[None]:
        closings = [call.close(ending) for call in list(self._open.values())]
        all_closed: Future[None] = Future()
        waiting = [len(closings)]

        def one_closed(_: Future[None]) -> None:
            with self._lock:
                waiting[0] -= 1
                is_last = waiting[0] == 0
            if is_last:
                all_closed.set_result(None)

        for closing in closings:
            closing.add_done_callback(one_closed)
        if not closings:
            all_closed.set_result(None)
        return all_closed

    def _open_at(self, head: Head, body: bytes, match: Match | None, dialect: Dialect) -> Future[Forward | Refused]:
        action = match.action if match else "free"
        if action == "flag" and self._settings.unknown_endpoint == "block":
            action = "block"
        facts = _NO_FACTS if action in ("free", "block") else self._facts(match, dialect, body)
        body_user = facts.end_user if self._settings.identity_from_body else None
        said = read_claims(head, body_user)
        if isinstance(said, Denial):
            return done(self._refuse(dialect, said))
        if match is None or action == "free":
            return self._free(dialect, said)
        if action == "block":
            denial = Denial(
                code="endpoint_blocked",
                message=f"The operator does not allow {head.method} {_path(head)} of {match.provider.id}.",
            )
            return done(self._refuse(dialect, denial))
        return self._hold(head, body, match, dialect, facts, said)

    def _free(self, dialect: Dialect, said: Said) -> Future[Forward | Refused]:
        """Nothing to meter; but a caller who shows a bad key, or must show one, is told so."""
        forward = Forward(call=None, drop_headers=said.drop_headers)
        if not self._policy.require_key and said.claims.key is None:
            return done(forward)
        now_us, claims, policy = self._clock.now_us(), said.claims, self._policy

        def decide(found: Identity | Denial) -> Decision[Forward | Refused]:
            return Decision(result=self._refuse(dialect, found) if isinstance(found, Denial) else forward)

        future = self._ledger.transact(lambda rows: identify(rows, claims, policy, now_us=now_us), decide)
        return then(future, lambda answer: answer, failed=lambda error: self._failed(dialect, error))

    def _hold(
        self, head: Head, body: bytes, match: Match, dialect: Dialect, facts: RequestFacts, said: Said
    ) -> Future[Forward | Refused]:
        now_us = self._clock.now_us()
        sheet = self._sheet(match, facts, None, None, now_us)
        quoted = quote(facts, sheet, assumed_output_tokens=self._settings.assumed_output_tokens)
        asked = self._asked(head, match, dialect, facts, said.claims, quoted, now_us)

        def load(rows: Rows) -> Loaded:
            return load_admission(rows, asked)

        def answer(outcome: Admitted | Denial) -> Forward | Refused:
            if isinstance(outcome, Denial):
                self._count(outcome)
                return self._refuse(dialect, outcome)
            plan = self._plan(outcome.hold, match, dialect, facts, quoted)
            return self._forward(MeteredCall(plan, self._desk), plan, body, dialect, said)

        def failed(error: BaseException) -> Future[Forward | Refused]:
            if self._spool is None or not isinstance(error, LedgerUnavailable):
                return done(self._failed(dialect, error))
            return self._fail_open(self._spool, asked, body, match, dialect, facts, quoted, said)

        return chain(self._ledger.transact(load, self._admit), answer, failed=failed)

    def _fail_open(
        self,
        spool: Spool,
        asked: Asked,
        body: bytes,
        match: Match,
        dialect: Dialect,
        facts: RequestFacts,
        quoted: Quote,
        said: Said,
    ) -> Future[Forward | Refused]:
        """Note the call on the disk, then let it pass; where even that fails, refuse it."""
        key = parse_key(said.claims.key) if said.claims.key else None
        hold = Hold(
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
        plan = self._plan(hold, match, dialect, facts, quoted)
        line = SentLine(
            hold=hold,
            claims=replace(said.claims, key=None),
            key_id=key.key_id if key else None,
            key_sha256=secret_digest(key.secret) if key else "",
            at_quote=measured_at_quote(plan),
        )

        def pass_on(_: None) -> Forward | Refused:
            return self._forward(SpooledCall(plan, self._desk, spool), plan, body, dialect, said)

        return then(
            spool.sent(line), pass_on, failed=lambda error: self._failed(dialect, LedgerUnavailable(str(error)))
        )

    def _admit(self, loaded: Loaded) -> Decision[Admitted | Denial]:
        identity = loaded.identity
        if (
            isinstance(identity, Identity)
            and identity.new_reference is not None
            and not self._may_create(loaded.asked.now_us)
        ):
            message = "Too many unknown customers in the last minute."
            return Decision(result=Denial(code="too_many_new_customers", message=message))
        return admit(loaded)

    def _may_create(self, now_us: int) -> bool:
        """Called under the ledger's lock, on its thread alone."""
        while self._creations and self._creations[0] <= now_us - _MINUTE_US:
            self._creations.popleft()
        if len(self._creations) >= self._settings.unknown_customers_per_minute:
            return False
        self._creations.append(now_us)
        return True

    def _asked(
        self,
        head: Head,
        match: Match,
        dialect: Dialect,
        facts: RequestFacts,
        claims: Claims,
        quoted: Quote,
        now_us: int,
    ) -> Asked:
        request = RequestHead(
            provider=match.provider.id,
            dialect=dialect.name,
            op=match.endpoint.op if match.endpoint else "unknown",
            method=head.method,
            url=f"{head.scheme}://{head.host}{_path(head)}",
            model=facts.model,
            is_stream=facts.is_stream,
            metadata=claims.metadata,
        )
        settings = self._settings
        return Asked(
            claims=claims,
            request=request,
            quantities=quoted.quantities,
            cost=quoted.cost,
            quote_note=quoted.note,
            policy=self._policy,
            unpriced=settings.unpriced,
            unpriced_hold_nanos=settings.unpriced_hold_nanos,
            now_us=now_us,
            expires_us=now_us + settings.hold_ttl_seconds * 1_000_000,
            instance_id=self._instance_id,
            request_id=RequestId(self._ids.new("req")),
            hold_id=HoldId(self._ids.new("hld")),
            transaction_id=TransactionId(self._ids.new("txn")),
            new_customer_id=CustomerId(self._ids.new("con")),
            new_event_id=EventId(self._ids.new("evt")),
        )

    def _plan(self, hold: Hold, match: Match, dialect: Dialect, facts: RequestFacts, quoted: Quote) -> CallPlan:
        settings = self._settings
        return CallPlan(
            hold=hold,
            facts=facts,
            quote=quoted,
            dialect=dialect,
            op=hold.request.op,
            is_known_endpoint=match.endpoint is not None,
            takes_out_usage=facts.is_stream and not facts.asked_for_usage and match.injects_usage,
            price_of=lambda answered, tier: self._sheet(match, facts, answered, tier, hold.created_us),
            charge_hold_if_unpriced=settings.unpriced != "allow",
            charge_hold_without_usage=settings.no_usage == "hold",
            trust_provider_cost=settings.trust_provider_cost,
        )

    def _forward(self, call: MeteredCall, plan: CallPlan, body: bytes, dialect: Dialect, said: Said) -> Forward:
        self._open[call.request_id] = call
        asks = plan.takes_out_usage
        return Forward(
            call=call,
            drop_headers=said.drop_headers,
            set_headers=(("accept-encoding", "identity"),) if asks else (),
            body=dialect.ask_for_usage(body) if asks else None,
            response_headers=(("x-lava-request-id", call.request_id),),
        )

    def _facts(self, match: Match | None, dialect: Dialect, body: bytes) -> RequestFacts:
        if match is None or match.endpoint is None:
            return _NO_FACTS
        return dialect.read_request(match.endpoint.op, body, path_model=match.path_model)

    def _sheet(
        self, match: Match, facts: RequestFacts, answered: str | None, tier: str | None, at_us: int
    ) -> PriceSheet | None:
        """The prices of the first of the model's names that is in the book."""
        deployments = self._settings.azure_deployments if match.provider.id == "azure" else {}
        for name in match.models(requested=facts.model, answered=answered):
            sheet = self._prices.sheet(
                provider=match.provider.prices,
                model=deployments.get(name, name),
                at_us=at_us,
                service_tier=tier or facts.service_tier,
            )
            if sheet is not None:
                return sheet
        return None

    def _dialect(self, match: Match | None) -> Dialect:
        if match is None:
            return self._dialects["openai_chat"]
        return self._dialects[match.endpoint.dialect if match.endpoint else match.provider.dialect]

    def _refuse(self, dialect: Dialect, denial: Denial) -> Refused:
        return refused(dialect, fault_of(denial, upgrade_url=self._settings.upgrade_url))

    def _failed(self, dialect: Dialect, error: BaseException) -> Refused:
        """The ledger did not answer, or we are at fault: closed, whatever it was."""
        if isinstance(error, LedgerUnavailable):
            return self._refuse(
                dialect, Denial(code="ledger_unavailable", message=f"The ledger is not available: {error.message}.")
            )
        log.error("a call was refused because of a fault of ours", exc_info=error)
        return self._refuse(dialect, Denial(code="internal_error", message="The proxy could not admit this call."))

    def _count(self, denial: Denial) -> None:
        """Note the refusal; nobody waits for it, and a ledger in trouble may lose it."""
        now_us = self._clock.now_us()
        self._ledger.transact(lambda rows: load_refusal(rows, denial, now_us=now_us), count_refusal)

    def _forget(self, request_id: str) -> None:
        self._open.pop(request_id, None)


_NO_FACTS = RequestFacts(model=None, is_stream=False, input_text_characters=0, input_text_bytes=0)


def _path(head: Head) -> str:
    return head.path.partition("?")[0]
