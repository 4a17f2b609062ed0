"""Code directories of Mach-O signatures: the digests of every page, and of what stands beside the code. Pure.

Source: bsd/sys/codesign.h and osfmk/kern/cs_blobs.h of xnu (CS_CodeDirectory), versions 0x20001 to 0x20600.
"""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import lru_cache
from itertools import islice
from struct import Struct as Layout

from msgspec import Struct

from hostscope.binaries.content import Content, c_string, unpack_from
from hostscope.binaries.hands import hand_over

CSMAGIC_CODEDIRECTORY = 0xFADE0C02
HEADER = Layout(">9I4BI")
SCATTER = Layout(">I")
TEAM = Layout(">I")
CODE_LIMIT_64 = Layout(">Q")
RUNTIME = Layout(">I")
SUPPORTS_SCATTER, SUPPORTS_TEAM, SUPPORTS_LIMIT_64, SUPPORTS_EXEC, SUPPORTS_RUNTIME = (
    0x20100, 0x20200, 0x20300, 0x20400, 0x20500,
)  # fmt: skip
HASHES = {1: ("sha1", 20), 2: ("sha256", 32), 3: ("sha256-truncated", 20), 4: ("sha384", 48)}
STRENGTH = {1: 0, 3: 1, 2: 2, 4: 3}
"""The kernel uses the directory with the strongest digest."""
CDHASH_BYTES = 20
MOST_SPECIAL = 64
MOST_PAGES = 1 << 26
READ_BYTES = 1 << 18
"""Read at a time: it stays in the processor's cache while it is hashed."""
PART_BYTES = 8 << 20
"""Hashed by one thread at a time."""
LARGEST_PAGE_EXPONENT = 20

FLAGS = {
    0x1: "valid",
    0x2: "adhoc",
    0x4: "get-task-allow",
    0x8: "installer",
    0x10: "forced-library-validation",
    0x20: "invalid-allowed",
    0x100: "hard",
    0x200: "kill",
    0x400: "check-expiration",
    0x800: "restrict",
    0x1000: "enforcement",
    0x2000: "library-validation",
    0x10000: "runtime",
    0x20000: "linker-signed",
}
ADHOC = 0x2


class CodeDirectory(Struct, frozen=True):
    """One code directory."""

    raw: bytes
    version: int
    flags: int
    identifier: str
    team: str | None
    hash_type: int
    hash_size: int
    hash_offset: int
    special_slots: int
    code_slots: int
    code_limit: int
    """Bytes of the slice that the pages cover."""
    page_size: int
    """0: one digest over everything."""
    platform: int
    runtime: int | None
    digest: bytes
    """Of the directory itself, whole."""

    @property
    def algorithm(self) -> str:
        """Of its digests."""
        return HASHES[self.hash_type][0]

    @property
    def strength(self) -> int:
        """Larger is stronger."""
        return STRENGTH[self.hash_type]

    @property
    def flag_names(self) -> tuple[str, ...]:
        """Bits without a name as hexadecimal."""
        unknown = self.flags & ~sum(FLAGS)
        named = tuple(name for bit, name in FLAGS.items() if self.flags & bit)
        return (*named, hex(unknown)) if unknown else named

    @property
    def cdhash(self) -> bytes:
        """What the kernel knows the code by: the first 20 bytes of `digest`."""
        return self.digest[:CDHASH_BYTES]

    def slot(self, number: int) -> bytes:
        """The digest of a page, or of a special slot (negative numbers)."""
        at = self.hash_offset + number * self.hash_size
        return self.raw[at : at + self.hash_size]

    def fits(self, number: int, data: bytes) -> bool:
        """Whether data has the digest of that slot."""
        return _hash(self.hash_type, data)[: self.hash_size] == self.slot(number)


def _hash(hash_type: int, data: bytes) -> bytes:
    return hashlib.new(HASHES[hash_type][0].removesuffix("-truncated"), data, usedforsecurity=False).digest()


