"""What stands beside captured packets: which process is at which end, as comments of their flows."""

import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import NamedTuple

import numpy as np
from msgspec import Struct

from hostscope.collectors.attribution import FlowOwners, Owner, Owners, Party, People, Question
from hostscope.collectors.held_ends import KERNEL
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

PROTOCOLS = {
    1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 33: "dccp", 47: "gre", 50: "esp", 51: "ah", 58: "icmp6", 132: "sctp",
    136: "udplite",
}  # fmt: skip
COMMAND_CHARACTERS = 200
"""Of a command line in the comment of a packet; the name block has it whole."""
PATIENCE_S = 0.3
"""How long the packets of a new flow wait for their processes to be known."""
LONGEST_S = 2.0
"""The same where what counts traffic could not be read meanwhile."""
NOT_ASKED, NOT_IP = "not-asked", "no IP"
_ASK_S, _SHARE = 0.05, 3
"""Flows that wait are asked about so often, and for at most that part of the time."""
_AGAIN_S, _TRIES = 1.0, 4
"""A flow without a process is asked about again after a while, a few times."""
_IDLE_NS = 5_000_000_000
"""After such a silence the ends of a flow may be another process's."""
_MOST_OWNERS = 3
_MOST_FLOWS = 65_536
_MOST_ASKED, _MOST_LAST = 500, 2000
"""Flows that are asked about at once, at 20 µs each: a flood of new flows must not cost packets."""
_MOST_PENDING = 16_384
"""Flows that wait; of more the processes are not asked for."""
_MOST_NAMES, _MOST_OF_ONE = 16_384, 4
_MOST_PEOPLE = 4096
_DNS, _TCP, _UDP = 53, 6, 17
_WITH_PORTS = frozenset({6, 17, 33, 132, 136})
_SYN, _SYN_ACK = 0x02, 0x12
_DIRECTIONS, _INBOUND, _OUTBOUND = 3, 1, 2
"""Of pcapng's epb_flags."""


@dataclass(slots=True)
class _Known:
    """What is known of a flow."""

    options: bytes
    unknown: str | None = None
    """Why it has no process."""
    half: str | None = None
    """Why one of its two processes is missing."""
    tries: int = 0
    asked_s: float = 0.0
    seen_ns: int = 0


class _Pending(NamedTuple):
    question: Question
    since_s: float


class Marked(Struct, frozen=True, eq=False):
    """Packets of a batch by flow, before it is known who is behind each."""

    flows: tuple[int, ...]
    index: I64
    """Which of them each packet is of."""
    waits: frozenset[int]
    """Flows that may soon be known."""


