"""What the native modules declare, found without a list: whatever stands in one is asserted, or says why not.

A native module may say about its names:

``NOT_IN_HEADERS``  name -> where it is known from; for what the public headers lack. Names are of structures, of
                    fields (``Struct.field``), constants and functions.
``C_PATHS``         ``Struct`` or ``Struct.field`` -> the same in C, where it is spelt otherwise.
``TARGETS``         name -> ``x86``, ``x86_64`` or ``aarch64``: it is so on that machine only.
``BOOLEANS``        ``Struct.field`` or ``function``: boolean_t, signed on one machine and unsigned on the other.
"""

import ast
import ctypes
import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

Composite = type[ctypes.Structure] | type[ctypes.Union]
Signature = tuple[Any, tuple[Any, ...]]
SIMPLE = ctypes.c_int32.__mro__[1]
"""The base class of all scalar types."""
SYSTEMS = ("macos", "windows")


@dataclass(frozen=True)
class Declared:
    """What one native module, or a few, declare."""

    name: str
    """Such as ``macos/native/libproc.py``."""
    structures: Mapping[str, Composite] = field(default_factory=dict)
    scalars: Mapping[str, Any] = field(default_factory=dict)
    constants: Mapping[str, int] = field(default_factory=dict)
    signatures: Mapping[str, Signature] = field(default_factory=dict)


@dataclass(frozen=True)
class Spelling:
    """How the names of all modules of one system are found in C."""

    absent: Mapping[str, str]
    paths: Mapping[str, str]
    targets: Mapping[str, str]
    booleans: frozenset[str]


def modules(system: str) -> list[ModuleType]:
    """The native modules of a system."""
    package = importlib.import_module(f"hostscope.platforms.{system}.native")
    names = sorted(info.name for info in pkgutil.iter_modules(package.__path__))
    return [importlib.import_module(f"{package.__name__}.{name}") for name in names]


def declared(module: ModuleType) -> Declared:
    """The declarations of a module's own; what it imports is its origin's."""
    own = {name: getattr(module, name) for name in _assigned(module) if hasattr(module, name)}
    return Declared(
        name="/".join(module.__name__.split(".")[2:]) + ".py",
        structures={name: value for name, value in own.items() if is_composite(value) and value.__name__ == name},
        scalars={name: value for name, value in own.items() if _is_scalar(name, value)},
        constants={name: value for name, value in own.items() if _is_constant(name, value)},
        signatures={name: one for library in libraries(module) for name, one in library.signatures.items()}
        | own.get("SIGNATURES", {}),
    )


def libraries(module: ModuleType) -> list[Any]:
    """The library objects that a module itself makes."""
    found = {name: getattr(module, name, None) for name in _assigned(module)}
    made = {id(value): value for value in found.values() if type(value).__name__ == "Library"}
    return list(made.values())


def spelling(system: str) -> Spelling:
    """What all modules of a system say about their names."""
    found = modules(system)
    merged = {
        attribute: {name: text for module in found for name, text in getattr(module, attribute, {}).items()}
        for attribute in ("NOT_IN_HEADERS", "C_PATHS", "TARGETS")
    }
    booleans = frozenset(name for module in found for name in getattr(module, "BOOLEANS", ()))
    return Spelling(merged["NOT_IN_HEADERS"], merged["C_PATHS"], merged["TARGETS"], booleans)


def is_composite(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, ctypes.Structure | ctypes.Union)


def element(kind: Any) -> Any:
    """What an array of arrays is made of."""
    while isinstance(kind, type) and issubclass(kind, ctypes.Array):
        kind = kind._type_
    return kind


def parts(structure: Composite) -> Iterator[Composite]:
    """The structures within one, at any depth."""
    for _, kind, *_ in getattr(structure, "_fields_", ()):
        inner = element(kind)
        if is_composite(inner):
            yield inner
            yield from parts(inner)


def _is_scalar(name: str, value: object) -> bool:
    """An alias of a scalar type that bears a C name: ``DWORD``, ``pid_t``."""
    named = name.isupper() or name.endswith("_t")
    return named and isinstance(value, type) and issubclass(value, SIMPLE)


def _is_constant(name: str, value: object) -> bool:
    """Our own names are lower case, or begin with an underscore."""
    return type(value) is int and not name.startswith("_") and name != name.lower()


def _assigned(module: ModuleType) -> Iterator[str]:
    """Names that the module itself binds, at its outermost level or within `if`, `for` and the like."""
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        match node:
            case ast.ClassDef(name=name):
                yield name
            case ast.Assign(targets=targets):
                yield from (leaf.id for target in targets for leaf in ast.walk(target) if isinstance(leaf, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name
