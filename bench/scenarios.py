"""What is measured of the gateways, in interleaved rounds: every round takes every gateway once, in turned order."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from bench.gateways import DIRECT, LAVA, STOCK, STOCK_STREAMING, Gateway
from bench.load import Sample, Spec
from bench.tools import Bodies

Take = Callable[[Spec], Sample]
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One kind of load, and the gateways that it is put on."""

    name: str
    gateways: tuple[str, ...]
    concurrency: int = 1
    rate: float = 0
    fresh: bool = False
    is_stream: bool = False
    stretch: float = 1
    """A round takes so many times the usual seconds."""

    def spec(self, gateway: Gateway, bodies: Bodies, seconds: float) -> Spec:
        return Spec(
            route=gateway.route,
            body_file=str(bodies.stream if self.is_stream else bodies.plain),
            seconds=seconds * self.stretch,
            concurrency=self.concurrency,
            rate=self.rate,
            fresh=self.fresh,
            is_stream=self.is_stream,
        )


BUSY = Scenario(name="16 at once", gateways=(STOCK, LAVA), concurrency=16)
ALONE = Scenario(name="one at a time", gateways=(STOCK, LAVA))
STREAM = Scenario(name="a stream", gateways=(STOCK_STREAMING, LAVA), is_stream=True)
STREAMS = Scenario(name="16 streams at once", gateways=(STOCK_STREAMING, LAVA), is_stream=True, concurrency=16)
KEPT = Scenario(name="50 a second, kept alive", gateways=(DIRECT, LAVA), rate=50, stretch=2)
FRESH = Scenario(name="50 a second, new connections", gateways=(DIRECT, LAVA), rate=50, fresh=True, stretch=2)
SCENARIOS = (BUSY, ALONE, STREAM, STREAMS, KEPT, FRESH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One gateway in one round of one scenario."""

    scenario: str
    gateway: str
    round: int
    sample: Sample
    cpu_us_per_call: float
    """User and system time of the gateway's processes; 0 where there is no gateway."""
    loop_us_per_call: float
    """The part of it that the event loop's thread took; the rest is the ledger's, for `lava up`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grown:
    """A gateway's memory under load, as (calls so far, resident bytes)."""

    gateway: str
    marks: tuple[tuple[int, int], ...]


@dataclass(slots=True)
class Results:
    """Everything found so far. ``lava_calls``: those that its clients saw answered; ``books``: what `lava verify` said then."""

    measured: list[Measured] = field(default_factory=list)
    grown: list[Grown] = field(default_factory=list)
    lava_calls: int = 0
    books: dict[str, object] = field(default_factory=dict)


def run_rounds(
    gateways: Sequence[Gateway], bodies: Bodies, take: Take, *, rounds: int, seconds: float, tell: Tell
) -> Iterator[Measured]:
    """Every round, scenario by scenario, the gateways one after the other."""
    for number in range(rounds):
        for scenario in SCENARIOS:
            present = [gateway for gateway in gateways if gateway.name in scenario.gateways]
            turn = number % max(1, len(present))
            for gateway in present[turn:] + present[:turn]:
                measured = _measure(scenario, gateway, scenario.spec(gateway, bodies, seconds), take, number)
                sample = measured.sample
                tell(
                    f"round {number + 1}  {scenario.name:30} {gateway.name:20} {sample.per_second:9.1f}/s"
                    f"  p50 {sample.p50_ms:8.2f} ms  p99 {sample.p99_ms:8.2f} ms  errors {sample.errors}"
                    f" {sample.error_sample}"
                )
                yield measured
                _let_it_rest(gateway)


def _measure(scenario: Scenario, gateway: Gateway, spec: Spec, take: Take, number: int) -> Measured:
    before = gateway.spent()
    sample = take(spec)
    after = gateway.spent()
    return Measured(
        scenario=scenario.name,
        gateway=gateway.name,
        round=number,
        sample=sample,
        cpu_us_per_call=(after.cpu_seconds - before.cpu_seconds) * 1e6 / max(1, sample.calls),
        loop_us_per_call=(after.loop_seconds - before.loop_seconds) * 1e6 / max(1, sample.calls),
    )


def _let_it_rest(gateway: Gateway) -> None:
    """Wait until what the client dropped is worked off: it would burden the next gateway on this core."""
    before = gateway.spent().cpu_seconds
    for _ in range(40):
        time.sleep(0.1)
        now = gateway.spent().cpu_seconds
        if now - before < 0.02:
            return
        before = now


def grow(gateway: Gateway, bodies: Bodies, take: Take, *, marks: Sequence[int], tell: Tell) -> tuple[Grown, int]:
    """Resident memory at these counts of calls, 16 at once; and how many calls that took."""
    spec = replace(BUSY.spec(gateway, bodies, 600), warmup_seconds=0)
    done, found = 0, [(0, gateway.spent().rss_bytes)]
    for mark in marks:
        while done < mark:
            sample = take(replace(spec, calls_max=mark - done))
            if sample.calls == 0 or sample.errors > 1000:
                raise RuntimeError(f"{gateway.name} does not answer: {sample.error_sample}")
            done += sample.calls
        found.append((done, gateway.spent().rss_bytes))
        tell(f"memory   {gateway.name:20} after {done:7} calls: {found[-1][1] / 2**20:6.1f} MiB")
    return Grown(gateway=gateway.name, marks=tuple(found)), done