class PacketNotes:
    """Comments for packets, made once for each flow."""

    def __init__(self, owners: Owners, people: People) -> None:
        self._owners, self._described = owners, people
        self._flows = FlowTable()
        self._fragments = FragmentTable(4096)
        self._known: dict[int, _Known] = {}
        self._pending: dict[int, _Pending] = {}
        self._ask_s = 0.0
        self.people: dict[str, None] = {}
        """One line for each process that was named, with its whole command line."""
        self.names: dict[str, list[str]] = {}
        """Address -> names that DNS answers gave it."""
        self.unasked = 0
        """How often the process of a flow was not looked up, because too many were new at once."""
        self.named = 0
        """Packets with a process beside them."""
        self.unnamed: Counter[str] = Counter()
        """Packets without one, by reason."""
        self.half: Counter[str] = Counter()
        """Packets between two processes of this host that have only one of them, by reason."""
        self._lacking: Counter[tuple[bool, str]] = Counter()

    def mark(self, batch: PacketBatch) -> Marked:
        """Takes a batch; its packets can be noted when nothing of it is waited for any more."""
        out = decode(batch, self._fragments)
        update = self._flows.update(batch, out)
        self._learn(batch, out, update.look)
        ids, first, index = np.unique(update.ids, return_index=True, return_inverse=True)
        flows = ids.tolist()
        self._tell(batch, out, update.ids)
        self._ask(batch, out, flows, first, self._reopened(out, update.ids))
        waits = frozenset(flow for flow in flows if flow in self._pending and flow not in self._known)
        return Marked(tuple(flows), index.astype(np.int64).reshape(-1), waits)

    def waits(self, marked: Marked) -> bool:
        """Whether the process of any of its packets may soon be known."""
        return bool(self._pending) and not marked.waits.isdisjoint(self._pending)

    def settle(self, at_once: bool = False) -> None:
        """Looks up what is waited for; with `at_once`, nothing is waited for afterwards."""
        now = monotonic()
        if not self._pending or (now < self._ask_s and not at_once):
            return
        last = [flow for flow, one in self._pending.items() if at_once or now - one.since_s >= PATIENCE_S]
        self._try(last if at_once else last[:_MOST_LAST], last=True, at_once=at_once)
        self._try(list(self._pending)[:_MOST_ASKED], last=False)
        self._ask_s = monotonic() + max(_ASK_S, (monotonic() - now) * _SHARE)

    def finish(self) -> None:
        """Looks up what is waited for, and takes the time that it takes."""
        self._owners.hurry()
        self.settle(at_once=True)

    def _try(self, flows: list[int], last: bool, at_once: bool = False) -> None:
        """With `last`, a host that is too busy to count in time gets some more of it, unless it is `at_once`."""
        asked = [self._pending[flow] for flow in flows]
        now = monotonic()
        answers = self._owners.of([one.question for one in asked], last)
        for flow, one, answer in zip(flows, asked, answers, strict=True):
            patient = not at_once and now - one.since_s < LONGEST_S and not self._owners.has_counted(one.question.at_ns)
            if answer.firm or (last and not patient):
                self._settled(flow, one.question, answer, now)

    def of(self, marked: Marked) -> Notes:
        """A note for each packet."""
        known = [self._known.get(flow) or (_UNASKED if flow else _NOT_IP) for flow in marked.flows]
        for count, one in zip(np.bincount(marked.index, minlength=len(known)).tolist(), known, strict=True):
            if one.unknown is None:
                self.named += count
            else:
                self.unnamed[one.unknown] += count
            if one.half is not None:
                self.half[one.half] += count
        return Notes([one.options for one in known], marked.index)

    def lines(self) -> Iterator[str]:
        """What packets lack, for people."""
        for reason, count in self.unnamed.items():
            flows = self._lacking[False, reason]
            yield f"packets without a process: {count}{f' of {flows} flows' if flows else ''}, {reason}"
        for reason, count in self.half.items():
            flows = self._lacking[True, reason]
            yield f"packets with one of two processes of this host: {count} of {flows} flows; the other: {reason}"

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

    def _tell(self, batch: PacketBatch, out: Decoded, ids: I64) -> None:
        """Passes on whose packets are where the capture says so: of each flow and direction the last of this batch."""
        if batch.owners is None or batch.flags is None:
            return
        sent = (batch.flags & _DIRECTIONS).astype(np.int64)
        known = np.array([owner is not None for owner in batch.owners], np.bool_) & (ids != 0)
        rows = np.flatnonzero(known & ((sent == _INBOUND) | (sent == _OUTBOUND)))[::-1]
        rows = rows[np.unique(ids[rows] * 4 + sent[rows], return_index=True)[1]]
        for row, question in zip(rows.tolist(), _questions(batch, out, rows), strict=True):
            if (owner := batch.owners[row]) is not None:
                self._owners.tell(question, owner, sends=bool(sent[row] == _OUTBOUND))

    def _reopened(self, out: Decoded, ids: I64) -> frozenset[int]:
        """TCP flows that begin in this batch, or begin anew: the same ends may be another process's then."""
        begins = (out.protocol == _TCP) & (out.tcp_flags & _SYN_ACK == _SYN)
        return frozenset(ids[begins].tolist())

    def _ask(self, batch: PacketBatch, out: Decoded, flows: list[int], first: I64, reopened: frozenset[int]) -> None:
        if len(self._known) > _MOST_FLOWS:
            self._known.clear()
        now, times = monotonic(), batch.at_ns[first].tolist()
        due = [
            place
            for place, (flow, at_ns) in enumerate(zip(flows, times, strict=True))
            if flow and flow not in self._pending and self._due(flow, at_ns, now, flow in reopened)
        ]
        places = due[: _MOST_PENDING - len(self._pending)]
        self.unasked += len(due) - len(places)
        questions = _questions(batch, out, first[places])
        for place, question in zip(places, questions, strict=True):
            self._pending[flows[place]] = _Pending(question, now)
        self._try([flows[place] for place in places[:_MOST_ASKED]], last=False)

    def _due(self, flow: int, at_ns: int, now: float, reopened: bool) -> bool:
        known = self._known.get(flow)
        if known is None:
            return True
        idle, known.seen_ns = at_ns - known.seen_ns > _IDLE_NS, at_ns
        if reopened or idle:
            del self._known[flow]
            return True
        return (known.unknown or known.half) is not None and known.tries < _TRIES and now - known.asked_s > _AGAIN_S

    def _settled(self, flow: int, question: Question, answer: FlowOwners, now: float) -> None:
        del self._pending[flow]
        before = self._known.get(flow)
        known = self._note(question, answer)
        known.asked_s, known.seen_ns = now, max(question.at_ns, before.seen_ns if before else 0)
        known.tries = before.tries + 1 if before else 1
        if before is None and (lacks := known.unknown or known.half):
            self._lacking[known.unknown is None, lacks] += 1
        self._known[flow] = known

    def _note(self, question: Question, answer: FlowOwners) -> _Known:
        if answer.unknown is not None:
            return _Known(comment(f"process unknown: {answer.unknown}"), answer.unknown)
        lines = [*self._lines(question.source, answer.source), *self._lines(question.destination, answer.destination)]
        return _Known(b"".join(comment(line) for line in lines), half=answer.half)

    def _lines(self, end: Endpoint, party: Party) -> Iterator[str]:
        if party.unknown is not None:
            yield f"{end} = {'the kernel' if party.unknown == KERNEL else f'process unknown: {party.unknown}'}"
        one_of = f"one of {party.sockets} sockets: " if party.sockets > 1 else ""
        for owner in map(self._described.describe, party.owners[:_MOST_OWNERS]):
            if len(self.people) < _MOST_PEOPLE:
                self.people.setdefault(describe(owner))
            yield f"{end} = {one_of}{describe(owner, COMMAND_CHARACTERS)}"
        if len(party.owners) > _MOST_OWNERS:
            yield f"{end} = {len(party.owners) - _MOST_OWNERS} more processes"


