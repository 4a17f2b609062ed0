"""What a region of an address space is, from the kernel's numbers. Pure and bounded.

Source: mach/vm_prot.h, mach/vm_region.h, mach/vm_statistics.h.
"""

READ, WRITE, EXECUTE = 1, 2, 4
_SHARED = frozenset({4, 5, 7})
"""SM_SHARED, SM_TRUESHARED, SM_SHARED_ALIASED."""
_HEAP = frozenset({*range(1, 10), 11, 12, 13})
TAGS = {
    10: "[analysis tool]", 20: "[mach messages]", 21: "[iokit]", 30: "[stack]", 31: "[guard]", 33: "[dylib]",
    35: "[unshared pmap]", 41: "[foundation]", 42: "[core graphics]", 60: "[dyld]", 61: "[dyld malloc]",
    62: "[sqlite]", 63: "[javascript]", 64: "[javascript jit]", 73: "[os once]", 74: "[dispatch]", 82: "[swift]",
    88: "[iosurface]", 230: "[rosetta]", 231: "[rosetta threads]", 234: "[rosetta heap]", 236: "[rosetta arena]",
}  # fmt: skip
"""VM_MEMORY_*: what a program says that it takes memory for; it proves nothing."""


def permissions(protection: int, share_mode: int) -> str:
    """As Linux writes them: ``rwxp``, or ``s`` at the end for memory that is shared."""
    letters = zip("rwx", (READ, WRITE, EXECUTE), strict=True)
    return "".join(letter if protection & bit else "-" for letter, bit in letters) + (
        "s" if share_mode in _SHARED else "p"
    )


def tag_name(tag: int) -> str | None:
    """What anonymous memory is for, as its program said."""
    if tag in _HEAP:
        return "[heap]"
    return TAGS.get(tag) or (f"[tag {tag}]" if tag else None)
