"""A thousand calls of $0.10 against $5.00: exactly fifty are admitted, whoever asks."""

import subprocess
import sys
from collections import Counter as Tally
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lava_proxy.core.admission import Admitted
from lava_proxy.core.entities import Mode, TierUnit
from lava_proxy.core.identity import Denial
from lava_proxy.core.journal import REVENUE
from lava_proxy.core.money import parse_amount
from lava_proxy.core.ports import Books, Ledger
from lava_proxy.core.verify import verify
from lava_proxy.store import open_ledger
from tests.ledger.shop import SystemClock, Till, furnish

FIVE = parse_amount("5")


def assert_well(ledger: Ledger) -> None:
    report = verify(ledger.books(), now_us=SystemClock().now_us())
    assert report.is_sound, report.findings


def spent_and_held_at_every_step(books: Books) -> list[int]:
    """After each journal entry: revenue so far, and everything that is set aside."""
    balances: Tally[str] = Tally()
    steps: list[int] = []
    for entry in books.journal():
        for posting in entry.transaction.postings:
            balances[posting.destination] += posting.amount_nanos
            balances[posting.source] -= posting.amount_nanos
        held = sum(nanos for account, nanos in balances.items() if account.endswith(":held"))
        steps.append(balances[REVENUE] + held)
    return steps


def test_threads_never_admit_more_than_the_credit(tmp_path: Path) -> None:
    with open_ledger(tmp_path / "ledger.db", mode=Mode.TEST, clock=SystemClock()) as ledger:
        furnish(ledger, credit="5", rate="0.10")
        till = Till(ledger, "t")
        with ThreadPoolExecutor(16) as threads:
            outcomes = list(threads.map(lambda _: till.ask().result(60), range(1000)))
        assert sum(isinstance(outcome, Admitted) for outcome in outcomes) == 50
        refusals = [outcome for outcome in outcomes if isinstance(outcome, Denial)]
        assert {refusal.code for refusal in refusals} == {"insufficient_credits"} and len(refusals) == 950
        assert max(spent_and_held_at_every_step(ledger.books())) == FIVE
        assert_well(ledger)


def test_processes_on_one_file_never_admit_more_than_the_credit(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with open_ledger(path, mode=Mode.TEST, clock=SystemClock()) as ledger:
        furnish(ledger, credit="5", rate="0.10")
        command = [sys.executable, "-m", "tests.ledger.shop", str(path)]
        children = [subprocess.Popen([*command, name, "400"], stdout=subprocess.PIPE) for name in ("a", "b")]
        till = Till(ledger, "c")
        own = [future.result(60) for future in [till.ask() for _ in range(200)]]
        admitted = sum(isinstance(outcome, Admitted) for outcome in own)
        admitted += sum(int(child.communicate(timeout=60)[0]) for child in children)
        assert admitted == 50
        assert max(spent_and_held_at_every_step(ledger.books())) == FIVE
        assert_well(ledger)


def test_with_a_hold_of_three_times_the_charge_every_call_that_can_be_paid_gets_through_in_the_end(
    tmp_path: Path,
) -> None:
    with open_ledger(tmp_path / "ledger.db", mode=Mode.TEST, clock=SystemClock()) as ledger:
        furnish(ledger, credit="5", rate="100000", unit=TierUnit.TOKENS_1M)  # $0.10 a token
        till = Till(ledger, "t")
        paid = 0
        for _ in range(100):
            outcomes = [future.result(60) for future in [till.ask(tokens=3) for _ in range(40)]]
            holds = [outcome.hold for outcome in outcomes if isinstance(outcome, Admitted)]
            if not holds:
                break
            assert sum(hold.amount_nanos for hold in holds) + paid * parse_amount("0.10") <= FIVE
            for settled in [till.settle(hold.hold_id, tokens=1) for hold in holds]:
                settled.result(60)
            paid += len(holds)
        while isinstance(outcome := till.ask(tokens=1).result(60), Admitted):
            till.settle(outcome.hold.hold_id, tokens=1).result(60)
            paid += 1
        assert paid == 50
        assert max(spent_and_held_at_every_step(ledger.books())) == FIVE
        assert_well(ledger)
