"""A host in memory that can be acted on, a trail of its own, and shorthand for both."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hostscope.audit import AuditTrail, Entry
from hostscope.model.inspection import ProcessInspection
from hostscope.model.process import Process
from hostscope.model.response import Act, ActRequest, Plan
from hostscope.platforms.base import Host
from hostscope.respond.act import apply
from hostscope.respond.plan import make_plan
from hostscope.respond.trail import Trail
from tests.fake import Answers, host
from tests.fake_control import FakeControl

OURS = 40


@dataclass
class Stage:
    """Everything an act needs."""

    rows: list[Process]
    folder: Path
    control: FakeControl = field(init=False)
    host: Host = field(init=False)
    audit: AuditTrail = field(init=False)

    def __post_init__(self) -> None:
        self.host = host(answers=Answers(), sweeps=[self.rows])
        self.control = FakeControl(self.rows)
        self.audit = AuditTrail(self.folder / "audit.jsonl")

    def plan(self, action: str, *targets: object, **given: Any) -> Plan:
        request = ActRequest(action, tuple(map(str, targets)), **given)
        return make_plan(self.host, self.control, request, Trail(self.audit))

    def apply(self, plan: Plan, confirmed: bool = True) -> Act:
        return apply(self.host, self.control, plan, Trail(self.audit), _unmasked, confirmed)

    def act(self, action: str, *targets: object, **given: Any) -> Act:
        return self.apply(self.plan(action, *targets, **given))

    def lines(self) -> list[Entry]:
        return list(self.audit.entries()) if self.audit.path.exists() else []


def _unmasked(inspection: ProcessInspection) -> ProcessInspection:
    return inspection
