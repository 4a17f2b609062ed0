"""`--filter` expressions: Python's comparison syntax over columns and record fields, and nothing else.

    rss > 100*MB and user == "root"
    startswith(exe, "/tmp/") or exe_flags
    "sys_admin" in caps and container.runtime == "docker"

Names are columns or dotted fields of the record. A value that is missing (does not apply, or could not be read) makes
any comparison with it False, except with ``None`` itself: ``exe == None``. Nothing is evaluated by Python: the tree is
checked against a list of what is allowed and turned into closures.
"""

import ast
import operator
import re
import types
import typing
from collections.abc import Callable
from typing import Any, TypeVar

from msgspec import Struct

from hostscope.errors import QueryError
from hostscope.render.column import NUMBERS, covers
from hostscope.render.columns import group_of
from hostscope.render.layout import Layout, closest

Row = TypeVar("Row")
Get = Callable[[Any], Any]

MAX_LENGTH = 4096
MAX_DEPTH = 40

UNITS: dict[str, int] = {
    "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40,
    "MS": 10**6, "S": 10**9, "MIN": 60 * 10**9, "H": 3600 * 10**9, "D": 86400 * 10**9,
}  # fmt: skip
"""Names to multiply with: binary steps for bytes, nanoseconds for durations."""

WORDS: dict[str, bool | None] = {"true": True, "false": False, "none": None, "null": None}
"""Python's constants as most other languages, and our own JSON, write them."""

_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le,
    ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Mult: operator.mul,
    ast.Add: operator.add,
    ast.Sub: operator.sub,
}


class Operand(Struct, frozen=True):
    """One side of a comparison."""

    get: Get
    kind: str
    """``number text bool list none any``."""
    constant: bool = False
    path: str = ""
    """Of a field."""


class Filter(Struct, frozen=True):
    """A compiled expression."""

    text: str
    keep: Callable[[Any], bool]
    fields: frozenset[str]
    """Field groups that it needs."""
    paths: frozenset[str]
    """Fields of the record that it reads."""

    def touches(self, gaps: tuple[str, ...]) -> bool:
        """Whether one of the fields with gaps decides over rows."""
        return any(covers(gap, path) or covers(path, gap) for gap in gaps for path in self.paths)


