"""Content of executables and the packages they came from, once for each distinct file."""

from msgspec.structs import replace

from hostscope.collectors.errors import attempt
from hostscope.model.gap import Gap, Reason
from hostscope.model.process import Digest, Executable, Process
from hostscope.platforms.base import Host

NEEDS = frozenset({"exe", "namespaces", "root"})
"""Field groups that tell whether a path is a path of this host."""

_Answer = tuple[Digest | None, tuple[Gap, ...]]


class Digests:
    """Fills `Process.digest`; remembers each file for one sweep."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._known: dict[tuple[object, ...], _Answer] = {}

    def fill(self, process: Process) -> Process:
        """The process with its digest, or with gaps where that failed. Cost: a file read for a new executable."""
        if process.exe is None:
            return replace(process, gaps=(*process.gaps, *_inherited(process)))
        digest, gaps = self._look_up(process, process.exe)
        return replace(process, digest=digest, gaps=(*process.gaps, *gaps))

    def _look_up(self, process: Process, exe: Executable) -> _Answer:
        foreign = not is_host_path(process)
        place = (exe.device, exe.inode, exe.path, exe.deleted, foreign)
        if place in self._known:
            return self._known[place]
        found = self._read(process, exe, foreign)
        if exe.inode is not None and found[0] is not None:
            # A failure says nothing of other processes with the same file: which of them may be read differs.
            self._known[place] = found
        return found

    def _read(self, process: Process, exe: Executable, foreign: bool) -> _Answer:
        gaps: list[Gap] = []
        digest = attempt("digest", gaps, lambda: self._host.files.digest(process.key, exe))
        if digest is None or exe.memfd or exe.deleted:
            return digest, tuple(gaps)
        if foreign:
            return digest, (Gap("digest.package", Reason.UNSUPPORTED, "the path is of another root file system"),)
        owner = attempt("digest.package", gaps, lambda: self._host.packages.owner(exe.path))
        if owner is None:
            return digest, tuple(gaps)
        match = attempt("digest.package_match", gaps, lambda: self._host.files.matches(process.key, exe, owner))
        package = f"{owner.package} {owner.version}" if owner.version else owner.package
        return replace(digest, package=package, package_match=match), tuple(gaps)


def is_host_path(process: Process) -> bool:
    """Whether its paths are paths of this host, and not of another root or mount namespace."""
    if process.root not in (None, "/"):
        return False
    namespaces = process.linux.namespaces if process.linux else None
    return namespaces is None or not namespaces.foreign or "mnt" not in namespaces.foreign


def _inherited(process: Process) -> tuple[Gap, ...]:
    """Without the executable there is no digest, for the same reason."""
    return tuple(Gap("digest", gap.reason, gap.detail) for gap in process.gaps if gap.field == "exe")
