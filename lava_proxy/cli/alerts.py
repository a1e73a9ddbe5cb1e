"""`lava alerts`: what is to be told, what was, and whether telling works."""

from typing import TYPE_CHECKING, Annotated

import typer

from lava_proxy.cli.groups import noun
from lava_proxy.cli.options import Home, IdempotencyKey, Json, Limit, Yes
from lava_proxy.cli.output import say, when
from lava_proxy.cli.session import by, confirm, open_house, output, zone_of
from lava_proxy.core.alert_rows import AlertKind

if TYPE_CHECKING:
    from lava_proxy.core.alert_rows import AlertRule
    from lava_proxy.wiring import House

app = noun("Alerts: rules about customers, plans, all calls and this home; what fired; and whether telling works.")

EXIT_NOT_REACHED = 6

RuleArgument = Annotated[
    str, typer.Argument(metavar="RULE", help="A rule, by its name or alr_….", show_default=False)
]


@app.command("create")
def create(
    kind: Annotated[AlertKind, typer.Argument(metavar="KIND", help="What to look at.", show_default=False)],
    threshold: Annotated[
        str | None,
        typer.Option(
            "--threshold",
            metavar="VALUE",
            help="Dollars, percent, a count, bytes, or a span of time: by the kind.",
            show_default=False,
        ),
    ] = None,
    customer: Annotated[
        str | None,
        typer.Option("--customer-id", "--customer", metavar="CUSTOMER", help="About this one.", show_default=False),
    ] = None,
    plan: Annotated[
        str | None, typer.Option("--plan", metavar="PLAN", help="About customers on it, by sc_….", show_default=False)
    ] = None,
    total: Annotated[bool, typer.Option("--total", help="About all calls together, your own too.")] = False,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="A short name for it.", show_default=False)
    ] = None,
    idempotency_key: IdempotencyKey = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Make a rule: about every customer for themselves, unless one, a plan or the total is named.

    Kinds: credit_used, balance_below, spend_per_day, spend_per_cycle, margin_below, unpriced_requests, top_up_failed,
    payment_failed, spend_anomaly; and about this home disk_low, writer_lag, hold_overdue, outbox_backlog,
    certificate_old, backup_old, spool_waiting, which are there from the start with defaults.

    \b
    lava alerts create balance_below --threshold 5.00
    lava alerts create credit_used --threshold 80% --customer acme
    lava alerts create spend_per_day --threshold 500 --total
    lava alerts create disk_low --threshold 20GiB
    """
    with open_house(home) as house:
        from lava_proxy.services.alert_rules import AlertTerms

        terms = AlertTerms(
            kind=kind, threshold=threshold, customer=customer, plan=plan, is_total=total, slug=name
        )
        _show_rule(house, house.alert_rules.create(terms, by=by(idempotency_key)).value, json)
        if not house.destinations.all():
            say("It will be told in the log and by `lava alerts list`; `lava destinations create` adds places.")


@app.command("list")
def list_alerts(
    customer: Annotated[
        str | None,
        typer.Option("--customer-id", "--customer", metavar="CUSTOMER", help="About this one.", show_default=False),
    ] = None,
    firing: Annotated[bool, typer.Option("--firing", help="Only those that have not cleared.")] = False,
    limit: Limit = 50,
    home: Home = None,
    json: Json = False,
) -> None:
    """List what fired, newest first.

    \b
    lava alerts list
    lava alerts list --firing
    """
    with open_house(home) as house:
        from lava_proxy.core.alerts import subject_name
        from lava_proxy.services.alert_documents import alert_json

        subject = house.customers.get(customer).customer_id if customer else None
        found = house.alert_rules.history(limit=limit, subject=subject, firing_only=firing)
        names = house.alert_rules.reference_ids(found)
        out = output(house, json)
        if json:
            out.page([alert_json(alert, reference_id=names.get(alert.subject)) for alert in found], None)
            return
        zone = zone_of(None, house.settings)
        rows = [
            (
                when(alert.fired_us, zone),
                alert.alert_id,
                alert.severity,
                alert.slug,
                f"{subject_name(alert.subject, names.get(alert.subject))}: {alert.message}",
                when(alert.resolved_us, zone),
            )
            for alert in found
        ]
        columns = ("fired_at", "alert_id", "severity", "rule", "message", "resolved_at")
        out.table(columns, rows, empty="Nothing fired.")


@app.command("rules")
def rules(home: Home = None, json: Json = False) -> None:
    """List the rules, the built-in ones first, and for how many each fires now.

    \b
    lava alerts rules
    """
    with open_house(home) as house:
        from lava_proxy.services.alert_documents import rule_document
        from lava_proxy.services.alert_rules import threshold_text

        found = house.alert_rules.all()
        out = output(house, json)
        if json:
            out.page([rule_document(each.rule, firing=each.firing) for each in found], None)
            return
        rows = [
            (
                each.rule.slug,
                each.rule.kind.value,
                _about(each.rule),
                threshold_text(each.rule),
                each.firing,
            )
            for each in found
        ]
        out.table(("name", "kind", "about", "fires at", "firing"), rows)


@app.command("test")
def test(
    destination: Annotated[
        str | None,
        typer.Argument(metavar="[DESTINATION]", help="Where to, by name; else everywhere.", show_default=False),
    ] = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Send one alert now, to a destination or to all, and tell what the other side answered. Ends with 6 where one failed.

    \b
    lava alerts test
    lava alerts test ops
    """
    with open_house(home) as house:
        chosen = [house.destinations.get(destination)] if destination else list(house.destinations.all())
        answers = [(each, house.courier.try_out(each)) for each in chosen]
        out = output(house, json)
        if json:
            documents = [
                {"destination": each.slug, "kind": each.kind.value, "ok": answer.is_ok, "answer": answer.text}
                for each, answer in answers
            ]
            out.page(documents, None)
        else:
            rows = [
                (each.slug, each.kind.value, each.hint, "ok" if answer.is_ok else "failed", answer.text)
                for each, answer in answers
            ]
            columns = ("destination", "kind", "where", "result", "answer")
            out.table(columns, rows, empty="There is no destination yet: `lava destinations create` makes one.")
        if not all(answer.is_ok for _, answer in answers):
            raise typer.Exit(EXIT_NOT_REACHED)


