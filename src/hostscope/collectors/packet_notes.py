"""What stands beside captured packets: which process is at which end, as comments of their flows."""

import socket
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from hostscope.collectors.attribution import FlowOwners, Owner, Owners, Question
from hostscope.model.socket import Endpoint
from hostscope.render.sanitise import sanitise
from hostscope.wire.batch import I64, PacketBatch
from hostscope.wire.decode import decode
from hostscope.wire.decoded import Decoded
from hostscope.wire.dns import parse_message
from hostscope.wire.flows import FlowTable
from hostscope.wire.fragments import FragmentTable
from hostscope.wire.names import addresses_of
from hostscope.wire.pcapng_write import Notes, comment

PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp6", 132: "sctp", 136: "udplite"}
COMMAND_CHARACTERS = 200
"""Of a command line in the comment of a packet; the name block has it whole."""
_MOST_OWNERS = 3
_TRIES = 4
"""How often a flow without a process is asked about again, each time in another batch."""
_MOST_FLOWS = 65_536
_MOST_ASKED = 500
"""Flows of one batch that are asked about, at 20 µs each: a flood of new flows must not cost packets."""
_MOST_NAMES, _MOST_OF_ONE = 16_384, 4
_MOST_PEOPLE = 4096
_DNS, _UDP = 53, 17


class _Known(NamedTuple):
    options: bytes
    named: bool
    tries: int


class PacketNotes:
    """Comments for packets, made once for each flow."""

    def __init__(self, owners: Owners) -> None:
        self._owners = owners
        self._flows = FlowTable()
        self._fragments = FragmentTable(4096)
        self._known: dict[int, _Known] = {}
        self.people: dict[str, None] = {}
        """One line for each process that was named, with its whole command line."""
        self.names: dict[str, list[str]] = {}
        """Address -> names that DNS answers gave it."""
        self.unasked = 0
        """How often the process of a flow was not looked up, because too many were new at once."""
        self.named = 0
        """Packets with a process beside them."""

    def of(self, batch: PacketBatch) -> Notes:
        """A note for each packet of the batch."""
        out = decode(batch, self._fragments)
        update = self._flows.update(batch, out)
        self._learn(batch, out, update.look)
        ids, first, index = np.unique(update.ids, return_index=True, return_inverse=True)
        self._ask(out, ids.tolist(), first.tolist())
        known = [self._known.get(flow, _NOTHING) for flow in ids.tolist()]
        counts = np.bincount(index, minlength=len(known))
        self.named += int(sum(count for count, one in zip(counts.tolist(), known, strict=True) if one.named))
        return Notes([one.options for one in known], index.astype(np.int64).reshape(-1))

    def _learn(self, batch: PacketBatch, out: Decoded, look: I64) -> None:
        """Names of addresses from the DNS answers among the packets."""
        answers = look[(out.source_port[look] == _DNS) & (out.protocol[look] == _UDP)]
        for place in answers.tolist():
            begin = int(out.payload_offset[place])
            message = parse_message(batch.data[begin : begin + int(out.payload_captured[place])].tobytes())
            if message is None or not message.response or len(self.names) >= _MOST_NAMES:
                continue
            for asked in message.questions:
                for address, _, _ in addresses_of(asked.name, message.answers):
                    known = self.names.setdefault(address, [])
                    if asked.name not in known and len(known) < _MOST_OF_ONE:
                        known.append(asked.name)

    def _ask(self, out: Decoded, ids: list[int], first: list[int]) -> None:
        if len(self._known) > _MOST_FLOWS:
            self._known.clear()
        due = [place for place, flow in enumerate(ids) if flow and self._due(flow)]
        places = due[:_MOST_ASKED]
        self.unasked += len(due) - len(places)
        questions = list(_questions(out, np.array([first[place] for place in places], np.int64)))
        for place, question, answer in zip(places, questions, self._owners.of(questions), strict=True):
            before = self._known.get(ids[place])
            self._known[ids[place]] = self._note(question, answer, before.tries + 1 if before else 1)

    def _due(self, flow: int) -> bool:
        known = self._known.get(flow)
        return known is None or (not known.named and known.tries < _TRIES)

    def _note(self, question: Question, answer: FlowOwners, tries: int) -> _Known:
        lines = []
        for end, owners in ((question.source, answer.source), (question.destination, answer.destination)):
            for owner in owners[:_MOST_OWNERS]:
                if len(self.people) < _MOST_PEOPLE:
                    self.people.setdefault(describe(owner))
                lines.append(f"{end} = {describe(owner, COMMAND_CHARACTERS)}")
            if len(owners) > _MOST_OWNERS:
                lines.append(f"{end} = {len(owners) - _MOST_OWNERS} more processes")
        if lines:
            return _Known(b"".join(comment(line) for line in lines), True, tries)
        if answer.unknown == "gone" and tries < _TRIES:
            return _Known(b"", False, tries)
        return _Known(comment(f"process unknown: {answer.unknown}"), False, _TRIES)


_NOTHING = _Known(b"", False, 0)


def describe(owner: Owner, most: int | None = None) -> str:
    """``curl[1234] in web: curl https://example.org``; the command line cut after `most` characters."""
    inside = f" in {owner.container}" if owner.container else ""
    command = owner.command or ""
    cut = command if most is None or len(command) <= most else command[:most] + "…"
    return sanitise(f"{owner.name}[{owner.key.pid}]{inside}" + (f": {cut}" if cut else ""))


def _questions(out: Decoded, index: I64) -> Iterator[Question]:
    """The ends of some packets."""
    family, protocol = out.family[index].tolist(), out.protocol[index].tolist()
    sources = _ends(family, out.source_high[index], out.source_low[index], out.source_port[index])
    destinations = _ends(family, out.destination_high[index], out.destination_low[index], out.destination_port[index])
    for number, source, destination in zip(protocol, sources, destinations, strict=True):
        if number in PROTOCOLS:
            yield Question(PROTOCOLS[number], source, destination)
        else:
            yield Question(str(number), Endpoint(source.address), Endpoint(destination.address))


def _ends(family: list[int], *columns: np.ndarray[tuple[int], np.dtype[np.generic]]) -> Iterator[Endpoint]:
    for four_or_six, high, low, port in zip(family, *(column.tolist() for column in columns), strict=True):
        yield Endpoint(_address(four_or_six, high, low), port)


def _address(family: int, high: int, low: int) -> str:
    if family == 4:
        return socket.inet_ntop(socket.AF_INET, low.to_bytes(4, "big"))
    return socket.inet_ntop(socket.AF_INET6, high.to_bytes(8, "big") + low.to_bytes(8, "big"))
