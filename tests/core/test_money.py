from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lava_proxy.core.errors import InvalidAmount
from lava_proxy.core.money import format_amount, parse_amount, round_half_up, round_up, round_with_carry

nanos = st.integers(min_value=0, max_value=10**18)


@given(nanos)
def test_an_amount_written_out_is_read_back_the_same(amount: int) -> None:
    assert parse_amount(format_amount(amount, decimals=9)) == amount


def test_amounts_are_padded_to_ten_decimals_and_rounded_only_for_people() -> None:
    assert format_amount(58_100_000) == "0.0581000000"
    assert format_amount(-1) == "-0.0000000010"
    assert format_amount(1_005_000_000, decimals=2) == "1.01"
    assert format_amount(-4_000_000, decimals=2) == "0.00"
    assert format_amount(1_500_000_000, decimals=0) == "2"


@pytest.mark.parametrize(
    "text",
    ["", "NaN", "1e9", "-3", "1.0000000001", "1.00000000011", "$5", "1.005 USD", "1,5", "٣", "0x10", "1000000000.01"],
)
def test_what_is_no_plain_amount_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidAmount, match=r"^price: "):
        parse_amount(text, field="price")


def test_zero_and_negative_amounts_are_taken_only_where_they_may_be() -> None:
    assert parse_amount("-3", allow_negative=True) == -3_000_000_000
    with pytest.raises(InvalidAmount):
        parse_amount("0", allow_zero=False)


def test_a_half_rounds_up() -> None:
    assert [round_half_up(Fraction(n, 2)) for n in (-3, -1, 1, 3)] == [-1, 0, 1, 2]
    assert round_up(Fraction(1, 10**12)) == 1


@given(st.lists(st.fractions(min_value=0, max_value=1000), max_size=50))
def test_carried_remainders_make_the_sum_exact_to_half_a_nano(parts: list[Fraction]) -> None:
    carry, total = Fraction(0), 0
    for part in parts:
        whole, carry = round_with_carry(part, carry)
        total += whole
        assert whole >= 0 and -Fraction(1, 2) <= carry < Fraction(1, 2)
    assert total + carry == sum(parts, Fraction(0))
