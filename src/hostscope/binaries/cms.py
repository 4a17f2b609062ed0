"""Signed messages (CMS, RFC 5652), their time stamps (RFC 3161) and certificates (RFC 5280). Pure: no network.

The signatures of Mach-O files and of kernel modules; those on PE files are judged in `hostscope.binaries.authenticode`.
"""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from asn1crypto import cms, core, tsp
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from msgspec import Struct

from hostscope.model.signature import Certificate, Flaw, Timestamp

CONTENT_TYPE, MESSAGE_DIGEST, SIGNING_TIME = "1.2.840.113549.1.9.3", "1.2.840.113549.1.9.4", "1.2.840.113549.1.9.5"
TIMESTAMP_TOKEN = "1.2.840.113549.1.9.16.2.14"
COMMON_NAME, ORGANISATION, UNIT = "2.5.4.3", "2.5.4.10", "2.5.4.11"
CODE_SIGNING, TIME_STAMPING = "1.3.6.1.5.5.7.3.3", "1.3.6.1.5.5.7.3.8"
LONGEST_CHAIN = 8
MOST_CERTIFICATES = 64
MOST_BYTES = 16 << 20
HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "sha1": hashes.SHA1,
    "sha224": hashes.SHA224,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}


class Broken(ValueError):
    """A signature is not what it should be; `code` as in `Flaw`."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code

    def flaw(self) -> Flaw:
        """For the verdict: a missing root is a question of trust, the rest is broken."""
        return Flaw(self.code, str(self), "untrusted" if self.code in ("root", "expired") else "broken")


def said(failed: Exception) -> str:
    """What a library complained about, on one line."""
    first = str(failed).strip().partition("\n")[0][:200]
    return f"{type(failed).__name__}: {first}"


class Message(Struct, frozen=True):
    """A message that was parsed; nothing in it is believed yet."""

    signer: Any
    """asn1crypto's SignerInfo."""
    certificates: tuple[x509.Certificate, ...]
    attributes: dict[str, Any]
    """Signed attributes by dotted type; values as asn1crypto has them."""
    content: bytes | None
    """What it holds itself; None when that stands elsewhere."""

    @property
    def algorithm(self) -> str:
        """Of the digest that is signed."""
        return str(self.signer["digest_algorithm"]["algorithm"].native)

    @property
    def claimed_at(self) -> datetime | None:
        """When the signer says that it signed."""
        times = self.attributes.get(SIGNING_TIME)
        return times[0].native if times else None


def parse_message(raw: bytes) -> Message:
    """The only signer of a message, and the certificates that came along. Raises `Broken`."""
    if len(raw) > MOST_BYTES:
        raise Broken("malformed", "a signature of an implausible size")
    try:
        info = cms.ContentInfo.load(raw, strict=True)
        if info["content_type"].native != "signed_data":
            raise Broken("malformed", "the signature is no signed message")
        return _message(info["content"])
    except Broken:
        raise
    except Exception as failed:  # asn1crypto and cryptography raise what comes up while they meet nonsense
        raise Broken("malformed", f"the signature cannot be parsed: {said(failed)}") from failed


def _message(signed: Any) -> Message:
    signers, bag = signed["signer_infos"], signed["certificates"]
    if len(signers) != 1 or len(bag) > MOST_CERTIFICATES:
        raise Broken("malformed", f"{len(signers)} signers and {len(bag)} certificates")
    certificates = tuple(x509.load_der_x509_certificate(one.chosen.dump()) for one in bag)
    _parse_whole(signers[0], certificates)
    content = signed["encap_content_info"]["content"]
    attributes = signers[0]["signed_attrs"]
    return Message(
        signer=signers[0],
        certificates=certificates,
        attributes={one["type"].dotted: one["values"] for one in attributes} if attributes.native else {},
        content=None if content.native is None else bytes(content),
    )


def _parse_whole(signer: Any, certificates: Iterable[x509.Certificate]) -> None:
    """Both libraries parse what is asked for, when it is asked for: nonsense shows now, or in the midst of judging."""
    for field in ("version", "sid", "digest_algorithm", "signed_attrs", "signature_algorithm", "signature"):
        _ = signer[field].native
    for one in certificates:
        _ = (
            one.subject,
            one.issuer,
            one.public_key(),
            one.extensions,
            one.not_valid_before_utc,
            one.not_valid_after_utc,
        )


def verify_signer(message: Message, content: bytes, given: Iterable[x509.Certificate] = ()) -> x509.Certificate:
    """The certificate whose key signed this content. Raises `Broken` when none did.

    Args:
        given: certificates besides those in the message.
    """
    leaf = _find_signer(message, (*message.certificates, *given))
    signed = content
    if message.attributes:
        digests = message.attributes.get(MESSAGE_DIGEST)
        digest = hashlib.new(_known(message.algorithm), content, usedforsecurity=False).digest()
        if not digests or len(digests) != 1 or digests[0].native != digest:
            raise Broken("cms", "the signature is of another content")
        signed = message.signer["signed_attrs"].untag().dump()
    try:
        _verify(leaf.public_key(), message.signer["signature"].native, signed, message)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError) as failed:
        detail = str(failed) or "the certificate's key did not make it"
        raise Broken("cms", f"the signature does not verify: {detail}") from failed
    return leaf


