"""Certificates of our own that copy Apple's and Microsoft's markers, and messages signed with them."""

import hashlib
import plistlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from asn1crypto import algos, cms, core, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DEVELOPER_ID, DEVELOPER_ID_CA = "1.2.840.113635.100.6.1.13", "1.2.840.113635.100.6.2.6"
TEAM = "TESTTEAM01"
NOW = datetime.now(UTC).replace(microsecond=0)


@dataclass(frozen=True)
class Identity:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


@dataclass(frozen=True)
class Pki:
    """Root, issuer, signer and time stamping authority."""

    root: Identity
    issuer: Identity
    leaf: Identity
    authority: Identity


def issue(
    name: str,
    issuer: Identity | None,
    *,
    ca: bool = False,
    unit: str | None = None,
    markers: tuple[str, ...] = (),
    usage: x509.ObjectIdentifier | list[x509.ObjectIdentifier] | None = None,
    days: tuple[int, int] = (-30, 3650),
    path_length: int | None = None,
    subject: x509.Name | None = None,
    key: rsa.RSAPrivateKey | None = None,
) -> Identity:
    """One certificate."""
    key = key or rsa.generate_private_key(65537, 2048)
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, name), x509.NameAttribute(NameOID.COUNTRY_NAME, "US")]
    parts += [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit)] if unit else []
    subject = subject or x509.Name(parts)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + timedelta(days[0]))
        .not_valid_after(NOW + timedelta(days[1]))
        .add_extension(x509.BasicConstraints(ca, path_length), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    )
    for marker in markers:
        builder = builder.add_extension(
            x509.UnrecognizedExtension(x509.ObjectIdentifier(marker), b"\x05\x00"), critical=True
        )
    if usage:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usage if isinstance(usage, list) else [usage]), True)
    return Identity(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


@cache
def pki() -> Pki:
    """The usual one; made once."""
    root = issue("Test Root CA", None, ca=True)
    issuer = issue("Test Developer ID Authority", root, ca=True, markers=(DEVELOPER_ID_CA,))
    leaf = issue(
        f"Developer ID Application: Test ({TEAM})",
        issuer,
        unit=TEAM,
        markers=(DEVELOPER_ID,),
        usage=ExtendedKeyUsageOID.CODE_SIGNING,
    )
    return Pki(root, issuer, leaf, issue("Test Time Stamps", root, usage=ExtendedKeyUsageOID.TIME_STAMPING))


@cache
def plain() -> Pki:
    """Without Apple's markers, which are critical extensions that nobody else knows; the same root."""
    known = pki()
    issuer = issue("Test Code Signing CA", known.root, ca=True)
    leaf = issue("Test Publisher", issuer, usage=ExtendedKeyUsageOID.CODE_SIGNING)
    return Pki(known.root, issuer, leaf, known.authority)


def sign(
    content: bytes,
    signer: Identity,
    certificates: tuple[Identity, ...],
    attributes: tuple[tuple[str, Any], ...] = (),
    *,
    at: datetime | None = NOW,
    stamp: tuple[Identity, datetime] | None = None,
    attached: str | None = None,
) -> bytes:
    """A signed message in DER; detached unless `attached` names the type of the content it holds."""
    content_type = attached or "data"
    info = signer_info(content, signer, attributes, at, content_type)
    signature = info["signature"]
    if stamp:
        token = time_stamp(signature, *stamp)
        values = [cms.ContentInfo.load(token)]
        info["unsigned_attrs"] = cms.CMSAttributes([{"type": "signature_time_stamp_token", "values": values}])
    data = cms.SignedData(
        {
            "version": "v3" if attached else "v1",
            "digest_algorithms": [algos.DigestAlgorithm({"algorithm": "sha256"})],
            "encap_content_info": {"content_type": content_type}
            | ({"content": core.ParsableOctetString(content)} if attached else {}),
            "certificates": [asn1_x509.Certificate.load(one.der) for one in certificates],
            "signer_infos": [cms.SignerInfo(info)],
        }
    )
    return bytes(cms.ContentInfo({"content_type": "signed_data", "content": data}).dump())


def signer_info(
    content: bytes,
    signer: Identity,
    attributes: tuple[tuple[str, Any], ...] = (),
    at: datetime | None = NOW,
    content_type: str = "data",
) -> dict[str, Any]:
    """The fields of a SignerInfo over a content."""
    signed = [
        cms.CMSAttribute({"type": "content_type", "values": [content_type]}),
        cms.CMSAttribute({"type": "message_digest", "values": [hashlib.sha256(content).digest()]}),
        *(cms.CMSAttribute({"type": name, "values": values}) for name, values in attributes),
    ]
    if at:
        signed.append(cms.CMSAttribute({"type": "signing_time", "values": [cms.Time({"utc_time": core.UTCTime(at)})]}))
    signed_attributes = cms.CMSAttributes(signed)
    signature = signer.key.sign(signed_attributes.dump(), padding.PKCS1v15(), hashes.SHA256())
    leaf = asn1_x509.Certificate.load(signer.der)
    return {
        "version": "v1",
        "sid": cms.SignerIdentifier(
            {
                "issuer_and_serial_number": cms.IssuerAndSerialNumber(
                    {"issuer": leaf.issuer, "serial_number": leaf.serial_number}
                )
            }
        ),
        "digest_algorithm": algos.DigestAlgorithm({"algorithm": "sha256"}),
        "signed_attrs": signed_attributes,
        "signature_algorithm": algos.SignedDigestAlgorithm({"algorithm": "rsassa_pkcs1v15"}),
        "signature": signature,
    }


def time_stamp(signature: bytes, authority: Identity, at: datetime) -> bytes:
    """A token of RFC 3161."""
    stamp = tsp.TSTInfo(
        {
            "version": "v1",
            "policy": "1.2.3.4",
            "message_imprint": {
                "hash_algorithm": {"algorithm": "sha256"},
                "hashed_message": hashlib.sha256(signature).digest(),
            },
            "serial_number": 7,
            "gen_time": at,
        }
    )
    known = pki()
    return sign(stamp.dump(), authority, (authority, known.root), at=at, attached="tst_info")


def cdhash_attributes(directories: list[tuple[str, bytes]]) -> tuple[tuple[str, Any], ...]:
    """Apple's two attributes for code directories given as (algorithm, digest of the whole)."""
    plain = plistlib.dumps({"cdhashes": [digest[:20] for _, digest in directories]})
    full = []
    for algorithm, digest in directories:
        pair = core.SequenceOf(spec=core.Any)
        pair.append(core.Any(algos.DigestAlgorithmId(algorithm)))
        pair.append(core.Any(core.OctetString(digest)))
        full.append(core.Any.load(pair.dump()))
    return (("1.2.840.113635.100.9.1", [core.OctetString(plain)]), ("1.2.840.113635.100.9.2", full))
