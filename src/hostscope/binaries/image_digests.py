"""Digests of PE images and their pages, each worked out once, and of files that are none. Pure."""

import hashlib
from concurrent.futures import Future
from typing import Any

from hostscope.binaries.code_directory import page_digests
from hostscope.binaries.content import Content
from hostscope.binaries.hands import hand_over
from hostscope.binaries.pe import PAGE_BYTES, Pe, covered

PAGES_READ = 64
READ_BYTES = 1 << 18
LARGEST_PAGE = 1 << 20
Page = tuple[int, int, bytes]
"""Where it begins and ends in the file, and its digest."""


class ImageDigests:
    """Digests of one image, each worked out once, in threads of their own."""

    def __init__(self, content: Content, pe: Pe) -> None:
        self.content = content
        self._pe = pe
        self._plain_from = self._first_plain()
        self._known: dict[str, Future[bytes]] = {}

    def _first_plain(self) -> int:
        """From here on up to the certificate table nothing is left out."""
        left_out = self._pe.checksum_at + 4 if self._pe.entry_at is None else self._pe.entry_at + 8
        return max(left_out, self._pe.checksum_at + 4)

    def begin(self, algorithm: str) -> "Future[bytes]":
        """Of everything that is covered. Cost: reads the file once for each algorithm."""
        if algorithm not in self._known:
            size = self.content.size
            self._known[algorithm] = hand_over(size, lambda: bytes(self._hash(algorithm, 0, None).digest()))
        return self._known[algorithm]

    def image(self, algorithm: str) -> bytes:
        """The same, waited for."""
        return self.begin(algorithm).result()

    def changed_pages(self, algorithm: str, pages: "list[Page]") -> list[int]:
        """Where pages begin that have not their digest; each is filled up with zeros to its full size."""
        found = list[int]()
        for number in range(0, len(pages), PAGES_READ):
            block = pages[number : number + PAGES_READ]
            if not self._is_plain(block) or self._digests(algorithm, block) != [digest for _, _, digest in block]:
                found += [start for start, end, digest in block if self._odd_page(algorithm, start, end) != digest]
        return found

    def _digests(self, algorithm: str, block: "list[Page]") -> list[bytes]:
        """Of whole pages without gaps, read at once."""
        start = block[0][0]
        return list(page_digests(algorithm, self.content.read(start, block[-1][1] - start), PAGE_BYTES))

    def _is_plain(self, block: "list[Page]") -> bool:
        """Whether all pages are whole, without gaps, and nothing of them is left out."""
        end = self._pe.table[0] if self._pe.table else self.content.size
        return (
            self._plain_from <= block[0][0]
            and block[-1][1] <= end
            and block[-1][1] - block[0][0] == PAGE_BYTES * len(block)
            and all(end - start == PAGE_BYTES for start, end, _ in block)
        )

    def _odd_page(self, algorithm: str, start: int, end: int) -> bytes:
        """Of a page with headers, or a short one; of one that makes no sense, none."""
        if not 0 <= start < end <= self.content.size:
            return b""
        digest = self._hash(algorithm, start, end)
        digest.update(bytes(-(end - start) % PAGE_BYTES))
        return bytes(digest.digest())

    def _hash(self, algorithm: str, start: int, end: int | None) -> Any:
        digest = hashlib.new(algorithm, usedforsecurity=False)
        for first, last in covered(self.content, self._pe, start, end):
            for at in range(first, last, READ_BYTES):
                digest.update(self.content.read(at, min(READ_BYTES, last - at)))
        return digest


class FileDigests:
    """Digests of a file that is no PE file: of all its bytes."""

    def __init__(self, content: Content) -> None:
        self._content = content

    def image(self, algorithm: str) -> bytes:
        """Of everything."""
        digest = hashlib.new(algorithm, usedforsecurity=False)
        for at in range(0, self._content.size, READ_BYTES):
            digest.update(self._content.read(at, READ_BYTES))
        return digest.digest()


def check_pages(pages: "list[Page]") -> None:
    """Pages follow each other: so the file is hashed once, and not as often as someone wrote down.

    Raises:
        ValueError: they do not.
    """
    end = 0
    for start, following, _ in pages:
        if not end <= start < following <= start + LARGEST_PAGE:
            raise ValueError("pages do not follow each other")
        end = following