@app.command("check")
def check(home: Home = None, json: Json = False) -> None:
    """Look at every rule now and deliver what is due, once: what a running proxy does by itself all the time.

    \b
    lava alerts check
    """
    with open_house(home) as house:
        changed = house.alerts.look()
        delivered = house.courier.deliver()
        out = output(house, json)
        figures = {"changed": changed, "delivered": delivered.sent, "failed": delivered.failed}
        if json:
            out.document(figures)
            return
        out.facts(figures.items())


@app.command("delete")
def delete(
    rule: RuleArgument,
    yes: Yes = False,
    idempotency_key: IdempotencyKey = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Take a rule away, a built-in one too. What it fires for now is resolved; what it fired stays in the list.

    \b
    lava alerts delete balance-below --yes
    """
    with open_house(home) as house:
        if not yes:
            confirm(f"Delete the alert rule {house.alert_rules.get(rule).slug}?")
        _show_rule(house, house.alert_rules.delete(rule, by=by(idempotency_key)).value, json)


def _about(rule: "AlertRule") -> str:
    from lava_proxy.core.alert_rows import AlertScope

    words = {
        AlertScope.EACH: "each customer",
        AlertScope.TOTAL: "all calls",
        AlertScope.SYSTEM: "this home",
    }
    return words.get(rule.scope) or f"{rule.scope.value} {rule.target}"


def _show_rule(house: "House", rule: "AlertRule", json: bool) -> None:
    from lava_proxy.services.alert_documents import rule_document
    from lava_proxy.services.alert_rules import threshold_text

    out = output(house, json)
    if json:
        out.document(rule_document(rule))
        return
    out.facts(
        (
            ("rule_id", rule.rule_id),
            ("name", rule.slug),
            ("kind", rule.kind.value),
            ("about", _about(rule)),
            ("fires at", threshold_text(rule)),
            ("status", rule.status.value),
        )
    )
