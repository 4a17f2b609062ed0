"""The signature of a Mach-O slice: what is signed, by whom, and whether it is still so. Pure.

Source: osfmk/kern/cs_blobs.h of xnu; Security's OSX/libsecurity_codesigning (StaticCode.cpp, cdbuilder.cpp).
"""

import plistlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from cryptography import x509
from msgspec import Struct

from hostscope.binaries.certificates import (
    CODE_SIGNING,
    COMMON_NAME,
    ORGANISATION,
    UNIT,
    Broken,
    attribute,
    build_chain,
    check_bag,
    describe,
    is_marked_for_code,
    moment,
    nanoseconds,
    weak_links,
)
from hostscope.binaries.cms import Message, digest_pair, octets, parse_message, verify_signer, verify_timestamp
from hostscope.binaries.code_directory import ADHOC, CodeDirectory, begin_pages, parse_code_directory
from hostscope.binaries.content import Content, take
from hostscope.binaries.entitlements import as_records, parse_der, parse_xml
from hostscope.binaries.macho import BLOB, Layouts, Slice, SuperBlob, parse_commands, read_super_blob
from hostscope.binaries.requirement import parse_requirements
from hostscope.binaries.ticket import judge_ticket
from hostscope.binaries.trust import Trust
from hostscope.model.macos import Entitlement
from hostscope.model.signature import Certificate, Flaw, SignedPart, Timestamp, status_of, weak_flaws

DIRECTORY, INFO, REQUIREMENTS, RESOURCES, ENTITLEMENTS, DER_ENTITLEMENTS = 0, 1, 2, 3, 5, 7
ALTERNATES = range(0x1000, 0x1006)
CMS, TICKET = 0x10000, 0x10002
"""In a bundle the ticket is a file, and judged like one in the signature."""
SEALED = range(1, 0x1000)
"""Slots that a code directory has a digest of."""
UNSEALED = frozenset({DIRECTORY, *ALTERNATES, CMS, TICKET})
"""What vouches for itself, or is Apple's to add later."""
CMS_MAGIC = b"\xfa\xde\x0b\x01"
OUTSIDE = {INFO: "Info.plist", RESOURCES: "CodeResources"}
"""Special slots of what stands in the bundle, not in the signature."""
CDHASHES_PLIST, CDHASHES = "1.2.840.113635.100.9.1", "1.2.840.113635.100.9.2"
LINKEDIT = "__LINKEDIT"
DIGEST_OIDS = {"1.3.14.3.2.26": "sha1", "2.16.840.1.101.3.4.2.1": "sha256", "2.16.840.1.101.3.4.2.2": "sha384"}
MOST_BAD_PAGES = 8
"""That are named one by one."""


class Signed(Struct, frozen=True):
    """What a slice's signature holds, parsed and not judged."""

    layouts: Layouts
    blob: SuperBlob
    directories: tuple[CodeDirectory, ...]
    """The first is the one that is signed; the others are vouched for by attributes."""

    @property
    def best(self) -> CodeDirectory:
        """The one that the kernel uses."""
        return max(self.directories, key=lambda directory: directory.strength)


class Signer(Struct, frozen=True):
    """What the signed message tells."""

    certificate: x509.Certificate | None = None
    chain: tuple[Certificate, ...] = ()
    timestamp: Timestamp | None = None
    flaws: tuple[Flaw, ...] = ()


def parse_signed(content: Content) -> Signed | None:
    """The signature of a slice; None when it has none. Raises `ValueError`. Cost: reads headers and the signature."""
    layouts = parse_commands(content)
    if layouts.signature is None:
        return None
    blob = read_super_blob(content, layouts.signature)
    slots = [slot for slot in (DIRECTORY, *ALTERNATES) if slot in blob.blobs]
    if not slots or slots[0] != DIRECTORY:
        raise ValueError("there is no code directory")
    return Signed(layouts, blob, tuple(parse_code_directory(blob.blobs[slot]) for slot in slots))


def verify_slice(one: Slice, trust: Trust, beside: Mapping[int, bytes] | None = None) -> SignedPart:
    """Everything about one slice. Never raises for nonsense: that is a flaw.

    Args:
        beside: content of the bundle's files by slot (`OUTSIDE`); None when no bundle is looked at.
    """
    try:
        signed = parse_signed(one.content)
    except ValueError as failed:
        return SignedPart(one.name, "invalid", "macho-cms", flaws=(Flaw("malformed", str(failed)),))
    if signed is None:
        return SignedPart(one.name, "unsigned", "none")
    with warnings.catch_warnings():  # of certificates with overlong names, which Apple issues
        warnings.simplefilter("ignore")
        return _judged(one, signed, trust, beside)


