"""Chains that hold and should not be relied on: short keys, SHA-1; and certificates that only came along."""

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hostscope.binaries import certificates
from hostscope.binaries.certificates import CODE_SIGNING, Broken, build_chain, check_bag, weak_links
from hostscope.binaries.content import Held
from hostscope.binaries.trust import Trust, apple_root
from hostscope.binaries.verdict import judge
from hostscope.model.signature import Signature

from .macho_builder import SHA256, Recipe, build
from .pe_builder import OSSLSIGNCODE, image, sign
from .pki import DEVELOPER_ID, NOW, TEAM, Identity, issue, pki, plain

TRUST = Trust(extra_roots=(pki().root.certificate,))
SHORT = rsa.generate_private_key(65537, 1024)


def verdict(raw: bytes) -> Signature:
    return judge("x.exe", Held(raw), TRUST)


def told(found: Signature) -> set[tuple[str, str]]:
    return {(flaw.code, flaw.severity) for flaw in found.all_flaws}


def developer(key: rsa.RSAPrivateKey | None = None) -> Identity:
    return issue(
        "Dev", pki().issuer, unit=TEAM, markers=(DEVELOPER_ID,), usage=ExtendedKeyUsageOID.CODE_SIGNING, key=key
    )


def test_a_short_key_is_told_and_believed_less() -> None:
    stamp = (pki().authority, NOW)
    leaf = developer(SHORT)
    found = verdict(
        build(Recipe(signer=leaf, certificates=(leaf, pki().issuer, pki().root), hashes=(SHA256,), stamp=stamp))
    )
    assert (found.status, found.confidence, told(found)) == ("valid", "medium", {("weak", "noted")})
    assert "RSA of 1024 bits" in found.all_flaws[0].detail


@pytest.mark.skipif(OSSLSIGNCODE is None, reason="osslsigncode is not installed")
def test_a_short_key_is_told_of_pe_files(tmp_path: Path) -> None:
    signer = issue("Short", plain().issuer, usage=ExtendedKeyUsageOID.CODE_SIGNING, key=SHORT)
    found = verdict(sign(tmp_path, image(), signer=signer))
    assert (found.status, told(found)) == ("valid", {("weak", "noted")})


def test_a_key_that_can_be_found_out_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenSSL makes none so short any more, so the limit is raised instead."""
    monkeypatch.setattr(certificates, "SHORTEST_RSA_BITS", 1536)
    leaf = issue("Short", plain().issuer, usage=ExtendedKeyUsageOID.CODE_SIGNING, key=SHORT)
    with pytest.raises(Broken, match="1024 bits"):
        build_chain(leaf.certificate, [plain().issuer.certificate], [plain().root.certificate], NOW, CODE_SIGNING)


def test_a_chain_that_rests_on_sha1_is_told_but_for_the_root() -> None:
    """Apple's own root is signed with it, by itself, which proves nothing and is not looked at."""
    old, leaf = apple_root(), plain().leaf.certificate
    assert [flaw.code for flaw in weak_links((leaf, old))] == []
    (flaw,) = weak_links((old, plain().root.certificate))
    assert (flaw.code, flaw.severity) == ("weak", "noted") and "sha1" in flaw.detail


# What only came along


def named(issuer: x509.Certificate, key: rsa.RSAPrivateKey) -> x509.Certificate:
    """A certificate that says which key signed it, as authorities' do."""
    subject = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Along")]))
        .issuer_name(issuer.subject)
        .public_key(SHORT.public_key())
        .serial_number(7)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(subject), False)
        .sign(key, hashes.SHA256())
    )


def changed(one: x509.Certificate) -> x509.Certificate:
    raw = bytearray(one.public_bytes(Encoding.DER))
    raw[-1] ^= 1
    return x509.load_der_x509_certificate(bytes(raw))


def test_what_came_along_is_what_its_issuer_signed_or_cannot_be_judged() -> None:
    root, issuer = plain().root.certificate, plain().issuer
    along = named(issuer.certificate, issuer.key)
    assert check_bag([along, issuer.certificate], [root], ()) == ()
    with pytest.raises(Broken, match="Along was changed"):
        check_bag([changed(along), issuer.certificate], [root], ())
    (flaw,) = check_bag([changed(along)], [root], ())
    assert (flaw.code, flaw.severity) == ("chain", "noted"), "nobody is here to ask"
    assert check_bag([changed(along)], [root], (changed(along),)) == (), "the chain itself is judged elsewhere"


def test_an_authority_that_renewed_its_key_is_not_asked_about_the_old_one() -> None:
    old = issue("Authority", None, ca=True)
    renewed = issue("Authority", None, ca=True)
    (flaw,) = check_bag([named(old.certificate, old.key), renewed.certificate], (), ())
    assert (flaw.severity, "Along" in flaw.detail) == ("noted", True)


@pytest.mark.skipif(OSSLSIGNCODE is None, reason="osslsigncode is not installed")
def test_a_certificate_that_came_along_with_a_pe_file_and_was_changed_is_caught(tmp_path: Path) -> None:
    raw = bytearray(sign(tmp_path, image()))
    at = raw.rfind(plain().root.der)
    assert at > 0
    raw[at + len(plain().root.der) - 1] ^= 1
    found = verdict(bytes(raw))
    assert (found.status, told(found)) == ("invalid", {("chain", "broken")})
