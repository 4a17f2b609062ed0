"""What ELF files were built with: compared with readelf and pyelftools on files that we built and that are here."""

import re
import shutil
import struct
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from hostscope.binaries.content import Held
from hostscope.binaries.elf_hardening import parse_hardening
from hostscope.binaries.trust import Trust
from hostscope.binaries.verdict import judge
from hostscope.model.signature import Hardening

GCC, READELF = shutil.which("gcc"), shutil.which("readelf")
SOURCE = """
#include <string.h>
#include <stdio.h>
int main(int argc, char **argv) { char b[64]; strcpy(b, argv[0]); memcpy(b, argv[0], argc); return puts(b); }
"""
MOST_BYTES = 30_000_000
needs_gcc = pytest.mark.skipif(GCC is None or READELF is None, reason="gcc or readelf is not installed")


@cache
def built(options: str, folder: Path) -> bytes:
    assert GCC
    (folder / "t.c").write_text(SOURCE)
    subprocess.run([GCC, *options.split(), "-w", "-o", "t", "t.c"], cwd=folder, check=True)
    return (folder / "t").read_bytes()


def hardening(raw: bytes) -> Hardening:
    return parse_hardening(Held(raw))


@needs_gcc
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("-fPIE -pie", {"kind": "pie", "pie": True}),
        ("-fno-pie -no-pie", {"kind": "executable", "pie": False}),
        ("-shared -fPIC", {"kind": "shared-object", "pie": None}),
        ("-static -fno-pie -no-pie", {"kind": "static", "pie": False}),
        ("-static-pie -fPIE", {"kind": "static-pie", "pie": True}),
        ("-c", {"kind": "relocatable", "pie": None, "relro": "none", "nx": None}),
        ("-Wl,-z,relro,-z,now", {"relro": "full"}),
        ("-Wl,-z,relro,-z,lazy", {"relro": "partial"}),
        ("-Wl,-z,norelro", {"relro": "none"}),
        ("-Wl,-z,execstack", {"nx": False}),
        ("-Wl,-z,noexecstack", {"nx": True}),
        ("-fstack-protector-all", {"stack_protector": True}),
        ("-fno-stack-protector -U_FORTIFY_SOURCE", {"stack_protector": False, "fortified": False}),
        ("-O2 -D_FORTIFY_SOURCE=2", {"fortified": True}),
        ("-static -fstack-protector-all", {"stack_protector": True}),
        ("-static -s -fstack-protector-all", {"stack_protector": None, "fortified": None}),
        ("-Wl,-rpath,/opt/evil", {"run_path": "/opt/evil"}),
        ("-Wl,--build-id=0xfeedfacecafe", {"build_id": "feedfacecafe"}),
        ("-Wl,--build-id=none", {"build_id": None}),
    ],
)
def test_each_option_shows(options: str, expected: dict[str, object], tmp_path: Path) -> None:
    found = hardening(built(options, tmp_path))
    assert {name: getattr(found, name) for name in expected} == expected


def here() -> list[str]:
    names = [
        "/bin/ls",
        "/usr/bin/python3",
        "/bin/busybox",
        "/usr/bin/gcc",
        "/usr/bin/iperf3",
        "/lib/x86_64-linux-gnu/libc.so.6",
    ]
    return [name for name in names if Path(name).exists()]


@needs_gcc
@pytest.mark.parametrize("path", here())
def test_as_readelf_tells_it(path: str) -> None:
    assert READELF
    found = hardening(Path(path).read_bytes())
    told = subprocess.run([READELF, "-Wldn", path], capture_output=True, text=True, check=True).stdout
    stack = re.search(r"GNU_STACK.*", told)
    assert found.nx == (None if stack is None else "RWE" not in stack.group())
    assert (found.relro != "none") == ("GNU_RELRO" in told)
    if "BIND_NOW" in told or re.search(r"Flags:.*NOW", told):
        assert found.relro == "full"
    elif "Dynamic section" in told:
        assert found.relro in ("partial", "none")
    build_id = re.search(r"Build ID: (\w+)", told)
    assert found.build_id == (build_id.group(1) if build_id else None)


