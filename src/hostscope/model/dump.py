"""What was preserved of an address space, and what a dump holds."""

from collections.abc import Callable

from msgspec import Struct

from hostscope.model.gap import Gap, Reason
from hostscope.model.key import ProcessKey
from hostscope.model.memory import Region

MANIFEST_SCHEMA = "hostscope.dump_manifest/1"
DUMP_SCHEMA = "hostscope.dump/1"
ANALYSIS_SCHEMA = "hostscope.dump_analysis/1"
MATCH_SCHEMA = "hostscope.memory_match/1"

POLICIES = {
    "all": "every region",
    "private": "memory that belongs to the process alone (walks page tables, which delays its own changes of the map)",
    "executable": "what can run",
    "anonymous": "memory without a file behind it",
    "suspicious-first": "every region, anomalies before the rest: what a limit cuts off is the least telling",
    "suspicious": "a sample: regions that look injected, and stacks",
}
"""Which regions a dump holds."""
SYSTEM = "system"
IMAGES = ("core", "raw", SYSTEM)
COMPRESSIONS = ("none", "zstd")
HASHES = ("sha256", "none")
Reserve = Callable[[int, int], bool]
"""Finds room on the disk at an offset of a file, for so many bytes; False where there is none, or none to be found.

Raises nothing: a full disk is told by writing. May be used by several threads.
"""


class DumpRequest(Struct, frozen=True):
    """What to preserve, and how."""

    policy: str = "all"
    """A name from `POLICIES`."""
    image: str = "core"
    """``core``: the form that the system's debuggers open, an ELF core, a minidump (Windows) or a Mach-O core (macOS);
    ``raw``: the bytes of the regions alone, one after the other; ``system``: as `core`, written by the system itself
    (Windows: MiniDumpWriteDump), which stops the process and knows no policies and limits."""
    compression: str = "none"
    hash: str = "sha256"
    registers: bool = True
    """Stops each thread for a moment."""
    freeze: bool = False
    """Every thread stands still while memory is read."""
    rate_bytes: int | None = None
    """Bytes read in a second, of all processes together."""
    max_bytes: int | None = None
    """Bytes read of one process."""
    max_region_bytes: int | None = None
    keep_partial: bool = False
    """Keep what there is when a dump breaks off."""
    threads: int = 2
    """That read, hash and write, of all processes together."""
    memory_bytes: int = 64 << 20
    """Of buffers, of all processes together."""
    why: str | None = None
    """The person's reason; in the manifest and in the audit trail."""


class Piece(Struct, frozen=True, gc=False):
    """A part of a region that was read and hashed as one, at most 8 MiB of bytes."""

    start: int
    end: int
    read_bytes: int
    """Less than ``end - start`` where pages were never touched or could not be read."""
    ranges: tuple[tuple[int, int], ...]
    """The addresses that were read, ascending."""
    sha256: str | None
    """Of the bytes of `ranges`, in this order; None when hashing was off."""


class Unread(Struct, frozen=True, gc=False):
    """Addresses that should be in the dump and are not."""

    start: int
    end: int
    reason: Reason
    detail: str | None = None


class DumpedRegion(Struct, frozen=True, gc=False):
    """One region, in the dump or left out."""

    region: Region
    included: bool
    skipped: str | None = None
    """Why it was left out: the policy, a limit, or what it is."""
    file_offset: int | None = None
    """Where its first byte stands in the (uncompressed) file; None for what is left out, and for addresses that are
    merely reserved: without permissions, and never used."""
    read_bytes: int = 0
    untouched_bytes: int = 0
    """Pages that were never used (a hole in the file, which reads as the zeros that the process would see), or lie
    behind the end of the file that is mapped."""
    sha256: str | None = None
    """Over the binary digests of its pieces, in ascending order."""
    pieces: tuple[Piece, ...] = ()
    unread: tuple[Unread, ...] = ()


class StoppedThread(Struct, frozen=True, gc=False):
    """How long a thread stood still for its registers."""

    tid: int
    name: str
    stopped_ns: int
    """0 when it did not stop."""
    unread: str | None = None
    """Why there are no registers of it."""


class Observer(Struct, frozen=True):
    """Who made a dump, and where."""

    hostname: str
    system: str
    kernel: str
    architecture: str
    user_id: str | None
    login_user: int | None
    """Who logged in, whatever su and sudo did since."""
    terminal: str | None
    tool: str
    """Name and version."""


