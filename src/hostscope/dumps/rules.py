"""YARA rules over bytes, by YARA-X. The one home of `yara_x`.

Bytes are scanned in parts of at most `PART_BYTES`, so a rule's condition about a whole file (`filesize`, `pe.`,
offsets) is about a part. Parts overlap, so that what lies across a border is found once.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

from msgspec import Struct

from hostscope.dumps.positional import READ_ONLY
from hostscope.errors import RuleError, Unavailable
from hostscope.model.text import decode
from hostscope.private import Override, permitted

PART_BYTES = 16 << 20
OVERLAP_BYTES = 1 << 16
"""The longest match that is sure to be found across a border."""
MOST_MATCHES = 1000
"""Of one pattern in one part."""
TIMEOUT_S = 30
"""For one part. YARA-X keeps Python's lock while it scans, so an interrupt is noticed only behind a part. Sets of ten
thousand rules take less than a second."""
SUFFIXES = (".yar", ".yara")
MOST_SOURCE_BYTES = 64 << 20


class PatternMatch(Struct, frozen=True, gc=False):
    """One match in one part."""

    rule: str
    namespace: str
    pattern: str | None
    offset: int
    length: int
    tags: tuple[str, ...]


class Rules:
    """Compiled rules. `scan` may be used by one thread at a time."""

    def __init__(self, compiled: Any) -> None:
        import yara_x

        self._scanner = yara_x.Scanner(compiled)
        self._scanner.set_timeout(TIMEOUT_S)
        self._scanner.max_matches_per_pattern(MOST_MATCHES)

    def scan(self, part: bytes) -> list[PatternMatch]:
        """Every match in one part, by rule and offset; a rule that matches without a pattern has one at 0.

        Raises:
            Unavailable: the scanner gave up.
        """
        import yara_x

        try:
            found = self._scanner.scan(part)
        except (yara_x.ScanError, yara_x.TimeoutError) as failed:
            raise Unavailable(f"the YARA scanner gave up: {failed}") from failed
        return [match for rule in found.matching_rules for match in _matches(rule)]


def _matches(rule: Any) -> Iterator[PatternMatch]:
    tags, some = tuple(rule.tags), False
    for pattern in rule.patterns:
        for match in pattern.matches:
            some = True
            yield PatternMatch(rule.identifier, rule.namespace, pattern.identifier, match.offset, match.length, tags)
    if not some:
        yield PatternMatch(rule.identifier, rule.namespace, None, 0, 0, tags)


def compile_rules(path: str, raised: Override = nullcontext) -> Rules:
    """The rules of a file, or of all ``.yar`` and ``.yara`` files of a directory, each in a namespace of its own.

    Args:
        raised: brings the right to read files in spite of their permissions into effect, where they forbid it.

    Raises:
        RuleError: one is wrong: ``path:line:column``. Nothing there, or it cannot be read.
    """
    import yara_x

    compiler = yara_x.Compiler()
    compiler.enable_includes(False)
    for file, source in _permitted_sources(path, raised):
        name = decode(os.fsencode(file))
        compiler.new_namespace(os.path.splitext(os.path.basename(name))[0])
        try:
            compiler.add_source(source, origin=name)
        except yara_x.CompileError as failed:
            raise _rule_error(file, compiler.errors(), failed) from None
    return Rules(compiler.build())


def _permitted_sources(path: str, raised: Override) -> list[tuple[str, str]]:
    try:
        return permitted(lambda: [(file, _read(file)) for file in _sources(path)], raised)
    except OSError as failed:
        raise RuleError(f"cannot read {failed.filename or path}: {failed.strerror}") from None


def _sources(path: str) -> list[str]:
    if not os.path.isdir(path):
        return [path]
    walked = os.walk(path, onerror=_fail)
    names = sorted(os.path.join(where, name) for where, _, names in walked for name in names)
    found = [name for name in names if name.endswith(SUFFIXES)]
    if not found:
        raise RuleError(f"no rules in {path}", f"rule files end in {' or '.join(SUFFIXES)}")
    return found


def _fail(failed: OSError) -> None:
    """Rules of a folder that cannot be listed are not left out without a word."""
    raise failed


def _read(path: str) -> str:
    with open(path, "rb", opener=lambda name, _: os.open(name, READ_ONLY)) as file:  # does not wait for a pipe
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise RuleError(f"{path} is not a regular file", "rules are read from files")
        raw = file.read(MOST_SOURCE_BYTES + 1)
    if len(raw) > MOST_SOURCE_BYTES:
        raise RuleError(f"{path} is larger than {MOST_SOURCE_BYTES} bytes")
    try:
        return raw.decode()
    except UnicodeDecodeError as failed:
        raise RuleError(f"{path}: not UTF-8 at byte {failed.start}") from None


def _rule_error(path: str, errors: list[dict[str, Any]], failed: Exception) -> RuleError:
    if not errors:
        return RuleError(f"{path}: {failed}")
    first = errors[0]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    label = next((label["text"] for label in first.get("labels", []) if label.get("text")), None)
    return RuleError(f"{path}:{first.get('line')}:{first.get('column')}: {first.get('title')}{more}", label)
