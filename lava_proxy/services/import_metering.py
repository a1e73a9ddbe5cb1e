"""What an exchange of a recording was: recognised, read and priced as the proxy would have done it; nothing is booked."""

import hashlib
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import cast
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.core.entities import Hold, RequestStatus
from lava_proxy.core.identity import Claims, IdentityPolicy
from lava_proxy.core.ids import HoldId, InstanceId, RequestId
from lava_proxy.core.ports import Clock, IdSource, Ledger
from lava_proxy.core.recorded import Recorded
from lava_proxy.core.settlement import Measured
from lava_proxy.core.usage import NO_USAGE, Reading, Usage
from lava_proxy.dialects.base import Dialect
from lava_proxy.prices import PriceBook
from lava_proxy.providers import Action, Match, Provider, ProviderIndex
from lava_proxy.providers.shapes import shape_of
from lava_proxy.services.claims import Said
from lava_proxy.services.exchange import Ending, Head, Via
from lava_proxy.services.metered import CallPlan, Desk, MeteredCall
from lava_proxy.services.planning import Planner, Recognised, hold_of_nothing
from lava_proxy.settings import Settings

log = logging.getLogger(__name__)

_UNKNOWN_MAX = 1000
_ID_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_SWITCHING_PROTOCOLS = 101
_REDIRECTION = 300
_WITH_JOBS = frozenset(
    {"openai_responses", "openai_runs", "gemini_interactions", "replicate", "video_task", "batch_results", "media_task"}
    | {"transcription", "agent_calls", "google_predict", "doc_pages", "dashscope"}
)
"""Wires whose answers can be looked at again under an id."""


class Outcome(Struct, frozen=True, kw_only=True):
    """What became of one exchange."""

    recorded: Recorded
    provider: str | None = None
    op: str | None = None
    model: str | None = None
    usage: Usage = NO_USAGE
    """The provider's own figures, and what the request counts of itself."""
    estimated: Usage | None = None
    """What it is booked at, where the provider gave no figures."""
    cost_nanos: Fraction | None = None
    cost_basis: str = "metered"
    list_cost_nanos: Fraction | None = None
    """Of a call by subscription: what it would have cost."""
    charge_nanos: int | None = None
    price_source: str = ""
    flags: tuple[str, ...] = ()
    reason: str | None = None
    """Why there is no usage."""
    request_id: str | None = None
    """Under which it is in the ledger."""
    is_new: bool | None = None
    """Whether it was booked now; ``False``: it was in the ledger already; ``None``: nothing was to be booked."""


class Metered(Struct, frozen=True, kw_only=True):
    outcome: Outcome
    hold: Hold
    measured: Measured
    is_told_again: bool
    """Whether its answer can be fetched again under the provider's own id, so that others may tell the same."""


