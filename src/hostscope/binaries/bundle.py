"""Sealed resources of a bundle: what CodeResources lists, against what is there. Pure: who calls reads the files.

Source: Security's OSX/libsecurity_codesigning/lib/resources.cpp. ``files2``/``rules2`` (version 2) count where they are
there, else ``files``/``rules``.
"""

import hashlib
import plistlib
import re
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

from msgspec import Struct

from hostscope.model.signature import Flaw

MOST_FILES = 200_000
MOST_RULES = 64
LONGEST_PATTERN = 256
ALGORITHMS = {"hash2": "sha256", "hash": "sha1"}
REPEATED = re.compile(r"\)\s*[*+{]")
"""A repeated group, which can take forever to match; the system's own rules have none."""
SPECIAL = re.compile(r"\(\?")
"""Looking around and the like, which the system's own expressions do not have."""
MOST_REPETITIONS, MOST_OPTIONS, MOST_GROUPS, MOST_CHOICES = 1, 1, 2, 16
"""Of ``* + {``, ``?``, ``(`` and ``|``: what they may try multiplies."""
MOST_SECONDS = 10.0
"""For matching all rules against all paths."""
LONGEST_PATH = 1024
CATCH_ALL = frozenset({"^.*", ".*", "^.*$", "^", ".", "^."})
OMITTED = re.compile(
    r"\^(Resources/)?(\.\*\\\.lproj/locversion\\?\.plist\$|\(\.\*/\)\?\\\.DS_Store\$|Info\\?\.plist\$|PkgInfo\$)"
)
"""Rules that may leave files out, as codesign's own do; any other makes a weak seal.
Source: SecStaticCode::hasWeakResourceRules, BundleDiskRep::allowedResourceOmissions."""
SYSTEM = ("/System/", "/Library/")
"""Where a bundle's links may lead besides itself."""
OWN = frozenset({"_MASReceipt/receipt"})
"""What is added to a bundle once it is signed."""


class Nested(Struct, frozen=True):
    """Signed code in a bundle, which may be a bundle itself."""

    hashes: tuple[bytes, ...]
    """cdhashes; none when it is not what was signed, or its slices are not all of one signer."""
    flaws: tuple[Flaw, ...] = ()


class Tree(Protocol):
    """A bundle's files, by path below its Contents (or its top, for flat bundles)."""

    def paths(self) -> Iterator[str]:
        """Every file and symbolic link, with ``/`` between names."""

    def link(self, path: str) -> str | None:
        """Where a symbolic link leads; None for what is none, or is not there."""

    def digest(self, path: str, algorithm: str) -> bytes | None:
        """Of a file's content; None when it is not there, or is no file."""

    def nested(self, path: str) -> Nested | None:
        """The code at a path; None when it is not there or is not signed."""


class Rule(Struct, frozen=True):
    """Which files a seal is about."""

    pattern: "re.Pattern[str]"
    weight: float
    omit: bool
    optional: bool
    nested: bool


class Seal(Struct, frozen=True):
    """What CodeResources says."""

    files: Mapping[str, Any]
    rules: tuple[Rule, ...]
    version: int
    weak: tuple[str, ...] = ()
    """Rules that leave out what a seal should be about."""


def parse_seal(raw: bytes) -> Seal:
    """CodeResources. Raises `ValueError`."""
    try:
        found = plistlib.loads(raw)
    except Exception as failed:  # expat's own error, and whatever plistlib meets in nonsense
        raise ValueError(f"CodeResources cannot be read: {failed}") from failed
    if not isinstance(found, dict):
        raise ValueError("CodeResources is a dictionary")
    second = "files2" in found
    files, rules = found.get("files2" if second else "files", {}), found.get("rules2" if second else "rules", {})
    if not isinstance(files, dict) or not isinstance(rules, dict) or len(files) > MOST_FILES or len(rules) > MOST_RULES:
        raise ValueError("CodeResources of an implausible form")
    read = {str(pattern): _rule(str(pattern), value) for pattern, value in rules.items()}
    return Seal(files, tuple(read.values()), 2 if second else 1, _weak(read, second))


def _weak(rules: Mapping[str, Rule], second: bool) -> tuple[str, ...]:
    weak = [pattern for pattern, rule in rules.items() if rule.omit and not OMITTED.fullmatch(pattern)]
    if second and not any(pattern in CATCH_ALL and not rule.omit for pattern, rule in rules.items()):
        weak.append("no rule is for every file")
    return tuple(weak)


def _rule(pattern: str, value: Any) -> Rule:
    if len(pattern) > LONGEST_PATTERN or _is_costly(pattern):
        raise ValueError("a rule of an implausible form")
    said: Mapping[str, Any] = value if isinstance(value, dict) else {}
    try:
        with warnings.catch_warnings():  # of sets in sets, which a later Python may read otherwise
            warnings.simplefilter("ignore")
            compiled = re.compile(pattern)
        weight = float(said.get("weight", 1))
    except (re.error, RecursionError, OverflowError, TypeError, ValueError) as failed:
        raise ValueError(f"a rule cannot be read: {failed}") from failed
    return Rule(
        compiled,
        weight,
        bool(said.get("omit")) or value is False,
        bool(said.get("optional")),
        bool(said.get("nested")),
    )


def _is_costly(pattern: str) -> bool:
    """Whether matching could try so many ways that it takes forever."""
    many = (
        sum(map(pattern.count, "*+{")) > MOST_REPETITIONS
        or pattern.count("?") > MOST_OPTIONS
        or pattern.count("(") > MOST_GROUPS
        or pattern.count("|") > MOST_CHOICES
    )
    return bool(many or REPEATED.search(pattern) or SPECIAL.search(pattern))


