"""Mach-O files that lie: each was made to be called valid, and must not be."""

import hashlib
import plistlib
import struct
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from asn1crypto import cms, core
from cryptography.x509.oid import ExtendedKeyUsageOID

from hostscope.binaries import trust as trust_module
from hostscope.binaries.certificates import Broken
from hostscope.binaries.cms import parse_message, verify_signer
from hostscope.binaries.content import Held
from hostscope.binaries.macho_signature import Signed, parse_signed
from hostscope.binaries.trust import Trust
from hostscope.binaries.verdict import judge
from hostscope.model.signature import Signature

from . import macho_builder
from .macho_builder import ARM64, SHA1, SHA256, X86_64, Recipe, blob, build, fat, super_blob
from .pki import DEVELOPER_ID, DEVELOPER_ID_CA, NOW, TEAM, Identity, issue, pki, sign

TRUST = Trust(extra_roots=(pki().root.certificate,))
SECONDS = 10.0
"""More than any file may keep us busy for; sound answers take milliseconds."""


def verdict(raw: bytes, trust: Trust = TRUST, **more: Any) -> Signature:
    return judge("x", Held(raw), trust, **more)


def codes(found: Signature) -> set[str]:
    return {flaw.code for flaw in found.all_flaws}


def signature_at(raw: bytes) -> int:
    at = raw.find(b"\xfa\xde\x0c\xc0")
    assert at > 0
    return at


def resigned(raw: bytes, change: Callable[[dict[int, bytes]], dict[int, bytes]]) -> bytes:
    """The same code with other blobs."""
    at = signature_at(raw)
    signed = parse_signed(Held(raw))
    assert isinstance(signed, Signed)
    made = super_blob(change(dict(signed.blob.blobs)))
    return raw[:at] + made.ljust(len(raw) - at, b"\0")


# Who signs


def leaf(**more: Any) -> Identity:
    given: dict[str, Any] = {
        "unit": TEAM, "markers": (DEVELOPER_ID,), "usage": ExtendedKeyUsageOID.CODE_SIGNING,
    }  # fmt: skip
    return issue("Leaf", pki().issuer, **(given | more))


def by(one: Identity, *chain: Identity) -> bytes:
    return build(Recipe(signer=one, certificates=(one, *(chain or (pki().issuer, pki().root)))))


def test_a_certificate_without_a_purpose_signs_no_code() -> None:
    """Those of shops, receipts and mail have none, and lead to the same root."""
    found = verdict(by(leaf(usage=None)))
    assert (found.status, codes(found)) == ("invalid", {"chain"})


def test_an_issuer_for_another_purpose_does_not_count() -> None:
    issuer = issue("Web Authority", pki().root, ca=True, usage=ExtendedKeyUsageOID.SERVER_AUTH)
    one = issue("Leaf", issuer, unit=TEAM, usage=ExtendedKeyUsageOID.CODE_SIGNING)
    assert codes(verdict(by(one, issuer, pki().root))) == {"chain"}


def test_a_demand_on_certificates_that_we_do_not_know_is_not_passed_over() -> None:
    one = leaf(markers=(DEVELOPER_ID, "1.2.3.4.5"))
    assert codes(verdict(by(one))) == {"chain"}


@pytest.mark.parametrize(("markers", "status"), [((), "untrusted"), ((DEVELOPER_ID,), "valid")])
def test_apples_root_vouches_for_code_only_where_apple_marked_it(
    monkeypatch: pytest.MonkeyPatch, markers: tuple[str, ...], status: str
) -> None:
    monkeypatch.setattr(trust_module, "apple_root", lambda: pki().root.certificate)
    found = verdict(by(leaf(markers=markers)), Trust())
    assert found.status == status, found.all_flaws


def test_a_root_that_is_only_called_so_is_untrusted() -> None:
    subject = trust_module.apple_root().subject
    root = issue("Apple Root CA", None, ca=True, subject=subject)
    middle = issue("Developer ID Certification Authority", root, ca=True, markers=(DEVELOPER_ID_CA,))
    one = issue("Developer ID Application: Apple", middle, unit=TEAM, usage=ExtendedKeyUsageOID.CODE_SIGNING)
    assert root.certificate.subject == subject
    found = verdict(by(one, middle, root))
    assert (found.status, codes(found)) == ("untrusted", {"root"})


