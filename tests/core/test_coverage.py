"""What is worst about a call decides its grade, and the shares are of all calls."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lava_proxy.core.coverage import DOUBTS, Grade, coverage_of, grade_of
from lava_proxy.core.ids import RequestId
from lava_proxy.core.ports import FlagSet


def flagged(*flags: str, provider: str = "openai", requests: int = 1, sample: str = "req_1") -> FlagSet:
    return FlagSet(provider=provider, flags=flags, requests=requests, sample=RequestId(sample))


@pytest.mark.parametrize(
    ("flags", "grade", "reason"),
    [
        ((), Grade.EXACT, ""),
        (("over_hold", "byok"), Grade.EXACT, ""),
        (("no_usage", "estimated"), Grade.ESTIMATED, "the provider told no usage"),
        (("aborted", "estimated"), Grade.ESTIMATED, "the client left before the end"),
        (("estimated", "malformed_body"), Grade.ESTIMATED, "its body did not parse"),
        (("malformed_body",), Grade.ESTIMATED, "its body did not parse"),
        (("unpriced",), Grade.UNPRICED, "no price is known"),
        (("no_usage", "unpriced"), Grade.UNPRICED, "no price is known, and the provider told no usage"),
        (("unknown", "unpriced"), Grade.UNKNOWN, "nobody described its endpoint, or nobody reads its wire format"),
    ],
)
def test_a_call_has_the_grade_of_the_worst_that_is_known_of_it(
    flags: tuple[str, ...], grade: Grade, reason: str
) -> None:
    assert grade_of(flags) == (grade, reason)


def test_calls_of_one_reason_and_provider_are_one_line_with_the_newest_as_sample() -> None:
    found = coverage_of(
        [
            flagged(requests=96),
            flagged("no_usage", "estimated", requests=1, sample="req_2"),
            flagged("estimated", "no_usage", "over_hold", requests=1, sample="req_3"),
            flagged("no_usage", "estimated", provider="groq", requests=5, sample="req_4"),
            flagged("unknown", "unpriced", requests=1, sample="req_5"),
        ]
    )

    assert found.counts == {Grade.EXACT: 96, Grade.ESTIMATED: 7, Grade.UNPRICED: 0, Grade.UNKNOWN: 1}
    assert [(line.grade, line.provider, line.requests, line.sample) for line in found.lines] == [
        (Grade.UNKNOWN, "openai", 1, "req_5"),
        (Grade.ESTIMATED, "groq", 5, "req_4"),
        (Grade.ESTIMATED, "openai", 2, "req_3"),
    ]
    assert found.share_basis_points(Grade.EXACT) == 9230


def test_the_share_of_no_calls_is_none() -> None:
    assert coverage_of([]).share_basis_points(Grade.EXACT) == 0


FLAGS = st.lists(st.sampled_from([*DOUBTS, "unknown", "unpriced", "byok", "over_hold"]), unique=True)


@given(st.lists(st.tuples(FLAGS, st.sampled_from(["a", "b"]), st.integers(1, 10**9))))
def test_every_call_has_one_grade_and_every_call_that_is_not_exact_a_line(
    drawn: list[tuple[list[str], str, int]],
) -> None:
    found = coverage_of(flagged(*flags, provider=provider, requests=count) for flags, provider, count in drawn)

    assert found.total == sum(count for _, _, count in drawn)
    for grade in (Grade.ESTIMATED, Grade.UNPRICED, Grade.UNKNOWN):
        assert found.counts[grade] == sum(line.requests for line in found.lines if line.grade is grade)
    assert (found.share_basis_points(Grade.EXACT) == 10_000) == (not found.lines and found.total > 0)
    assert sum(found.share_basis_points(grade) for grade in Grade) <= 10_000
