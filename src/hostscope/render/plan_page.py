"""Plans and what came of them, for people."""

from collections.abc import Iterable, Iterator

from hostscope.model.response import Act, Outcome, Plan
from hostscope.render.page import facts, grid, section
from hostscope.render.sanitise import sanitise
from hostscope.render.table import PLAIN, Style
from hostscope.render.units import render_duration

MOST_STEPS = 60


def render_plan(plan: Plan, style: Style = PLAIN) -> str:
    """What would be done to whom, what the guard says, and what is different for some."""
    parts = [
        section(
            headline(plan),
            grid(("PROCESS", "NAME", "USER", "STATE", "PLAN", "COMMAND"), _steps(plan), MOST_STEPS),
            style,
        ),
        section("Refused", _refusals(plan, overridden=False), style),
        section("Overridden", _refusals(plan, overridden=True), style),
        section("Notes", [sanitise(note) for note in _notes(plan)], style),
    ]
    return "".join(text for part in parts for text in part).lstrip("\n")


def headline(plan: Plan) -> str:
    """``Terminate 3 processes (SIGTERM, after 5 s SIGKILL)``."""
    count = sum(step.status != "ended" for step in plan.steps)
    noun = "1 process" if count == 1 else f"{count} processes"
    scope = f" of container {plan.container[:12]}" if plan.container else ""
    return f"{plan.request.action.capitalize()} {noun}{scope}{_manner(plan)}"


def _manner(plan: Plan) -> str:
    if plan.request.action != "terminate":
        return ""
    if not plan.request.force:
        return f" (ask, and wait {plan.grace_s:g} s)"
    return f" (ask, force after {plan.grace_s:g} s)" if plan.grace_s else " (by force at once)"


def _steps(plan: Plan) -> Iterator[tuple[str, ...]]:
    for step in plan.steps:
        command = " ".join(step.argv) if step.argv else step.exe or "-"
        key = "  " * min(step.depth, 12) + str(step.key)
        yield key, step.name, step.owner or "?", step.state or "?", step.status, command[:200]


def _refusals(plan: Plan, overridden: bool) -> list[str]:
    rows = [
        (f"{refusal.rule}", f"{step.key} {step.name}: {refusal.facts}" + ("" if overridden else f". {refusal.hint}"))
        for step in plan.steps
        for refusal in step.refusals
        if refusal.overridden is overridden
    ]
    return facts(rows)


def _notes(plan: Plan) -> Iterable[str]:
    yield from plan.notes
    yield from (f"{step.key} {step.name}: {note}" for step in plan.steps for note in step.notes)


def render_act(act: Act, style: Style = PLAIN) -> str:
    """One line for each process, and the evidence."""
    parts = [
        section(
            _summary(act),
            grid(
                ("PROCESS", "NAME", "RESULT", "BEFORE", "AFTER", "TOOK", "DETAIL"),
                map(_outcome, act.outcomes),
                MOST_STEPS,
            ),
            style,
        ),
        section(
            "Evidence",
            [
                sanitise(f"{file.path}  sha256 {file.sha256 or 'of each region in its manifest'}")
                for file in act.evidence
            ],
            style,
        ),
        section("Notes", [sanitise(note) for note in act.notes], style),
    ]
    return "".join(text for part in parts for text in part).lstrip("\n")


def _summary(act: Act) -> str:
    results = [outcome.result for outcome in act.outcomes]
    counts = ", ".join(f"{results.count(result)} {result}" for result in dict.fromkeys(results))
    return f"{act.plan.request.action.capitalize()}: {counts}"


def _outcome(outcome: Outcome) -> tuple[str, ...]:
    took = render_duration(outcome.elapsed_ns) if outcome.elapsed_ns else "-"
    return (
        str(outcome.key),
        outcome.name,
        outcome.result,
        outcome.before or "-",
        outcome.after or "-",
        took,
        outcome.detail or "",
    )
