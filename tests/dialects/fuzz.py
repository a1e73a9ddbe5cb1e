"""Feeds every reader with damaged answers: ``make fuzz``, or ``python -m tests.dialects.fuzz [--inputs N] [--seed N]``.

The samples, and the recorded traffic where it is present, are cut, mixed, overwritten and repeated at random; each
answer goes whole and in pieces, with its request and headers or with others. Nothing may raise, no count may be below 0,
the pieces may make no difference, and the client's bytes stay. With atheris installed (``--coverage``) its mutations,
guided by coverage, take the place of ours. Leaves with 1, and the input on standard output, where something fails.
"""

import argparse
import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from lava_proxy.core.usage import UNITS, Reading
from lava_proxy.dialects import DIALECTS
from tests.dialects.feeding import FACTS, pieces
from tests.dialects.recorded import all_rows
from tests.dialects.samples import ANSWERS

_HEADERS: tuple[dict[str, str], ...] = (
    {},
    {"content-type": "audio/mpeg", "character-cost": "-3", "dg-char-count": "x", "x-fal-billable-units": "1e999"},
    {"x-amzn-bedrock-input-token-count": "-7", "x-amzn-bedrock-output-token-count": "9" * 30, "cf-ai-neurons": "nan"},
    {"content-type": "text/event-stream", "x-compute-tokens": "4", "x-compute-time": "infinity"},
)
_WORDS = (
    b'"usage":',
    b"{",
    b"}",
    b"[",
    b"]",
    b"null",
    b"-1",
    b"1e999",
    b"NaN",
    b'"',
    b"\\",
    b"data: ",
    b"\n\n",
    b"\r",
    b"\0\0\0",
)
_LARGEST_SEED = 40_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000, help="how many damaged answers")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--coverage", action="store_true", help="let atheris choose, until it is stopped")
    asked, rest = parser.parse_known_args()
    if asked.coverage:
        return by_coverage(rest)
    generator = random.Random(asked.seed)
    seeds = list(seeds_of_all())
    started = time.monotonic()
    for number in range(asked.inputs):
        dialect, body = generator.choice(seeds)
        damaged = mutated(generator, body, seeds)
        try:
            check(dialect, damaged, _HEADERS[number % len(_HEADERS)], generator.randint(1, 400))
        except Exception:
            print(f"seed {asked.seed}, input {number}, {dialect}: {damaged!r}")
            raise
    seconds = time.monotonic() - started
    print(
        f"{asked.inputs} inputs of {len({name for name, _ in seeds})} wires from {len(seeds)} seeds in {seconds:.0f} s: nothing found"
    )
    return 0


def seeds_of_all() -> Iterator[tuple[str, bytes]]:
    """Our samples, each often, and recorded answers where there are some."""
    for dialect, answers in ANSWERS.items():
        for answer in answers:
            yield from ((dialect, answer),) * 20
    shared = Path(os.environ.get("LAVA_SHARED") or Path(__file__).resolve().parents[3] / "shared")
    if (shared / "traffic").is_dir():
        yield from ((row.dialect, row.body) for row in all_rows(shared) if 0 < len(row.body) <= _LARGEST_SEED)


def mutated(generator: random.Random, body: bytes, seeds: list[tuple[str, bytes]]) -> bytes:
    """``body`` after a few accidents."""
    found = bytearray(body)
    for _ in range(generator.randint(1, 6)):
        place = generator.randrange(len(found) + 1)
        match generator.randrange(7):
            case 0:
                del found[place : place + generator.randint(1, 60)]
            case 1:
                del found[place:]
            case 2:
                found[place : place + 1] = bytes([generator.randrange(256)])
            case 3:
                found[place:place] = generator.choice(_WORDS) * generator.randint(1, 3)
            case 4:
                found[place:place] = found[place : place + generator.randint(1, 200)] * 2
            case 5:
                other = generator.choice(seeds)[1]
                found[place:] = other[generator.randrange(len(other)) :]
            case _:
                digits = str(generator.choice((-1, 0, 2**63, 10**30, 0.5, "1.5e308"))).encode()
                found[place : place + generator.randint(0, 4)] = digits
    return bytes(found)


def check(dialect: str, body: bytes, headers: dict[str, str], size: int) -> None:
    """All that must hold of any answer."""
    wire = DIALECTS[dialect]
    facts = wire.read_request("chat", body, path_model=None)
    assert facts.choices >= 1 and facts.input_text_bytes >= 0 and facts.input_other_tokens >= 0
    assert_sound_usage(facts.counted)
    whole = read(dialect, [body], headers)
    assert read(dialect, list(pieces(body, size)), headers) == whole
    assert_sound(whole)
    assert_sound_usage(wire.estimate("chat", FACTS, whole))


def read(dialect: str, chunks: list[bytes], headers: dict[str, str]) -> Reading:
    reader = DIALECTS[dialect].reader(
        "chat",
        content_type=headers.get("content-type", ""),
        content_encoding="",
        facts=FACTS,
        take_out_usage=False,
        headers=headers,
    )
    for chunk in chunks:
        assert reader.feed(chunk) is chunk
    assert reader.finish() == b""
    return reader.reading()


def assert_sound(reading: Reading) -> None:
    assert_sound_usage(reading.usage)
    if reading.billed is not None:
        assert_sound_usage(reading.billed)
    assert reading.reported_cost is None or (reading.reported_cost.is_finite() and reading.reported_cost >= 0)
    for text in (reading.model, reading.response_id, reading.service_tier, *reading.raw_usage):
        assert text is None or text.encode("utf-8").decode() == text


def assert_sound_usage(usage: object) -> None:
    for name in UNITS:
        value = getattr(usage, name)
        assert value is None or 0 <= value < 10**31, (name, value)


def by_coverage(rest: list[str]) -> int:
    """atheris' own loop; its first byte chooses the wire."""
    try:
        import atheris
    except ImportError:
        print("atheris is not installed: run without --coverage", file=sys.stderr)
        return 2
    names = sorted(DIALECTS)

    def one(given: bytes) -> None:
        if given:
            check(names[given[0] % len(names)], given[1:], _HEADERS[given[0] % len(_HEADERS)], 7)

    atheris.instrument_all()
    atheris.Setup([sys.argv[0], *rest], one)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
