"""CO-RE: the value of each relocation of a compiled program on the kernel that it will run on.

The compiler notes every field that a program touches by name (bpf_core_relo in include/uapi/linux/bpf.h); here those
names are looked up in the running kernel's types. A struct named ``x___flavour`` means the kernel's ``x``.
"""

from enum import IntEnum
from typing import NamedTuple

from hostscope.platforms.linux.btf import ARRAY, COMPOSITE, Btf

_WORD_BITS = 64


class Kind(IntEnum):
    """What a relocation asks for. The numbers are ABI (enum bpf_core_relo_kind)."""

    BYTE_OFFSET = 0
    BYTE_SIZE = 1
    EXISTS = 2
    SIGNED = 3
    LEFT_SHIFT = 4
    RIGHT_SHIFT = 5
    LOCAL_TYPE = 6
    KERNEL_TYPE = 7
    TYPE_EXISTS = 8
    TYPE_SIZE = 9
    ENUMERATOR_EXISTS = 10
    ENUMERATOR_VALUE = 11


_OF_TYPES = frozenset({Kind.LOCAL_TYPE, Kind.KERNEL_TYPE, Kind.TYPE_EXISTS, Kind.TYPE_SIZE})
_OF_ENUMERATORS = frozenset({Kind.ENUMERATOR_EXISTS, Kind.ENUMERATOR_VALUE})


class Ambiguous(ValueError):
    """The kernel has several types of a name that differ."""


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


class Field(NamedTuple):
    """Where a field is in the kernel's type."""

    bit_offset: int
    bit_size: int
    """0 unless it is a bit field."""
    size: int
    """Bytes of its type."""
    signed: bool

    def span(self) -> tuple[int, int]:
        """Byte offset and size of the load that has all of it: for a bit field, as wide as its type or wider."""
        if not self.bit_size:
            return self.bit_offset // 8, self.size
        size = max(self.size, 1)
        at = self.bit_offset // 8 // size * size
        while self.bit_offset + self.bit_size > (at + size) * 8 and size < _WORD_BITS // 8:
            size *= 2
            at = self.bit_offset // 8 // size * size
        return at, size


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
        self._known: dict[tuple[bytes, int, tuple[_Step, ...]], Field | None] = {}

    def types(self, name: bytes, kind: int) -> list[int]:
        """Types of this name and kind."""
        return [type_id for type_id in self._types.get(name, ()) if self.btf.kind(type_id) == kind]

    def field(self, root: bytes, kind: int, path: tuple[_Step, ...]) -> Field | None:
        """A field; None when the kernel has no such field."""
        place = (root, kind, path)
        if place not in self._known:
            self._known[place] = self._resolve(root, kind, path)
        return self._known[place]

    def _resolve(self, root: bytes, kind: int, path: tuple[_Step, ...]) -> Field | None:
        answers = {answer for type_id in self.types(root, kind) if (answer := _locate(self.btf, type_id, path))}
        if len(answers) > 1:
            raise Ambiguous(f"the kernel has several {root.decode('ascii', 'replace')}")
        return answers.pop() if answers else None


def essential_name(name: bytes) -> bytes:
    """Without the ``___flavour``."""
    return name.partition(b"___")[0]


def root_names(local: Btf, relocation: Relocation) -> frozenset[bytes]:
    """Names by which the kernel's types must be found for a relocation."""
    both = (relocation.type, local.strip(relocation.type))
    return frozenset(essential_name(local.name(type_id)) for type_id in both if type_id) - {b""}


def resolve(local: Btf, kernel: Kernel, relocation: Relocation) -> Value | None:
    """The value on this kernel; None when the field that it needs does not exist there.

    Raises:
        ValueError: malformed, ambiguous, or of a kind that our programs do not use.
    """
    if relocation.kind in _OF_TYPES:
        return _resolve_type(local, kernel, relocation)
    if relocation.kind in _OF_ENUMERATORS:
        return _resolve_enumerator(local, kernel, relocation)
    root = local.strip(relocation.type)
    path, size = _path(local, root, relocation.access)
    found = kernel.field(essential_name(local.name(root)), local.kind(root), path)
    if relocation.kind == Kind.EXISTS:
        return Value(int(found is not None))
    return _field_value(relocation.kind, found, size) if found else None


def _field_value(kind: int, field: Field, local_size: int) -> Value:
    at, size = field.span()
    if kind == Kind.BYTE_SIZE:
        return Value(size)
    if kind == Kind.BYTE_OFFSET:
        return Value(at, size if size != local_size and not field.bit_size else None)
    if kind == Kind.SIGNED:
        return Value(int(field.signed))
    bits = field.bit_size or field.size * 8
    if kind == Kind.LEFT_SHIFT:
        return Value(_WORD_BITS - (field.bit_offset + bits - at * 8))
    if kind == Kind.RIGHT_SHIFT:
        return Value(_WORD_BITS - bits)
    raise ValueError(f"relocation kind {kind} is not supported")


def _resolve_type(local: Btf, kernel: Kernel, relocation: Relocation) -> Value | None:
    wanted = relocation.type if local.name(relocation.type) else local.strip(relocation.type)
    if relocation.kind == Kind.LOCAL_TYPE:
        return Value(wanted)
    found = kernel.types(essential_name(local.name(wanted)), local.kind(wanted))
    if relocation.kind == Kind.TYPE_EXISTS:
        return Value(int(bool(found)))
    if relocation.kind == Kind.TYPE_SIZE:
        return Value(kernel.btf.size(found[0]) if found else 0)
    return Value(found[0]) if found else None


def _resolve_enumerator(local: Btf, kernel: Kernel, relocation: Relocation) -> Value | None:
    root = local.strip(relocation.type)
    name = essential_name(local.enumerators(root)[int(relocation.access)][0])
    for type_id in kernel.types(essential_name(local.name(root)), local.kind(root)):
        for known, value in kernel.btf.enumerators(type_id):
            if known == name:
                return Value(1 if relocation.kind == Kind.ENUMERATOR_EXISTS else value)
    return Value(0) if relocation.kind == Kind.ENUMERATOR_EXISTS else None


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


def _locate(btf: Btf, type_id: int, path: tuple[_Step, ...]) -> Field | None:
    """The field at the end of a path."""
    bits, width = path[0].element * btf.size(type_id) * 8, 0
    for step in path[1:]:
        type_id = btf.strip(type_id)
        if step.name is None:
            if btf.kind(type_id) != ARRAY:
                return None
            type_id, width = btf.array(type_id)[0], 0
            bits += step.element * btf.size(type_id) * 8
        else:
            member = btf.member(type_id, step.name) if btf.kind(type_id) in COMPOSITE else None
            if member is None:
                return None
            type_id, bits, width = member.type, bits + member.bit_offset, member.bit_size
    return Field(bits, width, btf.size(type_id), btf.is_signed(type_id))
