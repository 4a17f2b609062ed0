"""Authenticode with certificates of our own; every verdict is compared with osslsigncode's."""

import hashlib
import struct
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import cms, core, parser
from cryptography.x509.oid import ExtendedKeyUsageOID

from hostscope.binaries.content import Held
from hostscope.binaries.pe import covered, parse_pe
from hostscope.binaries.trust import Trust
from hostscope.binaries.verdict import judge
from hostscope.model.signature import Signature, Timestamp

from .macho_builder import tlv
from .pe_builder import OSSLSIGNCODE, accepted, image, sign
from .pki import NOW, issue, pki, plain, signer_info

needs_signer = pytest.mark.skipif(OSSLSIGNCODE is None, reason="osslsigncode is not installed")


def verdict(raw: bytes, **more: Any) -> Signature:
    return judge("x.exe", Held(raw), Trust(extra_roots=(pki().root.certificate,)), **more)


def codes(found: Signature) -> set[str]:
    return {flaw.code for flaw in found.all_flaws}


def flipped(raw: bytes, at: int) -> bytes:
    changed = bytearray(raw)
    changed[at] ^= 1
    return bytes(changed)


@pytest.mark.parametrize("wide", [True, False])
def test_an_unsigned_file_is_an_answer(wide: bool) -> None:
    found = verdict(image(wide=wide))
    assert (found.format, found.status, found.method, found.flaws) == ("pe", "unsigned", "none", ())


@needs_signer
@pytest.mark.parametrize("wide", [True, False])
def test_everything_about_a_signed_file(tmp_path: Path, wide: bool) -> None:
    raw = sign(tmp_path, image(wide=wide), "-n", "Test Program", "-i", "https://example.org")
    found = verdict(raw)
    (part,) = found.parts
    assert (found.status, found.method, found.confidence) == ("valid", "authenticode", "medium")
    assert (part.name, part.identifier, part.digests) == ("signature 1", "Test Program", ("sha256",))
    assert part.signer == "Test Publisher"
    assert [one.subject for one in part.chain][-1] == "C=US,CN=Test Root CA"
    assert codes(found) == set()
    assert accepted(tmp_path, raw, pki().root.pem)


@needs_signer
def test_a_root_nobody_gave_us_is_untrusted(tmp_path: Path) -> None:
    raw = sign(tmp_path, image())
    found = judge("x.exe", Held(raw), Trust())
    assert (found.status, codes(found)) == ("untrusted", {"chain"})
    assert not accepted(tmp_path, raw, issue("Other", None, ca=True).pem)


@needs_signer
def test_a_certificate_for_something_else_does_not_count(tmp_path: Path) -> None:
    other = issue("Mail", plain().issuer, usage=ExtendedKeyUsageOID.EMAIL_PROTECTION)
    assert verdict(sign(tmp_path, image(), signer=other)).status == "untrusted"


@needs_signer
def test_nested_signatures_are_judged_each(tmp_path: Path) -> None:
    known = plain()
    raw = sign(tmp_path, image())
    inner = issue("Second", known.issuer, usage=ExtendedKeyUsageOID.CODE_SIGNING)
    found = verdict(sign(tmp_path, raw, "-nest", signer=inner))
    assert [(part.name, part.status) for part in found.parts] == [("signature 1", "valid"), ("signature 1.1", "valid")]
    assert {part.signer for part in found.parts} == {"Second", "Test Publisher"}
    stranger = issue("Stranger", None, usage=ExtendedKeyUsageOID.CODE_SIGNING)
    found = verdict(sign(tmp_path, raw, "-nest", signer=stranger))
    assert [part.status for part in found.parts] == ["valid", "untrusted"]
    assert found.status == "untrusted"


@needs_signer
def test_a_time_stamp_of_an_authority_outlives_the_certificate(tmp_path: Path) -> None:
    known = plain()
    old = issue("Old", known.issuer, usage=ExtendedKeyUsageOID.CODE_SIGNING, days=(-20, -10))
    then = NOW - timedelta(days=15)
    (tmp_path / "tsa.pem").write_bytes(known.authority.pem + known.root.pem)
    (tmp_path / "tsa.key").write_bytes(known.authority.key_pem)
    stamped = ("-TSA-certs", "tsa.pem", "-TSA-key", "tsa.key", "-TSA-time", str(int(then.timestamp())))
    found = verdict(sign(tmp_path, image(), *stamped, signer=old))
    assert found.status == "valid", found
    assert found.signed_at_ns == int(then.timestamp()) * 10**9
    assert found.parts[0].timestamp == Timestamp(found.signed_at_ns, "rfc3161", "Test Time Stamps")
    assert verdict(sign(tmp_path, image(), signer=old)).status == "untrusted"


