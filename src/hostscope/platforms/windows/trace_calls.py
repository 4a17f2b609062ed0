"""The calls that a debugger can show: their arguments by name, decoded, and what is remarkable. Pure.

Source: memoryapi.h, processthreadsapi.h of the Windows SDK; phnt (ntmmapi.h, ntpsapi.h) for the Nt forms.
"""

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from hostscope.errors import UsageError
from hostscope.model.event import SystemCall
from hostscope.model.syscall import Argument

WORD = (1 << 64) - 1
SELF = WORD
"""GetCurrentProcess()."""
PAGES = {
    0x01: "PAGE_NOACCESS", 0x02: "PAGE_READONLY", 0x04: "PAGE_READWRITE", 0x08: "PAGE_WRITECOPY",
    0x10: "PAGE_EXECUTE", 0x20: "PAGE_EXECUTE_READ", 0x40: "PAGE_EXECUTE_READWRITE", 0x80: "PAGE_EXECUTE_WRITECOPY",
    0x100: "PAGE_GUARD", 0x200: "PAGE_NOCACHE", 0x400: "PAGE_WRITECOMBINE", 0x40000000: "PAGE_TARGETS_INVALID",
}  # fmt: skip
ALLOCATION = {
    0x1000: "MEM_COMMIT", 0x2000: "MEM_RESERVE", 0x80000: "MEM_RESET", 0x100000: "MEM_TOP_DOWN",
    0x200000: "MEM_WRITE_WATCH", 0x400000: "MEM_PHYSICAL", 0x1000000: "MEM_RESET_UNDO", 0x20000000: "MEM_LARGE_PAGES",
}  # fmt: skip
THREAD = {0x4: "CREATE_SUSPENDED", 0x10000: "STACK_SIZE_PARAM_IS_A_RESERVATION"}
NT_THREAD = {
    0x1: "THREAD_CREATE_FLAGS_CREATE_SUSPENDED", 0x2: "THREAD_CREATE_FLAGS_SKIP_THREAD_ATTACH",
    0x4: "THREAD_CREATE_FLAGS_HIDE_FROM_DEBUGGER",
}  # fmt: skip
EXECUTES, WRITES = 0xF0, 0xCC


class Parameter(Struct, frozen=True):
    """One argument of a function."""

    name: str
    kind: str
    """``handle pointer size number page allocation thread nt-thread in-word out-word out-page access``."""


class Function(Struct, frozen=True):
    """One function that is stopped at."""

    name: str
    module: str
    """Where it is, in lower case; ``kernel32`` only where ``kernelbase`` has none."""
    parameters: tuple[Parameter, ...]
    result: str
    """``bool address handle status``."""
    group: str

    def place(self, kind: str) -> int | None:
        """Which argument is the first of a kind."""
        return next((place for place, each in enumerate(self.parameters) if each.kind == kind), None)


class Seen(Struct, frozen=True):
    """One call, as the stopped process had it."""

    function: Function
    arguments: tuple[int, ...]
    before: tuple[int | None, ...]
    """What pointers to words pointed to when it was called."""
    after: tuple[int | None, ...]
    """The same when it had returned."""
    result: int | None
    error: int | None
    """GetLastError() after a failure."""
    target: int | None
    """Pid of the process that the handle means, when that is another one."""


def _function(name: str, module: str, result: str, group: str, parameters: str) -> Function:
    pairs = (word.split(":") for word in parameters.split())
    return Function(name, module, tuple(Parameter(first, second) for first, second in pairs), result, group)


_ALLOC = "lpAddress:pointer dwSize:size flAllocationType:allocation flProtect:page"
_PROTECT = "lpAddress:pointer dwSize:size flNewProtect:page lpflOldProtect:out-page"
_REMOTE = (
    "lpThreadAttributes:pointer dwStackSize:size lpStartAddress:pointer lpParameter:pointer dwCreationFlags:thread"
)

FUNCTIONS: tuple[Function, ...] = (
    _function("VirtualAlloc", "kernelbase", "address", "memory", _ALLOC),
    _function("VirtualAllocEx", "kernelbase", "address", "memory", f"hProcess:handle {_ALLOC}"),
    _function("VirtualProtect", "kernelbase", "bool", "memory", _PROTECT),
    _function("VirtualProtectEx", "kernelbase", "bool", "memory", f"hProcess:handle {_PROTECT}"),
    _function("NtAllocateVirtualMemory", "ntdll", "status", "memory",
              "ProcessHandle:handle BaseAddress:in-word ZeroBits:number RegionSize:in-word AllocationType:allocation"
              " Protect:page"),
    _function("NtProtectVirtualMemory", "ntdll", "status", "memory",
              "ProcessHandle:handle BaseAddress:in-word RegionSize:in-word NewProtect:page OldProtect:out-page"),
    _function("WriteProcessMemory", "kernelbase", "bool", "process",
              "hProcess:handle lpBaseAddress:pointer lpBuffer:pointer nSize:size lpNumberOfBytesWritten:out-word"),
    _function("NtWriteVirtualMemory", "ntdll", "status", "process",
              "ProcessHandle:handle BaseAddress:pointer Buffer:pointer NumberOfBytesToWrite:size"
              " NumberOfBytesWritten:out-word"),
    _function("CreateRemoteThread", "kernelbase", "handle", "process",
              f"hProcess:handle {_REMOTE} lpThreadId:pointer"),
    _function("CreateRemoteThreadEx", "kernelbase", "handle", "process",
              f"hProcess:handle {_REMOTE} lpAttributeList:pointer lpThreadId:pointer"),
    _function("NtCreateThreadEx", "ntdll", "status", "process",
              "ThreadHandle:pointer DesiredAccess:access ObjectAttributes:pointer ProcessHandle:handle"
              " StartRoutine:pointer Argument:pointer CreateFlags:nt-thread ZeroBits:number StackSize:size"
              " MaximumStackSize:size AttributeList:pointer"),
)  # fmt: skip
GROUPS = ("memory", "process", "all")


