"""`lava budgets`: caps on what customers, keys and teams may spend, ask and use."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lava_proxy.cli.groups import noun
from lava_proxy.cli.options import Home, IdempotencyKey, Json, Yes
from lava_proxy.cli.output import MISSING, money, when
from lava_proxy.cli.session import by, confirm, open_house, output, zone_of
from lava_proxy.core.entities import BudgetMeasure
from lava_proxy.core.errors import InvalidInput

if TYPE_CHECKING:
    from lava_proxy.core.entities import Budget
    from lava_proxy.services.budgets import BudgetTerms
    from lava_proxy.wiring import House

app = noun("Caps on spending and requests, limits of rate, and which models may be used. A change binds the next call.")

BudgetArgument = Annotated[str, typer.Argument(metavar="BUDGET", help="A budget, by bud_….", show_default=False)]


def _option(name: str, metavar: str, help: str) -> Any:
    return typer.Option(name, metavar=metavar, help=help, show_default=False)


@app.command("set")
def set_budget(
    customer_id: Annotated[
        str | None,
        typer.Option(
            "--customer-id",
            "--customer",
            metavar="CUSTOMER",
            help="Of this customer; '*' for each customer on its own.",
            show_default=False,
        ),
    ] = None,
    key: Annotated[str | None, _option("--key", "KEY", "Of this key, by key_…; '*' for each key.")] = None,
    plan: Annotated[str | None, _option("--plan", "PLAN", "Of the customers on this plan, each on its own.")] = None,
    metadata: Annotated[
        str | None,
        _option("--metadata", "KEY=VALUE", "Of calls with this pair of metadata; KEY=* for each value."),
    ] = None,
    charge: Annotated[str | None, _option("--charge", "AMOUNT", "Dollars that may be charged.")] = None,
    cost: Annotated[str | None, _option("--cost", "AMOUNT", "Dollars that providers may charge.")] = None,
    requests: Annotated[str | None, _option("--requests", "N", "Requests that may be made.")] = None,
    rate: Annotated[str | None, _option("--rate", "N", "Requests a minute.")] = None,
    burst: Annotated[str | None, _option("--burst", "N", "With --rate: how many may come at once.")] = None,
    models: Annotated[
        str | None, _option("--models", "NAMES", "The only models, with commas between; * for any characters.")
    ] = None,
    providers: Annotated[str | None, _option("--providers", "NAMES", "The only providers, likewise.")] = None,
    period: Annotated[
        str | None,
        typer.Option("--per", metavar="PERIOD", help="day, week, month (in UTC) or total.", show_default="total"),
    ] = None,
    idempotency_key: IdempotencyKey = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Set a budget. Of the same subject, measure and period there is one: setting it again changes its limit.

    \b
    lava budgets set --customer acme --charge 50 --per month
    lava budgets set --customer '*' --rate 60 --burst 10
    lava budgets set --metadata team=search --cost 200 --per week
    lava budgets set --metadata 'end_user=*' --requests 100 --per day
    lava budgets set --key key_01JZ… --models 'gpt-4o-mini*,claude-haiku-*'
    """
    measures = {
        BudgetMeasure.CHARGE: charge,
        BudgetMeasure.COST: cost,
        BudgetMeasure.REQUESTS: requests,
        BudgetMeasure.RATE: rate,
        BudgetMeasure.MODELS: models,
        BudgetMeasure.PROVIDERS: providers,
    }
    given = {measure: text for measure, text in measures.items() if text is not None}
    if len(given) != 1:
        names = ", ".join(f"--{measure.value}" for measure in measures)
        raise InvalidInput(f"limit: give exactly one of {names}", field="limit")
    ((measure, text),) = given.items()
    with open_house(home) as house:
        from lava_proxy.core.budget_text import metadata_subject
        from lava_proxy.services.budgets import BudgetTerms

        terms = _with_limit(
            BudgetTerms(
                measure=measure,
                customer=customer_id,
                key=key,
                plan=plan,
                metadata=metadata_subject(metadata) if metadata is not None else None,
            ),
            text,
            burst,
            period,
        )
        _show(house, house.budgets.set(terms, by=by(idempotency_key)).value, json)


