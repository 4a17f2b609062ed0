"""Tickets of notarisation: a list of the code that Apple looked at, signed by Apple and stapled to a program. Pure.

Source: Apple documents what a ticket is for (``man stapler``), not its form; that is described at
mothersruin.com/software/Archaeology/reverse/tickets.html, and was compared with tickets that Apple issued: the header,
the signer's certificates, the list, and an ECDSA signature (SHA-256) of all that stands before it.
"""

from collections.abc import Collection
from datetime import UTC, datetime
from struct import Struct as Layout

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import Struct

from hostscope.binaries.certificates import CODE_SIGNING, Broken, build_chain
from hostscope.binaries.cms import listed_certificates
from hostscope.binaries.content import unpack_from
from hostscope.binaries.trust import Trust
from hostscope.model.signature import Flaw

MAGIC, LIST_MAGIC = b"s8ch", b"g8tk"
VERSION, LIST_VERSION = 1, 2
HEADER = Layout("<4sIII")
"""Magic, version, and the sizes of certificates and list."""
LIST = Layout("<4sHHIIQ")
"""Magic, version, bytes of a digest, how many there are, flags, and when it was issued (seconds since 1970)."""
CDHASH_BYTES = 20
MOST_BYTES = 16 << 20
MOST_CERTIFICATES = 8
MARKER = "1.2.840.113635.100.6.1.30"
"""Apple's mark on certificates that sign tickets."""
LAST_SECOND = 253_402_300_799
"""Of the last year that Python has a number for."""


class Ticket(Struct, frozen=True):
    """What a ticket holds; nothing of it is believed yet."""

    certificates: tuple[x509.Certificate, ...]
    """The signer's first."""
    cdhashes: frozenset[bytes]
    at: datetime
    signed: bytes
    signature: bytes


def parse_ticket(raw: bytes) -> Ticket:
    """Raises `ValueError`."""
    magic, version, certificate_bytes, list_bytes = unpack_from(HEADER, raw, 0)
    if magic != MAGIC or version != VERSION or len(raw) > MOST_BYTES:
        raise ValueError("it has another form than tickets have")
    list_at = HEADER.size + certificate_bytes
    end = list_at + list_bytes
    if end >= len(raw):
        raise ValueError("it is cut short")
    cdhashes, at = _list(raw[list_at:end])
    certificates = listed_certificates(raw[HEADER.size : list_at])
    if not 0 < len(certificates) <= MOST_CERTIFICATES:
        raise ValueError("it has too many certificates, or none")
    return Ticket(certificates, cdhashes, at, raw[:end], raw[end:])


def _list(raw: bytes) -> tuple[frozenset[bytes], datetime]:
    magic, version, size, count, _, seconds = unpack_from(LIST, raw, 0)
    stride = 1 + size  # each behind the kind of its code directory's digests
    if magic != LIST_MAGIC or version != LIST_VERSION or size != CDHASH_BYTES or seconds > LAST_SECOND:
        raise ValueError("its list has another form than those of tickets have")
    if LIST.size + count * stride != len(raw):
        raise ValueError("its list is of another length than it says")
    found = frozenset(raw[at + 1 : at + stride] for at in range(LIST.size, len(raw), stride))
    return found, datetime.fromtimestamp(seconds, UTC)


def judge_ticket(raw: bytes, cdhash: bytes, trust: Trust) -> tuple[Flaw, ...]:
    """Why a ticket does not say that Apple looked at this code; nothing when it does.

    Such a ticket changes no verdict: the system passes over it, too, and asks Apple.
    """
    roots = trust.ticket_roots
    try:
        _check(parse_ticket(raw), cdhash, roots)
    except Exception as failed:  # Broken, and whatever the libraries raise when they meet nonsense
        return (Flaw("ticket", f"the stapled ticket does not count: {failed or type(failed).__name__}", "noted"),)
    return ()


def _check(ticket: Ticket, cdhash: bytes, roots: Collection[x509.Certificate]) -> None:
    leaf = ticket.certificates[0]
    key = leaf.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise Broken("ticket", "its signer's key is of another kind than Apple's")
    try:
        key.verify(ticket.signature, ticket.signed, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, UnsupportedAlgorithm, ValueError) as failed:
        raise Broken("ticket", "it was changed since it was signed") from failed
    build_chain(leaf, ticket.certificates[1:], roots, ticket.at, CODE_SIGNING, demanded=False)
    if not any(extension.oid.dotted_string == MARKER for extension in leaf.extensions):
        raise Broken("ticket", "its signer is not one for tickets")
    if cdhash not in ticket.cdhashes:
        raise Broken("ticket", "it is of other code")