def parse_filter(text: str, layout: Layout[Any]) -> Filter:
    """Compiles an expression.

    Raises:
        QueryError: with line and column, and the names there are.
    """
    if len(text) > MAX_LENGTH:
        raise QueryError(f"the filter is longer than {MAX_LENGTH} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line, column = getattr(error, "lineno", None) or 1, getattr(error, "offset", None) or len(text.strip()) + 1
        message = getattr(error, "msg", None) or str(error) or "too deeply nested"
        raise QueryError(f"filter {line}:{column}: {message}", 'example: rss > 100*MB and user == "root"') from None
    compiler = _Compiler(layout)
    keep = compiler.condition(tree.body, 0)
    return Filter(text, keep, frozenset(compiler.fields), frozenset(compiler.paths))


class _Compiler:
    """Turns one checked syntax tree into closures, and notes which fields they read."""

    def __init__(self, layout: Layout[Any]) -> None:
        self._layout = layout
        self.fields: set[str] = set()
        self.paths: set[str] = set()

    def condition(self, node: ast.expr, depth: int) -> Callable[[Any], bool]:
        if depth > MAX_DEPTH:
            raise _wrong(node, f"more than {MAX_DEPTH} levels deep")
        node = _spelt_out(node)
        match node:
            case ast.BoolOp(op=op, values=values):
                parts = tuple(self.condition(value, depth + 1) for value in values)
                return _all_of(parts) if isinstance(op, ast.And) else _any_of(parts)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                inner = self.condition(operand, depth + 1)
                return lambda row: not inner(row)
            case ast.Compare():
                return self._comparison(node)
            case ast.Call():
                return self._call(node)
            case ast.Name() | ast.Attribute():
                get = self._operand(node).get
                return lambda row: bool(get(row))
            case ast.Constant(value=bool(value)):
                return lambda row: value
        raise _wrong(
            node, "this is no condition", 'conditions look like: rss > 100*MB, user == "root", contains(argv, "x")'
        )

    def _comparison(self, node: ast.Compare) -> Callable[[Any], bool]:
        operands = [self._operand(side) for side in (node.left, *node.comparators)]
        places = zip(node.ops, operands, operands[1:], node.comparators, strict=False)
        return _all_of(tuple(_compare(op, left, right, place) for op, left, right, place in places))

    def _call(self, node: ast.Call) -> Callable[[Any], bool]:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name not in FUNCTIONS:
            raise _wrong(node, "there is no such function", f"functions: {', '.join(FUNCTIONS)}")
        if len(node.args) != 2 or node.keywords:
            raise _wrong(node, f"{name} takes a column and a text", f'example: {name}(argv, "x")')
        column, wanted = self._operand(node.args[0]), node.args[1]
        if not isinstance(wanted, ast.Constant) or not isinstance(wanted.value, str):
            raise _wrong(wanted, "this must be a text in quotes")
        if column.kind not in ("text", "list", "any"):
            raise _wrong(node.args[0], f"{name} needs a text, this is a {column.kind}")
        _refuse_prefix(column, wanted.value, wanted)
        return _apply(name, column.get, wanted)

    def _operand(self, node: ast.expr) -> Operand:
        node = _spelt_out(node)
        match node:
            case ast.Constant(value=value) if value is None or isinstance(value, (str, int, float)):
                return Operand(lambda row: value, _kind_of(value), constant=True)
            case ast.Tuple(elts=elements) | ast.List(elts=elements) | ast.Set(elts=elements):
                values = tuple(self._constant(element) for element in elements)
                return Operand(lambda row: values, "list", constant=True)
            case ast.Name(id=name) if name in UNITS and self._layout.find(name) is None:
                unit = UNITS[name]
                return Operand(lambda row: unit, "number", constant=True)
            case ast.BinOp() | ast.UnaryOp():
                number = self._constant(node)
                return Operand(lambda row: number, "number", constant=True)
            case ast.Name(id=name):
                return self._column(node, name)
            case ast.Attribute():
                return self._field(node)
        raise _wrong(node, "this is not allowed in a filter", "allowed: columns, record.fields, texts, numbers, lists")

    def _constant(self, node: ast.expr, depth: int = 0) -> Any:
        node = _spelt_out(node)
        match node:
            case ast.Constant(value=value) if isinstance(value, (str, int, float)):
                return value
            case ast.Name(id=name) if name in UNITS:
                return UNITS[name]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self._number(operand, depth + 1)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                number = _ARITHMETIC[type(op)](self._number(left, depth + 1), self._number(right, depth + 1))
                if abs(number) < 1 << 128:
                    return number
                raise _wrong(node, "this number is too large")
        raise _wrong(node, "this must be a text or a number", f"units: {', '.join(UNITS)}")

    def _number(self, node: ast.expr, depth: int) -> int | float:
        if depth > MAX_DEPTH:
            raise _wrong(node, f"more than {MAX_DEPTH} levels deep")
        value = self._constant(node, depth)
        if isinstance(value, (int, float)):
            return value
        raise _wrong(node, "this must be a number")

    def _column(self, node: ast.expr, name: str) -> Operand:
        column = self._layout.find(name)
        if column is None:
            return self._field(node)
        self.fields |= {column.field} if column.field else set()
        self.paths.update(column.paths)
        return Operand(column.get, "number" if column.kind in NUMBERS else column.kind, path=column.path)

    def _field(self, node: ast.expr) -> Operand:
        steps = _steps(node)
        kind = self._check(node, steps)
        path = ".".join(steps)
        group = group_of(path) if self._layout.noun == "processes" else None
        self.fields |= {group} if group else set()
        self.paths.add(path)
        return Operand(_getter(steps), kind, path=path)

    def _check(self, node: ast.expr, steps: tuple[str, ...]) -> str:
        """The kind of the field at the end of the path."""
        record: Any = self._layout.record
        for count, step in enumerate(steps):
            names = getattr(record, "__struct_fields__", ())
            if step not in names:
                known = names if count else (*self._layout.names(), *names)
                where = f" in {'.'.join(steps[:count])}" if count else ""
                quoted = "" if count else f'; a text stands in quotes: "{step}"'
                hint = f"names: {closest(step, tuple(known))}{quoted}" if known else None
                raise _wrong(node, f"there is no {step!r}{where}", hint)
            record = _plain_type(typing.get_type_hints(record)[step])
        return _kind_of_type(record)


def _spelt_out(node: ast.expr) -> ast.expr:
    """A constant for its lower-case word, everything else as it is. No column or field is called so."""
    if isinstance(node, ast.Name) and node.id in WORDS:
        return ast.copy_location(ast.Constant(WORDS[node.id]), node)
    return node


def _steps(node: ast.expr) -> tuple[str, ...]:
    match node:
        case ast.Name(id=name):
            return (name,)
        case ast.Attribute(value=value, attr=attribute):
            return (*_steps(value), attribute)
    raise _wrong(node, "fields look like container.name")


def _getter(steps: tuple[str, ...]) -> Get:
    def get(row: Any) -> Any:
        for step in steps:
            if row is None:
                return None
            row = getattr(row, step)
        return row

    return get


def _plain_type(hint: Any) -> Any:
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return next(option for option in typing.get_args(hint) if option is not types.NoneType)
    return hint


def _kind_of_type(hint: Any) -> str:
    if hint is bool:
        return "bool"
    if hint in (int, float):
        return "number"
    if isinstance(hint, type) and issubclass(hint, str):
        return "text"
    if hasattr(hint, "__struct_fields__"):
        return "record"
    return "list" if typing.get_origin(hint) in (tuple, list) else "any"


def _kind_of(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "bool"
    return "text" if isinstance(value, str) else "number"


def _compare(op: ast.cmpop, left: Operand, right: Operand, node: ast.expr) -> Callable[[Any], bool]:
    get_left, get_right = left.get, right.get
    if "none" in (left.kind, right.kind):
        return _absence(op, left if right.kind == "none" else right, node)
    if isinstance(op, (ast.In, ast.NotIn)):
        if right.kind not in ("list", "text", "any") or (right.kind == "text" and left.kind != "text"):
            raise _wrong(node, f"nothing can be in a {right.kind}")
        if left.constant:
            _refuse_prefix(right, left.get(None), node)
        return _membership(get_left, get_right, wanted=isinstance(op, ast.In))
    if type(op) not in _COMPARISONS:
        raise _wrong(node, "compare with == != < <= > >= in")
    if left.kind != right.kind and "any" not in (left.kind, right.kind):
        raise _wrong(node, f"a {left.kind} cannot be compared with a {right.kind}")
    if left.kind in ("list", "record") and not isinstance(op, (ast.Eq, ast.NotEq)):
        raise _wrong(node, f"of a {left.kind} none comes before another", "compare with == != or one of its fields")
    return _ordered(_COMPARISONS[type(op)], get_left, get_right)


def _refuse_prefix(column: Operand, wanted: object, node: ast.expr) -> None:
    """A name as capabilities(7) writes it would be found in no record, without a word."""
    name = str(wanted).lower()
    if "capabilities" in column.path and name.startswith("cap_") and not name[4:].isdigit():
        raise _wrong(node, "capabilities stand here without CAP_, in lower case", f'write "{name[4:]}"')


def _ordered(test: Callable[[Any, Any], bool], get_left: Get, get_right: Get) -> Callable[[Any], bool]:
    def compare(row: Any) -> bool:
        left, right = get_left(row), get_right(row)
        return left is not None and right is not None and test(left, right)

    return compare


def _membership(get_left: Get, get_right: Get, wanted: bool) -> Callable[[Any], bool]:
    def contained(row: Any) -> bool:
        left, right = get_left(row), get_right(row)
        return left is not None and right is not None and (left in right) is wanted

    return contained


def _absence(op: ast.cmpop, operand: Operand, node: ast.expr) -> Callable[[Any], bool]:
    get = operand.get
    if isinstance(op, (ast.Eq, ast.Is)):
        return lambda row: get(row) is None
    if isinstance(op, (ast.NotEq, ast.IsNot)):
        return lambda row: get(row) is not None
    raise _wrong(node, "None can only be compared with == and !=")


def _apply(name: str, get: Get, wanted: ast.Constant) -> Callable[[Any], bool]:
    text = str(wanted.value)
    if name == "matches":
        try:
            search = re.compile(text).search
        except re.error as error:
            raise _wrong(wanted, f"not a regular expression: {error}") from None
        return _each(get, lambda value: search(value) is not None)
    test = FUNCTIONS[name]
    return _each(get, lambda value: test(value, text))


def _each(get: Get, test: Callable[[str], bool]) -> Callable[[Any], bool]:
    """A test of a text, or of any text of a list."""

    def check(row: Any) -> bool:
        value = get(row)
        if isinstance(value, str):
            return test(value)
        return isinstance(value, tuple) and any(isinstance(part, str) and test(part) for part in value)

    return check


FUNCTIONS: dict[str, Callable[[str, str], bool]] = {
    "startswith": str.startswith,
    "endswith": str.endswith,
    "contains": operator.contains,
    "matches": lambda value, pattern: re.search(pattern, value) is not None,
}


def _all_of(parts: tuple[Callable[[Any], bool], ...]) -> Callable[[Any], bool]:
    return parts[0] if len(parts) == 1 else lambda row: all(part(row) for part in parts)


def _any_of(parts: tuple[Callable[[Any], bool], ...]) -> Callable[[Any], bool]:
    return lambda row: any(part(row) for part in parts)


def _wrong(node: ast.expr, message: str, hint: str | None = None) -> QueryError:
    return QueryError(f"filter {node.lineno}:{node.col_offset + 1}: {message}", hint)