def test_a_time_stamp_needs_an_authority_for_time_stamps() -> None:
    """Else any certificate of the same root could date a signature back."""
    nobody = issue("Somebody", pki().root)
    for authority in (nobody, leaf()):
        found = verdict(build(Recipe(stamp=(authority, NOW))))
        assert (found.status, codes(found)) == ("invalid", {"timestamp"}), authority.certificate.subject


def test_a_stamp_of_another_signature_is_caught() -> None:
    old = leaf(days=(-20, -10))
    then = NOW - timedelta(days=15)
    recipe = Recipe(
        signer=old, certificates=(old, pki().issuer, pki().root), stamp=(pki().authority, then), hashes=(SHA256,)
    )
    good, other = build(recipe), build(Recipe(signer=old, certificates=recipe.certificates, hashes=(SHA256,), pages=6))
    assert verdict(good).status == "valid"

    def borrowed(blobs: dict[int, bytes]) -> dict[int, bytes]:
        donor, mine = (cms.ContentInfo.load(signed_blobs(raw)[0x10000][8:]) for raw in (good, other))
        unsigned = donor["content"]["signer_infos"][0]["unsigned_attrs"]
        mine["content"]["signer_infos"][0]["unsigned_attrs"] = unsigned
        return blobs | {0x10000: blob(0xFADE0B01, mine.dump(force=True))}

    found = verdict(resigned(other, borrowed))
    assert found.status == "invalid" and "timestamp" in codes(found)


def signed_blobs(raw: bytes) -> dict[int, bytes]:
    signed = parse_signed(Held(raw))
    assert signed
    return signed.blob.blobs


# What is signed


def test_slices_signed_by_different_people_are_not_one_file() -> None:
    """The name of the first would stand for the code of the second."""
    stranger = issue("Stranger", pki().issuer, unit="STRANGER01", usage=ExtendedKeyUsageOID.CODE_SIGNING)
    chain = (stranger, pki().issuer, pki().root)
    other = build(Recipe(cpu=X86_64, team="STRANGER01", signer=stranger, certificates=chain))
    found = verdict(fat(build(), other))
    assert (found.status, codes(found)) == ("invalid", {"identity"})
    assert verdict(fat(build(), build(Recipe(cpu=X86_64)))).status == "valid"


def test_an_architecture_hidden_behind_the_table_is_told() -> None:
    raw = bytearray(fat(build(), build(Recipe(cpu=X86_64))))
    hidden = struct.pack(">iiIII", ARM64, 0, 0x4000, len(build()), 14)
    raw[8 + 2 * 20 : 8 + 3 * 20] = hidden
    assert "appended" in codes(verdict(bytes(raw)))


def test_a_library_of_object_files_is_unsigned_not_broken() -> None:
    """And beside a signed slice it makes the file unsigned: nothing vouches for it."""
    library = bytearray(fat(build(), build(Recipe(cpu=X86_64))))
    (second,) = struct.unpack_from(">I", library, 8 + 20 + 8)
    library[second : second + 8] = b"!<arch>\n"
    assert (verdict(bytes(library)).status, codes(verdict(bytes(library)))) == ("unsigned", set())


def test_a_gap_is_read_to_its_end() -> None:
    raw = fat(build(), build(Recipe(cpu=X86_64)))
    (second,) = struct.unpack_from(">I", raw, 8 + 20 + 8)
    moved = bytearray(raw[:second] + bytes(3 << 20) + raw[second:])
    struct.pack_into(">I", moved, 8 + 20 + 8, second + (3 << 20))
    assert verdict(bytes(moved)).status == "valid"
    moved[second + (2 << 20)] = 1
    assert "appended" in codes(verdict(bytes(moved)))


@pytest.mark.parametrize("slot", [4, 0x1006, 0x10001, 0x20000])
def test_a_slot_that_nothing_seals_is_caught(slot: int) -> None:
    raw = resigned(build(), lambda blobs: blobs | {slot: blob(0xFADE7171, b"payload")})
    assert (verdict(raw).status, codes(verdict(raw))) == ("invalid", {"special-slot"})


def test_a_payload_between_the_blobs_is_caught() -> None:
    raw = build()
    at, blobs = signature_at(raw), signed_blobs(raw)
    head, index, place, body = 12 + 8 * len(blobs), b"", 12 + 8 * len(blobs) + 16, b""
    for slot, one in blobs.items():
        index += struct.pack(">II", slot, place + len(body))
        body += one
    made = struct.pack(">III", 0xFADE0CC0, head + 16 + len(body), len(blobs)) + index + b"hidden payload!!" + body
    changed = raw[:at] + made.ljust(len(raw) - at, b"\0")
    assert (verdict(changed).status, codes(verdict(changed))) == ("invalid", {"appended"})


