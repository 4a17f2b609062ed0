"""Tickets of notarisation: one that Apple issued, and ones of our own that lie."""

import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from hostscope.binaries import trust as trusted
from hostscope.binaries.content import Held
from hostscope.binaries.macho import slices
from hostscope.binaries.macho_signature import parse_signed
from hostscope.binaries.ticket import MARKER, judge_ticket, parse_ticket
from hostscope.binaries.trust import Trust
from hostscope.binaries.verdict import judge
from hostscope.errors import Untrusted

from .macho_builder import Recipe, build, fat, tlv
from .pki import NOW, Identity, pki

APPLES = (Path(__file__).parents[2] / "fixtures" / "signing" / "notarisation.ticket").read_bytes()
"""Apple's ticket for Qviple 1.0.518 (PyPI: qviple), an app of 25 programs and frameworks for two architectures."""
PROGRAM = bytes.fromhex("d0d9fb8a569fe3c15983ee7ce03d0d4489d646b8")
OURS = Trust(extra_roots=(pki().root.certificate,))


def why(raw: bytes, cdhash: bytes, trust: Trust = OURS) -> str:
    """What is wrong with a ticket, on one line."""
    return "; ".join(flaw.detail for flaw in judge_ticket(raw, cdhash, trust))


def signer(
    issuer: Identity, marked: bool = True, days: int = 30
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test Ticket Signing")]))
        .issuer_name(issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=days))
        .not_valid_after(NOW + timedelta(days=days))
    )
    if marked:
        builder = builder.add_extension(
            x509.UnrecognizedExtension(x509.ObjectIdentifier(MARKER), b"\x05\x00"), critical=False
        )
    return builder.sign(issuer.key, hashes.SHA256()), key


def ticket(*cdhashes: bytes, marked: bool = True, at: datetime = NOW, issuer: Identity | None = None) -> bytes:
    leaf, key = signer(issuer or pki().root, marked)
    chain = tlv(0x30, leaf.public_bytes(Encoding.DER) + pki().root.der)
    listed = struct.pack("<4sHHIIQ", b"g8tk", 2, 20, len(cdhashes), 0, int(at.timestamp()))
    listed += b"".join(b"\2" + one for one in cdhashes)
    signed = struct.pack("<4sIII", b"s8ch", 1, len(chain), len(listed)) + chain + listed
    return signed + key.sign(signed, ec.ECDSA(hashes.SHA256()))


def cdhashes(raw: bytes) -> list[bytes]:
    found = [parse_signed(one.content) for one in slices(Held(raw))]
    return [signed.best.cdhash for signed in found if signed]


def test_apples_own_ticket() -> None:
    assert judge_ticket(APPLES, PROGRAM, Trust()) == ()
    found = parse_ticket(APPLES)
    assert (len(found.cdhashes), found.at.date()) == (59, datetime(2026, 7, 8, tzinfo=UTC).date())
    assert "other code" in why(APPLES, bytes(20), Trust())


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(APPLES) - 1), st.integers(1, 255))
def test_no_change_of_apples_ticket_counts(at: int, change: int) -> None:
    raw = bytearray(APPLES)
    raw[at] ^= change
    assert judge_ticket(bytes(raw), PROGRAM, Trust())


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.integers(0, len(APPLES)))
def test_nonsense_is_a_flaw(raw: bytes, cut: int) -> None:
    for one in (raw, APPLES[:cut] + raw, struct.pack("<4sIII", b"s8ch", 1, len(raw) // 2, len(raw) // 2) + raw):
        if one != APPLES:
            (flaw,) = judge_ticket(one, PROGRAM, Trust())
            assert (flaw.code, flaw.severity) == ("ticket", "noted")


def test_each_reason_is_told() -> None:
    raw = build()
    (mine,) = cdhashes(raw)
    assert why(ticket(bytes(20), mine), mine) == ""
    assert "other code" in why(ticket(bytes(20)), mine)
    assert "no root" in why(ticket(mine), mine, Trust()), "not Apple's"
    assert "not one for tickets" in why(ticket(mine, marked=False), mine)
    assert "not valid" in why(ticket(mine, at=NOW - timedelta(days=90)), mine), "issued before its signer's time"
    assert "may not issue" in why(ticket(mine, issuer=pki().leaf), mine) or "not there" in why(
        ticket(mine, issuer=pki().leaf), mine
    )


def test_a_ticket_in_the_signature_counts_for_the_code_it_names() -> None:
    (mine,) = cdhashes(build(Recipe(ticket=b"placeholder", at=NOW)))
    found = judge("x", Held(build(Recipe(ticket=ticket(mine)))), OURS)
    assert (found.status, found.parts[0].notarised, found.all_flaws) == ("valid", True, ())
    other = judge("x", Held(build(Recipe(ticket=ticket(bytes(20))))), OURS)
    assert (other.status, other.parts[0].notarised) == ("valid", False)
    assert [(flaw.code, flaw.severity) for flaw in other.all_flaws] == [("ticket", "noted")]
    assert judge("x", Held(build()), OURS).parts[0].notarised is False


def test_each_slice_must_be_named() -> None:
    one = build(Recipe(ticket=b"x"))
    (mine,) = cdhashes(one)
    stapled, bare = build(Recipe(ticket=ticket(mine))), build(Recipe(cpu=0x01000007))
    assert [part.notarised for part in judge("x", Held(fat(stapled, bare)), OURS).parts] == [True, False]


def test_a_root_that_is_not_the_pinned_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trusted, "APPLE_ROOT_G3_SHA256", "00" * 32)
    trusted.apple_root_g3.cache_clear()
    with pytest.raises(Untrusted, match="apple_root_ca_g3"):
        judge_ticket(APPLES, PROGRAM, Trust())
    trusted.apple_root_g3.cache_clear()
