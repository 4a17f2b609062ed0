"""Mach-O signatures that we made ourselves: everything that is read, and every tampering that is caught."""

import json
import struct
from datetime import timedelta
from typing import Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from hostscope.binaries.content import Held
from hostscope.binaries.macho import slices
from hostscope.binaries.macho_signature import parse_signed
from hostscope.binaries.trust import APPLE_ROOT_SHA256, Trust, apple_root
from hostscope.binaries.verdict import judge
from hostscope.model.signature import Flaw, Signature

from .macho_builder import ARM64, SHA1, SHA256, SHA384, X86_64, Recipe, build, data, fat, requirements, word
from .pki import NOW, TEAM, issue, pki


def trust() -> Trust:
    return Trust(extra_roots=(pki().root.certificate,))


def verdict(raw: bytes, given: Trust | None = None, **beside: Any) -> Signature:
    return judge("tool", Held(raw), given or trust(), **beside)


def codes(found: Signature) -> set[str]:
    return {flaw.code for flaw in found.all_flaws}


def stamped() -> Recipe:
    return Recipe(stamp=(pki().authority, NOW))


def test_everything_about_a_signed_file() -> None:
    found = verdict(build(stamped()))
    (part,) = found.parts
    assert (found.status, found.method, found.format) == ("valid", "macho-cms", "mach-o")
    assert (part.name, part.identifier, part.team) == ("arm64", "org.test.tool", TEAM)
    assert part.signer == f"Developer ID Application: Test ({TEAM})"
    assert part.digests == ("sha1", "sha256")
    assert part.flags == ("runtime",)
    assert part.flaws == found.flaws == ()
    assert [one.subject for one in part.chain][-1] == "C=US,CN=Test Root CA"
    assert found.signed_at_ns == int(NOW.timestamp()) * 10**9
    assert part.timestamp is not None and (part.timestamp.kind, part.timestamp.authority) == (
        "rfc3161",
        "Test Time Stamps",
    )
    assert found.confidence == "medium", "the root was given to us"
    assert found.revocation == "not checked"


def test_the_root_is_the_pinned_one() -> None:
    assert apple_root().subject.rfc4514_string().endswith("CN=Apple Root CA") or "Apple Root CA" in str(
        apple_root().subject
    )
    assert len(APPLE_ROOT_SHA256) == 64


@pytest.mark.parametrize("hashes", [(SHA1,), (SHA256,), (SHA1, SHA256), (SHA256, SHA384), (SHA1, SHA256, SHA384)])
def test_the_strongest_directory_counts(hashes: tuple[int, ...]) -> None:
    raw = build(Recipe(hashes=hashes))
    found = verdict(raw)
    signed = parse_signed(slices(Held(raw))[0].content)
    assert signed is not None
    assert found.status == "valid"
    assert found.parts[0].code_hash == signed.best.cdhash.hex()
    assert signed.best.hash_type == max(hashes)


@pytest.mark.parametrize("old", [False, True])
def test_entitlements_of_both_forms(old: bool) -> None:
    (part,) = verdict(build(Recipe(old_der=old))).parts
    assert part.entitlements is not None
    assert {one.name: json.loads(one.value) for one in part.entitlements} == {
        "com.apple.security.cs.allow-jit": True,
        "groups": ["a", "b"],
        "n": 5,
    }


def test_entitlements_in_xml_that_ends_oddly_are_read() -> None:
    """Real files end in ``</xml>``; the kernel reads the DER, and plutil would refuse the XML."""
    found = verdict(build(Recipe(xml_tail=b"</xml>\n\0")))
    assert (found.status, codes(found)) == ("valid", set())


def test_the_designated_requirement_as_text() -> None:
    (part,) = verdict(build()).parts
    assert part.requirement == (
        f'identifier "org.test.tool" and anchor apple generic and certificate leaf[subject.OU] = {TEAM}'
    )


def test_ad_hoc_code_is_intact_by_its_own_account() -> None:
    found = verdict(build(Recipe(adhoc=True)))
    assert (found.status, found.method, found.signer, found.confidence) == ("adhoc", "macho-adhoc", None, "low")


