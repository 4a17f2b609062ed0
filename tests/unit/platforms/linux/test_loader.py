"""The shipped programs: they are what their source says, and arbitrary objects do no harm."""

import struct
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.platforms.linux import relocate
from hostscope.platforms.linux.bpf import build
from hostscope.platforms.linux.bpf_object import BpfObject
from hostscope.platforms.linux.btf import FUNC, STRUCT, TYPEDEF, Btf
from hostscope.platforms.linux.program_kinds import KINDS, split_section
from hostscope.platforms.linux.task_record import HEADER, HEADER_BYTES, Flag, Want

SHIPPED = build.object_path("tasks").read_bytes()
SOURCE = build.HERE / "tasks.bpf.c"
POISON = struct.pack("<BBhi", 0x85, 0, 0, 0xBAD2310)

needs_compiler = pytest.mark.skipif(find_spec("ziglang") is None, reason="needs the compiler (pip install ziglang)")


def meaning(raw: bytes) -> dict[str, bytes]:
    """What a loader uses of an object."""
    return {section.name: section.content for section in BpfObject(raw).sections if section.name}


BUILT = {
    path.name: (name, path, defines) for name in build.source_names() for path, defines in build.outputs(name).items()
}


@needs_compiler
@pytest.mark.parametrize("file_name", BUILT)
def test_the_shipped_objects_are_what_the_sources_give(file_name: str) -> None:
    name, path, defines = BUILT[file_name]
    assert meaning(build.compile_object(build.HERE / f"{name}.bpf.c", defines)) == meaning(path.read_bytes())


def test_no_object_is_without_its_source() -> None:
    assert {path.name for path in build.HERE.glob("*.bpf.o")} == set(BUILT)


def test_a_source_that_asks_for_the_machine_gives_one_object_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "HERE", tmp_path)
    (tmp_path / "any.bpf.c").write_text("int x;")
    (tmp_path / "calls.bpf.c").write_text("#ifdef __TARGET_ARCH_x86\n#endif")
    assert build.source_names() == ("any", "calls")
    assert build.outputs("any") == {tmp_path / "any.bpf.o": ()}
    assert build.outputs("calls") == {
        tmp_path / "calls.x86_64.bpf.o": ("-D__TARGET_ARCH_x86",),
        tmp_path / "calls.aarch64.bpf.o": ("-D__TARGET_ARCH_arm64",),
    }


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


@pytest.mark.parametrize(
    ("section", "meant"),
    [
        ("iter.s/task", ("iter.s", "task")),
        ("tp_btf/sys_exit", ("tp_btf", "sys_exit")),
        ("cgroup_skb/egress", ("cgroup_skb/egress", "")),
        ("socket", ("socket", "")),
        ("socket/flows", ("socket", "")),
    ],
)
def test_sections_say_what_a_program_is(section: str, meant: tuple[str, str]) -> None:
    assert split_section(section) == meant


def test_kinds_of_types_are_numbered_as_in_btf() -> None:
    assert (KINDS["iter"].target_kind, KINDS["tp_btf"].target_kind) == (FUNC, TYPEDEF)


@pytest.mark.parametrize("section", ["fentry/do_exit", "tp_btf", "iter/", "cgroup_skb/sideways", "cgroup_skb", ""])
def test_sections_of_no_kind_of_ours(section: str) -> None:
    with pytest.raises(ValueError, match=r"program kind|names no target"):
        split_section(section)


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


# A small object with everything in it ------------------------------------------------------------------------------


@cache
def small_object() -> bytes:
    source = Path(__file__).parents[3] / "system" / "bpf" / "kinds.bpf.c"
    return build.compile_object(source, (f"-I{build.HERE}",))


@needs_compiler
def test_maps_variables_and_programs_of_any_kind() -> None:
    image = relocate.build_image(small_object(), kernel_without(BpfObject(SHIPPED)))
    maps = {declared.name: declared for declared in image.maps}
    assert (maps["hash"].kind, maps["hash"].entries, maps["hash"].flags) == (1, 512, 1)
    assert (maps["odd"].key_bytes, maps["odd"].value_bytes) == (4, 12)
    assert (maps["ring"].kind, maps["ring"].key_bytes, maps["ring"].entries) == (27, 0, 4096)
    assert maps["forks"].key_type and maps["forks"].value_type
    assert {part.name: part.constant for part in image.data} == {
        ".bss": False,
        ".data": False,
        ".rodata": True,
        ".rodata.str1.1": True,
    }
    assert image.variables["ended"][0] == ".data"
    assert image.variables["table"][2] == 32
    obstacles = {program.name: program.obstacle for program in image.programs}
    assert obstacles["on_fork"] == "the kernel has no tracepoint sched_process_fork"
    assert (obstacles["on_packet"], obstacles["on_exit"], obstacles["each_task"]) == ("", "", "")


@needs_compiler
@given(st.data())
def test_any_damage_to_the_small_object(data: st.DataObject) -> None:
    raw = small_object()
    at = data.draw(st.integers(0, len(raw) - 1))
    patch = data.draw(st.binary(min_size=1, max_size=8))
    with suppress(ValueError):
        relocate.build_image(raw[:at] + patch + raw[at + len(patch) :], kernel_without(BpfObject(SHIPPED)))
