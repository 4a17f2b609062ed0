"""The shipped programs: they are what their source says, and arbitrary objects do no harm."""

import struct
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.platforms.linux import relocate
from hostscope.platforms.linux.bpf import build
from hostscope.platforms.linux.bpf_object import BpfObject
from hostscope.platforms.linux.btf import STRUCT, Btf
from hostscope.platforms.linux.task_record import HEADER, HEADER_BYTES, Flag, Want

SHIPPED = build.object_path("tasks").read_bytes()
SOURCE = build.HERE / "tasks.bpf.c"
POISON = struct.pack("<BBhi", 0x85, 0, 0, 0xBAD2310)

needs_compiler = pytest.mark.skipif(find_spec("ziglang") is None, reason="needs the compiler (pip install ziglang)")


def meaning(raw: bytes) -> dict[str, bytes]:
    """What a loader uses of an object."""
    return {section.name: section.content for section in BpfObject(raw).sections if section.name}


@needs_compiler
def test_the_shipped_object_is_what_the_source_gives() -> None:
    assert meaning(build.compile_object(SOURCE)) == meaning(SHIPPED)


@needs_compiler
@pytest.mark.parametrize("architecture", ["__TARGET_ARCH_x86", "__TARGET_ARCH_arm64"])
def test_both_architectures_get_the_same_code(architecture: str) -> None:
    assert build.compile_object(SOURCE, (f"-D{architecture}",)) == SHIPPED


@needs_compiler
def test_the_object_does_not_depend_on_where_it_was_built(tmp_path: Path) -> None:
    for file in build.HERE.glob("*.[ch]"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert build.compile_object(tmp_path / SOURCE.name) == SHIPPED


def test_no_debug_sections_and_no_directory_of_the_build_machine() -> None:
    assert not [name for name in meaning(SHIPPED) if "debug" in name]
    assert str(Path.cwd()).encode() not in SHIPPED
    assert b"/home/" not in SHIPPED


def test_programs_maps_and_constants() -> None:
    thing = BpfObject(SHIPPED)
    assert {program.name for program in thing.programs()} == {"tasks", "tasks_plain"}
    assert {spec.name: (spec.kind, spec.entries) for spec in thing.map_specs()} == {
        "scratch_map": (2, 1),
        "anchor": (6, 1),
    }
    assert set(thing.variables(".rodata")) == {"want", "cpus"}


def enumerators(btf: Btf) -> dict[str, int]:
    """All enumerators of the object by name."""
    found = {}
    for type_id in btf.of_kind(6):
        at = btf.start(type_id)
        for place in range(at + 3, at + 3 + 2 * (btf._words[at + 1] & 0xFFFF), 2):
            found[btf.text(btf._words[place]).decode()] = btf._words[place + 1]
    return found


def test_python_knows_the_layout_of_the_records() -> None:
    btf = BpfObject(SHIPPED).btf
    record = next(t for t in btf.of_kind(STRUCT) if btf.name(t) == b"record")
    assert btf.size(record) == HEADER.size == HEADER_BYTES
    context = btf.member(record, b"context")
    assert context and btf.size(context.type) == 144


@pytest.mark.parametrize(("kind", "prefix"), [(Flag, ""), (Want, "WANT_")])
def test_python_knows_the_flags(kind: type[Flag] | type[Want], prefix: str) -> None:
    """Only enumerators that the compiled code still names are left in its types; those must agree."""
    source = (build.HERE / "record.h").read_text()
    for member in kind:
        assert f"{prefix}{member.name} = {member.value}" in source


# Relocation ---------------------------------------------------------------------------------------------------------


def kernel_without(thing: BpfObject) -> bytes:
    """A kernel that knows nothing: every field is missing, only the attach target is there."""
    strings = b"\0bpf_iter_task\0"
    words = struct.pack("<III", 1, 12 << 24, 0)
    return struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(words), len(words), len(strings)) + words + strings


def test_fields_that_the_kernel_lacks_become_calls_that_cannot_be_made() -> None:
    image = relocate.build_image(SHIPPED, kernel_without(BpfObject(SHIPPED)))
    for program in image.programs:
        assert POISON in program.code


def test_a_kernel_without_the_iterator_is_told() -> None:
    blob = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, 0, 0, 1) + b"\0"
    image = relocate.build_image(SHIPPED, blob)
    assert {(program.obstacle, program.code) for program in image.programs} == {
        ("the kernel has no iterator task", b"")
    }


@given(st.binary(max_size=300))
def test_any_bytes_as_an_object(raw: bytes) -> None:
    for prefix in (b"", SHIPPED[:64]):
        with suppress(ValueError):
            BpfObject(prefix + raw)


@given(st.integers(0, len(SHIPPED) - 1), st.binary(min_size=1, max_size=8))
def test_any_damage_to_the_object(at: int, patch: bytes) -> None:
    damaged = SHIPPED[:at] + patch + SHIPPED[at + len(patch) :]
    with suppress(ValueError):
        relocate.build_image(damaged, kernel_without(BpfObject(SHIPPED)))


@given(st.integers(0, len(SHIPPED)))
def test_any_cut_of_the_object(end: int) -> None:
    with suppress(ValueError):
        relocate.build_image(SHIPPED[:end], kernel_without(BpfObject(SHIPPED)))
