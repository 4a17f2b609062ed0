"""Which programs and libraries are in memory, by mappings."""

from msgspec.structs import replace

from hostscope.model.detail import MemoryMap, Module
from hostscope.platforms.linux.modules import modules_of


def mapping(start: int, permissions: str, path: str | None, offset: int = 0, size: int = 0x1000) -> MemoryMap:
    return MemoryMap(start, start + size, permissions, offset, "fd:01", 7 if path else 0, path)


def test_parts_of_a_file_are_one_module() -> None:
    maps = [
        mapping(0x1000, "r--p", "/usr/bin/a"),
        mapping(0x2000, "r-xp", "/usr/bin/a", 0x1000),
        mapping(0x3000, "rw-p", "/usr/bin/a", 0x3000),
        mapping(0x4000, "rw-p", None),
        mapping(0x9000, "rw-p", "[heap]"),
        mapping(0x10000, "r--p", "/usr/share/data"),
        mapping(0x20000, "r-xp", "/lib/libx.so"),
    ]
    assert modules_of(maps) == (
        Module("a", "/usr/bin/a", 0x1000, 0x3000),
        Module("libx.so", "/lib/libx.so", 0x20000, 0x1000),
    )


def test_a_file_that_was_loaded_twice_is_there_twice() -> None:
    maps = [mapping(0x1000, "r-xp", "/x"), mapping(0x5000, "r-xp", "/x")]
    assert [module.base for module in modules_of(maps)] == [0x1000, 0x5000]


def test_a_file_that_was_deleted_is_marked() -> None:
    gone = replace(mapping(0x1000, "r-xp", "/x"), deleted=True)
    assert [module.deleted for module in modules_of([gone, mapping(0x5000, "r-xp", "/y")])] == [True, False]


def test_code_without_a_file_is_in_no_module() -> None:
    assert modules_of([mapping(0x1000, "rwxp", None), mapping(0x7000, "r-xp", "[vdso]")]) == ()
