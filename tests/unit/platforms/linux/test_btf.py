"""BTF parsed, and CO-RE relocations looked up in it."""

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.platforms.linux import btf, core
from hostscope.platforms.linux.btf import ARRAY, FUNC, INT, PTR, STRUCT, TYPEDEF, UNION, Btf

STRUCT_BITS = 1 << 31


class Types:
    """Writes a BTF blob, type by type."""

    def __init__(self) -> None:
        self.words: list[int] = []
        self.strings = b"\0"
        self.count = 0

    def text(self, name: str) -> int:
        if not name:
            return 0
        at = len(self.strings)
        self.strings += name.encode() + b"\0"
        return at

    def add(self, name: str, kind: int, count: int, third: int, *rest: int, flags: int = 0) -> int:
        self.words += [self.text(name), kind << 24 | count | flags, third, *rest]
        self.count += 1
        return self.count

    def integer(self, name: str, size: int) -> int:
        return self.add(name, INT, 0, size, size * 8)

    def struct(self, name: str, size: int, *members: tuple[str, int, int], kind: int = STRUCT, flags: int = 0) -> int:
        rest = [word for member, kind_id, bits in members for word in (self.text(member), kind_id, bits)]
        return self.add(name, kind, len(members), size, *rest, flags=flags)

    def blob(self) -> bytes:
        types = struct.pack(f"<{len(self.words)}I", *self.words)
        header = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(self.strings))
        return header + types + self.strings


@pytest.fixture
def types() -> Types:
    return Types()


def test_members_are_found_through_anonymous_unions(types: Types) -> None:
    u32 = types.integer("u32", 4)
    inner = types.struct("", 8, ("deep", u32, 32))
    union = types.struct("", 8, ("whole", u32, 0), ("", inner, 0), kind=UNION)
    outer = types.struct("outer", 16, ("first", u32, 0), ("", union, 64))
    parsed = Btf(types.blob())
    assert parsed.member(outer, b"deep") == btf.Member(b"deep", u32, 96, 0)
    assert parsed.member(outer, b"whole") == btf.Member(b"whole", u32, 64, 0)
    assert parsed.member(outer, b"absent") is None


def test_bit_fields_keep_their_width(types: Types) -> None:
    u32 = types.integer("u32", 4)
    packed = types.struct("packed", 4, ("one", u32, 1 << 24 | 5), flags=STRUCT_BITS)
    assert Btf(types.blob()).members(packed) == [btf.Member(b"one", u32, 5, 1)]


def test_sizes_of_arrays_pointers_and_typedefs(types: Types) -> None:
    u32 = types.integer("u32", 4)
    row = types.add("", ARRAY, 0, 0, u32, u32, 3)
    grid = types.add("", ARRAY, 0, 0, row, u32, 5)
    alias = types.add("grid_t", TYPEDEF, 0, grid)
    pointer = types.add("", PTR, 0, alias)
    parsed = Btf(types.blob())
    assert (parsed.size(alias), parsed.size(pointer), parsed.size(0)) == (60, 8, 0)


def test_find_tells_kinds_and_namesakes_apart(types: Types) -> None:
    u32 = types.integer("task", 4)
    task = types.struct("task", 4, ("x", u32, 0))
    types.add("task_x", FUNC, 0, 0)
    found = Btf(types.blob()).find(frozenset({b"task", b"nothing"}))
    # Two strings "task" stand in the table; a type table of a linker has each once, and `find` looks for the first.
    assert found == {b"task": [u32]}
    assert task == 2


def test_a_typedef_that_means_itself_is_an_error(types: Types) -> None:
    types.add("loop", TYPEDEF, 0, 1)
    with pytest.raises(ValueError, match="loop"):
        Btf(types.blob()).strip(1)


@pytest.mark.parametrize("cut", [1, 4, 24, 30])
def test_cut_short(types: Types, cut: int) -> None:
    types.integer("u32", 4)
    with pytest.raises(ValueError):
        Btf(types.blob()[:-cut])


def test_unknown_kinds_are_an_error(types: Types) -> None:
    types.add("new", 27, 0, 0)
    with pytest.raises(ValueError, match="kind 27"):
        Btf(types.blob())


