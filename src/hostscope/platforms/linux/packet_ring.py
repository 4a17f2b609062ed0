"""One packet socket and the ring that it shares with the kernel (TPACKET_V3, Linux 3.2).

V3 packs packets of any size into blocks; V2's fixed frames would cut every packet at the frame, or spend 64 KiB on
each, and would wake the reader for each. What V3 costs is following the list of packets in each block.

Nothing is copied: a batch points into the ring, and its blocks go back to the kernel when the next one is asked for.
"""

import mmap
import os
import socket
import struct
from contextlib import suppress
from errno import ENOMEM

import numpy as np
from msgspec import Struct
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from hostscope.platforms.linux.native.libc import bind_packet, packet_interface
from hostscope.platforms.linux.packet_filter import DROP_ALL, SLL2_BYTES, Program, attach
from hostscope.wire.batch import I64, U8, U32, PacketBatch

SOL_PACKET = 263
PACKET_ADD_MEMBERSHIP, PACKET_RX_RING, PACKET_STATISTICS, PACKET_VERSION, PACKET_IGNORE_OUTGOING = 1, 5, 6, 10, 23
PACKET_MR_PROMISC = 1
TPACKET_V3 = 2
ETH_P_ALL = 3
BLOCK_BYTES = 1 << 18
"""The largest packet has to fit in: 64 KiB of segmentation offload and its headers. Three of them do; blocks that hold
one leave half of the ring empty, and lost a third more of a burst on the loopback interface."""
FRAME_BYTES = 2048
"""A formality of the request: V3 packs tighter."""
_MOST_FRAMES = 0xFFFF_FFFF
"""Of one ring, by the request's field."""
RETIRE_MS = 40
"""A block that is not full is handed over after so long."""
MOST_BLOCKS = 12
"""In one batch: 3 MiB, 14,000 small packets, so that what was decoded is still in the caches when it is written."""

_USER, _KERNEL = 1, 0
_LOSING = 4
_STATUS, _COUNT, _FIRST = 2, 3, 4
"""Words of struct tpacket_block_desc."""
_HEADER_WORDS, _INTERFACE = 17, 13
"""struct tpacket3_hdr (48 bytes) and the sockaddr_ll behind it."""
_VLAN_VALID, _VLAN_TYPE_VALID = 1 << 4, 1 << 6
_TAG_BYTES, _MACS_BYTES = 4, 12
_OUTGOING = 4
_FLAGS = np.array([0b00101, 0b01101, 0b01001, 0b10001, 0b00010, 0, 0, 0], np.uint8)
"""PACKET_HOST, _BROADCAST, _MULTICAST, _OTHERHOST, _OUTGOING as pcapng's epb_flags."""


class Blocks(Struct, frozen=True):
    """Consecutive filled blocks of a ring."""

    first: int
    count: int