def test_pages_of_16_KiB_and_one_digest_over_everything() -> None:
    assert verdict(build(Recipe(page_exponent=14))).status == "valid"


def test_an_unsigned_file_is_an_answer() -> None:
    raw = bytearray(build())
    commands, size = struct.unpack_from("<II", raw, 16)
    struct.pack_into("<II", raw, 16, commands - 1, size - 16)
    found = verdict(bytes(raw))
    assert (found.status, found.method, found.flaws) == ("unsigned", "none", ())


def test_a_universal_file_is_as_good_as_its_worst_slice() -> None:
    one, other = build(Recipe(cpu=X86_64)), build(Recipe(cpu=ARM64, adhoc=True))
    found = verdict(fat(one, other))
    assert [(part.name, part.status) for part in found.parts] == [("x86_64", "valid"), ("arm64", "adhoc")]
    assert found.status == "adhoc"
    broken = bytearray(other)
    broken[0x2000] ^= 1
    assert verdict(fat(one, bytes(broken))).status == "invalid"


def test_bytes_in_no_slice_are_told() -> None:
    one, other = build(Recipe(cpu=X86_64)), build(Recipe(cpu=ARM64))
    assert verdict(fat(one, other)).flaws == ()
    assert verdict(fat(one, other, tail=b"x" * 64)).flaws == (
        Flaw("appended", f"64 bytes at {len(fat(one, other))} belong to no architecture"),
    )
    assert verdict(fat(one, other, gap=b"hidden")).status == "invalid"


# Time and trust


def test_a_certificate_that_expired_counts_at_the_time_of_the_stamp() -> None:
    known = pki()
    old = issue("Old", known.issuer, unit=TEAM, usage=ExtendedKeyUsageOID.CODE_SIGNING, days=(-20, -10))
    chain = (old, known.issuer, known.root)
    then = NOW - timedelta(days=15)
    assert (
        verdict(build(Recipe(signer=old, certificates=chain, stamp=(known.authority, then), at=then))).status == "valid"
    )
    found = verdict(build(Recipe(signer=old, certificates=chain, at=then)))
    assert (found.status, codes(found)) == ("untrusted", {"expired"})
    late = NOW - timedelta(days=5)
    assert verdict(build(Recipe(signer=old, certificates=chain, stamp=(known.authority, late)))).status == "untrusted"


def test_without_the_root_it_is_untrusted_not_broken() -> None:
    found = judge("tool", Held(build()), Trust())
    assert (found.status, codes(found), found.confidence) == ("untrusted", {"root"}, "none")


def test_a_stamp_of_an_untrusted_authority_is_broken() -> None:
    rogue = issue("Rogue", None, usage=ExtendedKeyUsageOID.TIME_STAMPING)
    found = verdict(build(Recipe(stamp=(rogue, NOW))))
    assert (found.status, codes(found)) == ("invalid", {"timestamp"})


@pytest.mark.parametrize(
    ("signer", "code"),
    [
        (lambda: issue("Not for code", pki().issuer, unit=TEAM, usage=ExtendedKeyUsageOID.TIME_STAMPING), "chain"),
        (lambda: issue("By a leaf", pki().leaf, unit=TEAM), "chain"),
        (lambda: issue("By itself", None, unit=TEAM), "root"),
        (lambda: issue("Other team", pki().issuer, unit="OTHER"), "identity"),
    ],
)
def test_signers_that_do_not_count(signer: Any, code: str) -> None:
    known, one = pki(), signer()
    found = verdict(build(Recipe(signer=one, certificates=(one, known.leaf, known.issuer, known.root))))
    assert code in codes(found)
    assert found.status in ("invalid", "untrusted")


def test_an_issuer_with_another_key_is_caught() -> None:
    """The name is right, the signature is not: somebody made an issuer of their own."""
    known = pki()
    fake = issue("Test Developer ID Authority", known.root, ca=True)
    leaf = issue("Mallory", fake, unit=TEAM)
    found = verdict(build(Recipe(signer=leaf, certificates=(leaf, known.issuer, known.root))))
    assert (found.status, codes(found)) == ("invalid", {"chain"})