def _judged(one: Slice, signed: Signed, trust: Trust, beside: Mapping[int, bytes] | None) -> SignedPart:
    best, adhoc = signed.best, _is_adhoc(signed)
    pages = [begin_pages(one.content, directory, MOST_BAD_PAGES + 1) for directory in signed.directories]
    signer = Signer() if adhoc else verify_message(signed, trust)
    entitlements, told = read_entitlements(signed.blob.blobs)
    notarised, unticketed = _notarised(signed, trust, beside or {})
    requirement, unread = _requirement(signed.blob.blobs)
    flaws = (
        *_page_flaws(signed, pages),
        *_slot_flaws(one.content, signed, beside),
        *_end_flaws(one.content, signed),
        *_mapping_flaws(signed),
        *signer.flaws,
        *_identity_flaws(signed, signer),
        *told,
        *unread,
        *unticketed,
    )
    leaf = signer.certificate
    return SignedPart(
        name=one.name,
        status=status_of(flaws, adhoc),
        method="macho-adhoc" if adhoc else "macho-cms",
        signer=attribute(leaf, COMMON_NAME) if leaf else None,
        publisher=attribute(leaf, ORGANISATION) if leaf else None,
        identifier=best.identifier,
        team=best.team,
        digests=tuple(directory.algorithm for directory in signed.directories),
        code_hash=best.cdhash.hex(),
        flags=best.flag_names,
        requirement=requirement,
        entitlements=entitlements,
        notarised=notarised,
        chain=signer.chain,
        timestamp=signer.timestamp,
        page_hashes=best.code_slots if best.page_size else None,
        outside_bytes=_outside(one.content, signed),
        flaws=(*flaws, *weak_flaws(best.algorithm)),
    )


def _is_adhoc(signed: Signed) -> bool:
    """By its own account; without the flag a missing message is a flaw."""
    return bool(signed.best.flags & ADHOC) and len(signed.blob.blobs.get(CMS, b"")) <= BLOB.size


def _page_flaws(signed: Signed, pages: list[Callable[[], tuple[int, ...]]]) -> Iterator[Flaw]:
    for directory, collect in zip(signed.directories, pages, strict=True):
        try:
            bad = collect()
        except ValueError as failed:
            yield Flaw("truncated", f"{directory.algorithm}: {failed}")
            continue
        if bad:
            listed = ", ".join(map(str, bad[:MOST_BAD_PAGES])) + ("…" if len(bad) > MOST_BAD_PAGES else "")
            yield Flaw("page", f"changed since it was signed: {directory.algorithm} of page {listed}")


def _slot_flaws(content: Content, signed: Signed, beside: Mapping[int, bytes] | None) -> Iterator[Flaw]:
    """What stands beside the code: sealed and unchanged, or not."""
    outside, sealed = dict(beside or {}), min(directory.special_slots for directory in signed.directories)
    for slot in signed.blob.blobs.keys() - UNSEALED:
        if slot not in SEALED or slot > sealed or slot in OUTSIDE:
            yield Flaw("special-slot", f"slot {slot} was added: no code directory seals it")
    if INFO not in outside and signed.layouts.info_plist:
        place = signed.layouts.info_plist
        try:
            outside[INFO] = take(content, place.offset, place.size)
        except ValueError as failed:
            yield Flaw("malformed", f"embedded Info.plist: {failed}")
    for directory in signed.directories:
        for slot in range(1, directory.special_slots + 1):
            data = outside.get(slot) if slot in OUTSIDE else signed.blob.blobs.get(slot)
            yield from _slot_flaw(slot, directory, data, beside is not None)
    for slot in ((beside or {}).keys() & OUTSIDE.keys()) - set(range(sealed + 1)):
        yield Flaw("special-slot", f"{OUTSIDE[slot]} is not sealed")


