"""What the headers of a batch say, as columns."""

from enum import IntEnum
from typing import Self

import numpy as np
from msgspec import Struct

from hostscope.wire.batch import I16, I64, U8, U16, U32, U64


class Problem(IntEnum):
    """Why a packet is not, or not completely, understood."""

    NONE = 0
    TRUNCATED = 1
    """A header was not captured completely (snap length)."""
    MALFORMED = 2
    """A header contradicts itself or the bytes around it. Where `family` is set, addresses were still found."""
    NOT_IP = 3
    """ARP, spanning tree and everything else that is not IP."""
    UNKNOWN_LINK = 4
    FRAGMENT = 5
    """A later fragment whose first one, with the ports, was not seen."""
    TOO_DEEP = 6
    """More nested headers than are followed; the flow is the last one that was reached."""


class Tunnel(IntEnum):
    """What carried the packet."""

    NONE = 0
    GRE = 1
    VXLAN = 2
    IP = 3
    """IPv4 or IPv6 directly inside IPv4 or IPv6."""


class Fragment(IntEnum):
    """Which part of a datagram a packet is."""

    WHOLE = 0
    FIRST = 1
    LATER = 2


class Decoded(Struct, frozen=True, eq=False):
    """One value for each packet of a batch in each column. Columns may be read-only.

    Inside a tunnel everything describes the inner packet, and `tunnel` and the outer columns what carried it. A packet
    belongs to a flow where `family` is not 0; ports that could not be read are 0 and `problem` says why.
    """

    family: U8
    """4, 6, or 0 where there is no readable IP header."""
    protocol: U8
    """IP protocol number of the transport."""
    source_high: U64
    """First eight bytes of the address as a number; 0 for IPv4."""
    source_low: U64
    """Last eight bytes of an IPv6 address, or the IPv4 address."""
    destination_high: U64
    destination_low: U64
    source_port: U16
    """For ICMP messages with an identifier (echo) that identifier, on both sides."""
    destination_port: U16
    tcp_flags: U8
    icmp: U16
    """ICMP type * 256 + code."""
    transport_offset: I64
    """Where the transport's header begins in the batch's `data`; told of TCP, whose sequence numbers are in it."""
    payload_offset: I64
    """Where the transport's payload begins in the batch's `data`."""
    payload_bytes: U32
    """Payload on the wire, as the headers say, without the link's padding; 0 where the transport's header is cut."""
    payload_captured: U32
    """How much of it is in `data`."""
    ttl: U8
    fragment: U8
    fragment_id: U32
    vlan_outer: I16
    """-1 for none."""
    vlan_inner: I16
    tunnel: U8
    tunnel_id: U32
    """VXLAN network identifier or GRE key, 0 for none."""
    outer_family: U8
    outer_source_high: U64
    outer_source_low: U64
    outer_destination_high: U64
    outer_destination_low: U64
    problem: U8

    def __len__(self) -> int:
        return len(self.family)

    def take(self, index: I64) -> Self:
        """What is known of these packets."""
        columns = (getattr(self, name) for name in self.__struct_fields__)
        # Columns of one value for all packets stay what they are.
        return type(self)(*(column.take(index) if column.strides[0] else column[: len(index)] for column in columns))

    @classmethod
    def blank(cls, count: int) -> Self:
        """Columns for `count` packets about which nothing is known yet."""

        def u8() -> U8:
            return np.zeros(count, np.uint8)

        def u16() -> U16:
            return np.zeros(count, np.uint16)

        def u32() -> U32:
            return np.zeros(count, np.uint32)

        def u64() -> U64:
            return np.zeros(count, np.uint64)

        def i64() -> I64:
            return np.zeros(count, np.int64)

        def vlan() -> I16:
            return np.full(count, -1, np.int16)

        return cls(
            u8(), u8(), u64(), u64(), u64(), u64(), u16(), u16(), u8(), u16(), i64(), i64(), u32(), u32(),
            u8(), u8(), u32(), vlan(), vlan(), u8(), u32(), u8(), u64(), u64(), u64(), u64(), u8(),
        )  # fmt: skip
