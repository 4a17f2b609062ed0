"""Marks in words, against the headers where they are there."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.platforms.windows import parse_protection as parse
from hostscope.platforms.windows.native import protection as native


@pytest.mark.parametrize(
    ("level", "word"),
    [(0, "none"), (0x31, "ppl-antimalware"), (0x41, "ppl-lsa"), (0x51, "ppl-windows"), (0x61, "ppl-wintcb"),
     (0x62, "pp-wintcb"), (0x72, "pp-winsystem"), (0x81, "ppl-app"), (0x11, "ppl-authenticode"), (0x52, "pp-windows"),
     (0x69, "ppl-wintcb"), (0x91, "ppl-signer 9"), (0x33, "type 3-antimalware")],
)  # fmt: skip
def test_protection_levels(level: int, word: str) -> None:
    """Bit 3 is Audit, which protects nothing."""
    assert parse.protection(level) == word


@given(st.integers(0, 255))
def test_every_byte_has_a_word(level: int) -> None:
    assert parse.protection(level)


@given(st.sampled_from(sorted(parse.POLICIES)), st.integers(0, (1 << 33) - 1))
def test_every_flag_has_a_word(policy: int, flags: int) -> None:
    found = parse.mitigation(policy, flags)
    assert len(found.flags) == len(set(found.flags)) == flags.bit_count()


def test_policies_are_those_of_the_header() -> None:
    numbers = {value for name, value in vars(native).items() if re.fullmatch(r"Process\w+Policy", name)}
    assert numbers - parse.POLICIES.keys() == {native.ProcessSystemCallFilterPolicy}  # its only flags are an id
    assert parse.POLICIES.keys() <= numbers


def test_flags_are_named_as_the_header_does() -> None:
    """The names of the bits, in order; the header may know fewer, and calls the others reserved."""
    pytest.importorskip("ziglang", reason="needs the compiler with Windows' headers (pip install ziglang)")
    from tests.abi.compiler import toolchain

    text = (toolchain() / "lib/libc/include/any-windows-any/winnt.h").read_text(encoding="utf-8")
    for _, structure, bits in parse.POLICIES.values():
        body = re.search(rf"struct _PROCESS_MITIGATION_{structure}_POLICY \{{(.*?)\}} PROCESS_MITIGATION", text, re.S)
        assert body, structure
        named = [
            name
            for name, width in re.findall(r"DWORD\s+(\w+)\s*:\s*(\d+)", body[1])
            if not name.startswith("Reserved") and width == "1"
        ]
        assert tuple(named) == bits[: len(named)], structure


def test_limits_are_those_of_the_header() -> None:
    assert parse.limits(0x2000 | 0x200 | 0x8) == ("active-processes", "memory", "kill-on-close")
    assert parse.limits(0) == ()
