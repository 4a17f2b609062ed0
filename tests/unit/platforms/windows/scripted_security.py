"""A kernel with tokens, marks and a registry made up for tests: the very bytes that Windows would write."""

import ctypes
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from hostscope.platforms.windows.native import (
    folders,
    handles,
    integrity,
    jobs,
    lsa,
    ntdll,
    protection,
    registry,
    token,
)
from hostscope.platforms.windows.native.library import set_last_error
from hostscope.platforms.windows.parse_token import sid_bytes
from tests.unit.platforms.windows.scripted import script

ALICE = "S-1-5-21-1-2-3-1001"
ADMINISTRATORS = "S-1-5-32-544"
NUMBERS = {"SeTcbPrivilege": 7, "SeLoadDriverPrivilege": 10, "SeSystemtimePrivilege": 12, "SeShutdownPrivilege": 19,
           "SeDebugPrivilege": 20, "SeChangeNotifyPrivilege": 23, "SeImpersonatePrivilege": 29,
           "SeSystemProfilePrivilege": 11, "SeSecurityPrivilege": 8, "SeBackupPrivilege": 17,
           "SeRestorePrivilege": 18, "SeTakeOwnershipPrivilege": 9}  # fmt: skip
ENABLED, DISABLED, DEFAULT = 2, 0, 3
TOKEN, PROCESS = 0x70, 0x50


def sids_answer(members: list[tuple[str, int]], head: bytes, base: int) -> bytes:
    """An answer with SIDs behind `head` and the entries that point at them."""
    texts = [sid_bytes(sid) for sid, _ in members]
    at, entries = base + len(head) + 16 * len(members), b""
    for raw, (_, attributes) in zip(texts, members, strict=True):
        entries += struct.pack("<QI4x", at, attributes)
        at += len(raw)
    return head + entries + b"".join(texts)


@dataclass
class Token:
    """One token."""

    user: str = ALICE
    groups: list[tuple[str, int]] = field(default_factory=lambda: [("S-1-1-0", 7), (ADMINISTRATORS, 15)])
    privileges: dict[str, int] = field(default_factory=lambda: {"SeChangeNotifyPrivilege": DEFAULT})
    integrity: int = 0x2000
    elevation: tuple[int, int] = (1, 0)
    """Type, and whether elevated."""
    linked: bool = False
    app_container: str | None = None
    capabilities: list[tuple[str, int]] = field(default_factory=list)
    restricting: list[tuple[str, int]] = field(default_factory=list)
    flags: dict[int, int] = field(default_factory=dict)
    session: int = 0x3E7

    def answer(self, kind: int, base: int) -> bytes | None:
        """What GetTokenInformation writes at `base`; None for a class that this Windows lacks."""
        made: dict[int, Callable[[], bytes]] = {
            token.TokenUser: lambda: sids_answer([(self.user, 0)], b"", base),
            token.TokenGroups: lambda: self._members(self.groups, base),
            token.TokenPrivileges: self._privileges,
            token.TokenStatistics: self._statistics,
            token.TokenRestrictedSids: lambda: self._members(self.restricting, base),
            token.TokenElevationType: lambda: struct.pack("<I", self.elevation[0]),
            token.TokenElevation: lambda: struct.pack("<I", self.elevation[1]),
            token.TokenIntegrityLevel: lambda: sids_answer([(f"S-1-16-{self.integrity}", 0x60)], b"", base),
            token.TokenIsAppContainer: lambda: struct.pack("<I", self.app_container is not None),
            token.TokenAppContainerSid: lambda: self._container(base),
            token.TokenCapabilities: lambda: self._members(self.capabilities, base),
        }
        if kind in (token.TokenVirtualizationEnabled, token.TokenUIAccess):
            return struct.pack("<I", self.flags.get(kind, 0))
        return made[kind]() if kind in made else None

    def _members(self, members: list[tuple[str, int]], base: int) -> bytes:
        return sids_answer(members, struct.pack("<I4x", len(members)), base)

    def _privileges(self) -> bytes:
        parts = [struct.pack("<IiI", NUMBERS[name], 0, bits) for name, bits in self.privileges.items()]
        return struct.pack("<I", len(parts)) + b"".join(parts)

    def _statistics(self) -> bytes:
        made = token.TOKEN_STATISTICS(TokenType=1)
        made.AuthenticationId = token.LUID(self.session, 0)
        return bytes(made)

    def _container(self, base: int) -> bytes:
        if self.app_container is None:
            return struct.pack("<Q", 0)
        return struct.pack("<Q", base + 8) + sid_bytes(self.app_container)


