"""The bench's report compares what belongs together."""

import json

from bench.gateways import LAVA, STOCK
from bench.load import Sample
from bench.report import document, lines, table
from bench.scenarios import ALONE, BUSY, Grown, Measured, Results


def measured(
    gateway: str, number: int, per_second: float, *, scenario: str = BUSY.name, p99_ms: float = 2, errors: int = 0
) -> Measured:
    sample = Sample(
        calls=100,
        errors=errors,
        per_second=per_second,
        p50_ms=1,
        p99_ms=p99_ms,
        first_byte_p50_ms=0,
        first_byte_p99_ms=0,
    )
    return Measured(
        scenario=scenario, gateway=gateway, round=number, sample=sample, cpu_us_per_call=10, loop_us_per_call=8
    )


def test_a_ratio_is_taken_within_each_round_and_then_the_median() -> None:
    results = Results()
    for number, (stock, ours) in enumerate([(100, 200), (400, 600), (50, 150)]):
        results.measured += [measured(STOCK, number, stock), measured(LAVA, number, ours)]

    line = lines(results)[0]

    assert line.rounds == (2.0, 1.5, 3.0)
    assert line.median == 2.0
    assert line.met


def test_a_round_with_an_error_counts_for_nobody() -> None:
    results = Results()
    results.measured += [measured(STOCK, 0, 100), measured(LAVA, 0, 900, errors=1)]
    results.measured += [measured(STOCK, 1, 100), measured(LAVA, 1, 120)]

    line = lines(results)[0]

    assert line.rounds == (1.2,)
    assert line.met is False


def test_a_difference_is_ours_less_theirs() -> None:
    results = Results()
    results.measured += [
        measured(STOCK, 0, 1, scenario=ALONE.name, p99_ms=5),
        measured(LAVA, 0, 1, scenario=ALONE.name, p99_ms=7.5),
    ]

    line = next(line for line in lines(results) if "99th percentile, one at a time" in line.what)

    assert line.rounds == (2.5,)
    assert line.met is False


def test_memory_growth_starts_at_the_first_mark_after_the_start() -> None:
    grown = Grown(gateway=LAVA, marks=((0, 50 << 20), (20_000, 80 << 20), (100_000, 83 << 20)))

    line = lines(Results(grown=[grown]))[-1]

    assert line.rounds == (3.0,)
    assert line.what == "memory growth from 20,000 to 100,000 calls"


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    assert {line.met for line in lines(Results())} == {None}
    assert "NO" not in table(Results())
    assert "NaN" not in json.dumps(document(Results()))
