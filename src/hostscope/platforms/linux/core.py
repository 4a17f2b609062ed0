"""CO-RE: the value of each relocation of a compiled program on the kernel that it will run on.

The compiler notes every field that a program touches by name (bpf_core_relo in include/uapi/linux/bpf.h); here those
names are looked up in the running kernel's types. A struct named ``x___flavour`` means the kernel's ``x``.
"""

from enum import IntEnum
from typing import NamedTuple

from hostscope.platforms.linux.btf import ARRAY, COMPOSITE, Btf


class Kind(IntEnum):
    """What a relocation asks for. The numbers are ABI (enum bpf_core_relo_kind)."""

    BYTE_OFFSET = 0
    BYTE_SIZE = 1
    EXISTS = 2


class Relocation(NamedTuple):
    """One relocation, as the object file has it."""

    instruction: int
    """Byte offset in its section."""
    type: int
    """Root type, in the object's own BTF."""
    access: bytes
    """Such as ``0:3:1``: an index into the root, then member and element numbers."""
    kind: int


class Value(NamedTuple):
    """What goes into the instruction."""

    number: int
    size: int | None = None
    """Bytes of the kernel's field, where a load must be as wide."""


class _Step(NamedTuple):
    name: bytes | None
    """A member; None for an element of an array."""
    element: int


class Kernel:
    """The running kernel's types; every path is resolved once."""

    def __init__(self, btf: Btf, names: frozenset[bytes]) -> None:
        """`names`: every type that will be asked for."""
        self.btf = btf
        self._types = btf.find(names)
        self._known: dict[tuple[bytes, int, tuple[_Step, ...]], tuple[int, int] | None] = {}

    def types(self, name: bytes, kind: int) -> list[int]:
        """Types of this name and kind."""
        return [type_id for type_id in self._types.get(name, ()) if self.btf.kind(type_id) == kind]

    def field(self, root: bytes, kind: int, path: tuple[_Step, ...]) -> tuple[int, int] | None:
        """Byte offset and size of a field; None when the kernel has no such field."""
        place = (root, kind, path)
        if place not in self._known:
            self._known[place] = self._resolve(root, kind, path)
        return self._known[place]

    def _resolve(self, root: bytes, kind: int, path: tuple[_Step, ...]) -> tuple[int, int] | None:
        answers = {answer for type_id in self.types(root, kind) if (answer := _locate(self.btf, type_id, path))}
        if len(answers) > 1:
            raise ValueError(f"the kernel has several {root.decode('ascii', 'replace')}")
        return answers.pop() if answers else None


def essential_name(name: bytes) -> bytes:
    """Without the ``___flavour``."""
    return name.partition(b"___")[0]


def resolve(local: Btf, kernel: Kernel, relocation: Relocation) -> Value | None:
    """The value on this kernel; None when the field that it needs does not exist there.

    Raises:
        ValueError: malformed, ambiguous, or of a kind that our programs do not use.
    """
    root = local.strip(relocation.type)
    path, size = _path(local, root, relocation.access)
    found = kernel.field(essential_name(local.name(root)), local.kind(root), path)
    if relocation.kind == Kind.EXISTS:
        return Value(int(found is not None))
    if found is None:
        return None
    if relocation.kind == Kind.BYTE_SIZE:
        return Value(found[1])
    if relocation.kind == Kind.BYTE_OFFSET:
        return Value(found[0], found[1] if found[1] != size else None)
    raise ValueError(f"relocation kind {relocation.kind} is not supported")


def _path(local: Btf, root: int, access: bytes) -> tuple[tuple[_Step, ...], int]:
    """The names that an access string stands for, and the size of the field in the program's own types."""
    first, *rest = (int(number) for number in access.split(b":"))
    steps, here = [_Step(None, first)], root
    for number in rest:
        here = local.strip(here)
        if local.kind(here) == ARRAY:
            here = local.array(here)[0]
            steps.append(_Step(None, number))
        else:
            members = local.members(here) if local.kind(here) in COMPOSITE else []
            if number >= len(members):
                raise ValueError(f"access {access!r} leads nowhere")
            member = members[number]
            here = member.type
            if member.name:
                steps.append(_Step(member.name, 0))
    return tuple(steps), local.size(here)


def _locate(btf: Btf, type_id: int, path: tuple[_Step, ...]) -> tuple[int, int] | None:
    """Byte offset and size of the field at the end of a path."""
    bits = path[0].element * btf.size(type_id) * 8
    for step in path[1:]:
        type_id = btf.strip(type_id)
        if step.name is None:
            if btf.kind(type_id) != ARRAY:
                return None
            type_id = btf.array(type_id)[0]
            bits += step.element * btf.size(type_id) * 8
        else:
            member = btf.member(type_id, step.name) if btf.kind(type_id) in COMPOSITE else None
            if member is None:
                return None
            type_id, bits = member.type, bits + member.bit_offset
    return bits // 8, btf.size(type_id)