def test_a_path_longer_than_its_root_allows_is_caught() -> None:
    root = issue("Short", None, ca=True, path_length=0)
    middle = issue("Middle", root, ca=True)
    leaf = issue("Leaf", middle, unit=TEAM)
    recipe = Recipe(signer=leaf, certificates=(leaf, middle, root))
    assert codes(verdict(build(recipe), Trust(extra_roots=(root.certificate,)))) == {"chain"}


# Tampering


def place(raw: bytes, what: bytes, start: int = 0) -> int:
    at = raw.find(what, start)
    assert at >= 0, what
    return at


def flipped(raw: bytes, at: int, by: int = 1) -> bytes:
    changed = bytearray(raw)
    changed[at] ^= by
    return bytes(changed)


def signature_at(raw: bytes) -> int:
    return place(raw, b"\xfa\xde\x0c\xc0")


TAMPERED: dict[str, Any] = {
    "code": (lambda raw: flipped(raw, 0x2100), {"page"}),
    "last page": (lambda raw: flipped(raw, signature_at(raw) - 1), {"page"}),
    "header flags": (lambda raw: flipped(raw, 24), {"page"}),
    "embedded Info.plist": (lambda raw: flipped(raw, 0x410), {"page", "special-slot"}),
    "directory flags": (lambda raw: flipped(raw, place(raw, b"\xfa\xde\x0c\x02") + 15), {"cms"}),
    "team": (lambda raw: flipped(raw, place(raw, TEAM.encode(), signature_at(raw))), {"cms"}),
    "second directory": (
        lambda raw: flipped(raw, place(raw, b"\xfa\xde\x0c\x02", place(raw, b"\xfa\xde\x0c\x02") + 4) + 15),
        {"directory"},
    ),
    "XML entitlements": (lambda raw: flipped(raw, place(raw, b"<plist", signature_at(raw)) + 9), {"special-slot"}),
    "DER entitlements": (lambda raw: flipped(raw, place(raw, b"\xfa\xde\x71\x72") + 20), {"special-slot"}),
    "requirements": (lambda raw: flipped(raw, place(raw, b"\xfa\xde\x0c\x01") + 30), {"special-slot"}),
    "message digest": (lambda raw: flipped(raw, place(raw, b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x04") + 20), {"cms"}),
    "signature value": (lambda raw: flipped(raw, place(raw, b"\x04\x82\x01\x00", signature_at(raw)) + 20), {"cms"}),
    "appended": (lambda raw: raw + b"x" * 64, {"appended"}),
    "appended zeros": (lambda raw: raw + bytes(64), {"appended"}),
    "cut in the signature": (lambda raw: raw[: signature_at(raw) + 100], {"malformed"}),
    "cut in the code": (lambda raw: raw[:0x1800], {"malformed"}),
}


def test_what_stands_in_the_signatures_room_is_told() -> None:
    """Signing anew leaves the end of a longer signature there, in apps that Apple notarised, too; nothing runs it."""
    found = verdict(build(stamped())[:-8] + b"hidden!!")
    assert [(flaw.code, flaw.severity) for flaw in found.all_flaws] == [("appended", "noted")]
    assert found.status == "valid"


@pytest.mark.parametrize("name", TAMPERED)
def test_every_tampering_is_caught(name: str) -> None:
    change, expected = TAMPERED[name]
    raw = build(stamped())
    assert verdict(raw).status == "valid"
    found = verdict(change(raw))
    assert found.status == "invalid", name
    assert expected <= codes(found), found.all_flaws


def test_a_changed_time_stamp_is_caught() -> None:
    raw = build(stamped())
    token = place(raw, b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x04")
    found = verdict(flipped(raw, token + 60))
    assert (found.status, codes(found)) == ("invalid", {"timestamp"})


def test_every_bit_that_is_signed_matters() -> None:
    """One flip in each 7 bytes of directories and blobs; nothing goes unnoticed."""
    raw = build(Recipe(pages=2, hashes=(SHA256,)))
    start = signature_at(raw)
    end = place(raw, b"\xfa\xde\x0b\x01", start)
    # Nobody signs the length of the whole, which follows the magic: by one it may take in or leave out padding.
    places = (start, *range(start + 8, end, 7))
    unnoticed = [at for at in places if verdict(flipped(raw, at)).status == "valid"]
    assert unnoticed == []


def test_a_removed_message_is_caught() -> None:
    """Code that is not said to be ad hoc has a signer."""
    assert codes(verdict(build(Recipe(no_message=True)))) == {"signature"}


def test_an_alternate_directory_that_nobody_signed_is_caught() -> None:
    found = verdict(build(Recipe(attributes=False)))
    assert (found.status, codes(found)) == ("invalid", {"directory"})


def test_a_signature_moved_to_other_code_is_caught() -> None:
    mine, other = build(Recipe()), build(Recipe(identifier="org.test.evil"))
    message = mine[place(mine, b"\xfa\xde\x0b\x01") :]
    assert "cms" in codes(verdict(other[: place(other, b"\xfa\xde\x0b\x01")] + message))


def test_what_stands_in_a_bundle_is_compared_where_it_is_given() -> None:
    recipe = Recipe(info_plist=None, info_slot=b"<plist/>", resources_slot=b"seal")
    raw = build(recipe)
    alone = verdict(raw)
    assert alone.status == "valid"
    assert {flaw.severity for flaw in alone.all_flaws} == {"noted"}
    assert verdict(raw, beside={1: b"<plist/>", 3: b"seal"}).all_flaws == ()
    assert verdict(raw, beside={1: b"<plist />", 3: b"seal"}).status == "invalid"
    assert verdict(raw, beside={1: b"<plist/>"}).status == "invalid"


def test_differing_entitlements_are_noted() -> None:
    """What the kernel reads and what people are shown: the trick of CVE-2021-1740 and its like."""
    recipe = Recipe(hashes=(SHA256,))
    raw = build(recipe)
    assert b"allow-jit" in raw
    found = verdict(raw.replace(b"<key>com.apple.security.cs.allow-jit", b"<key>com.apple.security.cs.allow-xxx", 1))
    assert "entitlements" in codes(found)


# Requirements


def text(expression: bytes) -> str | None:
    return verdict(build(Recipe(requirement=requirements(expression)))).parts[0].requirement


CERTIFICATE = b"\x2a\x86\x48\x86\xf7\x63\x64\x06\x02\x06"


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (word(0), "never"),
        (word(1), "always"),
        (word(3), "anchor apple"),
        (word(15), "anchor apple generic"),
        (word(21), "notarized"),
        (word(8) + data(bytes(range(20))), f'cdhash H"{bytes(range(20)).hex()}"'),
        (word(9) + word(3), "! anchor apple"),
        (word(9) + word(7) + word(0) + word(1), "! (never or always)"),
        (word(6) + word(7) + word(0) + word(1) + word(3), "(never or always) and anchor apple"),
        (word(7) + word(6) + word(0) + word(1) + word(3), "never and always or anchor apple"),
        (
            word(14) + word(1) + data(CERTIFICATE) + word(0),
            "certificate 1[field.1.2.840.113635.100.6.2.6] /* exists */",
        ),
        (
            word(11) + word(0xFFFFFFFF) + data(b"subject.CN") + word(3) + data(b"Apple"),
            "certificate root[subject.CN] = Apple*",
        ),
        (word(16) + data(b"com.x") + word(1) + data(b"a b"), 'entitlement[com.x] = "a b"'),
        (word(10) + data(b"CFBundleVersion") + word(8) + data(b"12.4"), 'info[CFBundleVersion] >= "12.4"'),
        (word(20) + word(14), "platform = 14"),
        (word(12) + word(0), "certificate leaf trusted"),
        (word(2) + data(b"\xff\x00"), "identifier 0xff00"),
    ],
)  # fmt: skip
def test_requirements_as_codesign_prints_them(expression: bytes, expected: str) -> None:
    assert text(expression) == expected


@pytest.mark.parametrize(
    "expression", [word(99), word(2) + word(1 << 30), word(9) * 100, word(6) + word(1), b"", word(1) * 2]
)
def test_requirements_that_make_no_sense_are_noted(expression: bytes) -> None:
    found = verdict(build(Recipe(requirement=requirements(expression))))
    assert (found.status, codes(found), found.parts[0].requirement) == ("valid", {"requirement"}, None)
