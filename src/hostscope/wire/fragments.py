"""Ports for the later fragments of datagrams, which only the first one carries."""

import numpy as np

from hostscope.wire.batch import I64, U64
from hostscope.wire.decoded import Decoded, Fragment, Problem
from hostscope.wire.keys import KeyIndex


class FragmentTable:
    """The ports of the last datagrams in fragments, across batches. Bounded: the oldest are forgotten."""

    def __init__(self, capacity: int = 8192) -> None:
        self._index = KeyIndex(capacity, 5, lambda rows: None)  # a row's ports are set whenever it is placed
        self._ports = np.zeros((2, capacity), np.uint16)
        self._protocol = np.zeros(capacity, np.uint8)
        self._now = 0

    def resolve(self, out: Decoded) -> None:
        """Fills the ports of later fragments, wherever in the batch their first one is; marks those without."""
        parts = np.flatnonzero(out.fragment)
        for start in range(0, len(parts), self._index.step):
            some = parts[start : start + self._index.step]
            self._learn(out, some[out.fragment[some] == Fragment.FIRST])
        for start in range(0, len(parts), self._index.step):
            some = parts[start : start + self._index.step]
            self._tell(out, some[out.fragment[some] == Fragment.LATER])

    def _learn(self, out: Decoded, first: I64) -> None:
        first = first[out.problem[first] != Problem.TRUNCATED]
        if not len(first):
            return
        self._now += 1
        rows = self._index.place(_keys(out, first), self._now)
        self._ports[0][rows], self._ports[1][rows] = out.source_port[first], out.destination_port[first]
        self._protocol[rows] = out.protocol[first]

    def _tell(self, out: Decoded, later: I64) -> None:
        if not len(later):
            return
        rows = self._index.find(_keys(out, later))
        out.problem[later[rows < 0]] = Problem.FRAGMENT
        later, rows = later[rows >= 0], rows[rows >= 0]
        out.source_port[later], out.destination_port[later] = self._ports[0][rows], self._ports[1][rows]
        # IPv6: what a later fragment names may be an extension header before the transport.
        out.protocol[later] = self._protocol[rows]


def _keys(out: Decoded, index: I64) -> list[U64]:
    """What makes a datagram's identification unique; IPv6 does not count the protocol."""
    four = out.family[index] == 4
    number = (out.fragment_id[index].astype(np.uint64) << np.uint64(16)) | (
        np.where(four, out.protocol[index], 0).astype(np.uint64) << np.uint64(8)
    )
    return [
        number | out.family[index],
        out.source_high[index],
        out.source_low[index],
        out.destination_high[index],
        out.destination_low[index],
    ]
