"""Wrong layouts, made of right ones: each differs in one field's width, sign, place or presence."""

import ctypes
import random
from collections.abc import Iterator
from typing import Any

from tests.abi.discover import Composite

OTHER_SIGN = {
    ctypes.c_int8: ctypes.c_uint8, ctypes.c_int16: ctypes.c_uint16, ctypes.c_int32: ctypes.c_uint32,
    ctypes.c_int64: ctypes.c_uint64,
}  # fmt: skip
OTHER_SIGN |= {other: kind for kind, other in OTHER_SIGN.items()}
Fields = list[tuple[str, Any]]


def mutants(structure: Composite, rng: random.Random) -> Iterator[tuple[str, Composite]]:
    """For each field one wrong structure, with what is wrong about it."""
    fields: Fields = [(field[0], field[1]) for field in structure._fields_]
    for index in range(len(fields)):
        ways = list(_ways(fields, index, fields[index][0] in getattr(structure, "_anonymous_", ())))
        if not ways:
            continue
        how, changed = rng.choice(ways)
        mutant = _with(structure, changed)
        if how != "drop" or not _same(mutant, structure):
            yield f"{how} of {structure.__name__}.{fields[index][0]}", mutant


def _ways(fields: Fields, index: int, anonymous: bool) -> Iterator[tuple[str, Fields]]:
    name, kind = fields[index]
    if not anonymous:
        yield "width", [*fields[:index], (name, _wider(kind)), *fields[index + 1 :]]
    if kind in OTHER_SIGN:
        yield "sign", [*fields[:index], (name, OTHER_SIGN[kind]), *fields[index + 1 :]]
    if index + 1 < len(fields) and ctypes.sizeof(fields[index + 1][1]) != ctypes.sizeof(kind):
        yield "order", [*fields[:index], fields[index + 1], fields[index], *fields[index + 2 :]]
    if len(fields) > 1:
        yield "drop", fields[:index] + fields[index + 1 :]


def _same(mutant: Composite, structure: Composite) -> bool:
    """Whether what is left stays where it is: then the dropped field stood in padding, or in a union."""
    places = [(name, getattr(mutant, name).offset) for name, *_ in mutant._fields_]
    return ctypes.sizeof(mutant) == ctypes.sizeof(structure) and all(
        getattr(structure, name).offset == offset for name, offset in places
    )


def _wider(kind: Any) -> Any:
    if issubclass(kind, ctypes.Array):
        return kind._type_ * (kind._length_ + 1)
    if isinstance(getattr(kind, "_type_", None), str):
        return ctypes.c_uint32 if ctypes.sizeof(kind) == 8 else ctypes.c_uint64
    return ctypes.c_uint8 * (ctypes.sizeof(kind) + 4)


def _with(structure: Composite, fields: Fields) -> Composite:
    """The structure with other fields, under the same name."""
    left = {name for name, _ in fields}
    space: dict[str, Any] = {
        name: getattr(structure, name) for name in ("_pack_", "_layout_", "_align_") if name in vars(structure)
    }
    space["_anonymous_"] = tuple(name for name in getattr(structure, "_anonymous_", ()) if name in left)
    space["_fields_"] = fields
    return type(structure.__name__, (structure.__mro__[-3],), space)  # type: ignore[return-value]
