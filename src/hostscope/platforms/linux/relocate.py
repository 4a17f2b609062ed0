"""Relocates compiled programs for a kernel: `BpfObject` and the kernel's types in, `Image` out."""

import struct

from hostscope.errors import Unavailable, Unsupported
from hostscope.platforms.linux.bpf_object import BpfObject, Symbol
from hostscope.platforms.linux.btf import FUNC, Btf
from hostscope.platforms.linux.core import Kernel, Relocation, essential_name, resolve
from hostscope.platforms.linux.image import RODATA, Image, MapImage, ProgramImage

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
        ValueError: either is malformed, or the kernel lacks what a program attaches to.
    Cost: about 70 ms, nearly all of it the kernel's type information.
    """
    try:
        return _build(BpfObject(raw_object), raw_kernel_btf)
    except (struct.error, IndexError, KeyError) as failed:
        raise ValueError(f"malformed BPF object: {failed}") from failed


def _build(thing: BpfObject, raw_kernel_btf: bytes) -> Image:
    targets = {program.name: _attach_target(thing, program) for program in thing.programs()}
    kernel = Kernel(Btf(raw_kernel_btf), _wanted_names(thing) | set(targets.values()))
    rodata = thing.sections[thing.indexes[RODATA]].content if RODATA in thing.indexes else b""
    return Image(
        tuple(MapImage(*spec) for spec in thing.map_specs()),
        tuple(_Linker(thing, kernel, program).link(targets[program.name]) for program in thing.programs()),
        thing.loadable_btf(),
        rodata,
        thing.variables(RODATA),
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
    roots = {relocation.type for group in thing.relocations.values() for relocation in group}
    return frozenset(essential_name(thing.btf.name(thing.btf.strip(root))) for root in roots)


def _attach_target(thing: BpfObject, program: Symbol) -> bytes:
    kind, _, target = thing.sections[program.section].name.partition("/")
    if kind not in ("iter", "iter.s"):
        raise ValueError(f"program kind {kind} is not supported")
    return f"bpf_iter_{target}".encode()


class _Linker:
    """Puts one program together: its own instructions, then each function it calls, once."""

    def __init__(self, thing: BpfObject, kernel: Kernel, program: Symbol) -> None:
        self._thing = thing
        self._kernel = kernel
        self._program = program
        self._code = bytearray()
        self._maps: list[tuple[int, str]] = []
        self._placed: dict[int, int] = {}
        """Offset in .text -> offset in the program."""
        self._functions: list[tuple[int, int]] = []

    def link(self, target: bytes) -> ProgramImage:
        """The whole program, attached to a function of the kernel."""
        attach = self._kernel.types(target, FUNC)
        if not attach:
            raise ValueError(f"the kernel has no {target.decode()}")
        self._append(self._program)
        return ProgramImage(
            self._program.name,
            self._thing.sections[self._program.section].name.startswith("iter.s/"),
            attach[0],
            bytes(self._code),
            tuple(self._maps),
            b"".join(struct.pack("<II", at // 8, type_id) for at, type_id in self._functions)
            if len(self._functions) > 1
            else b"",
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
        elif opcode == _LD_IMM64 and section.startswith(RODATA):
            self._patch(at, _PSEUDO_MAP_VALUE, 0)
            struct.pack_into("<i", self._code, at + 12, symbol.value + immediate)
            self._maps.append((at + 4, RODATA))
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
