"""What a refusal by a budget is to the providers' own SDKs; and the budgets of a plan, whoever will tell of plans."""

from collections.abc import Callable

import anthropic
import httpx2
import openai
import pytest

from lava_proxy.core import budgets as core_budgets
from lava_proxy.core.budgets import Caller, Capped, Need, load_budgets, load_gate, reserve
from lava_proxy.core.entities import Budget, BudgetMeasure, HomeFact
from lava_proxy.core.identity import Denial
from lava_proxy.core.ids import BudgetId, CustomerId
from lava_proxy.core.ports import Decision
from lava_proxy.dialects import DIALECTS
from lava_proxy.services.exchange import Refused
from lava_proxy.services.faults import fault_of, refused
from lava_proxy.wiring import House

NOW_US = 1_790_000_000_000_000


def budget(measure: BudgetMeasure, limit: int = 0, *, subject: str = "customer:con_a", **terms: object) -> Budget:
    return Budget(
        budget_id=BudgetId(f"bud_{measure}"),
        subject=subject,
        measure=measure,
        limit=limit,
        created_us=0,
        **terms,  # type: ignore[arg-type] # fields of a budget
    )


LATER_NS = (NOW_US + 5_500_000) * 1000
DENIED = openai.PermissionDeniedError
CASES = [
    (budget(BudgetMeasure.CHARGE, 5, period="day"), "budget_exceeded", openai.APIStatusError, "billing_error"),
    (budget(BudgetMeasure.REQUESTS), "request_limit_reached", openai.APIStatusError, "billing_error"),
    (budget(BudgetMeasure.RATE, 10, arrival_ns=LATER_NS), "rate_limited", openai.RateLimitError, "rate_limit_error"),
    (budget(BudgetMeasure.MODELS, allowed=("o3",)), "model_not_allowed", DENIED, "permission_error"),
    (budget(BudgetMeasure.PROVIDERS, allowed=("groq",)), "provider_not_allowed", DENIED, "permission_error"),
]


def refusal(capped: Budget, dialect: str) -> Refused:
    need = Need(charge_nanos=10, cost_nanos=10, provider="openai", model="gpt-4o", now_us=NOW_US)
    found = reserve((capped,), need)
    assert isinstance(found, Capped)
    denial = Denial(code=found.code, message=found.message, details=found.details)
    return refused(DIALECTS[dialect], fault_of(denial, upgrade_url=None))


def transport(answer: Refused, seen: list[httpx2.Request]) -> httpx2.MockTransport:
    def reply(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(answer.status, headers=list(answer.headers), content=answer.body, request=request)

    return httpx2.MockTransport(reply)


@pytest.mark.parametrize(("capped", "code", "error", "kind"), CASES, ids=[case[1] for case in CASES])
def test_the_openai_sdk_raises_the_error_that_it_has_for_it(
    capped: Budget, code: str, error: type[openai.APIStatusError], kind: str
) -> None:
    del kind
    seen: list[httpx2.Request] = []
    client = openai.OpenAI(
        api_key="k", max_retries=0, http_client=httpx2.Client(transport=transport(refusal(capped, "openai_chat"), seen))
    )
    with pytest.raises(error) as raised:
        client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "x"}])
    assert raised.value.code == code and len(seen) == 1
    assert "customer:con_a" in str(raised.value)


@pytest.mark.parametrize(("capped", "code", "error", "kind"), CASES, ids=[case[1] for case in CASES])
def test_the_anthropic_sdk_raises_one_whose_type_it_knows(
    capped: Budget, code: str, error: Callable[..., object], kind: str
) -> None:
    del error
    answer = refusal(capped, "anthropic_messages")
    client = anthropic.Anthropic(api_key="k", max_retries=0, http_client=httpx2.Client(transport=transport(answer, [])))
    with pytest.raises(anthropic.APIStatusError) as raised:
        client.messages.create(model="c", max_tokens=5, messages=[{"role": "user", "content": "x"}])
    body = raised.value.body
    assert isinstance(body, dict) and body["error"]["type"] == kind and body["error"]["code"] == code


def test_a_rate_says_when_to_try_again_and_only_a_rate_may_be_tried_again() -> None:
    headers = {code: dict(refusal(capped, "openai_chat").headers) for capped, code, _, _ in CASES}
    assert headers["rate_limited"]["retry-after"] == "6"
    assert {code for code, found in headers.items() if "retry-after" in found} == {"rate_limited"}
    assert {code for code, found in headers.items() if "x-should-retry" not in found} == {"rate_limited"}


def test_each_customer_of_a_plan_has_its_budgets_unless_own_ones_take_their_place(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = (
        budget(BudgetMeasure.REQUESTS, 3, subject="plan:sc_1"),
        budget(BudgetMeasure.CHARGE, 9, subject="customer:con_a"),
        HomeFact(name="budget_subjects", value="customer plan"),
    )
    house.ledger.transact(lambda _: None, lambda _: Decision(result=None, rows=rows)).result()
    monkeypatch.setattr(core_budgets, "find_plan", lambda rows, customer_id: "sc_1")

    def of(customer: str) -> list[tuple[str, str, int]]:
        caller = Caller(customer_id=CustomerId(customer), key_id=None, run_id=None)
        found = house.ledger.read(lambda rows: load_budgets(rows, caller, load_gate(rows), now_us=NOW_US))
        return [(b.subject, b.measure.value, b.limit) for b in found]

    assert of("con_b") == [("customer:con_b", "requests", 3)]
    assert of("con_a") == [("customer:con_a", "charge", 9), ("customer:con_a", "requests", 3)]
