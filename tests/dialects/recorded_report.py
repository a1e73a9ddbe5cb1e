"""Prints how the recorded traffic is read, by provider and endpoint: ``python -m tests.dialects.recorded_report [--all]``.

Without ``--all`` the providers that the proxy lists; with it every provider whose wire our readers can read. Ends with
every miss and, where there is one, the reason. Leaves with 1 where a miss has none.
"""

import os
import sys
from collections import Counter
from pathlib import Path

from tests.dialects.recorded import ARGUED, LISTED_PROVIDERS, Gate, Row, all_rows, misses

_COLUMNS = ("exact", "unsure", "nothing", "argued", "missed", "skipped")


def main() -> int:
    shared = Path(os.environ.get("LAVA_SHARED") or Path(__file__).resolve().parents[3] / "shared")
    if not (shared / "traffic").is_dir():
        print(f"no recorded traffic in {shared} (LAVA_SHARED names another place)", file=sys.stderr)
        return 1
    counts: Counter[tuple[str, str, str]] = Counter()
    notes: list[str] = []
    for row in all_rows(shared):
        if row.provider in LISTED_PROVIDERS or "--all" in sys.argv:
            outcome, note = judge(row)
            counts[row.provider, row.endpoint, outcome] += 1
            notes += [note] if note else []
    _print(counts)
    print(*notes, sep="\n")
    return 1 if sum(count for key, count in counts.items() if key[2] == "missed") else 0


def judge(row: Row) -> tuple[str, str]:
    """The column in which ``row`` counts, and what is to be said of a miss."""
    if row.gate is Gate.TRUNCATED:
        return "skipped", ""
    wrong = misses(row, row.reading())
    if wrong and row.id in ARGUED:
        return "argued", f"\nargued {row.id} {row.provider} {row.endpoint}: {', '.join(wrong)}\n  {ARGUED[row.id]}"
    if wrong:
        return "missed", f"\nmissed {row.id} {row.provider} {row.endpoint}: {', '.join(wrong)}"
    return {Gate.EXACT: "exact", Gate.UNSURE: "unsure"}.get(row.gate, "nothing"), ""


def _print(counts: Counter[tuple[str, str, str]]) -> None:
    print(f"{'provider':20}{'endpoint':24}" + "".join(f"{name:>9}" for name in _COLUMNS))
    for provider, endpoint in sorted({key[:2] for key in counts}):
        numbers = "".join(f"{counts[provider, endpoint, name]:>9}" for name in _COLUMNS)
        print(f"{provider:20}{endpoint:24}{numbers}")
    totals = [sum(count for key, count in counts.items() if key[2] == name) for name in _COLUMNS]
    print(f"{'all':44}" + "".join(f"{total:>9}" for total in totals))


if __name__ == "__main__":
    sys.exit(main())
