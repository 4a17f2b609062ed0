"""Compiles the BPF programs. For developers and the test that compares; users need no compiler.

    python -m hostscope.platforms.linux.bpf.build [NAME...]

``NAME.bpf.c`` becomes ``NAME.bpf.o``, which serves every little-endian 64-bit machine: BPF has one instruction set.
Only programs that touch CPU registers (struct pt_regs) or number system calls differ: a source that asks for
__TARGET_ARCH_x86 or __TARGET_ARCH_arm64 is compiled once for each, to ``NAME.x86_64.bpf.o`` and ``NAME.aarch64.bpf.o``.
"""

import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
MACHINES = {"x86_64": "-D__TARGET_ARCH_x86", "aarch64": "-D__TARGET_ARCH_arm64"}
COMPILER = (sys.executable, "-m", "ziglang", "cc")
"""ziglang is pinned in pyproject.toml: another release may produce other instructions."""
FLAGS = (
    "-target", "bpfel-freestanding", "-mcpu=v3", "-O2", "-g", "-std=gnu11",
    "-fno-asynchronous-unwind-tables", "-fno-unwind-tables",
    "-Wall", "-Wextra", "-Werror", "-Wno-unused-function", "-Wno-unused-variable", "-Wno-unused-parameter",
    "-Wno-missing-declarations", "-Wno-missing-field-initializers",
)  # fmt: skip

_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_NULL, _SYMTAB, _STRTAB, _REL, _NOBITS = 0, 2, 3, 9, 8
_RESERVED = 0xFF00


def compile_object(source: Path, defines: tuple[str, ...] = ()) -> bytes:
    """One object, without what only debuggers read. Names no directory of this machine.

    Raises:
        subprocess.CalledProcessError: it does not compile.
    """
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "object.o"
        places = (f"-ffile-prefix-map={source.parent}=.", "-fdebug-compilation-dir=.")
        command = [*COMPILER, *FLAGS, *places, *defines, "-c", source.name, "-o", str(target)]
        subprocess.run(command, cwd=source.parent, check=True)
        return strip(target.read_bytes())


def strip(raw: bytes) -> bytes:
    """The ELF object without DWARF and without relocations of its type information, which loaders do not apply."""
    (start,) = struct.unpack_from("<Q", raw, 40)
    count, names_index = struct.unpack_from("<HH", raw, 60)
    headers = [list(_SECTION.unpack_from(raw, start + _SECTION.size * index)) for index in range(count)]
    table = raw[headers[names_index][4] :]
    names = [table[h[0] : table.index(b"\0", h[0])].decode() for h in headers]
    kept = [index for index in range(count) if not _is_debug(names[index])]
    places = {old: new for new, old in enumerate(kept)}
    body = bytearray(64)
    for index in kept:
        content = raw[headers[index][4] : headers[index][4] + headers[index][5]]
        if headers[index][1] == _SYMTAB:
            content = _renumber(content, places)
        _place(body, headers[index], content, places)
    body[:64] = raw[:64]
    struct.pack_into("<Q", body, 40, len(body))
    struct.pack_into("<HH", body, 60, len(kept), places[names_index])
    return bytes(body) + b"".join(_SECTION.pack(*headers[index]) for index in kept)


def _is_debug(name: str) -> bool:
    return name.startswith((".debug", ".rel.debug", ".rel.BTF", ".llvm"))


def _place(body: bytearray, header: list[int], content: bytes, places: dict[int, int]) -> None:
    """Appends a section's content and makes its header point there."""
    body.extend(bytes(-len(body) % 8))
    if header[1] not in (_NULL, _NOBITS):
        header[4] = len(body)
        body.extend(content)
    header[6] = places.get(header[6], 0)
    if header[1] == _REL:
        header[7] = places[header[7]]


def _renumber(symbols: bytes, places: dict[int, int]) -> bytes:
    """Symbols with the new numbers of their sections; numbers do not change, so relocations still fit. Symbols of
    sections that are gone become undefined."""
    entries = (list(entry) for entry in _SYMBOL.iter_unpack(symbols))
    return b"".join(
        _SYMBOL.pack(*entry[:3], entry[3] if entry[3] >= _RESERVED else places.get(entry[3], 0), *entry[4:])
        for entry in entries
    )


def object_path(program: str) -> Path:
    """Where a program's object is shipped."""
    return HERE / f"{program}.bpf.o"


def source_names() -> tuple[str, ...]:
    """Every source beside this file."""
    return tuple(sorted(path.name.removesuffix(".bpf.c") for path in HERE.glob("*.bpf.c")))


def outputs(name: str) -> dict[Path, tuple[str, ...]]:
    """The objects that a source is compiled to, each with the definitions that it takes."""
    if b"__TARGET_ARCH_" not in (HERE / f"{name}.bpf.c").read_bytes():
        return {object_path(name): ()}
    return {object_path(f"{name}.{machine}"): (define,) for machine, define in MACHINES.items()}


def main(names: Sequence[str]) -> None:
    """Compiles programs, all of them unless some are named, into their places."""
    for name in names or source_names():
        for path, defines in outputs(name).items():
            path.write_bytes(compile_object(HERE / f"{name}.bpf.c", defines))


if __name__ == "__main__":
    main(sys.argv[1:])