def inside(raw: bytes) -> list[bytes]:
    """The encoded values in an encoded value."""
    found, body = list[bytes](), parser.parse(raw)[4]
    while body:
        _, _, _, head, content, _ = parser.parse(body)
        found.append(head + content)
        body = body[len(head) + len(content) :]
    return found


def countersigned(raw: bytes, at: datetime, over: bytes | None = None) -> bytes:
    """The old way (PKCS #9): an authority signs the signature, and says when in an attribute of its own.

    Spliced in, because encoding what is signed anew might change it.
    """
    start, _ = table(raw)
    (length,) = struct.unpack_from("<I", raw, start)
    kind, wrapped = inside(raw[start + 8 : start + length])
    version, algorithms, content, certificates, signers = inside(inside(wrapped)[0])
    (signer,) = inside(signers)
    signature = core.OctetString.load(inside(signer)[-1]).native
    counter = cms.SignerInfo(signer_info(over or signature, plain().authority, at=at)).dump()
    attribute = tlv(0x30, oid("1.2.840.113549.1.9.6") + tlv(0x31, counter))
    signer = tlv(0x30, b"".join(inside(signer)) + tlv(0xA1, attribute))
    certificates = tlv(0xA0, b"".join(inside(certificates)) + plain().authority.der)
    signed = tlv(0x30, version + algorithms + content + certificates + tlv(0x31, signer))
    body = tlv(0x30, kind + tlv(0xA0, signed))
    entry = struct.pack("<IHH", len(body) + 8, 0x200, 2) + body
    entry += bytes(-len(entry) % 8)
    place = parse_pe(Held(raw)).entry_at
    assert place
    changed = bytearray(raw[:start] + entry)
    struct.pack_into("<II", changed, place, start, len(entry))
    return bytes(changed)


@needs_signer
def test_an_old_countersignature_outlives_the_certificate(tmp_path: Path) -> None:
    old = issue("Old", plain().issuer, usage=ExtendedKeyUsageOID.CODE_SIGNING, days=(-20, -10))
    raw, then = sign(tmp_path, image(), signer=old), NOW - timedelta(days=15)
    found = verdict(countersigned(raw, then))
    assert found.status == "valid", found
    at_ns = int(then.timestamp()) * 10**9
    assert found.parts[0].timestamp == Timestamp(at_ns, "countersignature", "Test Time Stamps")
    assert verdict(countersigned(raw, NOW)).status == "untrusted", "too late"
    other = verdict(countersigned(raw, then, over=b"another signature"))
    assert (other.status, codes(other)) == ("invalid", {"timestamp"})


@needs_signer
def test_page_hashes_are_compared(tmp_path: Path) -> None:
    raw = sign(tmp_path, image(), "-ph")
    found = verdict(raw)
    assert (found.status, found.parts[0].page_hashes) == ("valid", 4)
    changed = verdict(flipped(raw, 0x1800))
    assert {"digest", "page-hash"} <= codes(changed)
    assert "0x1200" in changed.all_flaws[-1].detail or "0x1200" in changed.all_flaws[0].detail


def table(raw: bytes) -> tuple[int, int]:
    found = parse_pe(Held(raw)).table
    assert found
    return found


TAMPERED: dict[str, Any] = {
    "code": lambda raw: flipped(raw, 0x800),
    "header": lambda raw: flipped(raw, 0x98 + 16),
    "section table": lambda raw: flipped(raw, 0x98 + 240 + 36),
    "signed digest": lambda raw: flipped(raw, raw.find(b"\x04\x20", table(raw)[0]) + 5),
    "certificate": lambda raw: flipped(raw, raw.find(b"Test Code Signing", table(raw)[0]) + 3),
    "signature value": lambda raw: flipped(raw, raw.rfind(b"\x04\x82\x01\x00") + 9),
    "appended": lambda raw: raw + b"junk",
    "cut in the signature": lambda raw: raw[:-40],
    "cut in the code": lambda raw: raw[:0x900],
}


@needs_signer
@pytest.mark.parametrize("name", TAMPERED)
def test_every_tampering_is_caught_here_and_there(tmp_path: Path, name: str) -> None:
    raw = sign(tmp_path, image())
    changed = TAMPERED[name](raw)
    assert changed != raw
    found = verdict(changed)
    assert found.status in ("invalid", "untrusted"), found
    assert not accepted(tmp_path, changed, pki().root.pem)


@needs_signer
def test_a_signature_that_was_cut_off_leaves_an_unsigned_file(tmp_path: Path) -> None:
    raw = bytearray(sign(tmp_path, image()))
    at, _ = table(bytes(raw))
    entry = parse_pe(Held(bytes(raw))).entry_at
    assert entry
    struct.pack_into("<II", raw, entry, 0, 0)
    assert verdict(bytes(raw[:at])).status == "unsigned"