def test_blobs_that_lie_over_each_other_are_malformed() -> None:
    raw = bytearray(build())
    at = signature_at(bytes(raw))
    first = struct.unpack_from(">I", raw, at + 16)[0]
    (count,) = struct.unpack_from(">I", raw, at + 8)
    struct.pack_into(">II", raw, at + 12 + 8 * (count - 1), 0x10002, first)
    assert codes(verdict(bytes(raw))) == {"malformed"}


def test_two_directories_of_one_kind_are_caught() -> None:
    """The kernel refuses them: which one counts would be chance."""
    found = verdict(build(Recipe(hashes=(SHA256, SHA256))))
    assert (found.status, codes(found)) == ("invalid", {"directory"})


@pytest.mark.parametrize("name", [b"__DATA", b"__LINKEDIT"])
def test_code_that_is_mapped_from_behind_what_is_signed_is_caught(monkeypatch: pytest.MonkeyPatch, name: bytes) -> None:
    """The signature's own bytes are covered by nothing; a segment that runs them makes the rest worthless."""
    make = macho_builder._code

    def changed(recipe: Recipe, size: int) -> tuple[bytes, int]:
        code, room = make(recipe, size)
        at = code.find(b"__LINKEDIT")
        raw = bytearray(code)
        raw[at : at + 16] = name.ljust(16, b"\0")
        struct.pack_into("<ii", raw, at + 16 + 32, 5, 5)  # readable, executable
        return bytes(raw), room

    monkeypatch.setattr(macho_builder, "_code", changed)
    found = verdict(build())
    assert (found.status, codes(found)) == ("invalid", {"directory"})


def test_a_weak_digest_is_told_and_believed_less() -> None:
    stamp = (pki().authority, NOW)
    found = verdict(build(Recipe(hashes=(SHA1,), stamp=stamp)))
    assert codes(found) == {"weak"} and found.confidence == "medium"
    assert "weak" not in codes(verdict(build(Recipe(hashes=(SHA1, SHA256), stamp=stamp))))


def test_an_info_plist_that_a_program_does_not_seal_is_caught() -> None:
    """A tool without one, put into a bundle that calls itself something else."""
    raw = build(Recipe(info_plist=None))
    assert "special-slot" in codes(verdict(raw, beside={1: b"<plist/>"}))
    assert "special-slot" in codes(verdict(raw, beside={3: b"<plist/>"}))


def test_entitlements_behind_another_magic_are_none() -> None:
    """The kernel looks for slot and magic."""
    recipe = Recipe(hashes=(SHA256,))
    monkey = macho_builder._blobs(recipe)
    assert monkey[5][:4] == bytes.fromhex("fade7171")
    signed = signed_blobs(build(recipe))
    assert signed[7][:4] == bytes.fromhex("fade7172")
    from hostscope.binaries.macho_signature import read_entitlements

    found, flaws = read_entitlements({5: b"\xfa\xde\x0c\x01" + signed[5][4:]})
    assert found is None and [flaw.code for flaw in flaws] == ["entitlements"]


def test_a_key_that_is_there_twice_is_no_entitlement() -> None:
    """Which of both counts depends on who reads."""
    from hostscope.binaries.entitlements import parse_der

    one = macho_builder.pairs({"a": True}) + macho_builder.pairs({"a": False})
    with pytest.raises(ValueError, match="twice"):
        parse_der(macho_builder.tlv(0x70, macho_builder.tlv(2, b"\1") + macho_builder.tlv(0xB0, one)))


# Messages


def test_attributes_are_no_content() -> None:
    """A signature over attributes, given out as one over a content that is those attributes."""
    known = pki()
    message = cms.ContentInfo.load(sign(b"content", known.leaf, (known.leaf,)))
    info = message["content"]["signer_infos"][0]
    attributes = info["signed_attrs"].untag().dump()
    fields = {name: info[name] for name in ("version", "sid", "digest_algorithm", "signature_algorithm", "signature")}
    message["content"]["signer_infos"] = [cms.SignerInfo(fields)]
    with pytest.raises(Broken):
        verify_signer(parse_message(message.dump(force=True)), attributes)


def message_with(**changes: Any) -> bytes:
    """A signed message whose attributes were made so by the signer."""
    known = pki()
    content = signed_blobs(build(Recipe(hashes=(SHA256,))))[0]
    extra = tuple(changes.get("more", ()))
    return sign(content, known.leaf, (known.leaf, known.issuer, known.root), extra, at=changes.get("at", NOW))


