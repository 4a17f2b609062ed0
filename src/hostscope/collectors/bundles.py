"""Signed bundles of macOS in a folder: the program, what is sealed beside it, and what was added."""

import os
import plistlib
import stat
from collections.abc import Iterator

from hostscope.binaries.bundle import MOST_FILES, Nested, check, digest_of, noted, parse_seal
from hostscope.binaries.content import Content
from hostscope.binaries.macho import is_macho, slices
from hostscope.binaries.macho_signature import INFO, RESOURCES, parse_signed
from hostscope.binaries.macho_signature import TICKET as TICKET_SLOT
from hostscope.binaries.trust import Trust
from hostscope.binaries.verdict import conclude, judge
from hostscope.collectors.open_file import open_content
from hostscope.errors import Unavailable, UsageError
from hostscope.model.signature import Flaw, Signature
from hostscope.model.text import decode, encode

SEAL = "_CodeSignature/CodeResources"
TICKET = "CodeResources"
"""Below Contents: the ticket that notarisation stapled."""
MOST_PLIST_BYTES = 64 << 20
READ_BYTES = 1 << 20
LEFT_ALONE = ("Icon\r", ".DS_Store")
"""What the Finder puts into a bundle's folder."""
DEEPEST = 8
"""Bundles in bundles."""


def _is_file(path: str) -> bool:
    return os.path.isfile(encode(path))


def _stands(base: str, relative: str) -> bool:
    """Whether a file is there, and in no folder that is a link: elsewhere its signer has no say."""
    place = os.path.join(base, *relative.split("/"))
    return _is_file(place) and not _is_led(base, relative) and not os.path.islink(encode(place))


def _is_led(base: str, relative: str) -> bool:
    """Whether a folder on the way to a path in a bundle is a link."""
    folder = base
    for name in relative.split("/")[:-1]:
        folder = os.path.join(folder, name)
        if os.path.islink(encode(folder)):
            return True
    return False


def is_bundle(path: str) -> bool:
    """Whether a folder is laid out as one."""
    return os.path.isdir(encode(path)) and _layout(path) is not None


def _layout(path: str) -> tuple[str, str] | None:
    """The folder that paths are relative to, and its Info.plist; None when it is no bundle."""
    current = os.path.join(path, "Versions", "Current")
    for base, info in (
        (os.path.join(path, "Contents"), "Info.plist"),
        (current, "Resources/Info.plist"),
        (path, "Info.plist"),
        (path, "Resources/Info.plist"),
    ):
        if _is_file(os.path.join(base, info)):
            return decode(os.path.realpath(encode(base))), info
    return None


def judge_bundle(path: str, trust: Trust, depth: int = 0) -> Signature:
    """The verdict on a bundle: its program, its sealed files, the bundles inside.

    Raises:
        UsageError: the folder is no bundle. Denied, Unavailable: its program cannot be read.
    """
    found = _layout(path)
    if found is None:
        raise UsageError(f"{path} is a folder, and no bundle", "name a file, or a folder such as Some.app")
    if depth > DEEPEST:
        return conclude(path, "bundle", None, (), trust, (Flaw("nested", "bundles are nested too deep"),))
    base, info = found
    raw = _small(os.path.join(base, info))
    program = _program(path, raw)
    if program is None:
        flaw = Flaw("malformed", f"{info} names no program")
        return conclude(path, "bundle", None, (), trust, (flaw,))
    place = next((place for place in (f"MacOS/{program}", program) if _stands(base, place)), None)
    if place is None:
        flaw = Flaw("resource-missing", f"the program {program} is missing")
        return conclude(path, "bundle", None, (), trust, (flaw,))
    seal = _optional(os.path.join(base, SEAL))
    beside = _beside(base, raw, seal)
    with open_content(os.path.join(base, place)) as content:
        verdict = judge(path, content, trust, beside=beside)
        content.check()
    own = (info, place, SEAL, TICKET)
    resources, flaws = _resources(seal, Folder(base, trust, depth), own)
    flaws += (*_beside_flaws(path, base, trust, depth), *_link_flaws(base, info))
    whole = (*verdict.flaws, *flaws)
    return conclude(path, "bundle", verdict.size_bytes, verdict.parts, trust, whole, resources=resources)


def _link_flaws(base: str, info: str) -> Iterator[Flaw]:
    """What the signature is about is in the bundle, and not wherever a link leads."""
    for relative in (info, SEAL):
        if _is_file(os.path.join(base, *relative.split("/"))) and not _stands(base, relative):
            yield Flaw("resource-changed", f"{relative} is a link now")


def _beside(base: str, info: bytes, seal: bytes | None) -> dict[int, bytes]:
    """What stands beside a bundle's program and is judged with it, by slot."""
    ticket = _optional(os.path.join(base, TICKET)) if _stands(base, TICKET) else None  # once a link to the seal
    found = {INFO: info, RESOURCES: seal, TICKET_SLOT: ticket}
    return {slot: raw for slot, raw in found.items() if raw is not None}


def _resources(seal: bytes | None, folder: "Folder", own: tuple[str, ...]) -> tuple[int | None, tuple[Flaw, ...]]:
    if seal is None:  # the program's own slot says whether one should be there
        added = next((path for path in folder.paths() if path not in own), None)
        return None, (Flaw("resource-added", f"nothing seals {added}, and what else is there"),) if added else ()
    try:
        sealed = parse_seal(seal)
        return len(sealed.files), tuple(check(sealed, folder, own))
    except ValueError as failed:
        return None, (Flaw("malformed", str(failed)),)