@needs_signer
def test_what_no_digest_covers_is_told(tmp_path: Path) -> None:
    """Bytes that stand in the certificate table behind the signature: valid on Windows, and a place to hide things."""
    raw = bytearray(sign(tmp_path, image()))
    pe = parse_pe(Held(bytes(raw)))
    assert pe.table and pe.entry_at
    at, size = pe.table
    struct.pack_into("<II", raw, pe.entry_at, at, size + 16)
    (length,) = struct.unpack_from("<I", raw, at)
    struct.pack_into("<I", raw, at, length + 16)
    found = verdict(bytes(raw) + b"hidden payload!!")
    assert found.status == "valid"
    assert [(flaw.code, flaw.severity) for flaw in found.flaws] == [("certificate-table", "noted")]


@needs_signer
def test_an_overlay_that_is_signed_is_told(tmp_path: Path) -> None:
    found = verdict(sign(tmp_path, image(overlay=b"x" * 64)))
    assert (found.status, codes(found)) == ("valid", {"overlay"})


PE_DATA = tlv(0x30, b"\x03\x01\x00" + tlv(0xA0, tlv(0xA2, b"\x80\x00")))
LINK = tlv(0xA2, b"\x80\x00")
PE_IMAGE, FLAT = ("1.3.6.1.4.1.311.2.1.15", PE_DATA), ("1.3.6.1.4.1.311.2.1.25", LINK)


def oid(dotted: str) -> bytes:
    return bytes(core.ObjectIdentifier(dotted).dump())


def catalog(tmp_path: Path, *members: tuple[tuple[str, bytes], bytes]) -> bytes:
    """A catalogue of members given as (kind, SHA-256), signed by osslsigncode."""
    subjects = b""
    for (kind, value), digest in members:
        algorithm = tlv(0x30, oid("2.16.840.1.101.3.4.2.1") + b"\x05\x00")
        indirect = tlv(0x30, tlv(0x30, oid(kind) + value) + tlv(0x30, algorithm + tlv(4, digest)))
        attribute = tlv(0x30, oid("1.3.6.1.4.1.311.2.1.4") + tlv(0x31, indirect))
        subjects += tlv(0x30, tlv(4, digest) + tlv(0x31, attribute))
    listed = tlv(0x30, oid("1.3.6.1.4.1.311.12.1.1")) + tlv(4, bytes(16)) + tlv(0x17, b"260101000000Z")
    listed += tlv(0x30, oid("1.3.6.1.4.1.311.12.1.3") + b"\x05\x00") + tlv(0x30, subjects)
    content = tlv(0x30, oid("1.3.6.1.4.1.311.10.1") + tlv(0xA0, tlv(0x30, listed)))
    message = tlv(0x30, b"\x02\x01\x01" + b"\x31\x00" + content + b"\x31\x00")
    whole = tlv(0x30, oid("1.2.840.113549.1.7.2") + tlv(0xA0, message))
    return sign(tmp_path, whole, suffix="cat")


@needs_signer
def test_a_catalogue_vouches_for_what_it_lists(tmp_path: Path) -> None:
    """A PE file by the digest of its image, anything else by that of all its bytes."""
    plain_image, script = image(), b"Write-Host hello"
    pe = parse_pe(Held(plain_image))
    digest = hashlib.sha256()
    for start, end in covered(Held(plain_image), pe):
        digest.update(plain_image[start:end])
    raw = catalog(tmp_path, (PE_IMAGE, digest.digest()), (FLAT, hashlib.sha256(script).digest()))
    trust = Trust(extra_roots=(pki().root.certificate,))
    for content in (plain_image, script):
        found = judge("x", Held(content), trust, {"x.cat": raw})
        assert (found.status, found.method, found.signer) == ("valid", "catalog", "Test Publisher"), found
        assert judge("x", Held(content), Trust(), {"x.cat": raw}).status == "untrusted"
        assert judge("x", Held(flipped(content, len(content) - 1)), trust, {"x.cat": raw}).status == "unsigned"
        broken = flipped(raw, raw.find(hashlib.sha256(script).digest()) - 60)
        assert judge("x", Held(content), trust, {"x.cat": broken}).status in ("invalid", "unsigned")
    itself = judge("x.cat", Held(raw), trust)
    assert (itself.format, itself.status) == ("catalog", "valid")


def test_a_table_outside_the_file_is_malformed() -> None:
    raw = bytearray(image())
    entry = parse_pe(Held(bytes(raw))).entry_at
    assert entry
    struct.pack_into("<II", raw, entry, len(raw) - 8, 4096)
    assert (verdict(bytes(raw)).status, codes(verdict(bytes(raw)))) == ("invalid", {"malformed"})


def test_a_catalogue_of_nonsense_is_malformed() -> None:
    raw = b"\x30\x82\x01\x00\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02" + bytes(64)
    found = judge("x.cat", Held(raw), Trust())
    assert (found.format, found.status, codes(found)) == ("catalog", "invalid", {"malformed"})
