"""Events, one line each."""

from hostscope.model.event import CoverageChange, Event, Loss, ProcessChange, ServiceChange
from hostscope.model.service import ServiceState
from hostscope.render.coverage import render_coverage
from hostscope.render.sanitise import sanitise
from hostscope.render.units import render_instant


def render_event(event: Event) -> str:
    """When, what, and how it changed, on one line."""
    return sanitise(f"{render_instant(event.at_ns)}  {_body(event)}") + "\n"


def _body(event: Event) -> str:
    match event.body:
        case ServiceChange(before=before, after=after):
            unit = after or before
            return f"{unit.name if unit else '?'}  {_state(before)} -> {_state(after)}"
        case ProcessChange(before=before_process, after=after_process):
            process = after_process or before_process
            verb = "started" if before_process is None else "ended" if after_process is None else "changed"
            return f"{process.key if process else '?'} {process.name if process else '?'} {verb}"
        case Loss(events=events, reason=reason):
            return f"{events} events lost: {reason}"
        case CoverageChange(coverage=coverage):
            return render_coverage(coverage, "events").replace("\n", "; ")
        case body:
            return f"{event.key or '?'} {body}"


def _state(service: ServiceState | None) -> str:
    if service is None:
        return "not loaded"
    return f"{service.state or '?'} ({service.substate})" if service.substate else service.state or "?"
