"""A thousand calls of $0.10 against budgets: no more are admitted than a budget allows, whoever asks."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lava_proxy.core.admission import Admitted
from lava_proxy.core.budgets import GATE_FACT, subject_kind
from lava_proxy.core.entities import Budget, BudgetMeasure, HomeFact, Mode
from lava_proxy.core.identity import Denial
from lava_proxy.core.ids import BudgetId
from lava_proxy.core.money import parse_amount
from lava_proxy.core.ports import Decision, Ledger
from lava_proxy.core.verify import verify
from lava_proxy.store import open_ledger
from tests.ledger.shop import CUSTOMER, SystemClock, Till, furnish

CAPS = [
    pytest.param(BudgetMeasure.CHARGE, parse_amount("2.55"), 25, "budget_exceeded", id="charge"),
    pytest.param(BudgetMeasure.REQUESTS, 31, 31, "request_limit_reached", id="requests"),
    pytest.param(BudgetMeasure.RATE, 60, 17, "rate_limited", id="rate"),
]


def cap(ledger: Ledger, measure: BudgetMeasure, limit: int, *, subject: str, burst: int = 0) -> None:
    budget = Budget(
        budget_id=BudgetId(f"bud_{measure}"), subject=subject, measure=measure, limit=limit, burst=burst, created_us=0
    )
    gate = HomeFact(name=GATE_FACT, value=subject_kind(subject))
    ledger.transact(lambda _: None, lambda _: Decision(result=None, rows=(budget, gate))).result(20)


def assert_well(ledger: Ledger) -> None:
    report = verify(ledger.books(), now_us=SystemClock().now_us())
    assert report.is_sound, report.findings


@pytest.mark.parametrize("subject", [f"customer:{CUSTOMER}", "customer:*"])
@pytest.mark.parametrize(("measure", "limit", "allowed", "code"), CAPS)
def test_threads_never_pass_a_budget(
    tmp_path: Path, measure: BudgetMeasure, limit: int, allowed: int, code: str, subject: str
) -> None:
    with open_ledger(tmp_path / "ledger.db", mode=Mode.TEST, clock=SystemClock()) as ledger:
        furnish(ledger, credit="500", rate="0.10")
        cap(ledger, measure, limit, subject=subject, burst=17)
        till = Till(ledger, "t")
        with ThreadPoolExecutor(16) as threads:
            outcomes = list(threads.map(lambda _: till.ask().result(60), range(500)))
        holds = [outcome.hold for outcome in outcomes if isinstance(outcome, Admitted)]
        assert len(holds) == allowed
        assert {outcome.code for outcome in outcomes if isinstance(outcome, Denial)} == {code}
        assert_well(ledger)
        for settled in [till.settle(hold.hold_id) for hold in holds]:
            settled.result(60)
        assert isinstance(till.ask().result(60), Denial)
        assert_well(ledger)


@pytest.mark.parametrize(("measure", "limit", "allowed", "code"), CAPS)
def test_processes_on_one_file_never_pass_a_budget(
    tmp_path: Path, measure: BudgetMeasure, limit: int, allowed: int, code: str
) -> None:
    del code
    path = tmp_path / "ledger.db"
    with open_ledger(path, mode=Mode.TEST, clock=SystemClock()) as ledger:
        furnish(ledger, credit="500", rate="0.10")
        cap(ledger, measure, limit, subject="customer:*", burst=17)
        command = [sys.executable, "-m", "tests.ledger.shop", str(path)]
        children = [subprocess.Popen([*command, name, "200"], stdout=subprocess.PIPE) for name in ("a", "b")]
        till = Till(ledger, "c")
        own = [future.result(60) for future in [till.ask() for _ in range(100)]]
        admitted = sum(isinstance(outcome, Admitted) for outcome in own)
        admitted += sum(int(child.communicate(timeout=60)[0]) for child in children)
        assert admitted == allowed
        assert_well(ledger)