def _beside_flaws(path: str, base: str, trust: Trust, depth: int) -> Iterator[Flaw]:
    """What stands in a bundle's folder, and outside of the part that is sealed."""
    top = decode(os.path.realpath(encode(path)))
    if base == top:
        return
    versions = os.path.dirname(base) if os.path.basename(os.path.dirname(base)) == "Versions" else None
    kept = "Versions" if versions else "Contents"
    for name in sorted(map(decode, os.listdir(encode(top)))):
        inside = decode(os.path.realpath(encode(os.path.join(top, name)))).startswith(base + os.sep)
        if name not in (kept, *LEFT_ALONE) and not (versions and inside):
            yield Flaw("resource-added", f"{name} stands beside what is sealed")
    for name in sorted(map(decode, os.listdir(encode(versions)))) if versions else ():
        other = os.path.join(versions or "", name)
        if other != base and not os.path.islink(encode(other)):
            yield from _version_flaws(name, other, trust, depth + 1)


def _version_flaws(name: str, path: str, trust: Trust, depth: int) -> Iterator[Flaw]:
    verdict = judge_bundle(path, trust, depth) if is_bundle(path) else None
    if verdict is not None and verdict.status == "valid":
        yield from noted(f"version {name}", verdict.all_flaws)
    else:
        why = verdict.reason if verdict else "it is no bundle"
        yield Flaw("nested", f"the version {name} beside this one is not signed, or not what was signed: {why}")


def _program(path: str, raw: bytes) -> str | None:
    """The name of the bundle's program."""
    try:
        info = plistlib.loads(raw)
    except Exception:  # expat's own error, and whatever plistlib meets in nonsense: no program then
        return None
    name = info.get("CFBundleExecutable") if isinstance(info, dict) else None
    name = name or os.path.splitext(os.path.basename(path.rstrip("/")))[0]
    return name if isinstance(name, str) and name and "/" not in name and name not in (".", "..") else None


def _small(path: str) -> bytes:
    with open_content(path) as content:
        if content.size > MOST_PLIST_BYTES:
            raise Unavailable(f"{path} is implausibly large")
        return content.read(0, content.size)


def _optional(path: str) -> bytes | None:
    return _small(path) if _is_file(path) else None


def beside_program(path: str) -> dict[int, bytes] | None:
    """What stands beside a program that lies in a bundle's MacOS folder; None for others."""
    folder, name = os.path.split(os.path.dirname(path))
    info = os.path.join(folder, "Info.plist")
    if (
        name != "MacOS"
        or not _is_file(info)
        or _program(os.path.dirname(folder), _small(info)) != os.path.basename(path)
    ):
        return None
    seal = _optional(os.path.join(folder, SEAL))
    return _beside(folder, _small(info), seal)


class Folder:
    """Implements `hostscope.binaries.bundle.Tree`. Links are never followed."""

    def __init__(self, base: str, trust: Trust, depth: int) -> None:
        self._base = base
        self._trust = trust
        self._depth = depth

    def paths(self) -> Iterator[str]:
        """See `Tree.paths`."""
        left = MOST_FILES
        for folder, folders, files in os.walk(encode(self._base)):
            links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
            for name in sorted([*files, *links]):
                left -= 1
                if left < 0:
                    raise ValueError(f"more than {MOST_FILES} files")
                relative = os.path.relpath(os.path.join(folder, name), encode(self._base))
                yield decode(relative).replace(os.sep, "/")

    def link(self, path: str) -> str | None:
        """See `Tree.link`."""
        try:
            return decode(os.readlink(encode(self._place(path))))
        except OSError:
            return None

    def digest(self, path: str, algorithm: str) -> bytes | None:
        """See `Tree.digest`."""
        place = encode(self._place(path))
        try:
            if _is_led(self._base, path) or not stat.S_ISREG(os.lstat(place).st_mode):
                return None
        except OSError:
            return None
        with open_content(decode(place)) as content:
            return digest_of(lambda: _pieces(content), algorithm)

    def nested(self, path: str) -> Nested | None:
        """See `Tree.nested`."""
        place = self._place(path)
        if _is_led(self._base, path) or os.path.islink(encode(place)):
            return None
        if is_bundle(place):
            verdict = judge_bundle(place, self._trust, self._depth + 1)
            program = _main_program(place)
            return None if program is None else _nested(program, verdict)
        if not _is_file(place):
            return None
        with open_content(place) as content:
            if not is_macho(content.read(0, 8)):
                return None
            verdict = judge(place, content, self._trust)
        return _nested(place, verdict)

    def _place(self, path: str) -> str:
        return os.path.join(self._base, *path.split("/"))


def _main_program(path: str) -> str | None:
    found = _layout(path)
    if found is None:
        return None
    name = _program(path, _small(os.path.join(found[0], found[1]))) or ""
    place = next((place for place in (f"MacOS/{name}", name) if _stands(found[0], place)), None)
    return None if place is None else os.path.join(found[0], place)


def _nested(program: str, verdict: Signature) -> Nested | None:
    return None if verdict.status == "unsigned" else Nested(_hashes(program, verdict), verdict.all_flaws)


def _hashes(path: str, verdict: Signature) -> tuple[bytes, ...]:
    """cdhashes of all directories of all slices; none when the code is not what was signed, or not all by the same."""
    if verdict.status == "invalid" or len({(part.status, part.team, part.identifier) for part in verdict.parts}) > 1:
        return ()
    with open_content(path) as content:
        signed = [parse_signed(one.content) for one in slices(content)]
    return tuple(directory.cdhash for one in signed if one for directory in one.directories)


def _pieces(content: Content) -> Iterator[bytes]:
    for at in range(0, content.size, READ_BYTES):
        yield content.read(at, READ_BYTES)
