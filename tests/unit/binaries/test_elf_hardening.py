"""What ELF files were built with: compared with readelf and pyelftools on files that we built and that are here."""

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

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
    names = ["/bin/ls", "/usr/bin/python3", "/bin/busybox", "/usr/bin/gcc", "/lib/x86_64-linux-gnu/libc.so.6"]
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
        assert found.fortified == bool(checked - {"__stack_chk", "__longjmp_chk"})


def test_a_32_bit_big_endian_file_is_read() -> None:
    """Routers and their malware: MIPS, PowerPC."""
    import struct

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