class Metering:
    """Reads exchanges, one after the other."""

    def __init__(
        self,
        *,
        providers: ProviderIndex,
        prices: PriceBook,
        dialects: Mapping[str, Dialect],
        settings: Settings,
        clock: Clock,
        ids: IdSource,
    ) -> None:
        self._providers, self._dialects, self._clock = providers, dialects, clock
        self._planner = Planner(
            settings=settings,
            prices=prices,
            policy=IdentityPolicy(require_key=False),
            ids=ids,
            instance_id=InstanceId("ins_import"),
        )
        self._desk = Desk(
            ledger=cast(Ledger, None),  # a recorded call is measured here and settled elsewhere
            clock=clock,
            ids=ids,
            aside=ThreadPoolExecutor(max_workers=1),
            closed=lambda _: None,
            unsettled=lambda _: None,
        )
        self._unknown: dict[str, Provider] = {}

    def meter(self, recorded: Recorded) -> Outcome | Metered:
        """Never raises: what a fault of ours keeps from being read is told so, and the next one is read."""
        try:
            return self._meter(recorded)
        except Exception as error:
            log.error("an exchange cannot be metered", exc_info=error, extra={"recording_id": recorded.recording_id})
            return Outcome(recorded=recorded, reason="metering_failed")

    def _meter(self, recorded: Recorded) -> Outcome | Metered:
        method = "GET" if recorded.method == "WS" else recorded.method
        head = _head_of(recorded, method)
        if head is None:
            return Outcome(recorded=recorded, reason="no_http_address")
        match, flags = self._recognise(head, recorded.method)
        if match is None:
            return Outcome(recorded=recorded, reason="not_an_ai_host")
        known = Outcome(recorded=recorded, provider=match.provider.id)
        if match.endpoint is None:
            return replace(known, reason="unknown_endpoint", flags=("unknown",))
        known = replace(known, op=match.endpoint.op)
        if match.action is Action.FREE:
            return replace(known, reason="free")
        return self._read(recorded, head, match, known, flags)

    def _recognise(self, head: Head, method: str) -> tuple[Match | None, tuple[str, ...]]:
        """By the providers' files; what they do not describe, or call free though it tells of work, by its path."""
        match = self._providers.recognise(host=head.host, port=head.port, method=head.method, path=head.path)
        if match is not None and match.endpoint is not None and match.action is Action.METER:
            return match, ()
        found = shape_of(method=method, host=head.host, path=head.path)
        if found is None:
            return match, ()
        endpoint, variables = found
        if match is None:
            provider = self._unknown_provider(head.host)
            return Match(provider=provider, endpoint=endpoint, action=endpoint.action, variables=variables), (
                "unknown_host",
            )
        if match.endpoint is not None and endpoint.op != "poll":
            return match, ()  # described as free
        flag = () if match.endpoint is not None else ("endpoint_by_its_path",)
        return replace(match, endpoint=endpoint, action=endpoint.action, variables=variables), flag

    def _unknown_provider(self, host: str) -> Provider:
        if host not in self._unknown:
            if len(self._unknown) > _UNKNOWN_MAX:
                self._unknown.clear()
            self._unknown[host] = Provider(
                id=host,
                name=host,
                category="unknown",
                hosts=(host,),
                base_paths=("",),
                owns_host=True,
                dialect="openai_chat",
                auth=(),
                endpoints=(),
                unmatched=Action.FLAG,
                prices=(f"lava:{host}",),
                docs="",
                pricing="",
                checked="",
                evidence="community",
            )
        return self._unknown[host]

    def _read(
        self, recorded: Recorded, head: Head, match: Match, known: Outcome, flags: tuple[str, ...]
    ) -> Outcome | Metered:
        assert match.endpoint is not None
        if recorded.status != _SWITCHING_PROTOCOLS and not 200 <= recorded.status < _REDIRECTION:
            return replace(known, reason="error_status" if recorded.status else "no_answer", flags=flags)
        dialect = self._dialects[match.endpoint.dialect]
        path_model = match.path_model
        facts = dialect.read_request(match.endpoint.op, recorded.request_body, path_model=path_model)
        request = Recognised(
            head=head,
            body=recorded.request_body,
            match=match,
            dialect=dialect,
            facts=facts,
            said=Said(claims=Claims(), drop_headers=frozenset()),
        )
        at_us = recorded.at_us if recorded.at_us is not None else self._clock.now_us()
        quoted = self._planner.quote(request, at_us=at_us)
        asked = self._planner.asked(request, quoted, now_us=at_us)
        call = _RecordedCall(self._planner.plan(request, hold_of_nothing(asked), quoted), self._desk)
        reading, measured = call.measured(recorded)
        measured = replace(measured, flags=tuple(dict.fromkeys((*flags, *measured.flags, *_replay_flag(reading)))))
        outcome = replace(
            known,
            model=measured.model or facts.model or path_model,
            usage=reading.usage,
            cost_nanos=measured.cost,
            cost_basis=measured.cost_basis,
            list_cost_nanos=measured.list_cost,
            price_source=measured.price_source,
            flags=measured.flags,
        )
        if reading.is_pending:
            return replace(outcome, cost_nanos=None, price_source="", reason="pending", flags=(*flags, "pending"))
        if measured.status is RequestStatus.ERROR:
            return replace(outcome, reason="error_in_answer", cost_nanos=None)
        is_told = not reading.usage.is_empty()
        if not is_told and reading.is_replay:
            return replace(outcome, reason="no_usage", cost_nanos=None)
        is_told_again = match.endpoint.dialect in _WITH_JOBS and reading.response_id is not None
        seed = f"{match.provider.id}\n{reading.response_id}" if is_told_again else recorded.recording_id
        return Metered(
            outcome=replace(
                outcome,
                estimated=measured.usage if measured.usage != reading.usage else None,
                reason=None if is_told else _reason(measured),
            ),
            hold=_named(call.plan.hold, seed),
            measured=measured,
            is_told_again=is_told_again,
        )


class _RecordedCall(MeteredCall):
    """A call whose answer is there as a whole."""

    @property
    def plan(self) -> CallPlan:
        return self._plan

    def measured(self, recorded: Recorded) -> tuple[Reading, Measured]:
        """What the answer tells, and what the call comes to."""
        status = 200 if recorded.status == _SWITCHING_PROTOCOLS else recorded.status
        headers = tuple((name, value) for name, value in recorded.response_headers if name != "content-encoding")
        self.begin(status, headers)
        self.feed(recorded.response_body)
        self.finish()
        reading = self._reader.reading() if self._reader is not None else Reading(usage=NO_USAGE)
        return reading, replace(self._measure(Ending.COMPLETE), latency_us=None, first_byte_us=None)


def _head_of(recorded: Recorded, method: str) -> Head | None:
    try:
        parts = urlsplit(recorded.url)
        port = parts.port
    except ValueError:
        return None
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    if scheme not in ("http", "https") or not parts.hostname:
        return None
    return Head(
        via=Via.ABSOLUTE,
        method=method,
        scheme=scheme,
        host=parts.hostname,
        port=port or (443 if scheme == "https" else 80),
        path=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
        headers=tuple((name.lower(), value) for name, value in recorded.request_headers),
    )


def _named(hold: Hold, seed: str) -> Hold:
    """The same ids for the same call, however often it is read."""
    suffix = _id_of(seed)
    return replace(hold, request_id=RequestId(f"req_{suffix}"), hold_id=HoldId(f"hld_{suffix}"))


def _replay_flag(reading: Reading) -> tuple[str, ...]:
    return ("replay",) if reading.is_replay else ()


def _reason(measured: Measured) -> str:
    known = ("metering_failed", "decode_failed", "malformed_body", "body_too_large")
    return next((flag for flag in known if flag in measured.flags), "no_usage")


def _id_of(seed: str) -> str:
    """26 characters in the form of a ULID, made from ``seed`` alone."""
    number = int.from_bytes(hashlib.sha256(seed.encode("utf-8", "surrogatepass")).digest()[:16]) >> 2
    return "".join(_ID_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))
