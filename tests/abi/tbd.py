"""Apple's stub of libSystem: which symbols each of its libraries exports on each machine (tapi-tbd, version 4)."""

import re
from pathlib import Path

SECTION = re.compile(r"- targets:\s+\[(.*?)\](.*?)(?=\n  - targets:|\n\S|\Z)", re.S)
SYMBOLS = re.compile(r"(?:symbols|weak-symbols|thread-local-symbols):\s+\[(.*?)\]", re.S)


def exports(path: Path, machine: str) -> frozenset[str]:
    """Names with their leading underscore; `machine` as in the stub, such as ``arm64e-macos``."""
    found: set[str] = set()
    for document in re.split(r"(?m)^--- !tapi-tbd\n", path.read_text(encoding="utf-8"))[1:]:
        for targets, body in SECTION.findall(document):
            if machine in _items(targets):
                found.update(name for listed in SYMBOLS.findall(body) for name in _items(listed))
    return frozenset(found)


def _items(text: str) -> list[str]:
    return [item.strip().strip("'\"") for item in text.split(",")]
