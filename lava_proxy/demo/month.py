"""A month of business, worked out by hand: what happens, and what every customer has paid and has left after it.

The figures stand here as they would on a bank statement, and were computed with a pencil, not by the rules that the
product uses. ``billing`` plays the month and holds each line against the books.

The books close on 1 May, ten minutes after all have been renewed:

=========  ======================================  ==========  ======
customer   paid                                        used    left
=========  ======================================  ==========  ======
acme       25 + 25                                      15      35
bolt       10 + 7.50 + 25                                9      33.50
comet      10                                            5       0      and 5 lapsed
delta      25 + 12 + 25                                 35      25      and 2 of markup on overage
ember      100 + 20 + 100                              105     115
=========  ======================================  ==========  ======
all        384.50                                      169     208.50

Nothing is lost on the way: 384.50 = 169 used + 2 markup + 5 lapsed + 208.50 that is still owed to customers as credit.

Costs: at gpt-4 each call has 10 tokens of input at $30 a million, $0.0003. An answer has 990 tokens of output at $60 a
million, $0.0594, and costs $0.0597; a report has 4,990, $0.2994, and costs $0.2997. 32 reports and 9 answers are
9.5904 + 0.5373 = $10.1277, and the month's margin is 169 - 10.1277 = $158.8723.
"""

from dataclasses import dataclass

MODEL = "gpt-4"
QUESTION = "Hello there!"
"""12 bytes are 3 tokens at the stand-in, with 3 for the prompt and 4 for the message: 10."""
OUTPUT_TOKENS = {"answer": 990, "report": 4_990}
FIRST_DAY, LAST_DAY = "2026-04-01", "2026-04-30"
END = "2026-05-01T00:10"

CODE = """\
[meters.answer]
name = "$1.00 an answer"
rate_type = "fixed"
tier_type = "requests"
rate = "1.00"

[meters.report]
name = "$5.00 a report"
rate_type = "fixed"
tier_type = "requests"
rate = "5.00"

[plans.Starter]
amount = "10.00"

[plans.Pro]
amount = "25.00"
rollover = "full"
overage_cap = "12.00"
overage_markup = "20"

[plans.Team]
amount = "100.00"

[alerts.ember-is-low]
kind = "balance_below"
threshold = "10.00"
customer = "ember"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    plan: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """So many calls of one meter; with ``is_refused`` one, which must not be let through."""

    meter: str
    count: int = 1
    is_refused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    plan: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """With the cycle's end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopUpBelow:
    below: str
    amount: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NextPaymentIsDeclined:
    """The bank will say no, once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Nothing is done; what is due comes by itself."""


type Act = Start | Calls | Change | Cancel | TopUpBelow | NextPaymentIsDeclined | Wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """At ``when`` (UTC) something is done; then the customer has paid so much in all, and has so much left."""

    when: str
    customer: str
    text: str
    act: Act
    paid: str
    left: str
    beyond: str = "0.00"
    """Overage of the present cycle, before its markup."""


def _line(when: str, customer: str, text: str, act: Act, paid: str, left: str, beyond: str = "0.00") -> Line:
    return Line(when=when, customer=customer, text=text, act=act, paid=paid, left=left, beyond=beyond)