def _slot_flaw(slot: int, directory: CodeDirectory, data: bytes | None, bundled: bool) -> Iterator[Flaw]:
    empty = not any(directory.slot(-slot))
    name = OUTSIDE.get(slot, f"slot {slot}")
    if empty and data is not None and (slot not in OUTSIDE or bundled):
        yield Flaw("special-slot", f"{name} was added: it is not sealed")
    elif not empty and data is None:
        here = slot not in OUTSIDE or bundled
        detail = f"{name} is sealed and missing" if here else f"{name} is sealed, and stands in a bundle: not looked at"
        yield Flaw("special-slot", detail, "broken" if here else "noted")
    elif not empty and data is not None and not directory.fits(-slot, data):
        yield Flaw("special-slot", f"{name} was changed since it was signed ({directory.algorithm})")


def _notarised(signed: Signed, trust: Trust, beside: Mapping[int, bytes]) -> tuple[bool, tuple[Flaw, ...]]:
    """Whether a stapled ticket names the code, and why one does not."""
    stapled = [signed.blob.blobs.get(TICKET, b"")[BLOB.size :], beside.get(TICKET, b"")]
    judged = [judge_ticket(raw, signed.best.cdhash, trust) for raw in stapled if raw]
    return () in judged, tuple(flaw for flaws in judged for flaw in flaws)


def _outside(content: Content, signed: Signed) -> int:
    place = signed.layouts.signature
    return content.size - place.end if place else 0


def _end_flaws(content: Content, signed: Signed) -> Iterator[Flaw]:
    """The pages reach to the signature, and the signature to the end: anything else is covered by nothing."""
    place = signed.layouts.signature
    if place is None:
        return
    outside = content.size - place.end
    if outside > 0:
        yield Flaw("appended", f"{outside} bytes stand behind the signature, and nothing covers them")
    if signed.blob.slack.strip(b"\0"):
        # codesign leaves the end of a longer signature behind that was there before
        yield Flaw("appended", f"{len(signed.blob.slack)} bytes behind the signature's blobs are not zero", "noted")
    if signed.blob.between.strip(b"\0"):
        yield Flaw("appended", f"{len(signed.blob.between)} bytes between the signature's blobs belong to none")
    for directory in signed.directories:
        if directory.code_limit != place.offset:
            yield Flaw(
                "directory", f"{directory.code_limit} bytes are signed, and the signature begins at {place.offset}"
            )


def _mapping_flaws(signed: Signed) -> Iterator[Flaw]:
    """The signature's own bytes are covered by nothing: they are for __LINKEDIT, and never run."""
    place = signed.layouts.signature
    for segment in signed.layouts.segments:
        beyond = place is not None and segment.place.size > 0 and segment.place.end > place.offset
        if beyond and (segment.name != LINKEDIT or segment.executable):
            yield Flaw("directory", f"the segment {segment.name} maps bytes that are not signed")


def verify_message(signed: Signed, trust: Trust) -> Signer:
    """Who signed the directories, and whether that is believed."""
    wrapped = signed.blob.blobs.get(CMS, b"")
    raw = wrapped[BLOB.size :]
    if not raw or wrapped[:4] != CMS_MAGIC:
        return Signer(
            flaws=(Flaw("signature", "the signature itself is missing, and the code is not said to be ad hoc"),)
        )
    try:
        message = parse_message(raw)
        leaf = verify_signer(message, signed.directories[0].raw)
        if not message.attributes:
            raise Broken("cms", "nothing but the content is signed: no code directories are listed")
    except Broken as failed:
        return Signer(flaws=(failed.flaw(),))
    flaws = [*_attribute_flaws(message, signed), *weak_flaws(message.algorithm, "the message")]
    timestamp, at = _time(message, trust, flaws)
    try:
        path = build_chain(leaf, message.certificates, trust.apple, at, CODE_SIGNING)
        flaws += (*check_bag(message.certificates, trust.apple, path), *weak_links(path))
    except Broken as failed:
        return Signer(leaf, (describe(leaf),), timestamp, (*flaws, failed.flaw()))
    if trust.is_apples(path[-1]) and not is_marked_for_code(path):
        flaws.append(Flaw("chain", "Apple issued the certificate for something else than code", "untrusted"))
    return Signer(leaf, tuple(map(describe, path)), timestamp, tuple(flaws))


def _time(message: Message, trust: Trust, flaws: list[Flaw]) -> tuple[Timestamp | None, datetime]:
    """What is said of when, and the moment that certificates are judged at."""
    try:
        timestamp, told = verify_timestamp(message, trust.apple)
        flaws += told
    except Broken as failed:
        flaws.append(failed.flaw())
        timestamp = None
    if timestamp:
        return timestamp, moment(timestamp.at_ns)
    claimed = _claimed(message)
    return Timestamp(nanoseconds(claimed), "claimed") if claimed else None, trust.now


