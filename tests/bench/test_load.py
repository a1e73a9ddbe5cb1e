"""The bench's own client tells what happened."""

import asyncio
from pathlib import Path

import pytest

from bench.load import Route, Sample, Spec, measure, percentile
from bench.tools import PROVIDER_HOST, write_bodies
from lava_proxy.demo.plan import Plan
from lava_proxy.demo.provider import StandIn, running_stand_in
from tests.support.certificates import make_authority


def load(
    provider: StandIn,
    folder: Path,
    *,
    stream: bool = False,
    rate: float = 0,
    fresh: bool = False,
    calls: int = 5,
    seconds: float = 20,
) -> Sample:
    bodies = write_bodies(folder)
    route = Route(
        port=provider.port,
        authority=f"{PROVIDER_HOST}:443",
        server_name=PROVIDER_HOST,
        ca_file=str(folder / "authority.pem"),
    )
    spec = Spec(
        route=route,
        body_file=str(bodies.stream if stream else bodies.plain),
        seconds=seconds,
        concurrency=2,
        rate=rate,
        fresh=fresh,
        is_stream=stream,
        calls_max=calls,
        warmup_seconds=0,
    )
    return asyncio.run(measure(spec))


def test_a_closed_loop_counts_every_call_and_keeps_its_connections(tmp_path: Path) -> None:
    with running_stand_in(tls=make_authority(tmp_path).issue(PROVIDER_HOST)) as provider:
        sample = load(provider, tmp_path, calls=20)

        figures = provider.counters.figures()
    assert sample.errors == 0
    assert sample.calls == figures["requests"] >= 20
    assert figures["connections"] == 2
    assert 0 < sample.p50_ms <= sample.p99_ms


def test_new_connections_are_new_for_every_call(tmp_path: Path) -> None:
    with running_stand_in(tls=make_authority(tmp_path).issue(PROVIDER_HOST)) as provider:
        sample = load(provider, tmp_path, rate=200, fresh=True)

        figures = provider.counters.figures()
    assert figures["connections"] == figures["requests"] == sample.calls


def test_an_open_loop_does_not_wait_for_a_late_answer(tmp_path: Path) -> None:
    with running_stand_in(tls=make_authority(tmp_path).issue(PROVIDER_HOST)) as provider:
        provider.plan = Plan(head_delay_ms=300)
        sample = load(provider, tmp_path, rate=50)

    assert sample.calls >= 14  # in 300 ms 15 calls are due, before the first is answered
    assert sample.p50_ms >= 300


def test_the_first_byte_of_a_stream_is_told_from_its_end(tmp_path: Path) -> None:
    with running_stand_in(tls=make_authority(tmp_path).issue(PROVIDER_HOST)) as provider:
        provider.plan = Plan(delay_ms=30, chunks=5)
        sample = load(provider, tmp_path, stream=True)

    assert sample.first_byte_p50_ms + 100 < sample.p50_ms


def test_an_answer_that_is_no_200_is_an_error_and_no_time(tmp_path: Path) -> None:
    with running_stand_in(tls=make_authority(tmp_path).issue(PROVIDER_HOST)) as provider:
        provider.plan = Plan(status=429)
        sample = load(provider, tmp_path, rate=100, seconds=0.3)

    assert sample.errors == sample.calls > 0
    assert sample.per_second == 0
    assert "429" in sample.error_sample


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_a_percentile_is_a_value_that_was_seen(share: float, expected: float) -> None:
    assert percentile([float(n) for n in range(1, 101)], share) == expected
