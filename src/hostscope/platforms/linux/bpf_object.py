"""Compiled BPF objects (ELF): sections, symbols, and what each program needs. Pure; malformed is a `ValueError`."""

import struct
from typing import NamedTuple

from hostscope.platforms.linux.btf import DATASEC, VAR, Btf
from hostscope.platforms.linux.core import Relocation

_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_PROGBITS, _SYMTAB, _NOBITS, _REL = 1, 2, 8, 9
_EXECUTABLE = 4
_TYPE_FUNC, _TYPE_SECTION = 2, 3
_ELF_BPF = 247
_DATA = (".rodata", ".data", ".bss")
_LARGEST_BSS = 1 << 24
"""It takes no room in the file, so a damaged size would be believed otherwise."""


class Section(NamedTuple):
    name: str
    kind: int
    flags: int
    content: bytes
    link: int
    info: int


class Symbol(NamedTuple):
    name: str
    kind: int
    section: int
    value: int
    size: int


class Reference(NamedTuple):
    """An instruction that refers to a symbol."""

    offset: int
    symbol: Symbol


class MapSpec(NamedTuple):
    """A map as its declaration in `.maps` says."""

    name: str
    kind: int
    key_bytes: int
    value_bytes: int
    entries: int
    flags: int = 0
    key_type: int = 0
    """In the object's own BTF, as the next."""
    value_type: int = 0


class BpfObject:
    """One object file."""

    def __init__(self, raw: bytes) -> None:
        """Raises:
        ValueError: not a little-endian 64-bit ELF object for BPF, or cut short.
        """
        try:
            self._read(raw)
        except (struct.error, IndexError, KeyError, OverflowError) as failed:
            raise ValueError(f"malformed BPF object: {failed}") from None

    def _read(self, raw: bytes) -> None:
        if raw[:6] != b"\x7fELF\x02\x01" or struct.unpack_from("<H", raw, 18)[0] != _ELF_BPF:
            raise ValueError("this is no BPF object")
        self.sections = _read_sections(raw)
        self.indexes = {section.name: index for index, section in enumerate(self.sections)}
        self.symbols = _read_symbols(self.sections)
        self.btf = Btf(self.sections[self.indexes[".BTF"]].content)
        self.relocations, self.functions = _read_extension(self.sections[self.indexes[".BTF.ext"]].content, self.btf)

    def programs(self) -> list[Symbol]:
        """Entry points: the functions of every section but `.text`, which has what they share."""
        return [
            symbol
            for symbol in self.symbols
            if symbol.kind == _TYPE_FUNC and self.sections[symbol.section].name != ".text"
        ]

    def references(self, section: int) -> list[Reference]:
        """References of one section's instructions to maps, data and functions."""
        for found in self.sections:
            if found.kind == _REL and found.info == section:
                entries = struct.iter_unpack("<QQ", found.content)
                return [Reference(offset, self.symbols[info >> 32]) for offset, info in entries]
        return []

    def function_at(self, offset: int) -> Symbol:
        """The function of `.text` that begins at an offset."""
        text = self.indexes[".text"]
        for symbol in self.symbols:
            if (symbol.section, symbol.kind, symbol.value) == (text, _TYPE_FUNC, offset):
                return symbol
        raise ValueError(f"no function at .text+{offset}")

    def map_specs(self) -> list[MapSpec]:
        """The maps, in the order of their types."""
        section = self.indexes.get(".maps")
        places = {symbol.name for symbol in self.symbols if symbol.section == section}
        variables = ((self.btf.name(v).decode(), v) for v in self.btf.of_kind(VAR))
        return [_map_spec(self.btf, name, variable) for name, variable in variables if name in places]

    def data_sections(self) -> list[Section]:
        """Sections of global variables and constants that are not empty."""
        return [section for section in self.sections if is_data(section.name) and section.content]

    def variables(self, section_name: str) -> dict[str, tuple[int, int]]:
        """Offset and size of each variable of a data section."""
        section = self.indexes.get(section_name)
        here = (symbol for symbol in self.symbols if symbol.section == section and symbol.kind != _TYPE_SECTION)
        return {symbol.name: (symbol.value, symbol.size) for symbol in here if symbol.name}

    def loadable_btf(self) -> bytes:
        """The type information as the kernel takes it: with the sizes and offsets of data sections, which the
        compiler leaves to the linker."""
        raw = bytearray(self.sections[self.indexes[".BTF"]].content)
        values = {symbol.name: symbol.value for symbol in self.symbols}
        for type_id in self.btf.of_kind(DATASEC):
            _complete_data_section(self.btf, raw, type_id, values, self.sections[self.indexes[self._name(type_id)]])
        return bytes(raw)

    def _name(self, type_id: int) -> str:
        return self.btf.name(type_id).decode()


