"""Both ledgers, so that the contract is tested on each."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lava_proxy.core.entities import Mode
from lava_proxy.store import MemoryLedger, open_ledger
from lava_proxy.store.ledger import WritingLedger
from tests.store.samples import FakeClock


@pytest.fixture(params=["memory", "sqlite"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[WritingLedger]:
    made: WritingLedger
    if request.param == "memory":
        made = MemoryLedger(mode=Mode.TEST, clock=FakeClock())
    else:
        made = open_ledger(tmp_path / "ledger.db", mode=Mode.TEST, clock=FakeClock())
    with made:
        yield made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"
