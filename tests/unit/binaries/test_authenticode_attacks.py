"""PE files that lie: each was made to be called valid, and must not be."""

import hashlib
import struct
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import core
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from hostscope.binaries.content import Held
from hostscope.binaries.image_digests import check_pages
from hostscope.binaries.pe import covered, parse_pe
from hostscope.binaries.trust import Trust
from hostscope.binaries.verdict import judge

from .macho_builder import tlv
from .pe_builder import OSSLSIGNCODE, image, sign
from .pki import NOW, Identity, issue, plain, time_stamp
from .test_authenticode import FLAT, catalog, codes, flipped, inside, oid, table, verdict

pytestmark = pytest.mark.skipif(OSSLSIGNCODE is None, reason="osslsigncode is not installed")
CODE = ExtendedKeyUsageOID.CODE_SIGNING
LIFETIME = "1.3.6.1.4.1.311.10.3.13"
SECONDS = 10.0


def stamped(folder: Path, raw: bytes, signer: Identity, days: int = 15, authority: Identity | None = None) -> bytes:
    """Signed and stamped so many days ago."""
    one, then = authority or plain().authority, NOW - timedelta(days=days)
    (folder / "tsa.pem").write_bytes(one.pem + plain().root.pem)
    (folder / "tsa.key").write_bytes(one.key_pem)
    given = ("-TSA-certs", "tsa.pem", "-TSA-key", "tsa.key", "-TSA-time", str(int(then.timestamp())))
    return sign(folder, raw, *given, signer=signer)


def test_a_certificate_without_a_purpose_signs_no_code(tmp_path: Path) -> None:
    found = verdict(sign(tmp_path, image(), signer=issue("Mail", plain().issuer)))
    assert (found.status, codes(found)) == ("untrusted", {"chain"})


def test_an_issuer_for_another_purpose_does_not_count(tmp_path: Path) -> None:
    issuer = issue("Web Authority", plain().root, ca=True, usage=ExtendedKeyUsageOID.SERVER_AUTH)
    leaf = issue("Leaf", issuer, usage=CODE)
    (tmp_path / "more.pem").write_bytes(issuer.pem)
    assert verdict(sign(tmp_path, image(), "-ac", "more.pem", signer=leaf)).status in ("untrusted", "invalid")


def test_an_authority_for_something_else_dates_nothing(tmp_path: Path) -> None:
    old = issue("Old", plain().issuer, usage=CODE, days=(-20, -10))
    assert verdict(stamped(tmp_path, image(), old)).status == "valid"
    raw, then = sign(tmp_path, image(), signer=old), NOW - timedelta(days=15)
    signature = core.OctetString.load(inside(signer_of(raw))[-1]).native
    for usage, status in ((ExtendedKeyUsageOID.TIME_STAMPING, "valid"), (None, "untrusted"), (CODE, "untrusted")):
        nobody = issue("Nobody", plain().root, usage=usage)
        token = tlv(0x30, oid("1.3.6.1.4.1.311.3.3.1") + tlv(0x31, time_stamp(signature, nobody, then)))
        found = verdict(with_unsigned(raw, tlv(0xA1, token)))
        assert (found.status == "valid") is (status == "valid"), (usage, found.all_flaws)


def test_an_authority_that_nobody_trusts_dates_nothing(tmp_path: Path) -> None:
    own = issue("Own Stamps", None, usage=ExtendedKeyUsageOID.TIME_STAMPING)
    for days in ((-20, -10), (-20, 100)):
        signer = issue("Signer", plain().issuer, usage=CODE, days=days)
        assert verdict(stamped(tmp_path, image(), signer, authority=own)).status in ("invalid", "untrusted")


def test_a_certificate_for_its_lifetime_only_ends_with_it(tmp_path: Path) -> None:
    """Microsoft's lifetime signing: no time stamp makes such a signature live on."""
    usages = [CODE, x509.ObjectIdentifier(LIFETIME)]
    old = issue("Trial", plain().issuer, usage=usages, days=(-20, -10))
    found = verdict(stamped(tmp_path, image(), old))
    assert (found.status, codes(found)) == ("untrusted", {"chain"})
    assert verdict(stamped(tmp_path, image(), issue("Trial", plain().issuer, usage=usages))).status == "valid"


def test_a_stamp_of_another_signature_is_caught(tmp_path: Path) -> None:
    old = issue("Old", plain().issuer, usage=CODE, days=(-20, -10))
    donor, mine = stamped(tmp_path, image(), old), sign(tmp_path, image(5), signer=old)
    found = verdict(with_unsigned(mine, inside(signer_of(donor))[-1]))
    assert (found.status, codes(found)) == ("invalid", {"timestamp"})


def signature_of(raw: bytes) -> bytes:
    start, _ = table(raw)
    (length,) = struct.unpack_from("<I", raw, start)
    return raw[start + 8 : start + length]


def signer_of(raw: bytes) -> bytes:
    return inside(inside(inside(inside(signature_of(raw))[1])[0])[4])[0]


def with_unsigned(raw: bytes, attributes: bytes) -> bytes:
    """The file, its signer with other unsigned attributes."""
    kind, wrapped = inside(signature_of(raw))
    *rest, _ = inside(inside(wrapped)[0])
    signer = tlv(0x30, b"".join(inside(signer_of(raw))) + attributes)
    return with_signature(raw, tlv(0x30, kind + tlv(0xA0, tlv(0x30, b"".join((*rest, tlv(0x31, signer)))))))


