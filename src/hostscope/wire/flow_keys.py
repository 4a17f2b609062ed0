"""What makes packets one flow, as words for a `KeyIndex`: both directions give the same key."""

from typing import NamedTuple, TypeVar

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from hostscope.wire.batch import I64, U16, U64, Mask, PacketBatch
from hostscope.wire.decoded import Decoded

_N = TypeVar("_N", bound=np.generic)

WORDS = 7
"""IPv4 without a tunnel uses the first three: lower end, upper end, scope. IPv6 puts the addresses' first halves into
the ends, and their last halves, the ports and the tunnel's number into the others."""

_PORT, _PROTOCOL, _TUNNEL, _INNER, _OUTER, _INTERFACE = (np.uint64(bits) for bits in (16, 2, 10, 14, 27, 40))


class Scope(Struct, frozen=True):
    """What else keeps flows apart, beside protocol, addresses and ports."""

    vlan: bool = True
    tunnel: bool = True
    interface: bool = False


class Keys(NamedTuple):
    """Keys of some packets."""

    words: list[U64]
    backward: Mask
    """The packet goes from the upper end to the lower; which is which means nothing else."""


class ScopeColumns(NamedTuple):
    """What `_scope` put together, taken apart."""

    family: I64
    protocol: I64
    tunnel: I64
    vlan_inner: I64
    vlan_outer: I64
    interface: I64


def is_short(out: Decoded, scope: Scope) -> Mask:
    """Which packets `short_keys` is for."""
    four: Mask = out.family == 4
    return four & (out.tunnel == 0) if scope.tunnel and out.tunnel.any() else four


def take_scope_apart(word: U64) -> ScopeColumns:
    """The columns of a scope word; VLANs are -1 for none."""
    number = word.astype(np.int64)
    return ScopeColumns(
        (number & 3) * 2, number >> 2 & 0xFF, number >> 10 & 0xF, (number >> 14 & 0x1FFF) - 1,
        (number >> 27 & 0x1FFF) - 1, number >> 40 & 0xFFFF,
    )  # fmt: skip


def short_keys(batch: PacketBatch, out: Decoded, scope: Scope, index: I64 | None = None) -> Keys:
    """Keys of IPv4 packets without a tunnel: all packets, or those of `index`."""
    source = (_some(out.source_low, index) << _PORT) | _some(out.source_port, index)
    destination = (_some(out.destination_low, index) << _PORT) | _some(out.destination_port, index)
    ends = [np.minimum(source, destination), np.maximum(source, destination)]
    return Keys([*ends, _scope(batch, out, scope, index)], source > destination)


def long_keys(batch: PacketBatch, out: Decoded, scope: Scope, index: I64) -> Keys:
    """Keys of any packets."""
    high, low, port = (
        (out.source_high.take(index), out.destination_high.take(index)),
        (out.source_low.take(index), out.destination_low.take(index)),
        (out.source_port.take(index), out.destination_port.take(index)),
    )
    backward = (high[0] > high[1]) | (
        (high[0] == high[1]) & ((low[0] > low[1]) | ((low[0] == low[1]) & (port[0] > port[1])))
    )
    lower_port, upper_port = _ordered(port, backward)
    number = out.tunnel_id.take(index).astype(np.uint64) if scope.tunnel else np.zeros(len(index), np.uint64)
    ports = (lower_port << _PORT) | upper_port
    words = [*_ordered(high, backward), _scope(batch, out, scope, index), *_ordered(low, backward), ports, number]
    return Keys(words, backward)


def _some(column: NDArray[_N], index: I64 | None) -> NDArray[_N]:
    return column if index is None else column.take(index)


def _ordered(pair: tuple[U64 | U16, U64 | U16], backward: Mask) -> tuple[U64, U64]:
    lower, upper = np.where(backward, pair[1], pair[0]), np.where(backward, pair[0], pair[1])
    return lower.astype(np.uint64), upper.astype(np.uint64)


def _scope(batch: PacketBatch, out: Decoded, scope: Scope, index: I64 | None) -> U64:
    """Family, protocol and what `Scope` asks for, in separate bits; the form of the key follows from them."""
    word = _some(out.protocol, index).astype(np.uint64) << _PROTOCOL
    word |= _some(out.family, index) >> 1  # 4 and 6 become 2 and 3
    if scope.tunnel and out.tunnel.any():
        word |= _some(out.tunnel, index).astype(np.uint64) << _TUNNEL
    if scope.vlan and (out.vlan_outer >= 0).any():
        word |= (_some(out.vlan_inner, index) + 1).astype(np.uint64) << _INNER
        word |= (_some(out.vlan_outer, index) + 1).astype(np.uint64) << _OUTER
    if scope.interface:
        word |= _some(batch.interface, index).astype(np.uint64) << _INTERFACE
    return word