def judged_with(message: bytes) -> Signature:
    raw = build(Recipe(hashes=(SHA256,)))
    return verdict(resigned(raw, lambda blobs: blobs | {0x10000: blob(0xFADE0B01, message)}))


def test_an_attribute_that_is_there_twice_is_malformed() -> None:
    again = ("message_digest", [hashlib.sha256(b"other").digest()])
    assert codes(judged_with(message_with(more=(again,)))) <= {"cms", "malformed"}
    assert judged_with(message_with(more=(again,))).status == "invalid"


@pytest.mark.parametrize("value", [1 << 40, -1, "text", [1]])
def test_digests_that_are_none_are_caught_in_no_time(value: Any) -> None:
    """bytes(2**40) would be a terabyte."""
    attribute = ("1.2.840.113635.100.9.1", [core.OctetString(plistlib.dumps({"cdhashes": [value]}))])
    found = judged_with(message_with(more=(attribute,)))
    assert (found.status, codes(found)) == ("invalid", {"directory"})


@pytest.mark.parametrize("year", [b"00000101000000Z", b"99991231235959Z"])
def test_times_at_the_ends_of_the_calendar_are_no_accident(year: bytes) -> None:
    moment = core.GeneralizedTime(contents=year)
    found = judged_with(message_with(at=None, more=(("signing_time", [cms.Time({"generalized_time": moment})]),)))
    assert found.status in ("valid", "invalid")


# Bombs


def timed(raw: bytes) -> Signature:
    began = time.process_time()
    found = verdict(raw)
    assert time.process_time() - began < SECONDS
    return found


def nested_xml(levels: int) -> bytes:
    text = b"<array>" * levels + b"</array>" * levels
    return b'<?xml version="1.0"?><plist version="1.0"><dict><key>a</key>' + text + b"</dict></plist>"


def test_entitlements_nested_deeper_than_json_goes_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = macho_builder._blobs
    monkeypatch.setattr(
        macho_builder, "_blobs", lambda recipe: blobs(recipe) | {5: blob(0xFADE7171, nested_xml(50_000))}
    )
    assert "entitlements" in codes(timed(build(Recipe(hashes=(SHA256,)))))


def test_a_message_of_a_million_little_values_is_bounded() -> None:
    values = [core.Integer(1)] * 300_000
    assert timed(grown(message_with(more=(("1.2.3.4.5", values),)))).status == "invalid"


def grown(message: bytes) -> bytes:
    """A file with another message, however large."""
    file = build(Recipe(hashes=(SHA256,)))
    at = signature_at(file)
    body = super_blob(signed_blobs(file) | {0x10000: blob(0xFADE0B01, message)})
    changed = bytearray(file[:at] + body)
    struct.pack_into("<I", changed, changed.find(struct.pack("<II", 0x1D, 16)) + 12, len(body))
    return bytes(changed)


def test_certificates_that_all_might_have_issued_each_other_are_bounded() -> None:
    many = tuple(issue("Same", None, ca=True, key=pki().root.key) for _ in range(40))
    content = signed_blobs(build(Recipe(hashes=(SHA256,))))[0]
    assert "malformed" in codes(timed(grown(sign(content, pki().leaf, (pki().leaf, *many)))))


def test_a_deep_message_is_malformed() -> None:
    deep = b""
    for _ in range(3000):
        size = len(deep)
        deep = b"\x30" + (bytes([size]) if size < 128 else b"\x83" + size.to_bytes(3, "big")) + deep
    assert codes(judged_with(deep)) == {"malformed"}
    assert codes(judged_with(b"\x30\x84\xff\xff\xff\xff")) == {"malformed"}


def test_a_signature_within_the_load_commands_is_malformed() -> None:
    raw = bytearray(build())
    at = raw.find(struct.pack("<II", 0x1D, 16))
    struct.pack_into("<I", raw, at + 4, 8)
    assert verdict(bytes(raw)).status == "invalid"


def test_names_with_escape_codes_stay_out_of_the_terminal() -> None:
    """They stand in the record as they are; whoever prints them is tested in `tests/unit/cli/test_verify.py`."""
    found = verdict(build(Recipe(identifier="\x1b]0;evil\x07", requirement=macho_builder.requirements(
        macho_builder.word(2) + macho_builder.data(b'\x1b[2Ja" or always')))))  # fmt: skip
    assert found.parts[0].requirement == "identifier 0x" + b'\x1b[2Ja" or always'.hex()
