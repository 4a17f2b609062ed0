"""Relocates compiled programs for a kernel: `BpfObject` and the kernel's types in, `Image` out."""

import struct
from typing import NamedTuple

from msgspec import structs

from hostscope.errors import Unavailable, Unsupported
from hostscope.platforms.linux.bpf_object import BpfObject, Symbol, is_data
from hostscope.platforms.linux.btf import Btf
from hostscope.platforms.linux.core import Ambiguous, Kernel, Relocation, resolve, root_names
from hostscope.platforms.linux.image import RODATA, DataImage, Image, MapImage, ProgramImage
from hostscope.platforms.linux.program_kinds import KINDS, split_section

KERNEL_BTF = "/sys/kernel/btf/vmlinux"

_LD_IMM64, _CALL, _JUMP = 0x18, 0x85, 0x05
_PSEUDO_MAP_FD, _PSEUDO_MAP_VALUE, _PSEUDO_CALL, _PSEUDO_FUNC = 1, 2, 1, 4
_CLASS_LDX, _CLASS_ST, _CLASS_STX = 1, 2, 3
_SIZE_BITS = {1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18}
_POISON = struct.pack("<BBhi", _CALL, 0, 0, 0xBAD2310)
"""A call that does not exist: the verifier refuses it only where it can be reached. libbpf uses the same number."""


def build_image(raw_object: bytes, raw_kernel_btf: bytes) -> Image:
    """Relocates every program of an object for a kernel. Pure.

    Raises:
        ValueError: either is malformed. What the kernel lacks for a program stands in `ProgramImage.obstacle`.
    Cost: about 70 ms, nearly all of it the kernel's type information.
    """
    try:
        return _build(BpfObject(raw_object), raw_kernel_btf)
    except (struct.error, IndexError, KeyError, OverflowError) as failed:
        raise ValueError(f"malformed BPF object: {failed}") from failed


def _build(thing: BpfObject, raw_kernel_btf: bytes) -> Image:
    targets = {program.name: Target.of(thing, program) for program in thing.programs()}
    kernel = Kernel(Btf(raw_kernel_btf), _wanted_names(thing) | {target.btf_name for target in targets.values()})
    data = tuple(DataImage(s.name, s.content, s.name.startswith(RODATA)) for s in thing.data_sections())
    return Image(
        tuple(MapImage(*spec) for spec in thing.map_specs()),
        tuple(_link(thing, kernel, program, targets[program.name]) for program in thing.programs()),
        thing.loadable_btf(),
        data,
        {name: (section.name, *place) for section in data for name, place in thing.variables(section.name).items()},
    )


def read_kernel_btf() -> bytes:
    """The running kernel's types.

    Raises:
        Unsupported: the kernel was built without them (CONFIG_DEBUG_INFO_BTF).
    """
    try:
        with open(KERNEL_BTF, "rb", buffering=0) as file:
            return file.read()
    except FileNotFoundError:
        raise Unsupported(f"the kernel does not describe its types ({KERNEL_BTF} is missing)") from None
    except OSError as failed:
        raise Unavailable(f"{KERNEL_BTF}: {failed.strerror}") from failed


def _wanted_names(thing: BpfObject) -> frozenset[bytes]:
    groups = thing.relocations.values()
    return frozenset().union(*(root_names(thing.btf, relocation) for group in groups for relocation in group))


class Target(NamedTuple):
    """What a program attaches to, by the section it is in."""

    kind: str
    name: str

    @classmethod
    def of(cls, thing: BpfObject, program: Symbol) -> "Target":
        """Raises `ValueError`: the kind is not supported."""
        return cls(*split_section(thing.sections[program.section].name))

    @property
    def btf_name(self) -> bytes:
        """Its name among the kernel's types; empty when it need not be there."""
        prefix = KINDS[self.kind].prefix
        return f"{prefix}{self.name}".encode() if prefix else b""


def _link(thing: BpfObject, kernel: Kernel, program: Symbol, target: Target) -> ProgramImage:
    """A program for this kernel, or what stands against it: the other programs of the object may do without."""
    kind = KINDS[target.kind]
    attach = kernel.types(target.btf_name, kind.target_kind) if target.btf_name else [0]
    empty = ProgramImage(program.name, target.kind, target.name, kind.sleepable, 0, b"", (), b"")
    if not attach:
        return structs.replace(empty, obstacle=f"the kernel has no {kind.noun} {target.name}")
    try:
        return structs.replace(_Linker(thing, kernel).link(program, empty), attach_btf_id=attach[0])
    except Ambiguous as failed:
        return structs.replace(empty, obstacle=str(failed))


