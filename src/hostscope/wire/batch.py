"""Packets as columns: many of them inside one buffer, nothing copied."""

from enum import IntEnum
from typing import Self, TypeAlias

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from hostscope.model.socket import SocketOwner

U8: TypeAlias = NDArray[np.uint8]
U16: TypeAlias = NDArray[np.uint16]
U32: TypeAlias = NDArray[np.uint32]
U64: TypeAlias = NDArray[np.uint64]
I16: TypeAlias = NDArray[np.int16]
I64: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = NDArray[np.bool_]


class Link(IntEnum):
    """What a packet begins with, by the numbers of pcap files (LINKTYPE_*)."""

    NULL = 0
    """BSD loopback: the address family in the byte order of the machine that captured."""
    ETHERNET = 1
    RAW_BSD = 12
    """Raw IP as it is written by systems whose DLT_RAW is 12."""
    RAW_OPENBSD = 14
    RAW = 101
    LOOP = 108
    """OpenBSD loopback: the address family in network byte order."""
    LINUX_SLL = 113
    IPV4 = 228
    IPV6 = 229
    LINUX_SLL2 = 276


class PacketBatch(Struct, frozen=True, eq=False):
    """N packets of one link type inside one buffer.

    The buffer may be a kernel's ring: whoever gives such a batch away says how long it stays valid. `decode` trusts
    none of the numbers: a packet that is said to lie outside the buffer has no bytes.
    """

    data: U8
    """All bytes, one-dimensional and contiguous."""
    offsets: I64
    """Where each packet begins in `data`."""
    captured: U32
    """Bytes of each packet that are in `data`."""
    lengths: U32
    """Bytes that each packet had on the wire; more than `captured` where it was cut."""
    at_ns: I64
    """When it was seen (UTC)."""
    interface: U16
    """Index of the interface in the source's own list."""
    link: int = Link.ETHERNET
    vlan: I16 | None = None
    """The VLAN identifier that the capturing kernel had taken out of each frame (offload), -1 for none."""
    flags: U8 | None = None
    """Direction and reception of each packet, as pcapng's epb_flags has them; None where it was not told."""
    lost: int = 0
    """Packets that the capture dropped just before the first one."""
    owners: tuple[SocketOwner | None, ...] | None = None
    """Whose each packet is, where what captured says so itself; by `flags` who sent it, or who received it."""

    def __len__(self) -> int:
        return len(self.offsets)

    @classmethod
    def of_frames(
        cls,
        frames: U8,
        starts: I64 | int,
        captured: U32,
        lengths: U32,
        at_ns: I64,
        interface: U16,
        link: int = Link.ETHERNET,
        vlan: I16 | None = None,
    ) -> Self:
        """A batch over a ring's fixed frames, which are not copied.

        Args:
            frames: a C-contiguous (N, bytes per frame) array.
            starts: where the packet begins in its frame, for each or for all.
        """
        count, size = frames.shape
        offsets = np.arange(count, dtype=np.int64) * size + starts
        return cls(frames.reshape(-1), offsets, captured, lengths, at_ns, interface, link, vlan)

    def part(self, start: int, stop: int) -> Self:
        """The packets of that range, over the same buffer."""
        span = slice(start, stop)
        vlan = None if self.vlan is None else self.vlan[span]
        flags, lost = None if self.flags is None else self.flags[span], 0 if start else self.lost
        owners = None if self.owners is None else self.owners[span]
        return type(self)(
            self.data, self.offsets[span], self.captured[span], self.lengths[span], self.at_ns[span],
            self.interface[span], self.link, vlan, flags, lost, owners,
        )  # fmt: skip

    def take(self, index: I64) -> Self:
        """These packets, over the same buffer."""
        vlan = None if self.vlan is None else self.vlan.take(index)
        flags = None if self.flags is None else self.flags.take(index)
        owners = None if self.owners is None else tuple(self.owners[place] for place in index.tolist())
        return type(self)(
            self.data, self.offsets.take(index), self.captured.take(index), self.lengths.take(index),
            self.at_ns.take(index), self.interface.take(index), self.link, vlan, flags, owners=owners,
        )  # fmt: skip

    def packet(self, index: int) -> bytes:
        """The captured bytes of one packet."""
        begin = int(self.offsets[index])
        return self.data[begin : begin + int(self.captured[index])].tobytes()


def empty_batch() -> PacketBatch:
    """No packets: a live source's sign that it is still there."""
    none = np.zeros(0, np.int64)
    sizes = none.astype(np.uint32)
    return PacketBatch(none.astype(np.uint8), none, sizes, sizes, none, none.astype(np.uint16))
