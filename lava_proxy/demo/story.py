"""What the scenario tells: three customers on three meters, the calls that they make, and what each must cost.

The expectation is worked out here by plain arithmetic, from the stand-in's published figures and the price book's rates,
and not by the rules that the proxy uses: two ways to the same nano-dollar.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction

from lava_proxy.core.entities import RateType, Tier, TierUnit
from lava_proxy.core.money import NANOS_PER_DOLLAR
from lava_proxy.demo.figures import figures
from lava_proxy.demo.plan import Plan
from lava_proxy.services.meters import MeterTerms

DOLLAR = NANOS_PER_DOLLAR
CENT = NANOS_PER_DOLLAR // 100

MARKUP = MeterTerms(
    name="Cost plus 30 %",
    slug="plus-30",
    rate_type=RateType.PERCENTAGE,
    tier_unit=TierUnit.TOKENS_1M,
    tiers=(Tier(start=0, rate_nanos=30 * DOLLAR),),
)
PER_TOKEN = MeterTerms(
    name="$12 per million tokens, $8 beyond the first thousand",
    slug="per-token",
    rate_type=RateType.FIXED,
    tier_unit=TierUnit.TOKENS_1M,
    tiers=(Tier(start=0, rate_nanos=12 * DOLLAR), Tier(start=1_000, rate_nanos=8 * DOLLAR)),
)
PER_CALL = MeterTerms(
    name="2 cents a call",
    slug="per-call",
    rate_type=RateType.FIXED,
    tier_unit=TierUnit.REQUESTS,
    tiers=(Tier(start=0, rate_nanos=2 * CENT),),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """A customer of the story."""

    reference_id: str
    name: str
    meter: MeterTerms
    credit_nanos: int


ACME = Cast(reference_id="acme", name="Acme Rockets", meter=MARKUP, credit_nanos=5 * DOLLAR)
GLOBEX = Cast(reference_id="globex", name="Globex", meter=PER_TOKEN, credit_nanos=1 * DOLLAR)
INITECH = Cast(reference_id="initech", name="Initech", meter=PER_CALL, credit_nanos=5 * CENT)
CUSTOMERS = (ACME, GLOBEX, INITECH)


class Kind(StrEnum):
    JSON = "json"
    STREAM = "stream"
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One call of the story."""

    customer: Cast
    provider: str
    url: str
    model: str
    body: Mapping[str, object]
    kind: Kind = Kind.JSON
    plan: Plan = field(default_factory=Plan)
    headers: Mapping[str, str] = field(default_factory=dict)
    is_refused: bool = False


def _messages(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def _gpt(
    customer: Cast, text: str, *, kind: Kind = Kind.JSON, plan: Plan | None = None, is_refused: bool = False
) -> Ask:
    stream: dict[str, object] = {} if kind is Kind.JSON else {"stream": True}
    return Ask(
        customer=customer,
        provider="openai",
        url="https://api.openai.com/v1/chat/completions",
        model="gpt-4o-mini",
        body={"model": "gpt-4o-mini", "messages": _messages(text), "max_tokens": 4_000, **stream},
        headers={"authorization": "Bearer sk-demo"},
        kind=kind,
        plan=plan or Plan(),
        is_refused=is_refused,
    )


def _claude(customer: Cast, text: str, plan: Plan) -> Ask:
    body = {"model": "claude-haiku-4-5", "messages": _messages(text), "max_tokens": 4_000, "stream": True}
    return Ask(
        customer=customer,
        provider="anthropic",
        url="https://api.anthropic.com/v1/messages",
        model="claude-haiku-4-5",
        body=body,
        headers={"x-api-key": "sk-ant-demo", "anthropic-version": "2023-06-01"},
        kind=Kind.STREAM,
        plan=plan,
    )


def _gemini(customer: Cast, text: str, plan: Plan) -> Ask:
    return Ask(
        customer=customer,
        provider="google",
        url="https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash:generateContent",
        model="gemini-2.5-flash",
        body={
            "contents": [{"role": "user", "parts": [{"text": text}]}],
            "generationConfig": {"maxOutputTokens": 4_000},
        },
        headers={"x-goog-api-key": "demo"},
        plan=plan,
    )


_LONG = Plan(output_tokens=3_000, chunks=60, delay_ms=15)
ASKS = (
    _gpt(ACME, "Write a poem about lava.", plan=Plan(output_tokens=900)),
    _claude(ACME, "Explain why lava glows.", Plan(output_tokens=1_200, chunks=30)),
    _gemini(ACME, "Describe the volcanoes of Sicily.", Plan(output_tokens=1_500)),
    _gpt(ACME, "Tell the story of Pompeii.", kind=Kind.STREAM, plan=Plan(output_tokens=2_400, chunks=40)),
    _gpt(GLOBEX, "How hot is a lava flow?", plan=Plan(output_tokens=600)),
    _gpt(GLOBEX, "And how fast does it move?", kind=Kind.STREAM, plan=Plan(output_tokens=700)),
    _claude(GLOBEX, "What is basalt made of?", Plan(output_tokens=800)),
    _gpt(GLOBEX, "Tell everything about tectonic plates.", kind=Kind.ABORTED, plan=_LONG),
    _gpt(INITECH, "First call: two cents."),
    _gpt(INITECH, "Second call: two cents.", kind=Kind.STREAM),
    _gpt(INITECH, "Third call: one cent is left.", is_refused=True),
)
AI_HOSTS = tuple(dict.fromkeys(ask.url.split("/")[2] for ask in ASKS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    input: int
    output: int

    @property
    def total(self) -> int:
        return self.input + self.output


def expected_tokens(ask: Ask) -> Tokens:
    """What the stand-in will report for this call."""
    found = figures(ask.body, ask.plan)
    return Tokens(input=found.input, output=found.output_total)


def expected_cost(tokens: Tokens, *, input_nanos: Fraction, output_nanos: Fraction) -> Fraction:
    """Nano-dollars, not rounded, at these prices of one token."""
    return tokens.input * input_nanos + tokens.output * output_nanos


def expected_charge(customer: Cast, tokens: Tokens, cost: Fraction, *, tokens_before: int) -> Fraction:
    """Nano-dollars, not rounded. ``tokens_before``: how many of the customer's tokens the meter has counted already."""
    if customer is ACME:
        return cost * Fraction(130, 100)
    if customer is INITECH:
        return Fraction(2 * CENT)
    dear = max(0, min(tokens.total, 1_000 - tokens_before))
    return Fraction(dear * 12 * DOLLAR + (tokens.total - dear) * 8 * DOLLAR, 1_000_000)
