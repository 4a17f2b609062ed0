"""Environment blocks of 64-bit and 32-bit processes lie where winternl.h puts them, as far as it knows them.

The directory, the environment and its length have no name there: of 64-bit processes they are proven live
(tests/windows), of 32-bit ones they rest on phnt's ntrtl.h.
"""

import pytest

pytest.importorskip("ziglang", reason="needs the compiler with Windows' headers (pip install ziglang)")

from hostscope.platforms.windows.parse_peb import NARROW, PEB_BYTES, WIDE, Layout
from tests.abi.compiler import failures

CASES = [("x86_64-windows-gnu", WIDE, 8), ("aarch64-windows-gnu", WIDE, 8), ("x86-windows-gnu", NARROW, 4)]


def source(layout: Layout, pointer: int) -> str:
    facts = {
        "sizeof(void *)": pointer,
        "offsetof(PEB, ProcessParameters)": layout.parameters,
        "offsetof(RTL_USER_PROCESS_PARAMETERS, CommandLine)": layout.command_line,
        "sizeof(UNICODE_STRING)": 2 * pointer,
        "offsetof(UNICODE_STRING, Buffer)": pointer,
    }
    asserted = "".join(f'static_assert({what} == {value}, "{what}");\n' for what, value in facts.items())
    return f"#include <stddef.h>\n#include <windows.h>\n#include <winternl.h>\n{asserted}"


@pytest.mark.parametrize(("target", "layout", "pointer"), CASES)
def test_what_the_header_knows(target: str, layout: Layout, pointer: int) -> None:
    assert failures(source(layout, pointer), target) == []


@pytest.mark.parametrize(("target", "layout", "pointer"), CASES)
def test_another_place_is_noticed(target: str, layout: Layout, pointer: int) -> None:
    for other in (
        layout._replace(parameters=layout.parameters + pointer), layout._replace(command_line=layout.command_line - 4),
    ):  # fmt: skip
        assert len(failures(source(other, pointer), target)) == 1


@pytest.mark.parametrize(("layout", "pointer"), [(WIDE, 8), (NARROW, 4)])
def test_what_it_does_not_name_fits_around_it(layout: Layout, pointer: int) -> None:
    """ImagePathName stands before the command line, DllPath before that; the environment's pointer right behind it."""
    text = 2 * pointer
    current = layout.command_line - 2 * text - (text + pointer)  # CURDIR: a text and a handle
    assert layout.directory == current and layout.environment == layout.command_line + text
    assert layout.environment_bytes % pointer == 0
    assert layout.parameters_bytes == layout.environment_bytes + pointer
    assert layout.parameters + pointer <= PEB_BYTES
