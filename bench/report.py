"""The goals, what was found, and one line for each. Ratios and differences are taken round by round, then the median."""

import json
import math
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass

from bench.gateways import DIRECT, LAVA, STOCK, STOCK_STREAMING
from bench.load import Sample
from bench.scenarios import ALONE, BUSY, FRESH, KEPT, SCENARIOS, STREAM, STREAMS, Results, Scenario

Figure = Callable[[Sample], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One promise. ``rounds`` holds the figure of every round; ``met`` is ``None`` where nothing was measured."""

    what: str
    goal: str
    median: float
    unit: str
    rounds: tuple[float, ...]
    met: bool | None


def lines(results: Results) -> list[Line]:
    """The goals of the project, each with its figure."""
    found = [
        _line("requests a second, 16 at once, over stock mitmdump", ">=", 1.5, "x",
              _paired(results, BUSY, STOCK, _per_second, _ratio)),
        _line("median, one at a time, added over stock mitmdump", "<=", 0, "ms",
              _paired(results, ALONE, STOCK, _p50, _difference)),
        _line("99th percentile, one at a time, added over stock mitmdump", "<=", 2, "ms",
              _paired(results, ALONE, STOCK, _p99, _difference)),
        _line("first byte of a stream, added over stock streaming mitmdump", "<=", 0, "ms",
              _paired(results, STREAM, STOCK_STREAMING, _first_byte, _difference)),
        _line("first byte, 16 streams at once, added over stock streaming mitmdump", "<=", 0, "ms",
              _paired(results, STREAMS, STOCK_STREAMING, _first_byte, _difference)),
        _line("99th percentile at 50 calls a second, kept alive, added over direct TLS", "<", 20, "ms",
              _paired(results, KEPT, DIRECT, _p99, _difference)),
        _line("median at 50 calls a second, new connections, added over direct TLS", "<", 20, "ms",
              _paired(results, FRESH, DIRECT, _p50, _difference)),
    ]  # fmt: skip
    for grown in results.grown:
        if grown.gateway == LAVA and len(grown.marks) >= 3:
            (first_calls, first), (last_calls, last) = grown.marks[1], grown.marks[-1]
            what = f"memory growth from {first_calls:,} to {last_calls:,} calls"
            found.append(_line(what, "<=", 4, "MiB", ((last - first) / 2**20,)))
    return found


def table(results: Results) -> str:
    """Markdown: the goals, then the medians of everything."""
    rows = ["| what | goal | median | rounds (lowest … highest) | met |", "|---|---|---|---|---|"]
    for line in lines(results):
        spread = f"{min(line.rounds):.2f} … {max(line.rounds):.2f}" if line.rounds else "-"
        met = {True: "yes", False: "NO", None: "-"}[line.met]
        rows.append(f"| {line.what} | {line.goal} | {line.median:.2f} {line.unit} | {spread} | {met} |")
    rows += [
        "",
        "| load | gateway | calls/s | p50 ms | p99 ms | first byte p50 ms | CPU µs/call | of it the loop | errors |",
    ]
    rows += ["|---|---|---|---|---|---|---|---|---|"]
    for scenario in SCENARIOS:
        rows += [_medians(results, scenario, gateway) for gateway in scenario.gateways]
    for grown in results.grown:
        rows.append("")
        rows.append(
            f"Memory of {grown.gateway}: "
            + ", ".join(f"{size / 2**20:.1f} MiB at {calls:,}" for calls, size in grown.marks)
        )
    if results.books:
        names = ("is_sound", "requests", "transactions", "open_holds")
        told = ", ".join(f"{name} {results.books.get(name)}" for name in names)
        rows += ["", f"`lava verify` afterwards: {told}; its clients saw {results.lava_calls:,} answers to the end."]
    return "\n".join(rows)


def document(results: Results) -> dict[str, object]:
    """The same as values for JSON, every round of it; what is not a number is null."""
    found = {
        "lines": [asdict(line) for line in lines(results)],
        "measured": [asdict(measured) for measured in results.measured],
        "grown": [asdict(grown) for grown in results.grown],
        "lava_calls": results.lava_calls,
        "books": results.books,
    }
    cleaned: dict[str, object] = json.loads(json.dumps(found), parse_constant=lambda _: None)
    return cleaned


def _medians(results: Results, scenario: Scenario, gateway: str) -> str:
    found = [m for m in results.measured if m.scenario == scenario.name and m.gateway == gateway]

    def median(figure: Figure) -> float:
        return _median([figure(m.sample) for m in found])

    first_byte = f"{median(_first_byte):.2f}" if scenario.is_stream else "-"
    cpu = _median([m.cpu_us_per_call for m in found])
    loop = _median([m.loop_us_per_call for m in found])
    return (
        f"| {scenario.name} | {gateway} | {median(_per_second):,.1f} | {median(_p50):.2f} | {median(_p99):.2f}"
        f" | {first_byte} | {f'{cpu:,.0f}' if cpu else '-'} | {f'{loop:,.0f}' if loop else '-'} | {sum(m.sample.errors for m in found)} |"
    )


def _line(what: str, sign: str, goal: float, unit: str, rounds: tuple[float, ...]) -> Line:
    median = _median(list(rounds))
    met = {">=": median >= goal, "<=": median <= goal, "<": median < goal}[sign] if rounds else None
    return Line(what=what, goal=f"{sign} {goal:g} {unit}", median=median, unit=unit, rounds=rounds, met=met)


def _paired(
    results: Results, scenario: Scenario, other: str, figure: Figure, compare: Callable[[float, float], float]
) -> tuple[float, ...]:
    """Ours against the other, in each round that has both without a single error."""
    by_round: dict[int, dict[str, Sample]] = {}
    for measured in results.measured:
        if measured.scenario == scenario.name:
            by_round.setdefault(measured.round, {})[measured.gateway] = measured.sample
    return tuple(
        compare(figure(found[LAVA]), figure(found[other]))
        for found in by_round.values()
        if LAVA in found and other in found and not found[LAVA].errors and not found[other].errors
    )


def _ratio(ours: float, theirs: float) -> float:
    return ours / theirs if theirs else math.nan


def _difference(ours: float, theirs: float) -> float:
    return ours - theirs


def _per_second(sample: Sample) -> float:
    return sample.per_second


def _p50(sample: Sample) -> float:
    return sample.p50_ms


def _p99(sample: Sample) -> float:
    return sample.p99_ms


def _first_byte(sample: Sample) -> float:
    return sample.first_byte_p50_ms


def _median(values: list[float]) -> float:
    return statistics.median(values) if values else math.nan
