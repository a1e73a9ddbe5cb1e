"""Looking whether alerts fire: at every customer now and then, and at once at those whose calls just ended.

Facts are read beside the write lock; a rule is decided again under it, with where it stands, so that two processes that
look at once tell once. Nothing is written where nothing changes. What fired is an event of the outbox, written with it:
telling it is another matter (``delivery``).
"""

import logging
import time
from collections.abc import Callable, Iterable

import msgspec
from msgspec import Struct

from lava_proxy.core.alert_kinds import KINDS
from lava_proxy.core.alert_rows import Alert, AlertRule, AlertScope, AlertState
from lava_proxy.core.alerts import AlertStamp, Facts, Standing, applies, clear, evaluate
from lava_proxy.core.entities import Entity, Event, RequestRecord
from lava_proxy.core.ids import AlertId, AlertRuleId, CustomerId, EventId
from lava_proxy.core.ports import Clock, Decision, IdSource, Ledger, Rows
from lava_proxy.services.alert_facts import AlertFactsReader, Needs
from lava_proxy.services.alert_rules import active_rules, new_stamp
from lava_proxy.services.alert_system import SystemFactsReader

log = logging.getLogger(__name__)

WATCHED_EVENTS = ("request.settled", "request.repriced", "credits.granted")
WATCHED_MAX = 2000
"""So many events are looked at in one go; where more have come, the regular look will find what they changed."""
REST_FACTOR = 20
"""After a look that took long, the next one waits so many times as long: looking takes a twentieth of the time at most."""


class _Candidate(Struct, frozen=True, kw_only=True):
    rule: AlertRule
    facts: Facts


