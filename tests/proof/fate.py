"""Where a victim dies or waits, as its environment says; see ``victim``."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

DIE_AT, GATE, SWEEP_SECONDS = "PROOF_DIE_AT", "PROOF_GATE", "PROOF_SWEEP_SECONDS"
GATE_SECONDS_MAX = 100


@dataclass(slots=True, kw_only=True)
class Fate:
    """Where this process dies or waits."""

    kind: str = ""
    label: str = ""
    times: int = 0
    gate: Path | None = None

    @classmethod
    def from_environment(cls) -> "Fate":
        kind, _, rest = os.environ.get(DIE_AT, "").partition(":")
        label, _, times = rest.partition(":")
        gate = os.environ.get(GATE)
        return cls(kind=kind, label=label, times=int(times or 1), gate=Path(gate) if gate else None)

    def reach(self, kinds: set[str], label: str) -> None:
        """This process is at that point of something of those kinds."""
        if self.kind in kinds and self.label == label:
            self.times -= 1
            if not self.times:
                os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(60)  # the signal is on its way: do not go on meanwhile
        if self.gate is not None and label == "before_commit":
            self._wait(self.gate)

    def _wait(self, gate: Path) -> None:
        give_up_at = time.monotonic() + GATE_SECONDS_MAX
        while gate.exists() and time.monotonic() < give_up_at:
            gate.with_suffix(".at").touch()
            time.sleep(0.01)