@app.command("list")
def list_budgets(
    customer_id: Annotated[
        str | None,
        typer.Option(
            "--customer-id", "--customer", metavar="CUSTOMER", help="Those of this customer.", show_default=False
        ),
    ] = None,
    each: Annotated[bool, typer.Option("--each", help="Also what each one has of a budget for each.")] = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """List budgets, with what is spent in their present periods.

    \b
    lava budgets list
    lava budgets list --customer acme
    """
    with open_house(home) as house:
        from lava_proxy.services.budgets import budget_document

        found = house.budgets.all(customer=customer_id, each=each)
        out = output(house, json)
        if json:
            out.page([budget_document(budget) for budget in found], None)
            return
        rows = [
            (
                budget.budget_id,
                budget.subject,
                budget.measure.value,
                _limit(budget),
                _counted(budget, budget.spent),
                _counted(budget, budget.held),
                budget.period,
            )
            for budget in found
        ]
        columns = ("budget_id", "subject", "measure", "limit", "spent", "held", "per")
        out.table(columns, rows, empty="There are no budgets.")


@app.command("show")
def show(budget: BudgetArgument, home: Home = None, json: Json = False) -> None:
    """Show a budget.

    \b
    lava budgets show bud_01JZ…
    """
    with open_house(home) as house:
        _show(house, house.budgets.get(budget), json)


@app.command("delete")
def delete(
    budget: BudgetArgument,
    yes: Yes = False,
    idempotency_key: IdempotencyKey = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Take a budget away: it caps nothing any more.

    \b
    lava budgets delete bud_01JZ… --yes
    """
    with open_house(home) as house:
        if not yes:
            confirm(f"Take away the budget on {house.budgets.get(budget).subject}?")
        _show(house, house.budgets.delete(budget, by=by(idempotency_key)).value, json)


def _with_limit(terms: "BudgetTerms", text: str, burst: str | None, period: str | None) -> "BudgetTerms":
    from msgspec.structs import replace

    from lava_proxy.core.budget_text import RATE_MAX, check_period, read_count, read_limit, read_patterns

    measure = terms.measure
    if burst is not None and measure is not BudgetMeasure.RATE:
        raise InvalidInput("burst: it belongs to --rate", field="burst")
    per = check_period(measure, period)
    if measure in (BudgetMeasure.MODELS, BudgetMeasure.PROVIDERS):
        return replace(terms, allowed=read_patterns(text, field=measure.value))
    limit = read_limit(measure, text)
    if measure is not BudgetMeasure.RATE:
        return replace(terms, limit=limit, period=per)
    at_once = read_count(burst, field="burst", most=RATE_MAX, least=1) if burst is not None else 1
    return replace(terms, limit=limit, burst=at_once)


def _show(house: "House", budget: "Budget", json: bool) -> None:
    from lava_proxy.core.periods import period_end_us
    from lava_proxy.services.budgets import budget_document

    out = output(house, json)
    if json:
        out.document(budget_document(budget))
        return
    zone = zone_of(None, house.settings)
    out.facts(
        (
            ("budget_id", budget.budget_id),
            ("subject", budget.subject),
            ("measure", budget.measure.value),
            ("limit", _limit(budget)),
            ("per", budget.period),
            ("spent", _counted(budget, budget.spent)),
            ("held", _counted(budget, budget.held)),
            ("resets_at", when(period_end_us(budget.period, budget.period_start_us), zone)),
            ("ended_at", when(budget.ended_us, zone)),
        )
    )


def _limit(budget: "Budget") -> str:
    if budget.measure is BudgetMeasure.RATE:
        return f"{budget.limit} a minute, {budget.burst} at once"
    return ", ".join(budget.allowed) if budget.allowed else _counted(budget, budget.limit)


def _counted(budget: "Budget", value: int) -> str:
    if budget.measure in (BudgetMeasure.COST, BudgetMeasure.CHARGE):
        return money(value)
    return str(value) if budget.measure is BudgetMeasure.REQUESTS else MISSING