class Kernel:
    """Scripts every native call of the security code; `refusals` name calls (and classes) that fail, with the code."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.token = Token()
        self.names: dict[str, str] = {ALICE: "HOST\\alice", ADMINISTRATORS: "BUILTIN\\Administrators"}
        self.refusals: dict[str | int, int] = {}
        self.policies: dict[int, int] = {}
        self.level = 0
        self.extended_flags = 0
        self.critical = False
        self.job_limits: int | None = None
        self.logon_type = 2
        self.opened = 0
        """Tokens and handles that are open."""
        self.looked_up: list[str] = []
        self._script(monkeypatch)

    def _script(self, monkeypatch: pytest.MonkeyPatch) -> None:
        script(monkeypatch, token.advapi32, OpenProcessToken=self._open_token, GetTokenInformation=self._information,
               LookupAccountSidW=self._account, LookupPrivilegeNameW=self._privilege_name,
               LookupPrivilegeValueW=self._privilege_value, AdjustTokenPrivileges=self._adjust)  # fmt: skip
        script(monkeypatch, handles.kernel32, OpenProcess=self._open, CloseHandle=self._close,
               GetCurrentProcess=lambda: PROCESS)  # fmt: skip
        script(monkeypatch, lsa.secur32, LsaGetLogonSessionData=self._logon, LsaFreeReturnBuffer=lambda _: 0)
        script(monkeypatch, protection.kernel32, GetProcessMitigationPolicy=self._policy,
               IsProcessCritical=self._is_critical)  # fmt: skip
        script(monkeypatch, jobs.kernel32, IsProcessInJob=self._in_job, QueryInformationJobObject=self._job)
        script(monkeypatch, ntdll.ntdll, NtQueryInformationProcess=self._query)
        script(monkeypatch, folders.kernel32, GetSystemWindowsDirectoryW=self._root)

    def _refused(self, call: str | int) -> bool:
        if call in self.refusals:
            set_last_error(self.refusals[call])
        return call in self.refusals

    def _open(self, access: int, inherit: bool, pid: int) -> int:
        if self._refused("OpenProcess"):
            return 0
        self.opened += 1
        return PROCESS

    def _close(self, handle: int) -> int:
        self.opened -= 1
        return 1

    def _open_token(self, process: int, access: int, into: Any) -> int:
        if self._refused("OpenProcessToken"):
            return 0
        self.opened += 1
        into._obj.value = TOKEN
        return 1

    def _information(self, handle: int, kind: int, into: Any, size: int, written: Any) -> int:
        if self._refused(kind):
            return 0
        if kind == token.TokenLinkedToken:
            return self._linked(into)
        answer = self.token.answer(kind, ctypes.addressof(into))
        if answer is None:
            set_last_error(87)
            return 0
        written._obj.value = len(answer)
        if len(answer) > size:
            set_last_error(token.ERROR_INSUFFICIENT_BUFFER)
            return 0
        ctypes.memmove(into, answer, len(answer))
        return 1

    def _linked(self, into: Any) -> int:
        if not self.token.linked:
            set_last_error(token.ERROR_NO_SUCH_LOGON_SESSION)
            return 0
        self.opened += 1
        into._obj.LinkedToken = TOKEN + 1
        return 1

    def _account(self, host: None, sid: Any, name: Any, units: Any, domain: Any, more: Any, use: Any) -> int:
        text = next((text for text in self.names if sid_bytes(text) == sid.raw), None)
        self.looked_up.append(text or sid.raw.hex())
        if self._refused("LookupAccountSidW"):
            return 0
        if text is None:
            set_last_error(token.ERROR_NONE_MAPPED)
            return 0
        for into, part in zip((domain, name), self.names[text].split("\\"), strict=True):
            ctypes.memmove(into, (part + "\0").encode("utf-16-le"), 2 * len(part) + 2)
        return 1

    def _privilege_name(self, host: None, number: Any, into: Any, units: Any) -> int:
        name = next((name for name, low in NUMBERS.items() if low == number._obj.LowPart), None)
        if self._refused("LookupPrivilegeNameW"):
            return 0
        if name is None:
            set_last_error(token.ERROR_NO_SUCH_PRIVILEGE)
            return 0
        ctypes.memmove(into, (name + "\0").encode("utf-16-le"), 2 * len(name) + 2)
        return 1

    def _privilege_value(self, host: None, name: str, into: Any) -> int:
        into._obj.LowPart = NUMBERS[name]
        return 1

    def _adjust(self, handle: int, every: bool, wanted: Any, size: int, before: None, needed: None) -> int:
        if self._refused("AdjustTokenPrivileges"):
            return 0
        one = wanted._obj.Privileges[0]
        name = next(name for name, low in NUMBERS.items() if low == one.Luid.LowPart)
        if name not in self.token.privileges or self.token.privileges[name] & 4:
            set_last_error(token.ERROR_NOT_ALL_ASSIGNED)
        elif one.Attributes & 4:
            del self.token.privileges[name]
        else:
            self.token.privileges[name] = self.token.privileges[name] & 1 | one.Attributes
        return 1

    def _logon(self, session: Any, into: Any) -> int:
        if "LsaGetLogonSessionData" in self.refusals:
            return ctypes.c_int32(self.refusals["LsaGetLogonSessionData"]).value
        self._told = lsa.SECURITY_LOGON_SESSION_DATA(LogonType=self.logon_type, Session=1)
        into._obj.contents = self._told
        return 0

    def _policy(self, process: int, policy: int, into: Any, size: int) -> int:
        if self._refused("GetProcessMitigationPolicy"):
            return 0
        if policy not in self.policies:
            set_last_error(87)
            return 0
        into._obj.Flags = self.policies[policy] & 0xFFFFFFFF
        if policy == protection.ProcessDEPPolicy:
            into._obj.Permanent = self.policies[policy] >> 32
        return 1

    def _is_critical(self, process: int, into: Any) -> int:
        into._obj.value = self.critical
        return 0 if self._refused("IsProcessCritical") else 1

    def _in_job(self, process: int, job: None, into: Any) -> int:
        into._obj.value = self.job_limits is not None
        return 0 if self._refused("IsProcessInJob") else 1

    def _job(self, job: None, kind: int, into: Any, size: int, written: None) -> int:
        if self._refused("QueryInformationJobObject"):
            return 0
        into._obj.BasicLimitInformation.LimitFlags = self.job_limits or 0
        return 1

    def _query(self, process: int, kind: int, into: Any, size: int, written: None) -> int:
        if f"NtQueryInformationProcess {kind}" in self.refusals:
            return ctypes.c_int32(self.refusals[f"NtQueryInformationProcess {kind}"]).value
        if kind == protection.ProcessProtectionInformation:
            into._obj.value = self.level
        elif kind == protection.ProcessBasicInformation:
            into._obj.Flags = self.extended_flags
        else:
            return ctypes.c_int32(0xC0000003).value
        return 0

    def _root(self, into: Any, units: int) -> int:
        ctypes.memmove(into, "C:\\Windows\0".encode("utf-16-le"), 22)
        return 10


class Registry:
    """Keys with their values; what is not here is not there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, keys: Mapping[str, Mapping[str, int | str | bytes]]) -> None:
        self.keys: dict[str, dict[str, int | str | bytes]] = {key: dict(values) for key, values in keys.items()}
        self.refusals: dict[str, int] = {}
        self._opened: dict[int, str] = {}
        script(monkeypatch, registry.advapi32, RegOpenKeyExW=self._open, RegCloseKey=self._close,
               RegQueryValueExW=self._value, RegEnumKeyExW=self._subkey, RegEnumValueW=self._name)  # fmt: skip

    @property
    def opened(self) -> int:
        return len(self._opened)

    def _open(self, root: int, below: str, options: int, access: int, into: Any) -> int:
        names = {number: name for name, number in registry._ROOTS.items()}
        path = f"{names[root]}\\{below}" if below else names[root]
        if path in self.refusals:
            return self.refusals[path]
        if path not in self.keys and not any(key.startswith(f"{path}\\") for key in self.keys):
            return registry.ERROR_FILE_NOT_FOUND
        number = max(self._opened, default=0x1000) + 1
        self._opened[number] = path
        into._obj.value = number
        return 0

    def _close(self, key: Any) -> int:
        self._opened.pop(key.value)
        return 0

    def _value(self, key: int, name: str, reserved: None, kind: Any, into: Any, size: Any) -> int:
        value = self.keys.get(self._opened[key], {}).get(name)
        if value is None:
            return registry.ERROR_FILE_NOT_FOUND
        number, raw = _written(value)
        kind._obj.value = number
        if len(raw) > size._obj.value:
            return registry.ERROR_MORE_DATA
        size._obj.value = len(raw)
        ctypes.memmove(into, raw, len(raw))
        return 0

    def _subkey(self, key: int, index: int, into: Any, size: Any, *rest: None) -> int:
        start = f"{self._opened[key]}\\"
        names = {path.removeprefix(start).partition("\\")[0] for path in self.keys if path.startswith(start)}
        return _listed(sorted(names), index, into)

    def _name(self, key: int, index: int, into: Any, size: Any, *rest: None) -> int:
        return _listed(sorted(self.keys.get(self._opened[key], {})), index, into)


