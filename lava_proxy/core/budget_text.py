"""A budget's terms as people write them."""

from lava_proxy.core.budgets import EACH
from lava_proxy.core.entities import BudgetMeasure
from lava_proxy.core.errors import InvalidInput
from lava_proxy.core.metadata import read_metadata
from lava_proxy.core.money import parse_amount
from lava_proxy.core.periods import PERIODS

REQUESTS_MAX = 10**12
RATE_MAX = 10**6
PATTERNS_MAX = 100
PATTERN_CHARACTERS_MAX = 255


def read_limit(measure: BudgetMeasure, text: str) -> int:
    """Nano-dollars of an amount, or a whole number of requests.

    Raises:
        InvalidAmount, InvalidInput: names the measure.
    """
    if measure in (BudgetMeasure.COST, BudgetMeasure.CHARGE):
        return parse_amount(text, field=measure.value)
    return read_count(text, field=measure.value, most=RATE_MAX if measure is BudgetMeasure.RATE else REQUESTS_MAX)


def read_count(text: str, *, field: str, most: int, least: int = 0) -> int:
    """
    Raises:
        InvalidInput
    """
    plain = text.strip()
    if not (plain.isascii() and plain.isdigit() and len(plain) <= 15 and least <= int(plain) <= most):
        raise InvalidInput(f"{field}: {text!r} is no whole number from {least} to {most}", field=field)
    return int(plain)


def read_patterns(text: str, *, field: str) -> tuple[str, ...]:
    """Names with commas between them; ``*`` in one stands for any characters.

    Raises:
        InvalidInput
    """
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not 1 <= len(names) <= PATTERNS_MAX or max(map(len, names)) > PATTERN_CHARACTERS_MAX:
        raise InvalidInput(
            f"{field}: name 1 to {PATTERNS_MAX} of them with commas between, each of at most "
            f"{PATTERN_CHARACTERS_MAX} characters",
            field=field,
        )
    return names


def check_period(measure: BudgetMeasure, period: str | None) -> str:
    """The period of a budget; only what is counted has one.

    Raises:
        InvalidInput
    """
    is_counted = measure in (BudgetMeasure.COST, BudgetMeasure.CHARGE, BudgetMeasure.REQUESTS)
    if period is not None and not is_counted:
        raise InvalidInput(f"period: a budget of {measure.value} has none", field="period")
    if period is not None and period not in PERIODS:
        raise InvalidInput(f"period: {period!r} is none; choose of {', '.join(PERIODS)}", field="period")
    return period or "total"


def metadata_subject(text: str) -> str:
    """The subject of ``team=search``, or of ``team=*`` for each team.

    Raises:
        InvalidInput
    """
    key, sign, value = text.partition("=")
    if not sign:
        raise InvalidInput(f"metadata: {text!r} is not KEY=VALUE, or KEY=* for each value", field="metadata")
    ((key, value),) = read_metadata({key.strip(): value.strip()})
    return f"metadata:{key}={value}"


def is_for_each(subject: str) -> bool:
    """Whether a budget is for each customer, key or value."""
    return subject.endswith((f":{EACH}", f"={EACH}"))
