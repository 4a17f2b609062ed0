"""DNS messages: bytes in, questions and answers out. The only home of dnspython.

Names are in the notation of zone files: ASCII, other bytes as ``\\DDD``; lower case, without the last dot.
"""

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from hostscope.model.dns import DnsAnswer
from hostscope.model.socket import Endpoint

if TYPE_CHECKING:
    from dns.message import Message
    from dns.name import Name
    from dns.rrset import RRset

MAX_MESSAGE_BYTES = 65_535
MAX_QUESTIONS = 8
MAX_ANSWERS = 256
MAX_OTHERS = 64
"""Records of the other sections; the code of a response can continue in one of them (EDNS)."""
MAX_VALUE = 4096
"""Characters of one record's value."""
_HEADER = struct.Struct("!HHHHHH")
_UNIQUE = 0x8000
"""Multicast DNS borrows the highest bit of the class (RFC 6762 10.2)."""


class Question(Struct, frozen=True, gc=False):
    """What is asked."""

    name: str
    type: str
    """``A AAAA MX …``; with the class before it when that is not IN."""


class DnsMessage(Struct, frozen=True):
    """One message, as far as it could be read."""

    id: int
    response: bool
    opcode: str
    """``QUERY NOTIFY UPDATE …``."""
    rcode: str
    truncated: bool
    """The sender says that it was too long; the asker will come again over TCP."""
    questions: tuple[Question, ...] = ()
    answers: tuple[DnsAnswer, ...] = ()
    cut: bool = False
    """There was more than is kept here."""
    problem: str | None = None
    """Why it could not be read to its end."""


class DnsPacket(Struct, frozen=True):
    """One message on its way."""

    at_ns: int
    source: Endpoint
    destination: Endpoint
    transport: str
    """``udp tcp mdns llmnr``."""
    message: DnsMessage
    comments: tuple[str, ...] = ()
    """What a capture file says beside the packet."""


def parse_message(payload: bytes) -> DnsMessage | None:
    """The message; None when the bytes are too few to be one.

    Cost: 30 to 100 us; the library is loaded with the first one (90 ms).
    """
    if len(payload) < _HEADER.size:
        return None
    wire, cut = _bounded(payload[:MAX_MESSAGE_BYTES])
    from dns.message import from_wire

    try:
        # A False keyring: signatures are not checked. One set for each record: each keeps its own time to live.
        message = from_wire(wire, keyring=False, one_rr_per_rrset=True, ignore_trailing=True, continue_on_error=True)
        return _record(message, cut)
    except Exception as failed:  # a library for well-formed messages may fail in many ways for hostile ones
        return _unreadable(payload, f"{type(failed).__name__}: {failed}")


def _bounded(wire: bytes) -> tuple[bytes, bool]:
    """The message, with counts of its records lowered to what is read; whether they were."""
    number, flags, questions, answers, authority, additional = _HEADER.unpack_from(wire)
    counts = [min(questions, MAX_QUESTIONS), min(answers, MAX_ANSWERS), authority, additional]
    cut = counts[:2] != [questions, answers]
    if cut or authority > MAX_OTHERS or additional > MAX_OTHERS:
        counts[2:] = [0, 0]
    return _HEADER.pack(number, flags, *counts) + wire[_HEADER.size :], cut


def _record(message: "Message", cut: bool) -> DnsMessage:
    import dns.flags
    import dns.opcode
    import dns.rcode

    opcode = dns.opcode.to_text(message.opcode())
    answers, values_cut = _answers(message.answer) if opcode == "QUERY" else ((), False)
    return DnsMessage(
        id=message.id,
        response=bool(message.flags & dns.flags.QR),
        opcode=opcode,
        rcode=dns.rcode.to_text(message.rcode()),
        truncated=bool(message.flags & dns.flags.TC),
        questions=tuple(Question(_text(each.name), _type(each)) for each in message.question),
        answers=answers,
        cut=cut or values_cut,
        problem=_problem(message),
    )


def _problem(message: "Message") -> str | None:
    errors = [error.exception for error in message.errors]
    return f"{type(errors[0]).__name__}: {errors[0]}" if errors else None


def _unreadable(payload: bytes, problem: str) -> DnsMessage:
    number, flags, *_ = _HEADER.unpack_from(payload)
    return DnsMessage(number, bool(flags & 0x8000), str(flags >> 11 & 15), str(flags & 15), bool(flags & 0x200),
                      problem=problem)  # fmt: skip


def _answers(sets: "list[RRset]") -> tuple[tuple[DnsAnswer, ...], bool]:
    found = list(_rows(sets))
    kept = tuple(DnsAnswer(row.name, row.type, row.ttl_s, row.value[:MAX_VALUE]) for row in found)
    return kept, any(len(row.value) > MAX_VALUE for row in found)


def _rows(sets: "list[RRset]") -> Iterator[DnsAnswer]:
    for each in sets:
        name, kind, ttl_s = _text(each.name), _type(each), each.ttl
        for data in each:
            yield DnsAnswer(name, kind, ttl_s, _value(data))


def _text(name: "Name") -> str:
    return name.to_text(omit_final_dot=True).lower()


def type_name(number: int) -> str:
    """Of a record type: ``A AAAA MX …``, ``TYPE65280`` for one that has no name."""
    import dns.rdatatype

    return dns.rdatatype.to_text(dns.rdatatype.RdataType.make(number & 0xFFFF))


def _type(each: "RRset") -> str:
    import dns.rdataclass
    import dns.rdatatype

    kind = dns.rdatatype.to_text(each.rdtype)
    family = each.rdclass & ~_UNIQUE
    return (
        kind
        if family == dns.rdataclass.IN
        else f"{dns.rdataclass.to_text(dns.rdataclass.RdataClass.make(family))} {kind}"
    )


def _value(data: Any) -> str:
    """A name without its last dot, or what a zone file would say."""
    import dns.rdata
    import dns.rdataclass
    import dns.rdatatype

    if data.rdtype in (dns.rdatatype.CNAME, dns.rdatatype.NS, dns.rdatatype.PTR, dns.rdatatype.DNAME):
        return _text(data.target)
    if data.rdclass & _UNIQUE and isinstance(data, dns.rdata.GenericRdata):
        family = dns.rdataclass.RdataClass.make(data.rdclass & ~_UNIQUE)
        data = dns.rdata.from_wire(family, data.rdtype, data.data, 0, len(data.data))
    return str(data.to_text())