def _listed(names: list[str], index: int, into: Any) -> int:
    if index >= len(names):
        return registry.ERROR_NO_MORE_ITEMS
    raw = (names[index] + "\0").encode("utf-16-le")
    ctypes.memmove(into, raw, len(raw))
    return 0


def _written(value: int | str | bytes) -> tuple[int, bytes]:
    if isinstance(value, int):
        return 4, value.to_bytes(4, "little")
    return (1, (value + "\0").encode("utf-16-le")) if isinstance(value, str) else (3, value)


class CodeIntegrity:
    """NtQuerySystemInformation of the classes about integrity."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, options: int = 1, secure: int = 1, isolation: int = 3) -> None:
        self.refusals: dict[int, int] = {}
        self.values = {integrity.SystemCodeIntegrityInformation: ("CodeIntegrityOptions", options),
                       integrity.SystemSecureBootInformation: ("SecureBootEnabled", secure),
                       integrity.SystemIsolatedUserModeInformation: ("Flags", isolation)}  # fmt: skip
        script(monkeypatch, ntdll.ntdll, NtQuerySystemInformation=self)

    def __call__(self, kind: int, into: Any, size: int, needed: Any) -> int:
        if kind in self.refusals:
            return ctypes.c_int32(self.refusals[kind]).value
        name, value = self.values[kind]
        setattr(into._obj, name, value)
        return 0
