"""Plays the month: each line of the statement is done and held against the books; then the books against `lava … --json`."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lava_proxy.core.billing import Payment, PaymentStatus, Purpose
from lava_proxy.core.money import format_amount, parse_amount
from lava_proxy.demo import month
from lava_proxy.demo.shop import Shop, open_shop
from lava_proxy.services.payments import PaymentFilter

Tell = Callable[..., None]
"""Called with the kind of an event and its fields."""
COMMAND_SECONDS = 60
_LAVA = (sys.executable, "-c", "from lava_proxy.cli import main; main()")
_TICK = ("tick", "--at", f"{month.END}:00Z")
_COMMANDS = {
    "payments": ("payments", "list"),
    "subscriptions": ("subscriptions", "list", "--status", "all"),
    "usage": ("usage", "--by", "customer", "--since", month.FIRST_DAY, "--until", month.LAST_DAY, "--tz", "UTC"),
    "alerts": ("alerts", "list"),
    "verify": ("verify",),
    **{f"statement {name}": ("credits", "statement", name, "--since", month.FIRST_DAY) for name in month.CUSTOMERS},
}


def play_month(folder: Path, tell: Tell) -> list[str]:
    """Gives what was not as computed, as sentences."""
    found = Findings()
    tell(
        "step",
        text="A home in test mode, a stand-in provider, a clock that the story sets, and its month in fast motion",
    )
    with open_shop(folder) as shop:
        shop.furnish()
        for line in month.STATEMENT:
            _perform(shop, line, found, tell)
        found.expect("money that the bank moved", _text(sum(shop.bank.moved.values())), month.PAID)
        ids = {name: shop.house.customers.get(name).customer_id for name in month.CUSTOMERS}
    tell("step", text="Reading it all again with `lava … --json`")
    _check(Reading(home=folder / "home", names={ids[name]: name for name in ids}), found, tell)
    return found.mismatches


class Findings:
    """What was not as computed."""

    def __init__(self) -> None:
        self.mismatches: list[str] = []

    def expect(self, what: str, found: object, wanted: object) -> None:
        if found != wanted:
            self.mismatches.append(f"{what}: {found}, not {wanted}")

    def expect_amount(self, what: str, found: str, wanted: str) -> None:
        """The same amount, however many decimals it is written with."""
        self.expect(what, _short(found), _short(wanted))


class Reading:
    """What the commands say of the home, each asked once."""

    def __init__(self, *, home: Path, names: Mapping[str, str]) -> None:
        self.names = names
        clean = {name: value for name, value in os.environ.items() if not name.startswith("LAVA_")}

        def ask(arguments: tuple[str, ...]) -> Any:
            command = [*_LAVA, *arguments, "--home", str(home), "--json"]
            said = subprocess.run(
                command, check=False, env=clean, capture_output=True, text=True, timeout=COMMAND_SECONDS
            )
            return json.loads(said.stdout) if said.stdout else {"error": said.stderr.strip()}

        self.answers: dict[str, Any] = {"tick": ask(_TICK)}  # before the others: it may write
        with ThreadPoolExecutor(2) as pool:
            self.answers |= dict(zip(_COMMANDS, pool.map(ask, _COMMANDS.values()), strict=True))


def _perform(shop: Shop, line: month.Line, found: Findings, tell: Tell) -> None:
    shop.go(line.when)
    refusal = shop.do(line.customer, line.act)
    shop.catch_up()
    is_refused = isinstance(line.act, month.Calls) and line.act.is_refused
    where = f"{line.when[:10]} {line.customer}, {line.text}"
    found.expect(f"{where}: refused with", refusal, "insufficient_credits" if is_refused else None)
    terms = shop.house.subscriptions.all(status="all", customer=line.customer)[-1].terms
    paid = sum(_signed(payment) for payment in shop.house.payments.list(PaymentFilter(customer=line.customer)))
    told = {
        "paid": _text(paid),
        "left": _text(shop.house.credits.balance(line.customer).available_nanos),
        "beyond": _text(terms.overage_used_nanos if terms is not None else 0),
    }
    for name, amount in told.items():
        found.expect_amount(f"{where}: {name}", amount, getattr(line, name))
    tell("line", when=line.when, customer=line.customer, text=line.text, refused=refusal, **told)


def _check(reading: Reading, found: Findings, tell: Tell) -> None:
    for name, answer in reading.answers.items():
        if "error" in answer:
            found.mismatches.append(f"lava, asked for {name}: {answer['error']}")
    if any("error" in answer for answer in reading.answers.values()):
        return
    done = {name: count for name, count in reading.answers["tick"].items() if name != "mode"}
    found.expect("lava tick --at the end, again", set(done.values()), {0})
    for name in month.CUSTOMERS:
        _check_statement(name, reading, found, tell)
    _check_usage(reading, found)
    paid = _check_payments(reading, found)
    _check_subscriptions(reading, found)
    alerts = _check_alerts(reading, found)
    totals = reading.answers["usage"]["totals"]
    tell(
        "month",
        rows=[
            {"customer": reading.names.get(item["customer"], item["customer"]), **_used(item)}
            for item in reading.answers["usage"]["items"]
        ],
        revenue=_short(totals["total_charge"]),
        cost=_short(totals["total_cost"]),
        margin=_short(totals["total_margin"]),
        markup=_check_closing(reading, totals["total_charge"], paid, found),
        lapsed=month.LAPSED,
        paid=paid,
        left=_left(reading),
        alerts=alerts,
    )
    verify = reading.answers["verify"]
    found.expect("lava verify: findings", verify["findings"], [])
    found.expect("lava verify: sound", verify["is_sound"], True)
    tell("verify", ok=verify["is_sound"], transactions=verify["transactions"], requests=verify["requests"])


def _check_statement(name: str, reading: Reading, found: Findings, tell: Tell) -> None:
    """Every line of the month again, by what the commands say of its instant."""
    rows: list[Any] = reading.answers[f"statement {name}"]["data"]
    payments = [p for p in reading.answers["payments"]["data"] if reading.names[p["customer_id"]] == name]
    for line in {line.when: line for line in month.STATEMENT if line.customer == name}.values():
        known = [row for row in rows if row["at"][: len(line.when)] <= line.when]
        paid = [p for p in payments if p["status"] == "paid" and p["paid_at"][: len(line.when)] <= line.when]
        where = f"{line.when[:10]} {name}, {line.text}"
        found.expect_amount(f"{where}: left, by the statement", known[-1]["balance"], line.left)
        total = sum(_nanos(p["amount"]) for p in paid)
        found.expect_amount(f"{where}: paid, by the payments", _text(total), line.paid)
    lapsed = -sum(_nanos(row["amount"]) for row in rows if row["kind"] == "grant_expire")
    found.expect_amount(f"statement of {name}: lapsed", _text(lapsed), month.LAPSED if name == "comet" else "0")
    shown = [{**row, "amount": _short(row["amount"]), "balance": _short(row["balance"])} for row in rows]
    tell("statement", customer=name, rows=shown)


def _check_usage(reading: Reading, found: Findings) -> None:
    usage = reading.answers["usage"]
    lines = {reading.names.get(item["customer"], item["customer"]): item for item in usage["items"]}
    found.expect("lava usage: customers", sorted(lines), sorted(month.USED))
    for name, item in (*lines.items(), ("all", usage["totals"])):
        wanted = month.ALL_USED if name == "all" else month.USED.get(name)
        if wanted is None:
            continue
        found.expect(f"lava usage of {name}: requests", item["total_requests"], wanted.requests)
        for field in ("cost", "charge", "margin"):
            found.expect_amount(f"lava usage of {name}: {field}", item[f"total_{field}"], getattr(wanted, field))


def _check_payments(reading: Reading, found: Findings) -> str:
    """What was paid in all."""
    payments = reading.answers["payments"]["data"]
    counts = Counter((reading.names[p["customer_id"]], p["purpose"], p["status"]) for p in payments)
    special = {key: count for key, count in counts.items() if key[1] in ("top_up", "upgrade")}
    found.expect("lava payments list: top-ups and upgrades", special, month.PAYMENTS)
    paid = _text(sum(_nanos(p["amount"]) for p in payments if p["status"] == "paid"))
    found.expect_amount("lava payments list: paid in all", paid, month.PAID)
    return paid


def _check_subscriptions(reading: Reading, found: Findings) -> None:
    states = {reading.names[s["customer_id"]]: s["state"] for s in reading.answers["subscriptions"]["data"]}
    found.expect("lava subscriptions list: states", states, month.STATES)


def _check_alerts(reading: Reading, found: Findings) -> list[Any]:
    own = [alert for alert in reading.answers["alerts"]["data"] if alert["rule"] == "ember-is-low"]
    told = [(alert["customer"], alert["fired_at"][:16], (alert["resolved_at"] or "")[:16]) for alert in own]
    found.expect("lava alerts list", told, [("ember", "2026-04-12T14:00", "2026-04-12T15:00")])
    return own


def _check_closing(reading: Reading, charge: str, paid: str, found: Findings) -> str:
    """Everything that was paid was used, lapsed, or is still owed; the rest is the markup on overage, which is told."""
    found.expect_amount("credit that is left to all", _left(reading), month.LEFT)
    rest = _nanos(paid) - _nanos(charge) - _nanos(month.LAPSED) - _nanos(_left(reading))
    found.expect_amount("what is paid, less what was used, lapsed or is left: the markup", _text(rest), month.MARKUP)
    return _text(rest)


def _left(reading: Reading) -> str:
    return _text(sum(_nanos(reading.answers[f"statement {name}"]["closing_balance"]) for name in month.CUSTOMERS))


def _used(item: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "requests": item["total_requests"],
        **{name: _short(item[f"total_{name}"]) for name in ("cost", "charge", "margin")},
    }


def _signed(payment: Payment) -> int:
    """What a payment moved so far: into the till, or out of it."""
    if payment.status is not PaymentStatus.PAID:
        return 0
    return -payment.amount_nanos if payment.purpose is Purpose.REFUND else payment.amount_nanos


def _nanos(amount: str) -> int:
    """Documents have a tenth decimal, which is always 0."""
    sign, digits = (-1, amount[1:]) if amount.startswith("-") else (1, amount)
    whole, _, part = digits.partition(".")
    return sign * parse_amount(f"{whole}.{part[:9]}" if part else whole)


def _text(nanos: int) -> str:
    return _short(format_amount(nanos, decimals=9))


def _short(amount: str) -> str:
    """As short as it can be told exactly, with 2 decimals at least."""
    whole, _, part = amount.partition(".")
    return f"{whole}.{part.rstrip('0').ljust(2, '0')}"
