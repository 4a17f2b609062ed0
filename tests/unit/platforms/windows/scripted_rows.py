"""Rows of two scripted processes, and what they lack."""

from typing import Any

from hostscope.model.gap import Reason
from hostscope.model.process import Process
from hostscope.model.request import FULL, ProcessRequest
from hostscope.platforms.tally import Tally
from hostscope.platforms.windows.hosting import Read
from hostscope.platforms.windows.processes import Processes
from tests.unit.platforms.windows.scripted import BOOTED, Program, Thread
from tests.unit.platforms.windows.scripted_processes import (
    BOOT,
    Contexts,
    Unraised,
)

EVERYTHING = ProcessRequest(fields=FULL)
MEMORY = {
    "PeakVirtualSize": 900,
    "VirtualSize": 800,
    "PageFaultCount": 70,
    "PeakWorkingSetSize": 600,
    "WorkingSetSize": 500,
    "QuotaPagedPoolUsage": 40,
    "QuotaNonPagedPoolUsage": 30,
    "PagefileUsage": 200,
    "PeakPagefileUsage": 300,
}
ORDINARY = Program(
    100,
    "a.exe",
    ppid=8,
    created=BOOTED + 7,
    threads=(Thread(104), Thread(108)),
    session=2,
    handles=55,
    fields={"UserTime": 20, "KernelTime": 30, "BasePriority": 8, "PrivatePageCount": 250},
    memory=MEMORY,
    io={"ReadTransferCount": 11, "WriteTransferCount": 12},
    private_resident=450,
    hard_faults=9,
)
PARENT = Program(8, "parent.exe", created=BOOTED + 5, threads=(Thread(12),))


def processes(
    contexts: Contexts | None = None, privileges: Unraised | None = None, services: Read = lambda: {}
) -> Processes:
    unused: Any = None
    contexts_: Any = contexts or Contexts()
    privileges_: Any = privileges or Unraised()
    return Processes(BOOT, contexts_, privileges_, unused, unused, services)


def sweep(request: ProcessRequest = EVERYTHING) -> tuple[dict[int, Process], Tally]:
    tally = Tally()
    rows = {row.pid: row for row in processes().sweep(request, tally)}
    return rows, tally


def gaps(row: Process) -> dict[str, Reason]:
    return {gap.field: gap.reason for gap in row.gaps}
