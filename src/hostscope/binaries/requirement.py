"""Code requirements: Apple's expression language, decompiled to the text that ``codesign -d -r-`` prints. Pure.

Source: Security's OSX/libsecurity_codesigning/lib/{requirement.h,reqdumper.cpp}.
"""

from collections.abc import Callable
from struct import Struct as Layout

from hostscope.binaries.content import unpack_from

CSMAGIC_REQUIREMENT, CSMAGIC_REQUIREMENTS = 0xFADE0C00, 0xFADE0C01
DESIGNATED = 3
KINDS = {1: "host", 2: "guest", 3: "designated", 4: "library", 5: "plugin"}
BLOB = Layout(">III")
INDEX = Layout(">II")
WORD = Layout(">I")
TIME = Layout(">q")
EXPRESSION = 1
DEEPEST = 64
MOST_BLOBS = 64
MOST_STEPS = 10_000
MOST_BYTES = 1 << 18
LEAF, ANCHOR = 0, -1
MATCHES = {1: " = {}", 2: " ~ {}", 3: " = {}*", 4: " = *{}", 5: " < {}", 6: " > {}", 7: " <= {}", 8: " >= {}"}
TIMES = {9: "=", 10: "<", 11: ">", 12: "<=", 13: ">="}
ABSENCES = {0: " /* exists */", 14: " absent"}
SIMPLE = {
    0: "never",
    1: "always",
    3: "anchor apple",
    13: "anchor trusted",
    15: "anchor apple generic",
    21: "notarized",
    23: "legacy",
}
PRIMARY, AND, OR = 0, 1, 2


def parse_requirements(raw: bytes) -> dict[str, str]:
    """The text of each requirement of a set, by kind. Raises `ValueError`."""
    magic, length, count = unpack_from(BLOB, raw, 0)
    if magic != CSMAGIC_REQUIREMENTS or length > len(raw) or count > MOST_BLOBS or len(raw) > MOST_BYTES:
        raise ValueError("not a set of requirements")
    found = {}
    for number in range(count):
        kind, at = unpack_from(INDEX, raw, BLOB.size + number * INDEX.size)
        found[KINDS.get(kind, f"kind {kind}")] = parse_requirement(raw[at:])
    return found


def parse_requirement(raw: bytes) -> str:
    """One requirement's text."""
    magic, length, kind = unpack_from(BLOB, raw, 0)
    if magic != CSMAGIC_REQUIREMENT or length > len(raw) or kind != EXPRESSION:
        raise ValueError("not a requirement that is an expression")
    reader = _Reader(raw[BLOB.size : length])
    text, _ = _expression(reader, 0)
    if not reader.through:
        raise ValueError("bytes behind the expression")
    return text


class _Reader:
    """Words and padded data, one after the other."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._place = 0
        self._steps = 0

    @property
    def through(self) -> bool:
        """Whether everything was read."""
        return self._place == len(self._raw)

    def word(self) -> int:
        self._steps += 1
        if self._steps > MOST_STEPS:
            raise ValueError("an expression of implausible length")
        value: int = unpack_from(WORD, self._raw, self._place)[0]
        self._place += WORD.size
        return value

    def data(self) -> bytes:
        size = self.word()
        if size > len(self._raw) - self._place:
            raise ValueError("data does not fit")
        found = self._raw[self._place : self._place + size]
        self._place += (size + 3) & ~3
        return found

    def time(self) -> int:
        value: int = unpack_from(TIME, self._raw, self._place)[0]
        self._place += TIME.size
        return value


def _expression(reader: _Reader, depth: int) -> tuple[str, int]:
    """Text, and how tightly it binds."""
    if depth > DEEPEST:
        raise ValueError("nested too deep")
    op = reader.word() & 0xFFFFFF  # the upper byte tells old systems what to make of operations they do not know
    if op in SIMPLE:
        return SIMPLE[op], PRIMARY
    if op in (6, 7):
        return _joined(reader, depth, op)
    if op == 9:
        return f"! {_inside(_expression(reader, depth + 1), PRIMARY)}", PRIMARY
    if op not in OPERANDS:
        raise ValueError(f"operation {op} is unknown")
    return OPERANDS[op](reader), PRIMARY


def _joined(reader: _Reader, depth: int, op: int) -> tuple[str, int]:
    binds, word = (AND, "and") if op == 6 else (OR, "or")
    left, right = _expression(reader, depth + 1), _expression(reader, depth + 1)
    return f"{_inside(left, binds)} {word} {_inside(right, binds)}", binds


def _inside(part: tuple[str, int], binds: int) -> str:
    return f"({part[0]})" if part[1] > binds else part[0]


def _certificate(prefix: str) -> Callable[[_Reader], str]:
    """A field of a certificate: by name, or by object identifier behind a prefix."""

    def text(reader: _Reader) -> str:
        slot, field = _slot(reader.word()), reader.data()
        return f"certificate {slot}[{prefix + _oid(field) if prefix else _name(field)}]{_match(reader)}"

    return text


OPERANDS: dict[int, Callable[[_Reader], str]] = {
    2: lambda reader: f"identifier {_value(reader.data())}",
    4: lambda reader: f"certificate {_slot(reader.word())} = {_hash(reader.data())}",
    5: lambda reader: f"info[{_name(reader.data())}] = {_value(reader.data())}",
    8: lambda reader: f"cdhash {_hash(reader.data())}",
    10: lambda reader: f"info[{_name(reader.data())}]{_match(reader)}",
    11: _certificate(""),
    12: lambda reader: f"certificate {_slot(reader.word())} trusted",
    14: _certificate("field."),
    16: lambda reader: f"entitlement[{_name(reader.data())}]{_match(reader)}",
    17: _certificate("policy."),
    18: lambda reader: f"anchor apple {_value(reader.data())}",
    19: lambda reader: f"({_value(reader.data())})",
    20: lambda reader: f"platform = {reader.word()}",
    22: _certificate("timestamp."),
}
"""Operations with operands, read in the order they are written."""


def _match(reader: _Reader) -> str:
    kind = reader.word()
    if kind in ABSENCES:
        return ABSENCES[kind]
    if kind in TIMES:
        return f" {TIMES[kind]} <{reader.time()}>"
    if kind not in MATCHES:
        raise ValueError(f"comparison {kind} is unknown")
    return MATCHES[kind].format(_value(reader.data()))


def _slot(number: int) -> str:
    signed = number - (1 << 32) if number & 0x80000000 else number
    return {LEAF: "leaf", ANCHOR: "root"}.get(signed, str(signed))


def _value(raw: bytes) -> str:
    """Bare where the language allows a word, as ``codesign`` prints team identifiers."""
    text = _text(raw)
    return text if raw.isalnum() and raw[:1].isalpha() else _quoted(raw)


def _name(raw: bytes) -> str:
    return _text(raw) if raw.replace(b".", b"").replace(b"-", b"").isalnum() else _quoted(raw)


def _quoted(raw: bytes) -> str:
    text = _text(raw)
    return f'"{text}"' if text.isprintable() and '"' not in text else f"0x{raw.hex()}"


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


def _hash(raw: bytes) -> str:
    return f'H"{raw.hex()}"'


def _oid(raw: bytes) -> str:
    """Dotted text of an encoded object identifier."""
    numbers, value = list[int](), 0
    for byte in raw[:128]:
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(value)
            value = 0
    if not numbers:
        raise ValueError("an empty object identifier")
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))
