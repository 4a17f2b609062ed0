"""System calls as text: as strace writes them."""

from hostscope.model.event import SystemCall


def render_call(call: SystemCall, remarks: bool = True) -> str:
    """``mprotect(0x7f…, 4096, PROT_READ|PROT_EXEC) = 0``; what is remarkable and the time it took behind."""
    arguments = ", ".join(argument.text for argument in call.arguments)
    took = "" if call.duration_ns is None else f" <{call.duration_ns / 1e9:.6f}>"
    flags = f"  [{', '.join(call.flags)}]" if call.flags and remarks else ""
    caller = f"  from {call.caller}" if call.caller and remarks else ""
    return f"{call.call}({arguments}) = {render_result(call)}{took}{caller}{flags}"


ADDRESSES = frozenset({"mmap", "mremap", "brk", "shmat", "map_shadow_stack", "VirtualAlloc", "VirtualAllocEx"})
"""Calls that return where something is."""


def render_result(call: SystemCall) -> str:
    """``0``, ``-1 ENOENT``, ``0x7f12…`` for addresses, ``?`` for what has not returned or will be made again."""
    if call.result is None:
        return "?"
    if call.error is not None:
        return f"? {call.error}" if call.error.startswith("ERESTART") else f"{max(call.result, -1)} {call.error}"
    return hex(call.result) if call.call in ADDRESSES else str(call.result)
