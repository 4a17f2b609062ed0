"""Values of CO-RE relocations: where bit fields are, and the kinds that ask for types and enumerators."""

import struct
from contextlib import nullcontext, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.platforms.linux.btf import ENUM, ENUM64, INT, STRUCT, Btf
from hostscope.platforms.linux.core import Ambiguous, Field, Kernel, Kind, Relocation, Value, resolve, root_names

STRINGS = b"\0unsigned\0signed\0task\0flags\0low\0high\0e\0ONE\0BIG\0task___old\0wide\0"
UNSIGNED, SIGNED, TASK, ENUMERATION, OLD_TASK, WIDE = range(1, 7)


def name(text: bytes) -> int:
    return STRINGS.index(b"\0" + text + b"\0") + 1


def info(kind: int, count: int = 0, flag: int = 0) -> int:
    return flag << 31 | kind << 24 | count


def blob(shift: int = 0) -> bytes:
    """`struct task { unsigned flags; unsigned low:3; signed high:5; }`, its bit fields `shift` bits further on."""
    words = [
        *(name(b"unsigned"), info(INT), 4, 32),
        *(name(b"signed"), info(INT), 4, 1 << 24 | 32),
        *(name(b"task"), info(STRUCT, 3, 1), 8),
        *(name(b"flags"), UNSIGNED, 0),
        *(name(b"low"), UNSIGNED, 3 << 24 | 32 + shift),
        *(name(b"high"), SIGNED, 5 << 24 | 35 + shift),
        *(name(b"e"), info(ENUM, 2, 1), 4, name(b"ONE"), 1 + shift, name(b"BIG"), 0xFFFF_FFFE),
        *(name(b"task___old"), info(STRUCT, 3, 1), 8),
        *(name(b"flags"), UNSIGNED, 0),
        *(name(b"low"), UNSIGNED, 3 << 24 | 32),
        *(name(b"high"), SIGNED, 5 << 24 | 35),
        *(name(b"wide"), info(ENUM64, 1), 8, name(b"BIG"), 5, 1),
    ]
    types = struct.pack(f"<{len(words)}I", *words)
    return struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(STRINGS)) + types + STRINGS


LOCAL = Btf(blob())
KERNEL = Kernel(Btf(blob(4)), frozenset({b"task", b"e", b"wide", b"unsigned"}))


def value(kind: int, type_id: int, access: bytes) -> Value | None:
    return resolve(LOCAL, KERNEL, Relocation(0, type_id, access, kind))


@pytest.mark.parametrize("type_id", [TASK, OLD_TASK])
@pytest.mark.parametrize(
    ("kind", "access", "number"),
    [
        (Kind.BYTE_OFFSET, b"0:1", 4),
        (Kind.BYTE_SIZE, b"0:1", 4),
        (Kind.LEFT_SHIFT, b"0:1", 64 - 7),
        (Kind.RIGHT_SHIFT, b"0:1", 64 - 3),
        (Kind.SIGNED, b"0:1", 0),
        (Kind.SIGNED, b"0:2", 1),
        (Kind.LEFT_SHIFT, b"0:2", 64 - 12),
        (Kind.LEFT_SHIFT, b"0:0", 32),
        (Kind.RIGHT_SHIFT, b"0:0", 32),
        (Kind.EXISTS, b"0:2", 1),
        (Kind.TYPE_EXISTS, b"0", 1),
        (Kind.TYPE_SIZE, b"0", 8),
        (Kind.KERNEL_TYPE, b"0", TASK),
    ],
)
def test_fields_and_types(kind: Kind, access: bytes, number: int, type_id: int) -> None:
    assert value(kind, type_id, access) == Value(number)


def test_enumerators() -> None:
    assert value(Kind.ENUMERATOR_VALUE, ENUMERATION, b"0") == Value(5)
    assert value(Kind.ENUMERATOR_VALUE, ENUMERATION, b"1") == Value(-2)
    assert value(Kind.ENUMERATOR_VALUE, WIDE, b"0") == Value(5 | 1 << 32)
    empty = Kernel(Btf(blob()), frozenset())
    relocation = Relocation(0, ENUMERATION, b"0", Kind.ENUMERATOR_EXISTS)
    assert resolve(LOCAL, empty, relocation) == Value(0)
    assert resolve(LOCAL, empty, relocation._replace(kind=Kind.ENUMERATOR_VALUE)) is None


def test_what_the_kernel_lacks() -> None:
    empty = Kernel(Btf(blob()), frozenset())
    assert resolve(LOCAL, empty, Relocation(0, TASK, b"0", Kind.TYPE_EXISTS)) == Value(0)
    assert resolve(LOCAL, empty, Relocation(0, TASK, b"0", Kind.TYPE_SIZE)) == Value(0)
    assert resolve(LOCAL, empty, Relocation(0, TASK, b"0", Kind.KERNEL_TYPE)) is None
    assert resolve(LOCAL, empty, Relocation(0, TASK, b"0", Kind.LOCAL_TYPE)) == Value(TASK)
    assert resolve(LOCAL, empty, Relocation(0, TASK, b"0:1", Kind.EXISTS)) == Value(0)
    assert resolve(LOCAL, empty, Relocation(0, TASK, b"0:1", Kind.BYTE_OFFSET)) is None


def test_flavours_are_looked_up_by_the_kernels_name() -> None:
    assert root_names(LOCAL, Relocation(0, OLD_TASK, b"0", 0)) == {b"task"}


@pytest.mark.parametrize(("shift", "known"), [(0, True), (8, False)])
def test_two_structs_of_one_name_must_agree(shift: int, known: bool) -> None:
    raw = bytearray(blob())
    low = struct.pack("<III", name(b"low"), UNSIGNED, 3 << 24 | 32)
    struct.pack_into("<I", raw, raw.index(low) + 8, 3 << 24 | 32 + shift)
    raw[:] = raw.replace(struct.pack("<I", name(b"task___old")), struct.pack("<I", name(b"task")))
    kernel = Kernel(Btf(bytes(raw)), frozenset({b"task"}))
    with nullcontext() if known else pytest.raises(Ambiguous, match="several task"):
        assert resolve(LOCAL, kernel, Relocation(0, TASK, b"0:1", Kind.BYTE_OFFSET)) == Value(4)


@pytest.mark.parametrize(
    ("field", "span"),
    [
        (Field(64, 0, 4, False), (8, 4)),
        (Field(35, 5, 4, False), (4, 4)),
        (Field(6, 4, 1, False), (0, 2)),
        (Field(30, 8, 4, False), (0, 8)),
    ],
)
def test_a_bit_field_is_loaded_as_wide_as_it_takes(field: Field, span: tuple[int, int]) -> None:
    assert field.span() == span


@given(st.integers(0, len(blob()) - 1), st.binary(min_size=1, max_size=4), st.sampled_from(list(Kind)))
def test_any_damage_to_the_kernels_types(at: int, patch: bytes, kind: Kind) -> None:
    raw = blob()
    with suppress(ValueError):
        kernel = Kernel(Btf((raw[:at] + patch + raw[at + len(patch) :])[: len(raw)]), frozenset({b"task", b"e"}))
        access = b"0" if kind >= Kind.LOCAL_TYPE else b"0:2"
        resolve(LOCAL, kernel, Relocation(0, ENUMERATION if kind >= Kind.ENUMERATOR_EXISTS else TASK, access, kind))
