"""A scheduler that dies. ``python -m tests.billing.victim HOME WHERE``: SIGKILL before or after the money moved, or in a commit."""

import os
import signal
import sys
from pathlib import Path

from lava_proxy.core.gateway import Answer, Charge, Outcome, Refund
from lava_proxy.settings import Home, Settings
from lava_proxy.wiring import House

LATE_US = 1_800_000_000_000_000


class FileGateway:
    """Keeps what moved in a folder, a file for each key: a gateway that survives our death."""

    name = "file"

    def __init__(self, folder: Path, die: str = "") -> None:
        self._folder, self._die = folder, die
        folder.mkdir(exist_ok=True)

    def charge(self, charge: Charge) -> Answer:
        return self._move(charge.key, charge.amount_nanos)

    def refund(self, refund: Refund) -> Answer:
        return self._move(refund.key, -refund.amount_nanos)

    def moved(self) -> list[int]:
        return [int(file.read_text()) for file in sorted(self._folder.iterdir())]

    def _move(self, key: str, amount_nanos: int) -> Answer:
        if self._die == "before the money moved":
            os.kill(os.getpid(), signal.SIGKILL)
        (self._folder / key).write_text(str(amount_nanos))
        if self._die == "after the money moved":
            os.kill(os.getpid(), signal.SIGKILL)
        return Answer(outcome=Outcome.PAID, reference=f"file:{key}")


def main() -> None:
    folder, where, now_us = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    with House(Home(folder), Settings()) as house:
        house.gateway = FileGateway(folder / "bank", die=where)
        house.ticking.tick(now_us=now_us, all_rules=True)
        house.ledger.close()
    print("alive")


if __name__ == "__main__":
    main()
