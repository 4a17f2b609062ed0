"""Every function that is called exists: in Apple's stub of libSystem, in mingw's export lists of Windows' libraries."""

import re
from functools import cache
from types import ModuleType

import pytest

pytest.importorskip("ziglang", reason="needs the stubs of the systems' libraries (pip install ziglang)")

from hostscope.platforms.macos.native.library import LIBSYSTEM
from tests.abi.compiler import compiled, toolchain
from tests.abi.cpp import preamble
from tests.abi.discover import declared, libraries, modules, spelling
from tests.abi.tbd import exports

MACHINES = {"aarch64-macos": "arm64e-macos", "x86_64-macos": "x86_64-macos"}


@cache
def libsystem(machine: str) -> frozenset[str]:
    return exports(toolchain() / "lib/libc/darwin/libSystem.tbd", machine)


@pytest.mark.parametrize("target", MACHINES)
def test_functions_of_libsystem_exist(target: str) -> None:
    exported = libsystem(MACHINES[target])
    named = {
        name
        for module in modules("macos")
        for library in libraries(module)
        if library.name == LIBSYSTEM
        for name in library.signatures
    }
    assert {name for name in named if f"_{name}" not in exported} == set()


def test_the_stub_is_read() -> None:
    exported = libsystem("arm64e-macos")
    assert {"_proc_pidinfo", "_csops", "_sysctl", "_responsibility_get_pid_responsible_for_pid"} <= exported
    assert "_no_such_function" not in exported


@pytest.mark.parametrize("target", MACHINES)
def test_headers_do_not_rename_what_is_called(target: str) -> None:
    """On Intel, headers send some names to others (``stat$INODE64``): a call by the plain name would be another one."""
    spelt = spelling("macos")
    names = sorted(
        name for module in modules("macos") for name in declared(module).signatures if name not in spelt.absent
    )
    table = ", ".join(f"(void *)&{name}" for name in names)
    source = "\n".join((preamble("macos"), f'extern "C" void *hs_table[] = {{{table}}};'))
    text = compiled(source, target, ("-std=c++17", "-w", "-g0"), "cpp", "assembly")
    symbols = re.findall(r"^\s+\.quad\s+\"?_([\w$]+)", text.split("_hs_table:")[1], re.M) if names else []
    assert symbols == names


def test_functions_of_windows_exist() -> None:
    """In a library of the module that calls them: some call the same of two, by the release."""
    exempt = spelling("windows").absent
    missing = {
        f"{module.__name__.rpartition('.')[2]}: {name}"
        for module in modules("windows")
        for name, known in _exported(module).items()
        if name not in exempt and not known
    }
    assert missing == set()


def _exported(module: ModuleType) -> dict[str, bool]:
    """Each function that is called, and whether a library it is looked for in has it."""
    found: dict[str, bool] = {}
    for library in libraries(module):
        exported = _dll(library.name)
        for name in library.signatures:
            found[name] = found.get(name, False) or exported is None or name in exported
    return found


@cache
def _dll(name: str) -> frozenset[str] | None:
    """What a library exports on 64 bits; None where the lists have no such library."""
    base = name.lower().removesuffix(".dll").removesuffix(".drv")
    for folder in ("lib-common", "lib64"):
        for file in (f"{base}.def", f"{base}.def.in"):
            path = toolchain() / "lib/libc/mingw" / folder / file
            if path.exists():
                text = path.read_text(encoding="utf-8", errors="replace")
                return frozenset(re.findall(r"^\s*(?:F(?:_\w+)?\()?\"?([A-Za-z_]\w*)", text, re.M))
    return None