class Manifest(Struct, frozen=True):
    """What stands beside a dump: where it comes from, and what is in it and what is not."""

    schema: str
    key: ProcessKey
    name: str
    exe: str | None
    observer: Observer
    why: str | None
    began_at_ns: int
    ended_at_ns: int
    file: str
    """Name of the image, in the same directory."""
    file_bytes: int
    """Size of the file as written; holes count."""
    image: str
    """``core``, ``minidump``, ``macho-core`` or ``raw``."""
    compression: str
    policy: str
    method: str
    """How memory was read and untouched pages were told apart."""
    consistency: str
    """``running``: it went on while it was read, so pages are of different moments; ``frozen``; ``snapshot``: a copy
    that the system made at one moment was read; ``partly-frozen``:
    threads that slept in the kernel did not stop, and may have gone on."""
    registers: bool
    complete: bool
    """Whether everything that was asked for is there."""
    incomplete: tuple[str, ...]
    """What is missing, in words."""
    read_bytes: int
    untouched_bytes: int
    regions: tuple[DumpedRegion, ...]
    threads: tuple[StoppedThread, ...]
    gaps: tuple[Gap, ...] = ()
    effects: tuple[str, ...] = ()
    """What the process noticed."""
    notes: tuple[str, ...] = ()


class Dump(Struct, frozen=True):
    """One process of a `dump`: the file, or why there is none."""

    key: ProcessKey
    name: str
    file: str | None
    manifest: str | None
    regions: int = 0
    """In the file."""
    left_out: int = 0
    """Regions that are listed in the manifest, and not in the file."""
    read_bytes: int = 0
    untouched_bytes: int = 0
    unread_bytes: int = 0
    threads: int = 0
    """With registers."""
    longest_stop_ns: int = 0
    elapsed_ns: int = 0
    complete: bool = False
    outcome: str = "done"
    """Or what went wrong."""
    gaps: tuple[Gap, ...] = ()


class Anomaly(Struct, frozen=True, gc=False):
    """Something about an address space that injected code looks like."""

    kind: str
    severity: str
    """``info low medium high critical``."""
    start: int
    end: int
    path: str | None
    detail: str
    """The facts."""
    heuristic: bool
    """Whether honest programs do this too."""
    tid: int | None = None


class Module(Struct, frozen=True, gc=False):
    """A file that is mapped."""

    path: str
    start: int
    end: int
    executable: bool
    build_id: str | None = None


class DumpedThread(Struct, frozen=True, gc=False):
    """A thread in a dump."""

    tid: int
    instruction: int | None
    """Address of the next instruction."""
    stack: int | None
    """Stack pointer."""
    signal: int
    module: str | None
    """File whose code it runs; None outside of any."""


class FoundString(Struct, frozen=True, gc=False):
    """Text in memory, masked where it looks secret."""

    address: int
    encoding: str
    """``ascii`` or ``utf-16``."""
    text: str


class Indicator(Struct, frozen=True, gc=False):
    """Something in memory that can be looked for elsewhere."""

    kind: str
    """``url domain ipv4 ipv6 email path key``."""
    value: str
    """Masked for keys."""
    address: int
    """Of the first."""
    count: int


class MeasuredRegion(Struct, frozen=True, gc=False):
    """A region of a dump and how random its bytes are."""

    start: int
    end: int
    permissions: str
    path: str | None
    present_bytes: int
    entropy: float | None
    """Bits in a byte, 0 to 8, of a sample of at most 1 MiB; None without bytes."""


class RuleMatch(Struct, frozen=True, gc=False):
    """What a rule found, and where."""

    rule: str
    namespace: str
    pattern: str | None
    """Identifier; None for a rule that matched without one."""
    address: int | None
    """Of the match; of the scanned part for a rule without a pattern; None in a file."""
    length_bytes: int
    place: str
    """``memory`` or ``executable``."""
    permissions: str | None = None
    path: str | None = None
    """Of the region, or of the file."""
    offset: int | None = None
    """From the region's or file's beginning."""
    pid: int | None = None
    key: ProcessKey | None = None
    name: str | None = None
    tags: tuple[str, ...] = ()
    more: int = 0
    """Matches of the same pattern in the same region that are not listed; at least, if a part of 16 MiB has more than
    1,000."""


class DumpAnalysis(Struct, frozen=True):
    """Everything that a dump tells."""

    file: str
    image: str
    architecture: str
    pid: int | None
    name: str | None
    arguments: str | None
    """As the dump has them, masked."""
    size_bytes: int
    modules: tuple[Module, ...]
    threads: tuple[DumpedThread, ...]
    regions: tuple[MeasuredRegion, ...]
    anomalies: tuple[Anomaly, ...]
    indicators: tuple[Indicator, ...]
    strings: tuple[FoundString, ...]
    matches: tuple[RuleMatch, ...]
    verified: bool | None = None
    """Whether the bytes have the digests of the manifest; None without one."""
    gaps: tuple[Gap, ...] = ()
    notes: tuple[str, ...] = ()