def walk(parsed: Btf) -> None:
    for type_id in range(len(parsed)):
        for look in (parsed.kind, parsed.size, parsed.strip):
            try:
                look(type_id)
                if type_id and parsed.kind(type_id) in btf.COMPOSITE:
                    parsed.member(type_id, b"x")
            except ValueError:
                pass


@given(st.binary(max_size=400))
def test_any_bytes_as_a_blob(raw: bytes) -> None:
    with suppress(ValueError):
        walk(Btf(raw))


@given(st.lists(st.integers(0, 2**32 - 1), max_size=60), st.binary(max_size=40))
def test_any_words_as_types(words: list[int], strings: bytes) -> None:
    types = Types()
    types.words, types.strings = [word & 0x9F00_0007 | word & 0xFF for word in words], strings
    with suppress(ValueError):
        walk(Btf(types.blob()))


# Relocations --------------------------------------------------------------------------------------------------------


def kernel_types() -> Btf:
    """A kernel where `task` has `mm` at 8 and a `comm` of 16 bytes, and `state` is now 8 bytes wide."""
    types = Types()
    char, u64 = types.integer("char", 1), types.integer("u64", 8)
    comm = types.add("", ARRAY, 0, 0, char, char, 16)
    counters = types.add("", ARRAY, 0, 0, types.struct("counter", 40, ("count", u64, 64)), char, 4)
    types.struct("task", 300, ("mm", u64, 64), ("comm", comm, 128), ("state", u64, 256), ("rss", counters, 512))
    return Btf(types.blob())


def local_types(suffix: str = "") -> tuple[Btf, int]:
    types = Types()
    char, u32, u64 = types.integer("char", 1), types.integer("u32", 4), types.integer("u64", 8)
    comm = types.add("", ARRAY, 0, 0, char, char, 16)
    counters = types.add("", ARRAY, 0, 0, types.struct("counter", 8, ("count", u64, 0)), char, 4)
    task = types.struct(
        f"task{suffix}", 64, ("state", u32, 0), ("comm", comm, 32), ("gone", u64, 192), ("rss", counters, 256)
    )
    return Btf(types.blob()), task


def resolve(access: bytes, kind: core.Kind, suffix: str = "") -> core.Value | None:
    local, task = local_types(suffix)
    kernel = core.Kernel(kernel_types(), frozenset({b"task"}))
    return core.resolve(local, kernel, core.Relocation(0, task, access, kind))


@pytest.mark.parametrize("suffix", ["", "___old"])
def test_offsets_are_the_kernels(suffix: str) -> None:
    assert resolve(b"0:1", core.Kind.BYTE_OFFSET, suffix) == core.Value(16)
    assert resolve(b"0:1:3", core.Kind.BYTE_OFFSET, suffix) == core.Value(19)
    assert resolve(b"0:3:2:0", core.Kind.BYTE_OFFSET, suffix) == core.Value(64 + 2 * 40 + 8)


def test_a_field_of_another_width_says_so() -> None:
    assert resolve(b"0:0", core.Kind.BYTE_OFFSET) == core.Value(32, 8)
    assert resolve(b"0:0", core.Kind.BYTE_SIZE) == core.Value(8)


def test_a_field_that_is_gone() -> None:
    assert resolve(b"0:2", core.Kind.EXISTS) == core.Value(0)
    assert resolve(b"0:0", core.Kind.EXISTS) == core.Value(1)
    assert resolve(b"0:2", core.Kind.BYTE_OFFSET) is None


def test_the_second_element_of_a_pointer_to_structs() -> None:
    assert resolve(b"1:1", core.Kind.BYTE_OFFSET) == core.Value(300 + 16)


def test_namesakes_that_disagree_are_refused() -> None:
    types = Types()
    u64 = types.integer("u64", 8)
    name = types.text("task")
    for offset in (0, 64):
        types.words += [name, STRUCT << 24 | 1, 16, types.text("mm"), u64, offset]
    kernel = core.Kernel(Btf(types.blob()), frozenset({b"task"}))
    with pytest.raises(ValueError, match="several"):
        kernel.field(b"task", STRUCT, (core._Step(None, 0), core._Step(b"mm", 0)))


@given(st.text("0123456789:", max_size=12))
def test_any_access_string(access: str) -> None:
    with suppress(ValueError):
        resolve(access.encode(), core.Kind.BYTE_OFFSET)
