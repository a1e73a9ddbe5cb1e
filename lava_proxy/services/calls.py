"""The straight line of a request: identify, recognise, quote, hold; then forward, tap, parse, price, settle.

An edge hands over a head and a body and gets back what to forward or what to answer. Identity, quote and credit are
decided together under the ledger's lock, so a revoked key or a spent wallet binds the very next call.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from lava_proxy.core.admission import Admitted, Asked, Loaded, admit, count_refusal, load_admission, load_refusal
from lava_proxy.core.errors import LedgerUnavailable
from lava_proxy.core.identity import Denial, Identity, IdentityPolicy, check_shown, find_key, identify
from lava_proxy.core.ids import InstanceId
from lava_proxy.core.ports import Clock, Decision, IdSource, Ledger, Rows
from lava_proxy.core.usage import RequestFacts
from lava_proxy.dialects.base import Dialect
from lava_proxy.prices import PriceBook
from lava_proxy.providers import Action, Match, ProviderIndex
from lava_proxy.services.claims import Said, read_claims, split_credentials
from lava_proxy.services.exchange import Credentials, Ending, Forward, Head, Refused
from lava_proxy.services.faults import fault_of, refused
from lava_proxy.services.futures import chain, done, then
from lava_proxy.services.metered import Desk, MeteredCall
from lava_proxy.services.parking import Parked, Parking
from lava_proxy.services.planning import Planner, Recognised, hold_of_nothing
from lava_proxy.services.quoting import Quote
from lava_proxy.services.spool import Spool, SpooledCall
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
        self._ledger, self._providers, self._dialects = ledger, providers, dialects
        self._settings, self._clock = settings, clock
        self._policy = IdentityPolicy(
            require_key=settings.key_is_required,
            anonymous=settings.anonymous,
            unknown_customer=settings.unknown_customer,
        )
        self._planner = Planner(settings=settings, prices=prices, policy=self._policy, ids=ids, instance_id=instance_id)
        self._open: dict[str, MeteredCall] = {}
        self._creations: deque[int] = deque()
        self._lock = threading.Lock()
        self._is_closed = False
        self._parking: Parking[Forward | Refused] = Parking(
            ledger, seconds=settings.park_seconds, is_closed=lambda: self._is_closed
        )
        self._unsettled: deque[Callable[[], None]] = deque()
        aside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lava-read")
        self._desk = Desk(
            ledger=ledger, clock=clock, ids=ids, aside=aside, closed=self._forget, unsettled=self._unsettled.append
        )

    def is_ai_host(self, host: str, port: int) -> bool:
        return self._providers.is_ai_host(host, port)

    def is_own_host(self, host: str, port: int) -> bool:
        return self._providers.is_own_host(host, port)

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
        """See ``exchange.Line``. A call that is still being admitted is then not let go."""
        with self._lock:
            self._is_closed = True
            calls = list(self._open.values())
        closings = [call.close(ending) for call in calls]
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
        action = self._action(match)
        facts = self._facts(match, dialect, body) if action in (Action.METER, Action.FLAG) else _NO_FACTS
        said = read_claims(head, facts.end_user if self._settings.identity_from_body else None)
        if isinstance(said, Denial):
            return done(self._refuse(dialect, said))
        if match is None or action is Action.FREE:
            return self._free(dialect, said)
        if action is Action.BLOCK:
            where = f"{head.method} {head.path.partition('?')[0]} of {match.provider.name}"
            return done(
                self._refuse(dialect, Denial(code="endpoint_blocked", message=f"The operator does not allow {where}."))
            )
        return self._hold(Recognised(head=head, body=body, match=match, dialect=dialect, facts=facts, said=said))

    def _action(self, match: Match | None) -> Action:
        if match is None:
            return Action.FREE
        if match.action is Action.FLAG and self._settings.unknown_endpoint == "block":
            return Action.BLOCK
        return match.action

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

    def _hold(self, request: Recognised, *, may_wait: bool = True) -> Future[Forward | Refused]:
        """Everything that may fail comes before the hold: afterwards the call goes."""
        now_us = self._clock.now_us()
        body = request.dialect.ask_for_usage(request.body) if request.asks_for_usage else None
        quoted = self._planner.quote(request, at_us=now_us)
        asked = self._planner.asked(request, quoted, now_us=now_us)

        def load(rows: Rows) -> Loaded:
            return load_admission(rows, asked)

        def answer(outcome: Admitted | Denial) -> Forward | Refused:
            if isinstance(outcome, Denial):
                self._parking.check(outcome, may_wait=may_wait)
                return self._refuse_counted(request.dialect, outcome)
            call = MeteredCall(self._planner.plan(request, outcome.hold, quoted), self._desk)
            return self._forward(request, call, body)

        def failed(error: BaseException) -> Future[Forward | Refused]:
            if isinstance(error, Parked):
                again = partial(self._hold, request, may_wait=False)
                return self._parking.wait(error.denial, again, partial(self._refuse_counted, request.dialect))
            if self._spool is not None and isinstance(error, LedgerUnavailable):
                return self._fail_open(self._spool, request, asked, quoted, body)
            return done(self._failed(request.dialect, error))

        return chain(self._ledger.transact(load, self._admit), answer, failed=failed)

    def _fail_open(
        self, spool: Spool, request: Recognised, asked: Asked, quoted: Quote, body: bytes | None
    ) -> Future[Forward | Refused]:
        """Note the call on the disk, then let it pass; where even that fails, refuse it. Nor does it pass without a key."""
        if denial := check_shown(asked.claims, self._policy):
            return done(self._refuse(request.dialect, denial))
        plan = self._planner.plan(request, hold_of_nothing(asked), quoted)

        def pass_on(_: None) -> Forward | Refused:
            return self._forward(request, SpooledCall(plan, self._desk, spool), body)

        def failed(error: BaseException) -> Forward | Refused:
            return self._failed(request.dialect, LedgerUnavailable(f"and the spool file neither ({error})"))

        return then(spool.sent(self._planner.spool_line(asked, plan)), pass_on, failed=failed)

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

    def _forward(self, request: Recognised, call: MeteredCall, body: bytes | None) -> Forward | Refused:
        with self._lock:
            is_late = self._is_closed
            if not is_late:
                self._open[call.request_id] = call
        if is_late:
            call.close(Ending.NOT_SENT)
            return self._refuse(request.dialect, Denial(code="stopping", message="The proxy is stopping."))
        return Forward(
            call=call,
            drop_headers=request.said.drop_headers,
            set_headers=(("accept-encoding", "identity"),) if request.asks_for_usage else (),
            body=body,
            response_headers=(("x-lava-request-id", call.request_id),),
            may_shorten=request.asks_for_usage,
        )

    def _facts(self, match: Match | None, dialect: Dialect, body: bytes) -> RequestFacts:
        if match is None or match.endpoint is None:
            return _NO_FACTS
        return dialect.read_request(match.endpoint.op, body, path_model=match.path_model)

    def _dialect(self, match: Match | None) -> Dialect:
        if match is None:
            return self._dialects["openai_chat"]
        name = match.endpoint.dialect if match.endpoint else match.provider.dialect
        return self._dialects.get(name, self._dialects["openai_chat"])

    def _refuse(self, dialect: Dialect, denial: Denial) -> Refused:
        return refused(dialect, fault_of(denial, upgrade_url=self._settings.upgrade_url))

    def _refuse_counted(self, dialect: Dialect, denial: Denial) -> Refused:
        self._count(denial)
        return self._refuse(dialect, denial)

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
        self._ledger.transact(lambda rows: load_refusal(rows, denial, now_us=now_us), count_refusal, can_wait=True)

    def _forget(self, request_id: str) -> None:
        self._open.pop(request_id, None)


_NO_FACTS = RequestFacts(model=None, is_stream=False, input_text_characters=0, input_text_bytes=0)