def choose(names: Sequence[str]) -> tuple[Function, ...]:
    """The functions that names and groups mean. Raises UsageError."""
    known = {function.name.lower(): function for function in FUNCTIONS}
    wanted: set[str] = set()
    for name in names:
        if name in GROUPS:
            wanted |= {each.name for each in FUNCTIONS if name in (each.group, "all")}
        elif name.lower() in known:
            wanted.add(known[name.lower()].name)
        else:
            hint = f"groups: {', '.join(GROUPS)}; calls: {', '.join(each.name for each in FUNCTIONS)}"
            raise UsageError(f"there is no call {name!r} to trace here", hint)
    return tuple(function for function in FUNCTIONS if function.name in wanted)


def decode(seen: Seen, tid: int, duration_ns: int | None, caller: str | None, outside: bool) -> SystemCall:
    """The call as an event."""
    arguments = tuple(
        Argument(each.name, value, _text(each, value, before, after, seen))
        for each, value, before, after in zip(
            seen.function.parameters, seen.arguments, seen.before, seen.after, strict=True
        )
    )
    result, error = _outcome(seen)
    flags = tuple(_flags(seen, outside, error is not None))
    return SystemCall(seen.function.name, arguments, result, error, tid, duration_ns, flags, caller)


def _outcome(seen: Seen) -> tuple[int | None, str | None]:
    if seen.result is None:
        return None, None
    if seen.function.result == "status":
        status = seen.result & 0xFFFF_FFFF
        return (status - (1 << 32), f"0x{status:08X}") if status >> 31 else (status, None)
    if seen.function.result == "bool":
        value = seen.result & 0xFFFF_FFFF
        return value, None if value else _error(seen)
    return seen.result, None if seen.result else _error(seen)


def _error(seen: Seen) -> str:
    return "failed" if seen.error is None else f"ERROR_{seen.error}"


def _text(parameter: Parameter, value: int, before: int | None, after: int | None, seen: Seen) -> str:
    kind = parameter.kind
    if kind == "handle":
        return _handle(value, seen.target)
    if kind in _RENDERS:
        return _RENDERS[kind](value & 0xFFFF_FFFF)
    if kind in ("size", "number"):
        return str(value)
    if kind == "in-word":
        return _pointed(value, before, after)
    if kind == "out-word":
        return "NULL" if not value else f"[{'?' if after is None else after}]"
    if kind == "out-page":
        return "NULL" if not value else f"[{'?' if after is None else _pages(after & 0xFFFF_FFFF)}]"
    return hex(value) if value else "NULL"


def _handle(value: int, target: int | None) -> str:
    if value == SELF:
        return "self"
    return hex(value) + (f" (process {target})" if target is not None else "")


def _pointed(value: int, before: int | None, after: int | None) -> str:
    if not value or before is None:
        return hex(value) if value else "NULL"
    return f"[{before:#x}]" if after in (None, before) else f"[{before:#x} => {after:#x}]"


def _named(names: Mapping[int, str]) -> Callable[[int], str]:
    def render(value: int) -> str:
        found = [name for bit, name in names.items() if value & bit]
        rest = value & ~sum(names)
        return "|".join([*found, *([hex(rest)] if rest else [])]) or "0"

    return render


_pages = _named(PAGES)
_RENDERS: dict[str, Callable[[int], str]] = {
    "page": _pages,
    "allocation": _named(ALLOCATION),
    "thread": _named(THREAD),
    "nt-thread": _named(NT_THREAD),
    "access": hex,
}


def _flags(seen: Seen, outside: bool, is_failed: bool) -> list[str]:
    flags = ["caller-outside-modules"] if outside else []
    if seen.target is not None:
        flags.append("other-process")
    place = seen.function.place("page")
    if place is None or is_failed:
        return flags
    new, old_place = seen.arguments[place], seen.function.place("out-page")
    old = seen.after[old_place] if old_place is not None else None
    if new & EXECUTES and old is not None and old & WRITES and not old & EXECUTES:
        flags.append("w-to-x")
    if new & EXECUTES and old_place is None:
        flags.append("executable-anonymous")
    if new & EXECUTES and new & WRITES:
        flags.append("writable-executable")
    return flags