@pytest.mark.parametrize("path", here())
def test_names_as_pyelftools_reads_them(path: str) -> None:
    elffile = pytest.importorskip("elftools.elf.elffile")
    with open(path, "rb") as file:
        elf = elffile.ELFFile(file)
        section = elf.get_section_by_name(".dynsym") or elf.get_section_by_name(".symtab")
        names = None if section is None else {symbol.name for symbol in section.iter_symbols()}
    found = hardening(Path(path).read_bytes())
    if names is None:
        assert found.stack_protector is None
    else:
        assert found.stack_protector == any(name.startswith("__stack_chk_fail") for name in names)
        checked = {name for name in names if re.fullmatch(r"__[a-z0-9_]{2,40}_chk", name)}
        assert found.fortified == bool(checked - {"__stack_chk"})


@needs_gcc
def test_a_build_id_in_a_section_alone_is_read(tmp_path: Path) -> None:
    """As Go's linker leaves it: no segment of notes leads there."""
    raw = bytearray(built("-Wl,--build-id=0x0123456789abcdef", tmp_path))
    (at, size, count) = struct.unpack_from("<Q14xHH", raw, 32)
    for number in range(count):
        place = at + number * size
        if struct.unpack_from("<I", raw, place) == (4,):
            struct.pack_into("<I", raw, place, 0)
    assert hardening(bytes(raw)).build_id == "0123456789abcdef"


@pytest.mark.system
@pytest.mark.posix("programs of this host")
def test_every_program_of_this_host_as_pyelftools_reads_it() -> None:
    elffile = pytest.importorskip("elftools.elf.elffile")
    seen = 0
    for path in sorted(Path("/usr/bin").iterdir()):
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            continue
        with path.open("rb") as file:
            if file.read(4) != b"\x7fELF":
                continue
            told = independently(elffile.ELFFile(file))
        found = hardening(path.read_bytes())
        ours = {name: getattr(found, name) for name in told}
        assert ours == told, path
        seen += 1
    assert seen > 20


def independently(elf: Any) -> dict[str, object]:
    """The flags as pyelftools' segments and tags tell them."""
    segments = {segment.header.p_type: segment for segment in elf.iter_segments()}
    dynamic = segments.get("PT_DYNAMIC")
    tags = {tag.entry.d_tag: tag.entry.d_val for tag in dynamic.iter_tags()} if dynamic else {}
    now = "DT_BIND_NOW" in tags or tags.get("DT_FLAGS", 0) & 8 or tags.get("DT_FLAGS_1", 0) & 1
    relro = ("full" if now or not tags else "partial") if "PT_GNU_RELRO" in segments else "none"
    moves = "PT_INTERP" in segments or bool(tags.get("DT_FLAGS_1", 0) & 0x08000000)
    stack = segments.get("PT_GNU_STACK")
    notes = elf.get_section_by_name(".note.gnu.build-id")
    return {
        "pie": {"ET_EXEC": False, "ET_DYN": True if moves else None}.get(elf.header.e_type),
        "relro": relro,
        "nx": None if stack is None else not stack.header.p_flags & 1,
        "build_id": next((note["n_desc"] for note in notes.iter_notes()), None) if notes else None,
    }


def test_a_32_bit_big_endian_file_is_read() -> None:
    """Routers and their malware: MIPS, PowerPC."""
    header = struct.pack(
        ">4sBBBB8xHHIIIIIHHHHHH", b"\x7fELF", 1, 2, 1, 0, 2, 8, 1, 0x400000, 52, 0, 0, 52, 32, 2, 0, 0, 0
    )
    stack = struct.pack(">8I", 0x6474E551, 0, 0, 0, 0, 0, 7, 4)
    interpreter = struct.pack(">8I", 3, 0, 0, 0, 0, 0, 4, 1)
    found = hardening(header + stack + interpreter)
    assert (found.kind, found.pie, found.nx) == ("executable", False, False)


def test_a_damaged_file_is_a_gap() -> None:
    found = judge("x", Held(b"\x7fELF" + bytes(8)), Trust())
    assert (found.format, found.status, found.hardening) == ("elf", "unsigned", None)
    assert [gap.field for gap in found.gaps] == ["hardening"]