def parse_code_directory(raw: bytes) -> CodeDirectory:
    """One blob, with its magic. Raises `ValueError`."""
    fields = unpack_from(HEADER, raw, 0)
    magic, length, version, flags, hash_at, identifier_at, special, pages, limit = fields[:9]
    hash_size, hash_type, platform, page_exponent = fields[9:13]
    if magic != CSMAGIC_CODEDIRECTORY or length != len(raw):
        raise ValueError("not a code directory, or not all of it")
    if hash_type not in HASHES or hash_size != HASHES[hash_type][1]:
        raise ValueError(f"digest type {hash_type} of {hash_size} bytes is unknown")
    if special > MOST_SPECIAL or pages > MOST_PAGES or page_exponent > LARGEST_PAGE_EXPONENT:
        raise ValueError("implausible numbers of slots")
    if hash_at < HEADER.size + special * hash_size or hash_at + pages * hash_size > length:
        raise ValueError("its digests do not fit")
    if version >= SUPPORTS_SCATTER and unpack_from(SCATTER, raw, 44)[0]:
        raise ValueError("its pages are scattered, which no system uses")
    return CodeDirectory(
        raw=raw,
        version=version,
        flags=flags,
        identifier=c_string(raw, identifier_at),
        team=_team(raw) if version >= SUPPORTS_TEAM else None,
        hash_type=hash_type,
        hash_size=hash_size,
        hash_offset=hash_at,
        special_slots=special,
        code_slots=pages,
        code_limit=(unpack_from(CODE_LIMIT_64, raw, 56)[0] if version >= SUPPORTS_LIMIT_64 else 0) or limit,
        page_size=1 << page_exponent if page_exponent else 0,
        platform=platform,
        runtime=unpack_from(RUNTIME, raw, 88)[0] if version >= SUPPORTS_RUNTIME else None,
        digest=_hash(hash_type, raw),
    )


def _team(raw: bytes) -> str | None:
    (at,) = unpack_from(TEAM, raw, 48)
    return c_string(raw, at) if at else None


def begin_pages(content: Content, directory: CodeDirectory, most: int) -> Callable[[], tuple[int, ...]]:
    """Begins to compare pages with their digests, in other threads; what comes of it is told when it is called for.

    Returns:
        A function for the numbers of pages that have not their digest, ascending; of each part of the file at most so
        many. It raises `ValueError` when the directory covers more, or in another number of pages, than there is.

    Cost: hashes `code_limit` bytes once.
    """
    page, limit = directory.page_size or directory.code_limit, directory.code_limit
    parts: list[Future[list[int]]] = []
    if limit <= content.size and directory.code_slots == (-(-limit // page) if page else 0):
        work = _bad_between if directory.page_size else _bad_whole
        step = max(page, PART_BYTES)
        starts = range(0, limit, step)
        parts = [hand_over(min(step, limit - at), work, content, directory, at, most) for at in starts]

    def collect() -> tuple[int, ...]:
        if limit > content.size:
            raise ValueError(f"{limit} bytes are signed, and the file has {content.size}")
        if not parts and limit:
            raise ValueError(f"{directory.code_slots} digests for {limit} bytes in pages of {page}")
        return tuple(number for part in parts for number in part.result())

    return collect


def _bad_between(content: Content, directory: CodeDirectory, start: int, most: int) -> list[int]:
    """Of the pages of one part."""
    page, limit = directory.page_size, directory.code_limit
    step, found = max(page, READ_BYTES), list[int]()
    for at in range(start, min(start + max(page, PART_BYTES), limit), step):
        piece = content.read(at, min(step, limit - at))
        if len(piece) < min(step, limit - at):
            raise ValueError("the file became shorter")
        found += islice(_bad_in(piece, at // page, directory), most - len(found))
        if len(found) >= most:
            break
    return found


def _bad_in(piece: bytes, first: int, directory: CodeDirectory) -> Iterator[int]:
    """One digest a page."""
    size, algorithm = directory.hash_size, directory.algorithm.removesuffix("-truncated")
    made = page_digests(algorithm, piece, directory.page_size)
    digests = b"".join(made if directory.algorithm == algorithm else (one[:size] for one in made))
    start = directory.hash_offset + first * size
    if directory.raw[start : start + len(digests)] == digests:
        return
    for number in range(len(digests) // size):
        if digests[number * size : (number + 1) * size] != directory.slot(first + number):
            yield first + number


def page_digests(algorithm: str, piece: bytes, page: int) -> Iterator[bytes]:
    """Of each page of a piece, the last of which may be short. The hot loop: none of it is bytecode."""
    begin = getattr(hashlib, algorithm)
    finish = type(begin()).digest
    return map(finish, map(begin, map(memoryview(piece).__getitem__, _cuts(len(piece), page))))


@lru_cache(maxsize=8)
def _cuts(size: int, page: int) -> tuple[slice, ...]:
    return tuple(slice(at, at + page) for at in range(0, size, page))


def _bad_whole(content: Content, directory: CodeDirectory, start: int, most: int) -> list[int]:
    """Where one digest is over everything."""
    new = hashlib.new(directory.algorithm.removesuffix("-truncated"), usedforsecurity=False)
    for at in range(start, directory.code_limit, READ_BYTES):
        new.update(content.read(at, min(READ_BYTES, directory.code_limit - at)))
    return [] if new.digest()[: directory.hash_size] == directory.slot(0) else [0]
