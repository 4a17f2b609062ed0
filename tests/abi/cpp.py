"""Declarations -> C++ full of static assertions."""

import ctypes
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.abi.compiler import Failure, failures
from tests.abi.discover import Composite, Declared, Spelling, element, is_composite

TARGETS = {
    "macos": ("aarch64-macos", "x86_64-macos"),
    "windows": ("x86_64-windows-gnu", "aarch64-windows-gnu", "x86-windows-gnu"),
}
SIGNED, UNSIGNED = "bhilq", "BHILQ?"


@dataclass
class Unit:
    """A translation unit: assertions, each on a line of its own that leads back to what it asserts."""

    system: str
    machine: str
    spelling: Spelling
    lines: list[str] = field(default_factory=list)
    labels: list[tuple[str, str]] = field(default_factory=list)
    """Of each assertion: module, and name in it."""

    def add(self, declared: Declared) -> None:
        """Everything that one module declares."""
        for name, structure in declared.structures.items():
            self.structure(declared.name, name, structure)
        for name, kind in declared.scalars.items():
            self._say(declared.name, name, f"HS_TYP({name}, '{letter(kind)}', {size(kind)})")
        for name, value in declared.constants.items():
            self._say(declared.name, name, f"HS_CON({self._c(name)}, {value & (1 << 64) - 1}ull)")
        for name, signature in declared.signatures.items():
            for line in self._signature(name, *signature):
                self._say(declared.name, name, line)

    def structure(self, module: str, name: str, structure: Composite) -> None:
        """One structure; those whose names begin with an underscore are asserted where they are embedded."""
        if name.startswith("_"):
            return
        c_type = self.spelling.paths.get(name, name)
        for where, line in self._fields(c_type, structure, "", 0):
            self._say(module, name, line, where)
        self._say(module, name, f"HS_TOT({c_type}, {ctypes.sizeof(structure)})")

    def _fields(self, c_type: str, structure: Composite, prefix: str, base: int) -> Iterator[tuple[str, str]]:
        anonymous = getattr(structure, "_anonymous_", ())
        for name, kind, *bits in structure._fields_:
            where, offset = f"{structure.__name__}.{name}", base + getattr(structure, name).offset
            if bits:
                raise AssertionError(f"{where} is a bit field: take its whole unit, and masks")
            if where in self.spelling.absent:
                continue
            path = prefix + self.spelling.paths.get(where, name)
            if name in anonymous and where not in self.spelling.paths:
                yield from self._fields(c_type, kind, prefix, offset)
                continue
            yield from ((where, line) for line in self._field(c_type, path, kind, offset, where))
            if is_composite(kind) and kind.__name__.startswith("_"):
                yield from self._fields(c_type, kind, path + ".", offset)

    def _field(self, c_type: str, path: str, kind: Any, offset: int, where: str) -> Iterator[str]:
        yield f"HS_OFF({c_type}, {path}, {offset})"
        yield f"HS_SIZ({c_type}, {path}, {ctypes.sizeof(kind)})"
        if issubclass(kind, ctypes.Array):
            yield f"HS_ELT({c_type}, {path}, {ctypes.sizeof(kind._type_)})"
        code = getattr(element(kind), "_type_", None)
        if not isinstance(code, str) or where in self.spelling.booleans:
            return
        if code in SIGNED + UNSIGNED:
            yield f"HS_SGN({c_type}, {path}, {str(code in SIGNED).lower()})"
        elif code in "fd":
            yield f"HS_FLT({c_type}, {path})"

    def _signature(self, name: str, result: Any, arguments: tuple[Any, ...]) -> Iterator[str]:
        function = self._c(name)
        yield f"HS_NUM({function}, {len(arguments)})"
        for index, kind in enumerate((result, *arguments)):
            code = "N" if name in self.spelling.booleans and letter(kind) in "SU" else letter(kind)
            yield f"HS_ARG({function}, {index}, '{code}', {size(kind)})"

    def _c(self, name: str) -> str:
        """A constant or function in C; a structure of the same name (``struct kevent``) has its own path."""
        path = self.spelling.paths.get(name, name)
        return name if " " in path else path

    def _say(self, module: str, name: str, line: str, where: str | None = None) -> None:
        if not self.covers(name):
            return
        self.lines.append(f'#line {len(self.labels) + 1} "{module}"\n{line}')
        self.labels.append((module, f"{where or name}: {line}"))

    def covers(self, name: str) -> bool:
        """Whether a name is asserted on this machine."""
        return name not in self.spelling.absent and self.spelling.targets.get(name, self._usual) == self.machine

    @property
    def _usual(self) -> str | None:
        """Every machine of 64 bits; 32 bits only for what says so."""
        return None if self.machine == "x86" else self.machine

    def source(self) -> str:
        """The C++ text."""
        return "\n".join((preamble(self.system, self._kernel), text("assertions.h"), *self.lines)) + "\n"

    @property
    def _kernel(self) -> bool:
        return any(path.startswith("ddk::") for path in self.spelling.paths.values())

    def failures(self, target: str) -> dict[str, list[str]]:
        """Module -> its assertions that do not hold; errors that belong to none are an error of this unit."""
        found: dict[str, list[str]] = {}
        for failure in failures(self.source(), target):
            found.setdefault(failure.file, []).append(f"{self._label(failure)} -- {failure.text}")
        return found

    def _label(self, failure: Failure) -> str:
        known = failure.line <= len(self.labels) and self.labels[failure.line - 1][0] == failure.file
        return self.labels[failure.line - 1][1] if known else f"line {failure.line}"


def unit(system: str, target: str, spelling: Spelling, modules: Iterable[Declared] = ()) -> Unit:
    """The translation unit of a target."""
    made = Unit(system, target.partition("-")[0], spelling)
    for module in modules:
        made.add(module)
    return made


def preamble(system: str, kernel: bool = False) -> str:
    """The headers."""
    return text(f"{system}.h") + (text("windows_kernel.h") if kernel else "")


def text(name: str) -> str:
    """One of the files beside this one."""
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def letter(kind: Any) -> str:
    """The kind of a type: Void, Pointer, Signed, Unsigned, Float, or Aggregate."""
    if kind is None:
        return "V"
    if is_composite(kind):
        return "A"
    code = getattr(kind, "_type_", None)
    if not isinstance(code, str) or code in "PzZO":
        return "P"
    return "F" if code in "fdg" else "S" if code in SIGNED + "c" else "U"


def size(kind: Any) -> int:
    return 0 if kind is None else ctypes.sizeof(kind)