class Alerts:
    """Any number of processes may look at once."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        clock: Clock,
        ids: IdSource,
        facts: AlertFactsReader,
        system: SystemFactsReader,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger, self._clock, self._ids = ledger, clock, ids
        self._facts, self._system, self._seconds = facts, system, seconds
        self._seen = ledger.outbox().last_sequence()
        self._rests_until = 0.0

    def look(self) -> int:
        """Look at every rule and everyone; gives how many alerts fired or were resolved.

        Raises:
            LedgerUnavailable
        """
        rules = self._ledger.read(active_rules)
        system = self.take(rules, self._system.read())
        money = [rule for rule in rules if rule.scope is not AlertScope.SYSTEM]
        if not money:
            return system
        of_total = [rule for rule in money if rule.scope is AlertScope.TOTAL]
        of_customers = [rule for rule in money if rule.scope is not AlertScope.TOTAL]
        taken = self.take(of_total, [self._facts.total(_needs(of_total))]) if of_total else 0
        if of_customers:
            facts = self._facts.customers(_needs(of_customers), _only(of_customers))
            taken += self.take(of_customers, facts, is_everyone=True)
        return system + taken

    def look_regularly(self) -> None:
        """``look``, unless the last looks took so long that it has to rest."""
        self._in_time(self.look)

    def watch(self) -> None:
        """Look at those whose calls ended, or who were given credit, since this was asked last."""
        self._in_time(self._watch)

    def take(self, rules: Iterable[AlertRule], facts: Iterable[Facts], *, is_everyone: bool = False) -> int:
        """Hold rules against given facts; gives how many alerts fired or were resolved.

        ``is_everyone``: whoever is not among the facts is no concern of these rules any more (archived, on another plan).
        """
        rules, changed = tuple(rules), 0
        states = self._ledger.read(lambda rows: _states(rows, rules))
        gone = {key for key, state in states.items() if state.is_firing} if is_everyone else set()
        for known in facts:
            candidates = [_Candidate(rule=rule, facts=known) for rule in rules if applies(rule, known)]
            for each in candidates:
                key = (each.rule.rule_id, known.subject)
                gone.discard(key)
                if evaluate(each.rule, known, Standing(state=states.get(key)), _no_stamp(self._clock.now_us())):
                    changed += self._decide(each)
        return changed + sum(self._clear(rule_id, subject) for rule_id, subject in sorted(gone))

    def _watch(self) -> None:
        rules = [rule for rule in self._ledger.read(active_rules) if rule.scope is not AlertScope.SYSTEM]
        outbox = self._ledger.outbox()
        if not rules:
            self._seen = outbox.last_sequence()
            return
        events = outbox.after(self._seen, kinds=WATCHED_EVENTS, limit=WATCHED_MAX)
        if not events:
            return
        self._seen = events[-1].sequence if len(events) < WATCHED_MAX else outbox.last_sequence()
        of_total = [rule for rule in rules if rule.scope is AlertScope.TOTAL]
        if of_total:
            self.take(of_total, [self._facts.total(_needs(of_total))])
        of_customers = [rule for rule in rules if rule.scope is not AlertScope.TOTAL]
        meant, touched = _only(of_customers), self._touched(events)
        only = touched if meant is None else touched & meant
        if only:
            self.take(of_customers, self._facts.customers(_needs(of_customers), only))

    def _touched(self, events: tuple[Event, ...]) -> frozenset[CustomerId]:
        """Whose calls or credit the events tell of."""
        told = [msgspec.json.decode(event.payload, type=_Told) for event in events]

        def load(rows: Rows) -> set[CustomerId]:
            records = [rows.get(RequestRecord, each.request_id) for each in told if each.request_id]
            return {record.customer_id for record in records if record is not None and record.customer_id is not None}

        named = {CustomerId(each.customer_id) for each in told if each.customer_id}
        return frozenset(self._ledger.read(load) | named)

    def _decide(self, candidate: _Candidate) -> int:
        stamp = new_stamp(self._ids, self._clock.now_us())

        def load(rows: Rows) -> tuple[Standing, bool]:
            is_active = candidate.rule in active_rules(rows)
            return _standing(rows, candidate.rule.rule_id, candidate.facts.subject), is_active

        def decide(state: tuple[Standing, bool]) -> Decision[int]:
            standing, is_active = state
            rows: tuple[Entity, ...] = ()
            if is_active:
                rows = evaluate(candidate.rule, candidate.facts, standing, stamp)
            return Decision(result=sum(isinstance(row, Event) for row in rows), rows=rows)

        return self._ledger.transact(load, decide).result()

    def _clear(self, rule_id: AlertRuleId, subject: str) -> int:
        stamp = new_stamp(self._ids, self._clock.now_us())

        def decide(standing: Standing) -> Decision[int]:
            rows = clear(standing, stamp)
            return Decision(result=sum(isinstance(row, Event) for row in rows), rows=rows)

        return self._ledger.transact(lambda rows: _standing(rows, rule_id, subject), decide).result()

    def _in_time(self, look: Callable[[], object]) -> None:
        began = self._seconds()
        if began < self._rests_until:
            return
        look()
        ended = self._seconds()
        self._rests_until = ended + (ended - began) * REST_FACTOR


class _Told(Struct, frozen=True, kw_only=True):
    """What the watched events say."""

    request_id: str = ""
    customer_id: str = ""


def _no_stamp(now_us: int) -> AlertStamp:
    """For a look that only asks whether anything would change."""
    return AlertStamp(now_us=now_us, alert_id=AlertId(""), fired_event_id=EventId(""), resolved_event_id=EventId(""))


def _states(rows: Rows, rules: tuple[AlertRule, ...]) -> dict[tuple[AlertRuleId, str], AlertState]:
    found = (state for rule in rules for state in rows.find(AlertState, rule_id=rule.rule_id))
    return {(state.rule_id, state.subject): state for state in found}


def _standing(rows: Rows, rule_id: AlertRuleId, subject: str) -> Standing:
    state = rows.get(AlertState, rule_id, subject)
    return Standing(state=state, alert=rows.get(Alert, state.alert_id) if state else None)


def _needs(rules: Iterable[AlertRule]) -> Needs:
    rules = tuple(rules)
    kinds = frozenset(rule.kind for rule in rules if not KINDS[rule.kind].is_system)
    return Needs(kinds=kinds, has_plans=any(rule.scope is AlertScope.PLAN for rule in rules))


def _only(rules: Iterable[AlertRule]) -> frozenset[CustomerId] | None:
    """Whom the rules are about, where each of them names one; ``None``: everyone."""
    targets = set[CustomerId]()
    for rule in rules:
        if rule.scope is not AlertScope.CUSTOMER:
            return None
        targets.add(CustomerId(rule.target))
    return frozenset(targets)
