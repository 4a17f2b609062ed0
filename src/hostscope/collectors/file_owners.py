"""Whose the flows of a capture file are, where the file itself says so: in the comments that `capture` writes."""

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hostscope.platforms.socket_index import KERNEL

if TYPE_CHECKING:
    from hostscope.wire.batch import I64, PacketBatch
    from hostscope.wire.capture_file import CaptureFile

_TRIES = 8
"""Packets of one flow that are looked at for a process: the first ones often come before it is known."""
NEITHER = ""
"""Stands for the end where a comment is about both."""
_UNKNOWN, _THE_KERNEL = "process unknown: ", "the kernel"
_OWNER = re.compile(
    r"(?:one of \d+ sockets: )?(?P<who>[^\n]{1,64}?\[\d{1,10}\](?: in [^\n:]{1,128})?)(?:: .*)?", re.DOTALL
)


class Said(NamedTuple):
    """What a file says of one end of a flow."""

    name: str | None
    """``curl[1234]``, with `` in web`` for a container: the number is no key, for the file does not say when that
    process began."""
    unknown: str | None = None


class FileOwners:
    """What the comments of packets say of their flows, by the flow's number. Bounded by `most` flows."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._said: dict[int, dict[str, Said]] = {}
        self._tries: dict[int, int] = {}

    def learn(self, file: "CaptureFile", batch: "PacketBatch", ids: "I64") -> None:
        """Reads the comments of the first packet of each flow in a batch, until one names a process.

        Cost: nothing for packets without options; 5 µs a flow.
        """
        noted = file.noted(batch)
        if not len(noted):
            return
        flows, first = np.unique(ids[noted], return_index=True)
        for flow, place in zip(flows.tolist(), noted[first].tolist(), strict=True):
            if flow and self._wanted(flow):
                self._tries[flow] = self._tries.get(flow, 0) + 1
                self._said[flow] = parse_owners(file.comments(batch, place)) or self._said.get(flow, {})

    def of(self, flow: int) -> dict[str, Said]:
        """End as text -> what was said of it."""
        return self._said.get(flow, {})

    def _wanted(self, flow: int) -> bool:
        tries = self._tries.get(flow, 0)
        if not tries:
            return len(self._tries) < self._most
        return tries < _TRIES and not any(said.name for said in self.of(flow).values())


def parse_owners(comments: tuple[str, ...]) -> dict[str, Said]:
    """What comments such as ``10.0.0.1:443 = nginx[17]: nginx -g`` say; the first of each end.

    Any text will do.
    """
    found: dict[str, Said] = {}
    for comment in comments:
        end, separator, rest = comment.partition(" = ")
        said = _said(rest) if separator else _said(comment) if comment.startswith(_UNKNOWN) else None
        if said is not None:
            found.setdefault(end if separator else NEITHER, said)
    return found


def _said(text: str) -> Said | None:
    if text.startswith(_UNKNOWN):
        return Said(None, text.removeprefix(_UNKNOWN))
    if text == _THE_KERNEL:
        return Said(None, KERNEL)
    owner = _OWNER.fullmatch(text)
    return Said(owner["who"]) if owner else None