def _claimed(message: Message) -> datetime | None:
    """A year that Python has no number for is no time."""
    claimed = message.claimed_at
    return claimed if isinstance(claimed, datetime) else None


def _attribute_flaws(message: Message, signed: Signed) -> Iterator[Flaw]:
    """Both attributes that carry the digests of all directories; the signature itself is of the first one only."""
    try:
        listed = list(_listed(message))
    except Exception as failed:  # plistlib and asn1crypto raise what comes up while they meet nonsense
        yield Flaw("directory", f"the signed list of code directories cannot be read: {type(failed).__name__}")
        return
    if not listed and len(signed.directories) > 1:
        yield Flaw("directory", "the alternate code directories are not signed")
    for name, expected in listed:
        found = _digests(name, signed)
        if sorted(expected) != sorted(found):
            yield Flaw("directory", f"the code directories are not those that were signed ({name})")


def _listed(message: Message) -> Iterator[tuple[str, list[bytes]]]:
    plain = message.attributes.get(CDHASHES_PLIST)
    if plain is not None:
        hashes = plistlib.loads(octets(plain[0]))["cdhashes"]
        if not isinstance(hashes, list) or not all(isinstance(one, bytes) for one in hashes):
            raise ValueError("digests are bytes")
        yield "cdhashes", hashes
    full = message.attributes.get(CDHASHES)
    if full is not None:
        yield "digests", [f"{DIGEST_OIDS.get(oid, oid)}:".encode() + digest for oid, digest in map(digest_pair, full)]


def _digests(name: str, signed: Signed) -> list[bytes]:
    if name == "cdhashes":
        return [directory.cdhash for directory in signed.directories]
    plain = ((directory.algorithm.removesuffix("-truncated"), directory.digest) for directory in signed.directories)
    return [f"{algorithm}:".encode() + digest for algorithm, digest in plain]


def _identity_flaws(signed: Signed, signer: Signer) -> Iterator[Flaw]:
    if len({directory.hash_type for directory in signed.directories}) < len(signed.directories):
        yield Flaw("directory", "there are several code directories of one kind, which the kernel refuses")
    for directory in signed.directories[1:]:
        first = signed.directories[0]
        if (directory.identifier, directory.team, directory.flags) != (first.identifier, first.team, first.flags):
            yield Flaw("directory", "the code directories do not say the same")
    team, leaf = signed.best.team, signer.certificate
    if team and leaf and attribute(leaf, UNIT) != team:
        yield Flaw("identity", f"the team is {team}, and the certificate is {attribute(leaf, UNIT)}'s")


def read_entitlements(blobs: Mapping[int, bytes]) -> tuple[tuple[Entitlement, ...] | None, tuple[Flaw, ...]]:
    """What the kernel would take from the signature: the DER where there is one, else the XML."""
    found, flaws = list[tuple[Entitlement, ...]](), list[Flaw]()
    for slot, magic, parse in (
        (DER_ENTITLEMENTS, b"\xfa\xde\x71\x72", parse_der),
        (ENTITLEMENTS, b"\xfa\xde\x71\x71", parse_xml),
    ):
        if slot in blobs and len(blobs[slot]) > BLOB.size:
            try:
                if blobs[slot][:4] != magic:
                    raise ValueError("the kernel would find none: the magic is another")
                found.append(as_records(parse(blobs[slot][BLOB.size :])))
            except (ValueError, RecursionError) as failed:
                flaws.append(Flaw("entitlements", f"slot {slot}: {failed}", "noted"))
    if len(found) == 2 and found[0] != found[1]:
        flaws.append(Flaw("entitlements", "DER and XML differ; the kernel reads the DER", "noted"))
    return (found[0] if found else None), tuple(flaws)


def _requirement(blobs: Mapping[int, bytes]) -> tuple[str | None, tuple[Flaw, ...]]:
    """The designated requirement; None when it is left to the system to derive."""
    if REQUIREMENTS not in blobs:
        return None, ()
    try:
        return parse_requirements(blobs[REQUIREMENTS]).get("designated"), ()
    except ValueError as failed:
        return None, (Flaw("requirement", f"requirements: {failed}", "noted"),)