def which_rule(seal: Seal, path: str) -> Rule | None:
    """The weightiest rule for a path; one that leaves it out wins against its equals."""
    if len(path) > LONGEST_PATH:
        return None
    matching = [rule for rule in seal.rules if rule.pattern.match(path)]
    return max(matching, key=lambda rule: (rule.weight, rule.omit)) if matching else None


class _Watch:
    """How long matching took so far."""

    def __init__(self, seal: Seal) -> None:
        self._seal = seal
        self._spent = 0.0

    def rule(self, path: str) -> Rule | None:
        """See `which_rule`. Raises `ValueError` when that took too long for all paths together."""
        began = time.perf_counter()
        found = which_rule(self._seal, path)
        self._spent += time.perf_counter() - began
        if self._spent > MOST_SECONDS:
            raise ValueError("the rules take too long")
        return found


def check(seal: Seal, tree: Tree, own: Iterable[str]) -> Iterator[Flaw]:
    """What was changed, is missing or was added.

    Args:
        own: paths that the code directory vouches for itself: the program, CodeResources, Info.plist.

    Raises:
        ValueError: the rules take too long.
    """
    watch = _Watch(seal)
    for pattern in seal.weak:
        yield Flaw("resource-rules", f"the seal leaves out what it should be about: {pattern[:80]}")
    if seal.version == 1:
        yield Flaw("resource-rules", "a seal of the first version is about some files only", "noted")
    for path, entry in seal.files.items():
        yield from _sealed(str(path), entry, watch, tree)
    known = {*own, *OWN, *map(str, seal.files)}
    inside = tuple(f"{path}/" for path, entry in seal.files.items() if isinstance(entry, dict) and "cdhash" in entry)
    for path in tree.paths():
        if path in known or path.startswith(inside):
            continue
        if len(path) > LONGEST_PATH:
            yield Flaw("resource-added", f"{path[:80]}… was added")
        rule = watch.rule(path)
        if rule is not None and not rule.omit:
            yield Flaw("resource-added", f"{path} was added")


def _sealed(path: str, entry: Any, watch: _Watch, tree: Tree) -> Iterator[Flaw]:
    said: Mapping[str, Any] = entry if isinstance(entry, dict) else {"hash": entry}
    if not {"", ".", ".."}.isdisjoint(path.split("/")) or "\0" in path or len(path) > LONGEST_PATH:
        yield Flaw("malformed", f"{path[:80]} is no path in the bundle")
    elif "symlink" in said:
        if _leads_out(path, said["symlink"]):
            yield Flaw("resource-changed", f"{path} leads out of the bundle")
        yield from _compared(path, tree.link(path), said["symlink"], bool(said.get("optional")))
    elif "cdhash" in said:
        yield from _nested(path, said, tree)
    else:
        yield from _hashed(path, said, watch, tree)


def _leads_out(path: str, target: object) -> bool:
    """Whether a link in a bundle leads to where its signer has no say."""
    if not isinstance(target, str) or target.startswith("/"):
        return not (isinstance(target, str) and target.startswith(SYSTEM) and ".." not in target.split("/"))
    folders = path.split("/")[:-1]
    for name in target.split("/"):
        if name == ".." and not folders:
            return True
        if name == "..":
            folders.pop()
        elif name not in ("", "."):
            folders.append(name)
    return False


def _nested(path: str, said: Mapping[str, Any], tree: Tree) -> Iterator[Flaw]:
    found = tree.nested(path)
    if found is None:
        yield Flaw("resource-missing", f"{path} is sealed, and there is no signed code")
    elif said["cdhash"] in found.hashes:
        yield from noted(path, found.flaws)
    else:
        broken = next((flaw.detail for flaw in found.flaws if flaw.severity == "broken"), None)
        yield Flaw(
            "nested", f"{path} is not what was signed: {broken}" if broken else f"{path} is other code than was sealed"
        )


def noted(path: str, flaws: Iterable[Flaw]) -> Iterator[Flaw]:
    """What is to be said of code that is inside of other code, whose seal vouches for it."""
    return (Flaw(flaw.code, f"{path}: {flaw.detail}", "noted") for flaw in flaws)


def _hashed(path: str, said: Mapping[str, Any], watch: _Watch, tree: Tree) -> Iterator[Flaw]:
    key = next((name for name in ALGORITHMS if isinstance(said.get(name), bytes)), None)
    if key is None:
        yield Flaw("malformed", f"{path} is sealed without a digest")
        return
    if tree.link(path) is not None:
        yield Flaw("resource-changed", f"{path} is a link now")
        return
    rule = watch.rule(path)
    optional = bool(said.get("optional")) or (rule is not None and rule.optional)
    yield from _compared(path, tree.digest(path, ALGORITHMS[key]), said[key], optional)


def _compared(path: str, found: object, sealed: object, optional: bool) -> Iterator[Flaw]:
    if found is None:
        if not optional:
            yield Flaw("resource-missing", f"{path} is missing")
    elif found != sealed:
        yield Flaw("resource-changed", f"{path} was changed since it was signed")


def digest_of(chunks: Callable[[], Iterator[bytes]], algorithm: str) -> bytes:
    """Of a file that comes in pieces."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    for chunk in chunks():
        digest.update(chunk)
    return digest.digest()
