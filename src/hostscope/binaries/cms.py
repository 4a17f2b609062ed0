"""Signed messages (CMS, RFC 5652), their time stamps (RFC 3161) and certificates (RFC 5280). Pure: no network.

The signatures of Mach-O files and of kernel modules; those on PE files are judged in `hostscope.binaries.authenticode`.
"""

import hashlib
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

from asn1crypto import cms, core, tsp
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from msgspec import Struct

from hostscope.binaries.certificates import (
    COMMON_NAME,
    TIME_STAMPING,
    Broken,
    attribute,
    build_chain,
    check_bag,
    nanoseconds,
    weak_links,
)
from hostscope.model.signature import Flaw, Timestamp

CONTENT_TYPE, MESSAGE_DIGEST, SIGNING_TIME = "1.2.840.113549.1.9.3", "1.2.840.113549.1.9.4", "1.2.840.113549.1.9.5"
TIMESTAMP, SET = "1.2.840.113549.1.9.16.1.4", b"\x31"
TIMESTAMP_TOKEN = "1.2.840.113549.1.9.16.2.14"
MOST_CERTIFICATES = 20
"""Real ones have up to six."""
MOST_BYTES = 1 << 20
NO_PARAMETERS = (b"", b"\x05\x00")
VERSIONS = frozenset({"v1", "v3", "v4", "v5"})
MOST_ATTRIBUTES, MOST_ATTRIBUTE_BYTES = 32, 1 << 16
HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "sha1": hashes.SHA1,
    "sha224": hashes.SHA224,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}


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
    content_type: str
    """Dotted."""

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
    attributes = signers[0]["signed_attrs"]
    if len(attributes) > MOST_ATTRIBUTES or len(attributes.contents or b"") > MOST_ATTRIBUTE_BYTES:
        raise Broken("malformed", "signed attributes of an implausible size")
    certificates = tuple(x509.load_der_x509_certificate(one.chosen.dump()) for one in bag)
    _parse_whole(signers[0], certificates)
    _check_head(signed, signers[0])
    content = signed["encap_content_info"]["content"]
    return Message(
        signer=signers[0],
        certificates=certificates,
        attributes=_attributes(signers[0]),
        content=None if content.native is None else bytes(content),
        content_type=str(signed["encap_content_info"]["content_type"].dotted),
    )


def _check_head(signed: Any, signer: Any) -> None:
    """What nobody signs is at least what it must be."""
    listed = {one["algorithm"].dotted for one in signed["digest_algorithms"] if one.native}
    if signer["digest_algorithm"]["algorithm"].dotted not in listed:
        raise Broken("malformed", "the signer's digest is not among those that the message names")
    if not is_plain(signer["signature_algorithm"]):
        raise Broken("malformed", "the scheme of the signature is unknown")
    if not {signed["version"].native, signer["version"].native} <= VERSIONS:
        raise Broken("malformed", "the message is of an unknown version")


def is_plain(scheme: Any) -> bool:
    """Whether a signature's scheme is a known one, without parameters where it has none."""
    known = scheme["algorithm"].native != scheme["algorithm"].dotted
    return known and (scheme["algorithm"].native == "rsassa_pss" or scheme["parameters"].dump() in NO_PARAMETERS)


def _attributes(signer: Any) -> dict[str, Any]:
    """Each once: of two that contradict each other, which one counts would depend on who reads."""
    attributes = signer["signed_attrs"]
    listed = list(attributes) if attributes.native else []
    found = {str(one["type"].dotted): one["values"] for one in listed}
    if len(found) != len(listed):
        raise Broken("malformed", "a signed attribute is there twice")
    return found


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
        signed = _signed_attributes(message)
    elif content[:1] == SET:
        raise Broken("cms", "the content could be the attributes of another signature")
    try:
        _verify(leaf.public_key(), message.signer["signature"].native, signed, message)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError, LookupError, OverflowError) as failed:
        detail = str(failed) or "the certificate's key did not make it"
        raise Broken("cms", f"the signature does not verify: {detail}") from failed
    return leaf


def _signed_attributes(message: Message) -> bytes:
    kinds = message.attributes.get(CONTENT_TYPE)
    if not kinds or len(kinds) != 1 or kinds[0].dotted != message.content_type:
        raise Broken("cms", "the signature is of another kind of content")
    return bytes(message.signer["signed_attrs"].untag().dump())


def _find_signer(message: Message, certificates: Iterable[x509.Certificate]) -> x509.Certificate:
    identifier = message.signer["sid"]
    for certificate in certificates:
        if _names(identifier, certificate):
            return certificate
    raise Broken("root", f"the signer's certificate is not there, so nothing is proven: {describe_signer(message)}")


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


def verify_timestamp(
    message: Message, roots: Collection[x509.Certificate]
) -> tuple[Timestamp | None, tuple[Flaw, ...]]:
    """The time that an authority vouches for, and what is to be said of that; no time without a token.

    Raises:
        Broken: there is a token, and it is not of this signature, or its authority is not trusted (``timestamp``).
    """
    token = _token(message)
    if token is None:
        return None, ()
    try:
        inner = _message(token["content"])
        stamp = tsp.TSTInfo.load(inner.content or b"", strict=True)
        imprint = stamp["message_imprint"]
        digest = hashlib.new(_known(imprint["hash_algorithm"]["algorithm"].native), usedforsecurity=False)
        digest.update(message.signer["signature"].native)
        if digest.digest() != imprint["hashed_message"].native:
            raise Broken("timestamp", "the time stamp is of another signature")
        if inner.content_type != TIMESTAMP or not inner.attributes:
            raise Broken("timestamp", "it is no token of RFC 3161")
        at: datetime = stamp["gen_time"].native
        leaf = verify_signer(inner, inner.content or b"")
        path = build_chain(leaf, (*inner.certificates, *message.certificates), roots, at, TIME_STAMPING)
        told = check_bag(inner.certificates, (*roots, *message.certificates), path)
        return Timestamp(nanoseconds(at), "rfc3161", attribute(leaf, COMMON_NAME)), (*told, *weak_links(path))
    except Broken as failed:
        raise Broken("timestamp", f"time stamp: {failed}") from failed
    except Exception as failed:  # as in parse_message
        raise Broken("timestamp", f"the time stamp cannot be parsed: {said(failed)}") from failed


def _token(message: Message) -> Any | None:
    try:
        unsigned = message.signer["unsigned_attrs"]
        found = [one for one in unsigned if one["type"].dotted == TIMESTAMP_TOKEN] if unsigned.native else []
        return cms.ContentInfo.load(found[0]["values"][0].dump()) if found else None
    except Exception as failed:  # as in parse_message
        raise Broken("timestamp", f"the time stamp cannot be parsed: {said(failed)}") from failed


class _Certificates(core.SequenceOf):  # type: ignore[misc]
    _child_spec = core.Any


def listed_certificates(raw: bytes) -> tuple[x509.Certificate, ...]:
    """Those of a SEQUENCE of certificates. Raises `ValueError`."""
    return tuple(x509.load_der_x509_certificate(one.dump()) for one in _Certificates.load(raw, strict=True))


def octets(value: Any) -> bytes:
    """What an attribute's value of any type holds as an octet string."""
    return bytes(core.OctetString.load(value.dump()).native)


def digest_pair(value: Any) -> tuple[str, bytes]:
    """A SEQUENCE of an algorithm's object identifier and a digest."""
    pair = core.Sequence.load(value.dump())
    return str(pair[0].dotted), bytes(pair[1].native)
