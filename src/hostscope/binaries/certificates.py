"""Certificates (RFC 5280): who issued them, for what, and whether that leads to a root we trust. Pure: no network."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from hostscope.model.signature import WEAK, Certificate, Flaw

COMMON_NAME, ORGANISATION, UNIT = "2.5.4.3", "2.5.4.10", "2.5.4.11"
CODE_SIGNING, TIME_STAMPING = "1.3.6.1.5.5.7.3.3", "1.3.6.1.5.5.7.3.8"
ANY_PURPOSE = "2.5.29.37.0"
UNDERSTOOD = frozenset({"2.5.29.15", "2.5.29.17", "2.5.29.19", "2.5.29.32", "2.5.29.37"})
"""Extensions that may be critical: usage, other names, constraints, policies, purposes."""
APPLES, CODE_MARKERS = "1.2.840.113635.100.", "1.2.840.113635.100.6.1."
FORGEABLE = frozenset({"md2", "md4", "md5"})
LONGEST_CHAIN = 8
MOST_NAMED = 4
STRONG_RSA_BITS, SHORTEST_RSA_BITS = 2048, 1024


class Broken(ValueError):
    """A signature is not what it should be; `code` as in `Flaw`."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code

    def flaw(self) -> Flaw:
        """For the verdict: a missing root is a question of trust, the rest is broken."""
        return Flaw(self.code, str(self), "untrusted" if self.code in ("root", "expired") else "broken")


def build_chain(
    leaf: x509.Certificate,
    certificates: Sequence[x509.Certificate],
    roots: Collection[x509.Certificate],
    at: datetime,
    purpose: str,
    demanded: bool = True,
) -> tuple[x509.Certificate, ...]:
    """From the leaf to a trusted root, both included, each valid at that moment.

    Args:
        purpose: the extended key usage that the leaf must have, and each issuer if it has any.
        demanded: False: a leaf without any is good for everything, as kernels have it.

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
    _check_purpose(leaf, purpose, demanded)
    check_limits(path[:-1], purpose)
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


def purposes(certificate: x509.Certificate) -> frozenset[str] | None:
    """Its extended key usages; None when it does not say. Raises `Broken` (``chain``)."""
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return None
    except ValueError as failed:
        raise Broken("chain", f"the extensions of {_common_name(certificate)} cannot be read: {failed}") from failed
    return frozenset(usage.dotted_string for usage in usages)


def _check_purpose(leaf: x509.Certificate, purpose: str, demanded: bool) -> None:
    """Of the signer: certificates for mail, shops and receipts lead to the same roots."""
    meant = purposes(leaf)
    if purpose not in meant if meant is not None else demanded:
        raise Broken("chain", f"{_common_name(leaf)} is not meant for this purpose")
    try:
        usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return
    if not (usage.digital_signature or usage.content_commitment):
        raise Broken("chain", f"{_common_name(leaf)} is not meant for signatures")


def check_limits(path: Iterable[x509.Certificate], purpose: str) -> None:
    """Of everyone below the root: limits that its issuer set, those that we do not know included. Raises `Broken`."""
    for one in path:
        meant = purposes(one)
        if meant is not None and not meant & {purpose, ANY_PURPOSE}:
            raise Broken("chain", f"{_common_name(one)} is not meant for this purpose")
        _check_form(one)


def _check_form(one: x509.Certificate) -> None:
    for extension in one.extensions:
        oid = extension.oid.dotted_string
        if extension.critical and oid not in UNDERSTOOD and not oid.startswith(APPLES):
            raise Broken("chain", f"{_common_name(one)} has a critical extension ({oid}) that is not judged")
    key = one.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < SHORTEST_RSA_BITS:
        raise Broken("chain", f"the key of {_common_name(one)} has {key.key_size} bits, and can be found out")
    algorithm = one.signature_hash_algorithm
    if algorithm is not None and algorithm.name in FORGEABLE:
        raise Broken("chain", f"{_common_name(one)} is signed with {algorithm.name}, which can be forged")


def is_marked_for_code(path: Sequence[x509.Certificate]) -> bool:
    """Whether Apple issued a chain's leaf to sign code: by a marker, or by the authority for Apple's own.

    Source: Security's reqinterp.cpp (``anchor apple``), and Apple's certification practice statements.
    """
    if any(extension.oid.dotted_string.startswith(CODE_MARKERS) for extension in path[0].extensions):
        return True
    own = ("Apple Code Signing Certification Authority", "Apple Inc.")
    return len(path) > 1 and (attribute(path[1], COMMON_NAME), attribute(path[1], ORGANISATION)) == own


def check_bag(
    certificates: Sequence[x509.Certificate], roots: Collection[x509.Certificate], path: Sequence[x509.Certificate]
) -> tuple[Flaw, ...]:
    """Certificates that came along and that no chain needs can hide a change: each was signed by its issuer, if known.

    Returns:
        A word on those that cannot be judged.

    Raises:
        Broken: one was not (``chain``).
    """
    known = {one.fingerprint(hashes.SHA256()) for one in (*roots, *path)}
    left = [one for one in certificates if one.fingerprint(hashes.SHA256()) not in known]
    strangers = [one for one in left if not _has_issuer(one, (*roots, *certificates))]
    if not strangers:
        return ()
    names = ", ".join(_common_name(one)[:80] for one in strangers[:MOST_NAMED])
    return (Flaw("chain", f"came along, is needed by nothing, and cannot be judged: {names}", "noted"),)


def _has_issuer(one: x509.Certificate, pool: Collection[x509.Certificate]) -> bool:
    """Whether its issuer is known, and did sign it. Raises `Broken`."""
    issuers = [other for other in pool if other.subject == one.issuer and _may_be_key(one, other)]
    if not issuers or not _is_checkable(one):
        return False
    if not any(_is_issued(one, issuer) for issuer in issuers):
        raise Broken("chain", f"{_common_name(one)} was changed since its issuer signed it")
    return True


def _may_be_key(of: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether it is the key that a certificate says it was signed with: authorities renew theirs and keep the name."""
    try:
        wanted = of.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except (x509.ExtensionNotFound, ValueError):
        return True
    return wanted is None or wanted == own


