"""The reading end of a ring buffer, over memory that these tests write as the kernel would."""

import mmap
import os
import struct
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.errors import Unavailable
from hostscope.platforms.linux.ring import HEADER_BYTES, Ring

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="needs a file in memory (Linux)")

PAGE = mmap.PAGESIZE
SIZE = 2 * PAGE
BUSY, DISCARDED = 1 << 31, 1 << 30


class Kernel:
    """Its side of a ring: two pages of positions, then the data twice in a row."""

    def __init__(self, position: int = 0) -> None:
        self.fd = os.memfd_create("ring")
        os.ftruncate(self.fd, 2 * PAGE + 2 * SIZE)
        self.end = position
        os.pwrite(self.fd, struct.pack("<Q", position), 0)
        self.publish()
        self.ring = Ring(self.fd, SIZE)

    def publish(self) -> None:
        os.pwrite(self.fd, struct.pack("<Q", self.end), PAGE)

    def put(self, payload: bytes, flags: int = 0, length: int | None = None) -> int:
        """Adds a record; where it is."""
        at = self.end
        self.write(at, struct.pack("<II", (len(payload) if length is None else length) | flags, 0) + payload)
        self.end += (len(payload) + HEADER_BYTES + 7) & ~7
        self.publish()
        return at

    def write(self, at: int, content: bytes) -> None:
        for offset, byte in enumerate(content):
            for copy in (0, SIZE):
                os.pwrite(self.fd, bytes([byte]), 2 * PAGE + copy + (at + offset) % SIZE)

    @property
    def consumed(self) -> int:
        return int(struct.unpack("<Q", os.pread(self.fd, 8, 0))[0])

    def close(self) -> None:
        self.ring.close()
        os.close(self.fd)


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    kernel = Kernel(SIZE - 24)
    yield kernel
    kernel.close()


def test_records_of_any_size_even_across_the_end(kernel: Kernel) -> None:
    payloads = [b"", b"a", b"b" * 8, b"c" * 100]
    for payload in payloads:
        kernel.put(payload)
    assert kernel.ring.read() == payloads
    assert (kernel.consumed, kernel.ring.pending_bytes) == (kernel.end, 0)


def test_what_is_not_finished_waits_and_so_does_what_follows(kernel: Kernel) -> None:
    kernel.put(b"first")
    busy = kernel.put(b"later", BUSY)
    kernel.put(b"after")
    assert kernel.ring.read() == [b"first"]
    assert kernel.consumed == busy
    assert kernel.ring.read() == []
    begun = time.monotonic()
    assert not kernel.ring.wait(0.02)
    assert time.monotonic() - begun >= 0.02
    kernel.write(busy, struct.pack("<I", 5))
    assert kernel.ring.wait(0)
    assert kernel.ring.read() == [b"later", b"after"]


def test_discarded_records_are_passed_over(kernel: Kernel) -> None:
    kept = []
    for n in range(200):
        payload = struct.pack("<I", n)
        discarded = n % 7 == 3
        kernel.put(payload, DISCARDED if discarded else 0)
        kept += [] if discarded else [n]
    assert kernel.ring.read() == [struct.pack("<I", n) for n in kept]
    assert kernel.consumed == kernel.end


def test_at_least_one_record_comes_however_little_is_asked_for(kernel: Kernel) -> None:
    for _ in range(3):
        kernel.put(b"x" * 50)
    assert kernel.ring.read(1) == [b"x" * 50]
    assert kernel.ring.read(65) == [b"x" * 50] * 2


def test_a_full_ring(kernel: Kernel) -> None:
    for n in range(SIZE // 16):
        kernel.put(struct.pack("<Q", n))
    assert kernel.ring.read() == [struct.pack("<Q", n) for n in range(SIZE // 16)]


@given(st.integers(0, 1 << 40), st.binary(max_size=200), st.integers(0, SIZE))
def test_any_bytes_in_the_ring(start: int, content: bytes, ahead: int) -> None:
    kernel = Kernel(start & ~7)
    try:
        kernel.write(kernel.end, content)
        kernel.end += ahead & ~7
        kernel.publish()
        for _ in range(3):
            with suppress(Unavailable):
                assert len(b"".join(kernel.ring.read())) <= SIZE
        assert kernel.consumed <= kernel.end
    finally:
        kernel.close()