_UNASKED = _Known(b"", NOT_ASKED)
_NOT_IP = _Known(b"", NOT_IP)


def describe(owner: Owner, most: int | None = None) -> str:
    """``curl[1234] in web: curl https://example.org``; the command line cut after `most` characters."""
    inside = f" in {owner.container}" if owner.container else ""
    command = owner.command or ""
    cut = command if most is None or len(command) <= most else command[:most] + "…"
    return sanitise(f"{owner.name}[{owner.key.pid}]{inside}" + (f": {cut}" if cut else ""))


def _questions(batch: PacketBatch, out: Decoded, index: I64) -> Iterator[Question]:
    """The ends of some packets."""
    family, protocol = out.family[index].tolist(), out.protocol[index].tolist()
    sources = _ends(family, out.source_high[index], out.source_low[index], out.source_port[index])
    destinations = _ends(family, out.destination_high[index], out.destination_low[index], out.destination_port[index])
    for number, source, destination, at_ns in zip(
        protocol, sources, destinations, batch.at_ns[index].tolist(), strict=True
    ):
        name = PROTOCOLS.get(number) or str(number)
        if number in _WITH_PORTS:
            yield Question(name, source, destination, at_ns)
        else:
            yield Question(name, Endpoint(source.address), Endpoint(destination.address), at_ns)


def _ends(family: Sequence[int], *columns: np.ndarray[tuple[int], np.dtype[np.generic]]) -> Iterator[Endpoint]:
    for four_or_six, high, low, port in zip(family, *(column.tolist() for column in columns), strict=True):
        yield Endpoint(_address(four_or_six, high, low), port)


def _address(family: int, high: int, low: int) -> str:
    if family == 4:
        return socket.inet_ntop(socket.AF_INET, low.to_bytes(4, "big"))
    return socket.inet_ntop(socket.AF_INET6, high.to_bytes(8, "big") + low.to_bytes(8, "big"))