class PacketRing:
    """A packet socket on one interface, or with index 0 on all of them, that nothing passes before `start`."""

    def __init__(self, ring_bytes: int, snap_bytes: int, cooked: bool, everywhere: bool, loopback: int) -> None:
        """`loopback` is the index of an interface whose outgoing packets are left out: each comes in again."""
        kind = socket.SOCK_DGRAM if cooked else socket.SOCK_RAW
        # With protocol 0 a socket hears nothing until it is bound. Python cannot bind to all interfaces: that socket
        # hears them from the first moment, so it drops everything until `start`; making the ring empties its queue.
        self.socket = socket.socket(socket.AF_PACKET, kind | socket.SOCK_CLOEXEC, socket.htons(ETH_P_ALL * everywhere))
        self.received = self.dropped = 0
        self._untold = 0
        """Of `dropped`, those that no batch has told of yet."""
        self._cooked, self._snap_bytes, self._loopback = cooked, snap_bytes, loopback
        self._blocks = max(4, ring_bytes // BLOCK_BYTES)
        self._next = 0
        self._given: Blocks | None = None
        try:
            attach(self.socket, DROP_ALL)
            self._memory = self._map()
        except OSError:
            self.socket.close()
            raise
        self._bytes = np.frombuffer(self._memory, np.uint8)
        self._words = self._bytes.view(np.uint32)
        self._rows = as_strided(self._words, (len(self._words) // 2 - 9, _HEADER_WORDS), (8, 4))
        self._starts = np.arange(self._blocks, dtype=np.int64) * BLOCK_BYTES

    def _map(self) -> mmap.mmap:
        self.socket.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V3)
        frames = self._blocks * (BLOCK_BYTES // FRAME_BYTES)
        if frames > _MOST_FRAMES:
            raise OSError(ENOMEM, os.strerror(ENOMEM))
        request = struct.pack("@7I", BLOCK_BYTES, self._blocks, FRAME_BYTES, frames, RETIRE_MS, 0, 0)
        self.socket.setsockopt(SOL_PACKET, PACKET_RX_RING, request)
        # Populated at once: a page fault costs as much as several packets.
        flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
        return mmap.mmap(self.socket.fileno(), self._blocks * BLOCK_BYTES, flags)

    def start(self, index: int, program: Program, promiscuous: bool) -> None:
        """Lets packets in that pass the filter, and no others before it.

        Raises:
            OSError: the interface has gone or is down, or the kernel rejects the filter.
        """
        if self._loopback == index:
            with suppress(OSError):  # before Linux 4.20 they are left out when they are read
                self.socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        attach(self.socket, program)
        if index:
            bind_packet(self.socket.fileno(), socket.htons(ETH_P_ALL), index)
        if promiscuous and index:
            membership = struct.pack("@iHH8s", index, PACKET_MR_PROMISC, 0, b"")
            self.socket.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, membership)

    def stop(self) -> None:
        """Lets no more packets in; those that are there can still be read, the last after `RETIRE_MS`."""
        attach(self.socket, DROP_ALL)

    def close(self) -> None:
        """Closes the socket, which also takes promiscuous mode back. The ring stays while a batch points into it."""
        self.socket.close()

    def failure(self) -> int:
        """The number of the error that the socket reports, once; 0 for none."""
        return self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def has_gone(self) -> bool:
        """Whether the interface that the socket was bound to is no more."""
        return packet_interface(self.socket.fileno()) < 0

    def count(self) -> None:
        """Adds up the kernel's statistics, which start again with each question."""
        passed, dropped, _ = struct.unpack("@3I", self.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 12))
        self.received += passed  # dropped ones included, says packet_getsockopt
        self.dropped += dropped
        self._untold += dropped

    def take(self, interface: int, link: int) -> PacketBatch | None:
        """The packets of the blocks that are filled, up to `MOST_BLOCKS`; None when there are none.

        Gives the blocks of the batch before back to the kernel, whose arrays must not be used any more.
        """
        self.release()
        blocks = self._filled()
        if blocks is None:
            return None
        self._given = blocks
        starts = self._starts[blocks.first : blocks.first + blocks.count]
        if (self._words[starts // 4 + _STATUS] & _LOSING).any():
            self.count()
        lost, self._untold = self._untold, 0
        return self._batch(self._positions(starts), interface, link, lost)

    def release(self) -> None:
        """Gives the blocks that are in use back to the kernel."""
        if self._given is not None:
            starts = self._starts[self._given.first : self._given.first + self._given.count]
            self._words[starts // 4 + _STATUS] = _KERNEL
            self._next = (self._given.first + self._given.count) % self._blocks
            self._given = None

    def _filled(self) -> Blocks | None:
        """From the next block on, without going round the end of the ring."""
        most = min(MOST_BLOCKS, self._blocks - self._next)
        status = self._words[self._starts[self._next : self._next + most] // 4 + _STATUS]
        waiting = np.flatnonzero((status & _USER) == 0)
        count = int(waiting[0]) if len(waiting) else most
        return Blocks(self._next, count) if count else None

    def _positions(self, starts: I64) -> I64:
        """Where each packet's header begins. Each says how far the next one is, so they can only be followed.

        Cost: 0.06 µs a packet, a third of reading the rest of the header. Following the lists of many blocks at once
        with NumPy took 0.14 with 16 blocks and 0.04 with 64.
        """
        words, found = memoryview(self._memory).cast("I"), list[int]()
        for start in starts.tolist():
            at = (start + words[start // 4 + _FIRST]) // 4
            for _ in range(words[start // 4 + _COUNT]):
                found.append(at)
                at += words[at] >> 2
        words.release()
        return np.array(found, np.int64) * 4

    def _batch(self, at: I64, interface: int, link: int, lost: int) -> PacketBatch:
        header = self._rows[at >> 3]
        if self._loopback:
            again = (header[:, _INTERFACE] == self._loopback) & (_kinds(header) == _OUTGOING)
            at, header = at[~again], header[~again]
        offsets = at + (header[:, 6] & 0xFFFF)
        captured, lengths = header[:, 3], header[:, 4]
        if self._cooked or (header[:, 5] & _VLAN_VALID).any():
            lead = self._put_cooked_headers(offsets, header) if self._cooked else self._put_tags_back(offsets, header)
            offsets, lengths = offsets - lead, lengths + lead
            captured = np.minimum(captured + lead, self._snap_bytes)
        return PacketBatch(
            data=self._bytes,
            offsets=offsets,
            captured=captured,
            lengths=lengths,
            at_ns=header[:, 1].astype(np.int64) * 1_000_000_000 + header[:, 2],
            interface=np.full(len(at), interface, np.uint16),
            link=link,
            flags=_FLAGS[_kinds(header) & 7],
            lost=lost,
        )

    def _put_tags_back(self, offsets: I64, header: U32) -> U32:
        """Makes tagged Ethernet frames what they were on the wire, in place; how many bytes earlier each begins.

        The kernel takes the tag out of every frame. Before a frame it leaves 14 bytes free.
        """
        tagged = np.flatnonzero((header[:, 5] & _VLAN_VALID != 0) & (header[:, 3] >= _MACS_BYTES))
        frames = offsets[tagged, None]
        self._bytes[frames + np.arange(-_TAG_BYTES, _MACS_BYTES - _TAG_BYTES)] = self._bytes[
            frames + np.arange(_MACS_BYTES)
        ]
        self._bytes[frames + np.arange(_MACS_BYTES - _TAG_BYTES, _MACS_BYTES)] = _tags(header[tagged])
        lead = np.zeros(len(offsets), np.uint32)
        lead[tagged] = _TAG_BYTES
        return lead

    def _put_cooked_headers(self, offsets: I64, header: U32) -> U32:
        """Writes a LINUX_SLL2 header before each packet, in place; how many bytes it takes.

        Between the socket address and the packet the kernel leaves 28 bytes: 20 for the header, 4 for a tag.
        """
        cooked = np.zeros((len(offsets), SLL2_BYTES + _TAG_BYTES), np.uint8)
        cooked[:, 0:2] = _bytes_of(header[:, 12] >> 16, "<u2")  # the protocol stands in network order
        cooked[:, 4:8] = _bytes_of(header[:, _INTERFACE], ">u4")
        cooked[:, 8:10] = _bytes_of(header[:, 14] & 0xFFFF, ">u2")
        cooked[:, 10:12] = _bytes_of(header[:, 14] >> 16, "<u2")
        cooked[:, 12:20] = _bytes_of(header[:, 15:17].reshape(-1), "<u4").reshape(-1, 8)
        tagged = header[:, 5] & _VLAN_VALID != 0
        tags = _tags(header[tagged])
        cooked[tagged, 20:22], cooked[tagged, 22:24] = tags[:, 2:4], cooked[tagged, 0:2]
        cooked[tagged, 0:2] = tags[:, 0:2]
        for rows, size in ((~tagged, SLL2_BYTES), (tagged, SLL2_BYTES + _TAG_BYTES)):
            self._bytes[offsets[rows, None] + np.arange(-size, 0)] = cooked[rows, :size]
        lead = np.full(len(offsets), SLL2_BYTES, np.uint32)
        lead[tagged] += _TAG_BYTES
        return lead


def _kinds(header: U32) -> NDArray[np.integer]:
    """PACKET_HOST and its like."""
    return header[:, 14] >> 16 & 0xFF


def _tags(header: U32) -> U8:
    """The four bytes of each frame's VLAN tag; 802.1Q where the kernel does not tell the type (before Linux 3.14)."""
    types = np.where(header[:, 5] & _VLAN_TYPE_VALID, header[:, 9] & 0xFFFF, 0x8100)
    return np.hstack([_bytes_of(types, ">u2"), _bytes_of(header[:, 8] & 0xFFFF, ">u2")])


def _bytes_of(numbers: NDArray[np.integer], form: str) -> U8:
    """One row of bytes for each number."""
    return np.ascontiguousarray(numbers.astype(form)).view(np.uint8).reshape(-1, np.dtype(form).itemsize)
