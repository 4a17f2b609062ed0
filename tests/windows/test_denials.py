"""ACCESS_DENIED from each native call that a look at processes makes: what it gives is a gap, all else stays."""

import importlib
import os
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hostscope.errors import Denied
from hostscope.model.gap import Reason
from hostscope.model.request import FULL, ProcessRequest
from hostscope.platforms.tally import Tally
from hostscope.platforms.windows import native, roles
from hostscope.platforms.windows.host import open_host
from hostscope.platforms.windows.native.library import Library, set_last_error
from hostscope.platforms.windows.native.types import INVALID_HANDLE_VALUE
from tests.windows.children import Child

Start = Callable[..., Child]
DENIED, STATUS_DENIED, E_DENIED = 5, -0x3FFFFFDE, -0x7FF8FFFB
CLASS_AT = {
    "NtQuerySystemInformation": 0, "NtQueryInformationProcess": 1, "GetTokenInformation": 1,
    "NtQueryObject": 1, "NtQueryInformationThread": 1, "GetGuiResources": 1,
}  # fmt: skip
"""Which argument says what is asked for: each kind is refused by itself."""
CODES = {
    "CreateToolhelp32Snapshot": INVALID_HANDLE_VALUE, "GetPackageFullName": DENIED, "WaitForSingleObject": 0xFFFFFFFF,
    "GetThreadDescription": E_DENIED,
}  # fmt: skip
"""Results that mean a refusal, where it is neither 0 nor a code by the function's kind."""
SILENT = {
    "CloseHandle": "frees",
    "CloseServiceHandle": "frees",
    "LocalFree": "frees",
    "LsaFreeReturnBuffer": "frees",
    "RegCloseKey": "frees",
    "ConvertStringSecurityDescriptorToSecurityDescriptorW": "of the audit trail: a note of the answer",
    "SetFileSecurityW": "of the audit trail: a note of the answer",
    "AdjustTokenPrivileges": "of our own token: a note of the answer",
    "LookupPrivilegeValueW": "of our own token: a note of the answer",
    "LookupPrivilegeNameW": "the privilege keeps its number",
    "GetLogicalDrives": "paths stay as they are by device",
    "QueryDosDeviceW": "paths stay as they are by device",
    "RegEnumKeyExW": "no distributions of WSL",
    "RegGetValueW": "keys say that the installation is unknown",
    "RegOpenKeyExW": "no distributions of WSL",
}
"""Calls that give nothing of the row that was there before, or that leave something in its place."""
UNANSWERED = {
    "native": {"NtQuerySystemInformation:3", "NtQuerySystemInformation:5"},
    "toolhelp": {"NtQuerySystemInformation:3", "CreateToolhelp32Snapshot", "Process32FirstW", "Process32NextW"},
}
"""Without the time of the boot there is no identity, and each method has its list: the request fails, with an error of
ours. Without a method asked for, the other one is taken."""
PARTS = frozenset({"open_files", "maps", "threads", "environment", "modules", "windows"})


class Natives:
    """Every function of every library that we call: those that were called, and one that refuses."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.called: set[str] = set()
        self.refused: str | None = None
        for library in libraries():
            for name, (result, _) in library.signatures.items():
                if result is not None:  # what gives nothing refuses nothing
                    monkeypatch.setitem(vars(library), name, self._watched(library, name))

    def _watched(self, library: Library, name: str) -> Callable[..., Any]:
        real: list[Callable[..., Any]] = []

        def call(*arguments: Any) -> Any:
            place = f"{name}:{arguments[CLASS_AT[name]]}" if name in CLASS_AT else name
            self.called.add(place)
            if place == self.refused:
                return refusal(name)
            if not real:
                real.append(library._bind(name))
            return real[0](*arguments)

        return call


def libraries() -> Iterator[Library]:
    for module in pkgutil.iter_modules(native.__path__):
        values = vars(importlib.import_module(f"{native.__name__}.{module.name}")).values()
        yield from (value for value in values if isinstance(value, Library))


def refusal(name: str) -> int:
    set_last_error(DENIED)
    if name.startswith(("Nt", "Lsa")):
        return STATUS_DENIED
    if name.startswith("Hcs"):
        return E_DENIED
    return DENIED if name.startswith("Reg") else CODES.get(name, 0)


class Seen:
    """What `ps` and `inspect` tell of a process, by a host that knows nothing yet."""

    def __init__(self, pid: int, method: str | None) -> None:
        roles._root.cache_clear()  # what else is remembered belongs to the host
        host, tally = open_host(), Tally()
        request = ProcessRequest(fields=FULL, method=method)
        rows = {row.pid: row for row in host.processes.sweep(request, tally)}
        self.row, self.failed, self.notes = rows[pid], tally.failed, tuple(tally.notes)
        try:
            self.detail = host.processes.detail(self.row.key, PARTS)
        except Denied:  # who cannot be identified any more is not looked into
            self.detail = None
        self.gaps = {(gap.field, gap.reason) for gap in (*self.row.gaps, *(self.detail.gaps if self.detail else ()))}

    def values(self) -> set[str]:
        """Paths of all fields that have a value."""
        return set(paths(msgspec.to_builtins(self.row))) | set(paths(msgspec.to_builtins(self.detail or {})))


def paths(value: object, name: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from paths(part, f"{name}.{key}" if name else key)
    elif value is not None:
        yield name


def explained(path: str, gaps: set[tuple[str, Reason]]) -> bool:
    return any(path == field or path.startswith(f"{field}.") for field, _ in gaps)


@pytest.fixture
def natives(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Natives:
    monkeypatch.setenv("HOSTSCOPE_AUDIT", str(tmp_path / "audit.jsonl"))
    return Natives(monkeypatch)


@pytest.mark.parametrize("method", UNANSWERED)
def test_every_call_that_is_denied_costs_its_fields_only(child: Start, natives: Natives, method: str) -> None:
    one = child("say(); wait()")
    before = Seen(one.pid, method)
    wrong: dict[str, object] = {}
    for place in sorted(natives.called - UNANSWERED[method]):
        natives.refused = place
        seen = Seen(one.pid, method)
        unsaid = {path for path in before.values() - seen.values() if not explained(path, seen.gaps)}
        denied = {field for field, reason in seen.gaps - before.gaps if reason is Reason.DENIED}
        if seen.failed or (unsaid and seen.detail) or bool(denied or seen.detail is None) == (place in SILENT):
            wrong[place] = unsaid, denied, seen.notes
    assert not wrong, "\n".join(f"{place}: {what}" for place, what in wrong.items())
    assert len(natives.called) > 50


@pytest.mark.parametrize("method", UNANSWERED)
def test_without_a_list_of_processes_the_request_is_denied(child: Start, natives: Natives, method: str) -> None:
    one = child("say(); wait()")
    Seen(one.pid, method)
    for place in sorted(natives.called & UNANSWERED[method]):
        natives.refused = place
        with pytest.raises(Denied):
            Seen(one.pid, method)


def test_without_the_kernels_list_the_other_method_is_taken(child: Start, natives: Natives) -> None:
    natives.refused = "NtQuerySystemInformation:5"
    one = child("say(); wait()")
    assert Seen(one.pid, None).row.ppid == os.getpid()