def with_signature(raw: bytes, body: bytes) -> bytes:
    start, _ = table(raw)
    entry = struct.pack("<IHH", len(body) + 8, 0x200, 2) + body
    entry += bytes(-len(entry) % 8)
    place = parse_pe(Held(raw)).entry_at
    assert place
    changed = bytearray(raw[:start] + entry)
    struct.pack_into("<II", changed, place, start, len(entry))
    return bytes(changed)


def test_a_sound_signature_in_a_broken_one_saves_nothing(tmp_path: Path) -> None:
    raw = sign(tmp_path, sign(tmp_path, image()), "-nest")
    assert [part.status for part in verdict(raw).parts] == ["valid", "valid"]
    first = raw.find(b"\x04\x82\x01\x00", table(raw)[0])
    changed = verdict(flipped(raw, first + 9))
    assert (changed.status, [part.status for part in changed.parts]) == ("invalid", ["invalid", "valid"])


def test_sections_may_not_reach_into_what_no_digest_covers(tmp_path: Path) -> None:
    """A publisher could change that code after signing."""
    raw = bytearray(image())
    struct.pack_into("<I", raw, 0x98 + 240 + 16, 3 * 4096 + 512)  # .text is larger than the image
    found = verdict(sign(tmp_path, bytes(raw)))
    assert found.status == "invalid"


def test_a_table_in_the_middle_is_no_end(tmp_path: Path) -> None:
    """The digest is over what remains, in one piece: the same bytes, moved apart by a payload."""
    raw = sign(tmp_path, image())
    start, size = table(raw)
    place = parse_pe(Held(raw)).entry_at
    assert place
    moved = bytearray(raw[:0x1200] + raw[start : start + size] + raw[0x1200:start])
    struct.pack_into("<I", moved, place, 0x1200)
    found = verdict(bytes(moved))
    assert found.status == "invalid" and "appended" in codes(found)


@pytest.mark.parametrize(("algorithm", "confidence"), [("sha1", "medium"), ("md5", "medium"), ("sha256", "medium")])
def test_weak_digests_are_told(tmp_path: Path, algorithm: str, confidence: str) -> None:
    found = verdict(sign(tmp_path, image(), "-h", algorithm))
    assert ("weak" in codes(found)) is (algorithm != "sha256")
    assert found.confidence == confidence


def test_a_catalogue_that_nobody_vouches_for_vouches_for_nothing(tmp_path: Path) -> None:
    script = b"Write-Host hello"
    raw = catalog(tmp_path, (FLAT, hashlib.sha256(script).digest()))
    found = judge("x.ps1", Held(script), Trust(), {"x.cat": raw})
    assert found.status == "untrusted"
    assert judge("x.ps1", Held(script + b" "), Trust(), {"x.cat": raw}).status == "unsigned"
    assert found.confidence == "none"


# Bombs


@pytest.mark.parametrize("places", [[(0, 60 << 20), (60 << 20, 0)], [(0, 10), (5, 20)], [(5, 5)], [(0, 2 << 20)]])
def test_pages_that_are_read_again_and_again_are_refused(places: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="pages"):
        check_pages([(start, end, b"") for start, end in places])


def test_a_signature_larger_than_any_is_refused(tmp_path: Path) -> None:
    raw = sign(tmp_path, image())
    values = tlv4(0x31, bytes(core.Integer(1).dump()) * 2_000_000)
    attribute = tlv4(0xA1, tlv4(0x30, oid("1.2.3.4") + values))
    kind, wrapped = inside(signature_of(raw))
    *rest, _ = inside(inside(wrapped)[0])
    signer = tlv4(0x30, b"".join(inside(signer_of(raw))) + attribute)
    body = tlv4(0x30, kind + tlv4(0xA0, tlv4(0x30, b"".join((*rest, tlv4(0x31, signer))))))
    began = time.process_time()
    found = verdict(with_signature(raw, body))
    assert (found.status, codes(found)) == ("invalid", {"malformed"})
    assert time.process_time() - began < SECONDS


def tlv4(tag: int, content: bytes) -> bytes:
    return bytes([tag, 0x84]) + struct.pack(">I", len(content)) + content


def test_a_file_of_many_signatures_is_bounded(tmp_path: Path) -> None:
    raw = sign(tmp_path, image())
    start, _ = table(raw)
    one = raw[start:]
    place = parse_pe(Held(raw)).entry_at
    assert place
    changed = bytearray(raw[:start] + one * 63)
    struct.pack_into("<II", changed, place, start, len(one) * 63)
    began = time.process_time()
    assert verdict(bytes(changed)).status in ("valid", "invalid")
    assert time.process_time() - began < SECONDS


def digest(raw: bytes) -> bytes:
    found: Any = hashlib.sha256()
    for start, end in covered(Held(raw), parse_pe(Held(raw))):
        found.update(raw[start:end])
    return bytes(found.digest())


def test_headers_that_say_the_table_is_in_them_are_malformed(tmp_path: Path) -> None:
    raw = bytearray(sign(tmp_path, image()))
    place = parse_pe(Held(bytes(raw))).entry_at
    assert place
    struct.pack_into("<II", raw, place, 0x40, len(raw) - 0x40)
    assert verdict(bytes(raw)).status == "invalid"
    assert digest(bytes(raw)) != digest(image())