def is_data(section_name: str) -> bool:
    """Whether a section holds global variables or constants: ``.data``, ``.rodata.str1.1`` and such."""
    return any(section_name == name or section_name.startswith(f"{name}.") for name in _DATA)


def _string(table: bytes, offset: int) -> str:
    return table[offset : table.index(b"\0", offset)].decode()


def _read_sections(raw: bytes) -> list[Section]:
    (start,) = struct.unpack_from("<Q", raw, 40)
    count, names_index = struct.unpack_from("<HH", raw, 60)
    headers = [_SECTION.unpack_from(raw, start + _SECTION.size * index) for index in range(count)]
    contents = [_content(raw, kind, offset, size) for _, kind, _, _, offset, size, *_ in headers]
    names = contents[names_index]
    return [
        Section(_string(names, header[0]), header[1], header[2], content, header[6], header[7])
        for header, content in zip(headers, contents, strict=True)
    ]


def _content(raw: bytes, kind: int, offset: int, size: int) -> bytes:
    if kind != _NOBITS:
        return raw[offset : offset + size]
    if size > _LARGEST_BSS:
        raise ValueError("a section of zeroes is too large")
    return bytes(size)


def _read_symbols(sections: list[Section]) -> list[Symbol]:
    table = next((section for section in sections if section.kind == _SYMTAB), None)
    if table is None:
        raise ValueError("the object has no symbols")
    names = sections[table.link].content
    entries = _SYMBOL.iter_unpack(table.content)
    return [
        Symbol(_string(names, name), info & 15, section, value, size) for name, info, _, section, value, size in entries
    ]


def _read_extension(raw: bytes, btf: Btf) -> tuple[dict[str, list[Relocation]], dict[str, dict[int, int]]]:
    """`.BTF.ext`: the CO-RE relocations of each section, and the type of the function at each offset."""
    header, functions_at, functions_size, _, _ = struct.unpack_from("<5I", raw, 4)
    core_at, core_size = struct.unpack_from("<II", raw, 24)
    functions = _read_records(raw, header + functions_at, functions_size, btf, "<II")
    core = _read_records(raw, header + core_at, core_size, btf, "<4I")
    return (
        {
            name: [Relocation(offset, type_id, btf.text(access), kind) for offset, type_id, access, kind in records]
            for name, records in core.items()
        },
        {name: {record[0]: record[1] for record in records} for name, records in functions.items()},
    )


def _read_records(raw: bytes, start: int, size: int, btf: Btf, layout: str) -> dict[str, list[tuple[int, ...]]]:
    """Groups of records, one group per section, each record at least as long as `layout`."""
    found: dict[str, list[tuple[int, ...]]] = {}
    at, end = start + 4, start + size
    if not size:
        return found
    (length,) = struct.unpack_from("<I", raw, start)
    if length < struct.calcsize(layout):
        raise ValueError("records of .BTF.ext are too short")
    while at < end:
        name, count = struct.unpack_from("<II", raw, at)
        at += 8
        records = [struct.unpack_from(layout, raw, at + length * index) for index in range(count)]
        found.setdefault(btf.text(name).decode(), []).extend(records)
        at += length * count
    return found


def _map_spec(btf: Btf, name: str, variable: int) -> MapSpec:
    """Numbers are declared as the length of an array that is pointed to, key and value as what is pointed to."""
    targets = {m.name: btf.target(btf.strip(m.type)) for m in btf.members(btf.strip(btf.target(variable)))}

    def number(attribute: bytes, default: int = 0) -> int:
        return btf.array(btf.strip(targets[attribute]))[1] if attribute in targets else default

    def size(attribute: bytes) -> int:
        return number(attribute + b"_size", btf.size(targets[attribute]) if attribute in targets else 0)

    return MapSpec(
        name, number(b"type"), size(b"key"), size(b"value"), number(b"max_entries"), number(b"map_flags"),
        targets.get(b"key", 0), targets.get(b"value", 0),
    )  # fmt: skip


def _complete_data_section(btf: Btf, raw: bytearray, type_id: int, values: dict[str, int], section: Section) -> None:
    at = btf.types_start + 4 * btf.start(type_id)
    (count,) = struct.unpack_from("<H", raw, at + 4)
    struct.pack_into("<I", raw, at + 8, len(section.content))
    entries = [struct.unpack_from("<III", raw, at + 12 + 12 * index) for index in range(count)]
    placed = sorted((values[btf.name(variable).decode()], variable, size) for variable, _, size in entries)
    for index, (offset, variable, size) in enumerate(placed):
        struct.pack_into("<III", raw, at + 12 + 12 * index, variable, offset, size)