class _Linker:
    """Puts one program together: its own instructions, then each function it calls, once."""

    def __init__(self, thing: BpfObject, kernel: Kernel) -> None:
        self._thing = thing
        self._kernel = kernel
        self._code = bytearray()
        self._maps: list[tuple[int, str]] = []
        self._placed: dict[int, int] = {}
        """Offset in .text -> offset in the program."""
        self._functions: list[tuple[int, int]] = []

    def link(self, program: Symbol, empty: ProgramImage) -> ProgramImage:
        """The whole program."""
        self._append(program)
        several = self._functions if len(self._functions) > 1 else []
        return structs.replace(
            empty,
            code=bytes(self._code),
            maps=tuple(self._maps),
            functions=b"".join(struct.pack("<II", at // 8, type_id) for at, type_id in several),
        )

    def _append(self, function: Symbol) -> int:
        """Adds one function, and after it what it refers to; its offset in the program."""
        section = self._thing.sections[function.section]
        base, end = len(self._code), function.value + function.size
        self._code += section.content[function.value : end]
        self._functions.append((base, self._thing.functions[section.name][function.value]))
        for relocation in self._thing.relocations.get(section.name, ()):
            if function.value <= relocation.instruction < end:
                self._relocate(relocation, relocation.instruction - function.value + base)
        for reference in self._thing.references(function.section):
            if function.value <= reference.offset < end:
                self._refer(reference.symbol, reference.offset - function.value + base)
        return base

    def _relocate(self, relocation: Relocation, at: int) -> None:
        value = resolve(self._thing.btf, self._kernel, relocation)
        code, opcode = self._code, self._code[at]
        if value is None:
            code[at : at + 8] = _POISON
            if opcode == _LD_IMM64:
                code[at + 8 : at + 16] = struct.pack("<BBhi", _JUMP, 0, 0, 0)
        elif opcode == _LD_IMM64:
            struct.pack_into("<I", code, at + 4, value.number & 0xFFFF_FFFF)
            struct.pack_into("<I", code, at + 12, value.number >> 32 & 0xFFFF_FFFF)
        elif opcode & 7 in (_CLASS_LDX, _CLASS_ST, _CLASS_STX):
            struct.pack_into("<h", code, at + 2, value.number)
            if value.size is not None and value.size in _SIZE_BITS:
                code[at] = opcode & ~0x18 | _SIZE_BITS[value.size]
        else:
            struct.pack_into("<i", code, at + 4, value.number)

    def _refer(self, symbol: Symbol, at: int) -> None:
        section = self._thing.sections[symbol.section].name
        (immediate,) = struct.unpack_from("<i", self._code, at + 4)
        opcode = self._code[at]
        if opcode == _LD_IMM64 and section == ".maps":
            self._patch(at, _PSEUDO_MAP_FD, 0)
            self._maps.append((at + 4, symbol.name))
        elif opcode == _LD_IMM64 and is_data(section):
            self._patch(at, _PSEUDO_MAP_VALUE, 0)
            struct.pack_into("<i", self._code, at + 12, symbol.value + immediate)
            self._maps.append((at + 4, section))
        elif opcode == _LD_IMM64 and section == ".text":
            self._patch(at, _PSEUDO_FUNC, (self._place(symbol.value + immediate) - at) // 8 - 1)
        elif opcode == _CALL and section == ".text":
            offset = (immediate + 1) * 8 if not symbol.name else symbol.value
            self._patch(at, _PSEUDO_CALL, (self._place(offset) - at) // 8 - 1)
        else:
            raise ValueError(f"reference to {symbol.name or section} is not supported")

    def _place(self, offset: int) -> int:
        """Where a function of .text stands in the program; added when it is met for the first time."""
        if offset not in self._placed:
            self._placed[offset] = len(self._code)
            self._append(self._thing.function_at(offset))
        return self._placed[offset]

    def _patch(self, at: int, pseudo: int, immediate: int) -> None:
        self._code[at + 1] = self._code[at + 1] & 15 | pseudo << 4
        struct.pack_into("<i", self._code, at + 4, immediate)