def _find_signer(message: Message, certificates: Iterable[x509.Certificate]) -> x509.Certificate:
    identifier = message.signer["sid"]
    for certificate in certificates:
        if _names(identifier, certificate):
            return certificate
    raise Broken("root", f"the signer's certificate is not there: {describe_signer(message)}")


def _names(identifier: Any, certificate: x509.Certificate) -> bool:
    if identifier.name == "issuer_and_serial_number":
        wanted = identifier.chosen
        serial = certificate.serial_number == wanted["serial_number"].native
        return bool(serial and certificate.issuer.public_bytes() == wanted["issuer"].dump())
    try:
        own = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except (x509.ExtensionNotFound, ValueError):
        return False
    return bool(own == identifier.chosen.native)


def describe_signer(message: Message) -> str:
    """How the message names its signer, for people."""
    identifier = message.signer["sid"]
    if identifier.name != "issuer_and_serial_number":
        return f"key {identifier.chosen.native.hex()}"
    wanted = identifier.chosen
    return f"{wanted['issuer'].human_friendly}, serial {wanted['serial_number'].native:x}"


def _known(algorithm: str) -> str:
    if algorithm not in HASHES:
        raise Broken("cms", f"digest algorithm {algorithm} is unknown")
    return algorithm


def _verify(key: Any, signature: bytes, data: bytes, message: Message) -> None:
    scheme = message.signer["signature_algorithm"]
    if isinstance(key, ed25519.Ed25519PublicKey):
        key.verify(signature, data)
        return
    digest = HASHES[_known(message.algorithm)]()
    if isinstance(key, rsa.RSAPublicKey):
        key.verify(signature, data, _padding(scheme, digest), digest)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, data, ec.ECDSA(digest))
    else:
        raise ValueError("keys of this kind are not supported")


def _padding(scheme: Any, digest: hashes.HashAlgorithm) -> padding.AsymmetricPadding:
    if scheme.signature_algo != "rsassa_pss":
        return padding.PKCS1v15()
    return padding.PSS(padding.MGF1(digest), scheme["parameters"]["salt_length"].native)


def build_chain(
    leaf: x509.Certificate,
    certificates: Sequence[x509.Certificate],
    roots: Collection[x509.Certificate],
    at: datetime,
    purpose: str,
) -> tuple[x509.Certificate, ...]:
    """From the leaf to a trusted root, both included, each valid at that moment.

    Args:
        purpose: the extended key usage that the leaf must have if it has any.

    Raises:
        Broken: ``chain`` (an issuer is missing or may not issue), ``expired``, ``root`` (trust ends nowhere we know).
    """
    trusted = {root.fingerprint(hashes.SHA256()) for root in roots}
    path = [leaf]
    while path[-1].fingerprint(hashes.SHA256()) not in trusted:
        if path[-1].issuer == path[-1].subject:
            raise Broken("root", f"{_common_name(path[-1])} is no root that we trust")
        if len(path) >= LONGEST_CHAIN:
            raise Broken("chain", "the chain of certificates does not end")
        path.append(_issuer(path[-1], len(path) - 1, (*roots, *certificates)))
    _check_purpose(leaf, purpose)
    for one in path:
        if not one.not_valid_before_utc <= at <= one.not_valid_after_utc:
            raise Broken("expired", f"{_common_name(one)} was not valid at {at:%Y-%m-%d %H:%M:%S} UTC")
    return tuple(path)


def _issuer(of: x509.Certificate, below: int, candidates: Iterable[x509.Certificate]) -> x509.Certificate:
    named = False
    for candidate in candidates:
        if candidate.subject != of.issuer:
            continue
        named = True
        if not _is_issued(of, candidate):
            continue
        if not _may_issue(candidate, below):
            raise Broken("chain", f"{_common_name(candidate)} may not issue certificates")
        return candidate
    if named:
        raise Broken("chain", f"{_common_name(of)} was not signed by its issuer")
    raise Broken("root", f"the issuer of {_common_name(of)} is not there")


def _may_issue(certificate: x509.Certificate, below: int) -> bool:
    """Whether its extensions allow it to stand above so many other issuers."""
    try:
        limits = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    try:
        signs = certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        signs = True
    return bool(limits.ca and signs) and (limits.path_length is None or limits.path_length >= below)


def _check_purpose(leaf: x509.Certificate, purpose: str) -> None:
    try:
        usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    except ValueError as failed:
        raise Broken("chain", f"the extensions of {_common_name(leaf)} cannot be read: {failed}") from failed
    if purpose not in {usage.dotted_string for usage in usages}:
        raise Broken("chain", f"{_common_name(leaf)} is not meant for this purpose")