_REPORT, _ANSWER = "report", "answer"
CUSTOMERS = ("acme", "bolt", "comet", "delta", "ember")
STATEMENT: tuple[Line, ...] = (
    #                                                                                                paid     left
    _line("2026-04-01T00:00", "acme", "starts on Pro", Start(plan="Pro"), "25.00", "25.00"),
    _line("2026-04-01T00:00", "bolt", "starts on Starter", Start(plan="Starter"), "10.00", "10.00"),
    _line("2026-04-01T00:00", "comet", "starts on Starter", Start(plan="Starter"), "10.00", "10.00"),
    _line("2026-04-01T00:00", "delta", "starts on Pro", Start(plan="Pro"), "25.00", "25.00"),
    _line("2026-04-01T00:00", "ember", "starts on Team", Start(plan="Team"), "100.00", "100.00"),
    _line(
        "2026-04-01T00:00",
        "ember",
        "below $10, buy $20 by itself",
        TopUpBelow(below="10", amount="20"),
        "100.00",
        "100.00",
    ),
    _line("2026-04-03T09:00", "acme", "3 reports", Calls(meter=_REPORT, count=3), "25.00", "10.00"),
    _line("2026-04-05T10:00", "bolt", "4 answers", Calls(meter=_ANSWER, count=4), "10.00", "6.00"),
    _line("2026-04-08T11:00", "comet", "2 answers", Calls(meter=_ANSWER, count=2), "10.00", "8.00"),
    _line("2026-04-09T12:00", "delta", "5 reports", Calls(meter=_REPORT, count=5), "25.00", "0.00"),
    _line("2026-04-10T08:00", "comet", "cancels with the cycle's end", Cancel(), "10.00", "8.00"),
    _line(
        "2026-04-12T14:00", "ember", "the next payment will be declined", NextPaymentIsDeclined(), "100.00", "100.00"
    ),
    # 95 used, 5 left: below 10, so 20 are to be bought; the bank says no, and the alert fires
    _line("2026-04-12T14:00", "ember", "19 reports; top-up declined", Calls(meter=_REPORT, count=19), "100.00", "5.00"),
    # after the cool-down it is tried again, and paid; the alert clears
    _line("2026-04-12T15:00", "ember", "top-up paid", Wait(), "120.00", "25.00"),
    # half of the cycle is left: half of 25 - 10 is due, and half of the credit comes with it
    _line("2026-04-16T00:00", "bolt", "upgrades to Pro, mid-cycle", Change(plan="Pro"), "17.50", "13.50"),
    _line("2026-04-17T10:00", "bolt", "1 report", Calls(meter=_REPORT), "17.50", "8.50"),
    _line("2026-04-20T16:00", "comet", "3 answers", Calls(meter=_ANSWER, count=3), "10.00", "5.00"),
    # 12 of overage are allowed, markup included: 10 of calls
    _line(
        "2026-04-22T09:00",
        "delta",
        "2 reports, beyond the credit",
        Calls(meter=_REPORT, count=2),
        "25.00",
        "0.00",
        "10.00",
    ),
    _line(
        "2026-04-22T09:00",
        "delta",
        "1 more is refused",
        Calls(meter=_REPORT, is_refused=True),
        "25.00",
        "0.00",
        "10.00",
    ),
    # the last 5 of the cycle's credit go first, then 5 of the 20
    _line("2026-04-25T18:00", "ember", "2 reports", Calls(meter=_REPORT, count=2), "120.00", "15.00"),
    # 25 - 15 + 25 = 35
    _line(END, "acme", "renewed; 10 rolled over", Wait(), "50.00", "35.00"),
    _line(END, "bolt", "renewed on Pro; 8.50 rolled over", Wait(), "42.50", "33.50"),
    _line(END, "comet", "ended; 5 lapsed", Wait(), "10.00", "0.00"),
    # 10 of overage and 20 % on top are 12
    _line(END, "delta", "overage collected, renewed", Wait(), "62.00", "25.00"),
    # what was bought stays
    _line(END, "ember", "renewed; 15 bought are left", Wait(), "220.00", "115.00"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What a customer's calls of the month come to."""

    requests: int
    cost: str
    charge: str
    margin: str


USED = {
    #          3 reports
    "acme": Used(requests=3, cost="0.8991", charge="15.00", margin="14.1009"),
    #          4 answers, 1 report: 0.2388 + 0.2997
    "bolt": Used(requests=5, cost="0.5385", charge="9.00", margin="8.4615"),
    #          5 answers
    "comet": Used(requests=5, cost="0.2985", charge="5.00", margin="4.7015"),
    #          7 reports
    "delta": Used(requests=7, cost="2.0979", charge="35.00", margin="32.9021"),
    #          21 reports
    "ember": Used(requests=21, cost="6.2937", charge="105.00", margin="98.7063"),
}
ALL_USED = Used(requests=41, cost="10.1277", charge="169.00", margin="158.8723")
PAID, MARKUP, LAPSED, LEFT = "384.50", "2.00", "5.00", "208.50"
STATES = {"acme": "active", "bolt": "active", "comet": "cancelled", "delta": "active", "ember": "active"}
PAYMENTS = {("ember", "top_up", "declined"): 1, ("ember", "top_up", "paid"): 1, ("bolt", "upgrade", "paid"): 1}
"""Customer, purpose, status; beside those of cycles and of overage."""