def _is_checkable(one: x509.Certificate) -> bool:
    """Whether its signature is of a kind that is still judged; roots of the nineties are signed with MD2."""
    try:
        return one.signature_hash_algorithm is None or one.signature_hash_algorithm.name not in FORGEABLE
    except UnsupportedAlgorithm:
        return False


def weak_links(path: Sequence[x509.Certificate]) -> Iterator[Flaw]:
    """Keys of a chain that are short, and certificates in it that rest on digests that can be made to collide."""
    for one in path:
        key = one.public_key()
        if isinstance(key, rsa.RSAPublicKey) and key.key_size < STRONG_RSA_BITS:
            yield Flaw("weak", f"the key of {_common_name(one)} is short: RSA of {key.key_size} bits", "noted")
    for one in path[:-1]:  # that of a root by itself proves nothing, and is not looked at
        name = one.signature_hash_algorithm.name if one.signature_hash_algorithm else ""
        if name in WEAK:
            yield Flaw("weak", f"{_common_name(one)} is signed with {name}: two certificates can share one", "noted")


def _is_issued(one: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        one.verify_directly_issued_by(issuer)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


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


def moment(at_ns: int) -> datetime:
    """The moment so long after the epoch, also where the system's own calendar ends (Windows: in 3001)."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=at_ns // 1_000_000_000)


def nanoseconds(at: datetime) -> int:
    """Since the epoch; times without a zone are UTC."""
    aware = at if at.tzinfo else at.replace(tzinfo=UTC)
    return int(aware.timestamp()) * 1_000_000_000


def der(certificate: x509.Certificate) -> bytes:
    """Its bytes."""
    return certificate.public_bytes(Encoding.DER)