def check_bag(certificates: Sequence[x509.Certificate], roots: Collection[x509.Certificate]) -> None:
    """Certificates that came along and that no chain needs can hide a change: each was signed by its issuer, if known.

    Raises:
        Broken: one was not (``chain``).
    """
    trusted = {root.fingerprint(hashes.SHA256()) for root in roots}
    pool = (*roots, *certificates)
    for one in certificates:
        issuers = [other for other in pool if other.subject == one.issuer]
        known = one.fingerprint(hashes.SHA256()) in trusted or not issuers
        if not known and not any(_is_issued(one, issuer) for issuer in issuers):
            raise Broken("chain", f"{_common_name(one)} was changed since its issuer signed it")


def _is_issued(one: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        one.verify_directly_issued_by(issuer)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def verify_timestamp(
    message: Message, roots: Collection[x509.Certificate], others: Sequence[x509.Certificate] = ()
) -> Timestamp | None:
    """The time that an authority vouches for; None without a token.

    Raises:
        Broken: there is a token, and it is not of this signature, or its authority is not trusted (``timestamp``).
    """
    token = _token(message)
    if token is None:
        return None
    try:
        inner = _message(token["content"])
        stamp = tsp.TSTInfo.load(inner.content or b"", strict=True)
        imprint = stamp["message_imprint"]
        digest = hashlib.new(_known(imprint["hash_algorithm"]["algorithm"].native), usedforsecurity=False)
        digest.update(message.signer["signature"].native)
        if digest.digest() != imprint["hashed_message"].native:
            raise Broken("timestamp", "the time stamp is of another signature")
        at: datetime = stamp["gen_time"].native
        leaf = verify_signer(inner, inner.content or b"", others)
        pool = (*inner.certificates, *message.certificates, *others)
        build_chain(leaf, pool, roots, at, TIME_STAMPING)
        check_bag(inner.certificates, (*roots, *message.certificates))
    except Broken as failed:
        raise Broken("timestamp", f"time stamp: {failed}") from failed
    except Exception as failed:  # as in parse_message
        raise Broken("timestamp", f"the time stamp cannot be parsed: {said(failed)}") from failed
    return Timestamp(nanoseconds(at), "rfc3161", _common_name(leaf))


def _token(message: Message) -> Any | None:
    try:
        unsigned = message.signer["unsigned_attrs"]
        found = [one for one in unsigned if one["type"].dotted == TIMESTAMP_TOKEN] if unsigned.native else []
        return cms.ContentInfo.load(found[0]["values"][0].dump()) if found else None
    except Exception as failed:  # as in parse_message
        raise Broken("timestamp", f"the time stamp cannot be parsed: {said(failed)}") from failed


def load_roots(raw: bytes) -> tuple[x509.Certificate, ...]:
    """Certificates in PEM or DER. Raises `ValueError`."""
    if b"-----BEGIN CERTIFICATE-----" in raw:
        return tuple(x509.load_pem_x509_certificates(raw))
    return (x509.load_der_x509_certificate(raw),)


def describe(certificate: x509.Certificate) -> Certificate:
    """For the verdict."""
    return Certificate(
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        serial=f"{certificate.serial_number:x}",
        sha256=certificate.fingerprint(hashes.SHA256()).hex(),
        valid_from_ns=nanoseconds(certificate.not_valid_before_utc),
        valid_until_ns=nanoseconds(certificate.not_valid_after_utc),
    )


def _common_name(certificate: x509.Certificate) -> str:
    return attribute(certificate, "2.5.4.3") or certificate.subject.rfc4514_string() or "a certificate without a name"


def attribute(certificate: x509.Certificate, oid: str) -> str | None:
    """The first such attribute of its subject: 2.5.4.3 common name, .10 organisation, .11 organisational unit."""
    found = certificate.subject.get_attributes_for_oid(x509.ObjectIdentifier(oid))
    return str(found[0].value) if found else None


def extension_oids(certificate: x509.Certificate) -> frozenset[str]:
    """The extensions that it has."""
    return frozenset(extension.oid.dotted_string for extension in certificate.extensions)


def nanoseconds(at: datetime) -> int:
    """Since the epoch; times without a zone are UTC."""
    aware = at if at.tzinfo else at.replace(tzinfo=UTC)
    return int(aware.timestamp()) * 1_000_000_000


def der(certificate: x509.Certificate) -> bytes:
    """Its bytes."""
    return certificate.public_bytes(Encoding.DER)


def octets(value: Any) -> bytes:
    """What an attribute's value of any type holds as an octet string."""
    return bytes(core.OctetString.load(value.dump()).native)


def digest_pair(value: Any) -> tuple[str, bytes]:
    """A SEQUENCE of an algorithm's object identifier and a digest."""
    pair = core.Sequence.load(value.dump())
    return str(pair[0].dotted), bytes(pair[1].native)
