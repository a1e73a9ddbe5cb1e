"""Runs: one `lava run` or `lava env`, with a key of its own, its caps, and a receipt in the end."""

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.core.entities import Budget, BudgetMeasure, Entity, Key, KeyScope, Run
from lava_proxy.core.errors import InvalidInput, NotFound
from lava_proxy.core.ids import BudgetId, KeyId, RunId
from lava_proxy.core.keys import SECRET_BYTES, new_key
from lava_proxy.core.ports import Clock, Decision, IdSource, Ledger, RequestFilter, Rows
from lava_proxy.services.audit import audit
from lava_proxy.services.idempotency import By
from lava_proxy.services.keys import active_customer, active_meter, mode_of

RUN_TTL_US = 7 * 86_400 * 1_000_000
"""A run key ends by itself after a week, should nobody end it."""


class RunTerms(Struct, frozen=True, kw_only=True):
    """What a run may do. Without a customer its calls are the merchant's own; caps hold for those too."""

    customer: str | None = None
    meter: str | None = None
    cost_nanos_max: int | None = None
    charge_nanos_max: int | None = None
    ttl_us: int = RUN_TTL_US


class StartedRun(Struct, frozen=True, kw_only=True):
    run: Run
    key: Key
    text: str
    """The run key, to be the proxy password; it is not kept."""


class Receipt(Struct, frozen=True, kw_only=True):
    """What a run came to. Amounts in nanos."""

    run: Run
    requests: int
    input_tokens: int
    output_tokens: int
    cost_nanos: int
    charge_nanos: int
    blocked: int
    """Calls that were refused before they left."""
    refusals: tuple[tuple[str, int], ...]
    """The same by code."""
    errors: int
    unpriced: int
    estimated: int
    pending: int
    """Calls still in flight: what they cost is not in here yet."""


class Runs:
    def __init__(self, *, ledger: Ledger, clock: Clock, ids: IdSource, random_bytes: Callable[[int], bytes]) -> None:
        self._ledger = ledger
        self._clock = clock
        self._ids = ids
        self._random_bytes = random_bytes

    def start(self, terms: RunTerms, *, by: By) -> StartedRun:
        """A new run with its key and caps.

        Raises:
            CustomerNotFound, MeterNotFound, InvalidInput
            Refused: the customer or the meter is archived.
        """
        now_us = self._clock.now_us()
        run_id = RunId(self._ids.new("run"))
        budgets = self._budgets(terms, run_id, now_us)
        blank, text = new_key(
            key_id=KeyId(self._ids.new("key")),
            scope=KeyScope.RUN,
            mode=self._ledger.read(mode_of),
            random_bytes=self._random_bytes(SECRET_BYTES),
            name="lava run",
            created_us=now_us,
            run_id=run_id,
            expires_us=now_us + terms.ttl_us,
        )

        def load(rows: Rows) -> tuple[Run, Key]:
            customer_id = active_customer(rows, terms.customer) if terms.customer else None
            meter_id = active_meter(rows, terms.meter) if terms.meter else None
            run = Run(run_id=run_id, customer_id=customer_id, meter_id=meter_id, created_us=now_us)
            return run, replace(blank, customer_id=customer_id, meter_ids=(meter_id,) if meter_id else ())

        def decide(state: tuple[Run, Key]) -> Decision[StartedRun]:
            run, key = state
            entry = audit(by, now_us=now_us, action="run.started", subject=run_id, after=run)
            rows: tuple[Entity, ...] = (run, key, *budgets, entry)
            return Decision(result=StartedRun(run=run, key=key, text=text), rows=rows)

        return self._ledger.transact(load, decide).result()

    def end(self, run_id: RunId) -> None:
        """The run is over: its key is not good any more. Calls in flight finish. Ending again changes nothing.

        Raises:
            NotFound
        """
        now_us = self._clock.now_us()

        def load(rows: Rows) -> tuple[Run, tuple[Key, ...]]:
            return _require_run(rows, run_id), rows.find(Key, run_id=run_id)

        def decide(state: tuple[Run, tuple[Key, ...]]) -> Decision[None]:
            run, keys = state
            revoked = tuple(replace(key, revoked_us=now_us) for key in keys if key.revoked_us is None)
            ended = () if run.ended_us is not None else (replace(run, ended_us=now_us),)
            return Decision(result=None, rows=(*ended, *revoked))

        self._ledger.transact(load, decide).result()

    def receipt(self, run_id: RunId) -> Receipt:
        """What the run came to so far.

        Raises:
            NotFound
        """
        run = self._ledger.read(lambda rows: _require_run(rows, run_id))
        books = self._ledger.books()
        lines = books.usage(RequestFilter(run_id=run_id), by=())
        refusals = books.refusals(run_id=run_id)
        pending = self._pending(run_id)
        line = lines[0] if lines else None
        return Receipt(
            run=run,
            requests=line.requests if line else 0,
            input_tokens=line.input_tokens if line else 0,
            output_tokens=line.output_tokens if line else 0,
            cost_nanos=line.cost_nanos if line else 0,
            charge_nanos=line.charge_nanos if line else 0,
            blocked=sum(count for _, count in refusals),
            refusals=refusals,
            errors=line.errors if line else 0,
            unpriced=line.unpriced if line else 0,
            estimated=line.estimated if line else 0,
            pending=pending,
        )

    def _pending(self, run_id: RunId) -> int:
        count, cursor = 0, None
        while True:
            page = self._ledger.books().holds(open_only=True, cursor=cursor, limit=1000)
            count += sum(hold.run_id == run_id for hold in page.items)
            cursor = page.next_cursor
            if cursor is None:
                return count

    def _budgets(self, terms: RunTerms, run_id: RunId, now_us: int) -> tuple[Budget, ...]:
        caps = ((BudgetMeasure.COST, terms.cost_nanos_max), (BudgetMeasure.CHARGE, terms.charge_nanos_max))
        for measure, limit in caps:
            if limit is not None and limit < 0:
                raise InvalidInput(f"max_{measure.value}: it must be 0 or more", field=f"max_{measure.value}")
        return tuple(
            Budget(
                budget_id=BudgetId(self._ids.new("bud")),
                subject=f"run:{run_id}",
                measure=measure,
                limit=limit,
                created_us=now_us,
            )
            for measure, limit in caps
            if limit is not None
        )


def _require_run(rows: Rows, run_id: RunId) -> Run:
    run = rows.get(Run, run_id)
    if run is None:
        raise NotFound(f"There is no run {run_id!r}.")
    return run
