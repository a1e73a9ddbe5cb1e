"""The stand-in's own endpoints, for those who run it as a process.

``GET /_stand_in/counters`` · ``GET /_stand_in/seen`` · ``POST /_stand_in/plan`` (knobs for everything) ·
``POST /_stand_in/plans`` (model → knobs) · ``POST /_stand_in/next`` (a list of knobs, one for each coming request) ·
``POST /_stand_in/release`` (``{"latch": NAME}``) · ``POST /_stand_in/reset``.
"""

import json
from collections import deque
from typing import Protocol

from lava_proxy.demo.answer import Answer, dump
from lava_proxy.demo.http1 import HttpRequest
from lava_proxy.demo.plan import Plan, plan_from_mapping
from lava_proxy.demo.seen import Counters

PREFIX = "/_stand_in/"


class Controlled(Protocol):
    """What of the stand-in is controlled from here."""

    plan: Plan
    plans: dict[str, Plan]
    next_plans: deque[Plan]
    counters: Counters

    def release(self, latch: str) -> None: ...

    def reset(self) -> None: ...


def answer_control(provider: Controlled, request: HttpRequest) -> Answer:
    """Do what a request to the stand-in's own endpoints asks, and answer it as JSON."""
    action = request.path.removeprefix(PREFIX)
    if request.method == "GET" and action == "counters":
        return _answer(provider.counters.figures())
    if request.method == "GET" and action == "seen":
        return _answer([{"method": s.method, "path": s.path, "headers": s.headers} for s in provider.counters.seen])
    if request.method != "POST":
        return _answer({"error": f"no such control: {action}"}, status=404)
    try:
        wanted: object = json.loads(request.body or b"{}")
        return _act(provider, action, wanted)
    except ValueError as error:
        return _answer({"error": str(error)}, status=400)


def _act(provider: Controlled, action: str, wanted: object) -> Answer:
    if action == "reset":
        provider.reset()
    elif action == "release" and isinstance(wanted, dict):
        provider.release(str(wanted.get("latch", "")))
    elif action == "plan" and isinstance(wanted, dict):
        provider.plan = plan_from_mapping(wanted)
    elif action == "plans" and isinstance(wanted, dict):
        provider.plans.update({model: plan_from_mapping(knobs) for model, knobs in wanted.items()})
    elif action == "next" and isinstance(wanted, list):
        provider.next_plans.extend(plan_from_mapping(knobs) for knobs in wanted)
    else:
        return _answer({"error": f"no such control, or another kind of body: {action}"}, status=404)
    return _answer({"ok": True})


def _answer(value: object, *, status: int = 200) -> Answer:
    return Answer(status=status, events=(dump(value),))
