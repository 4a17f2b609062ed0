"""Authenticode: who signed, by what chain, and whether that is believed. `signify` judges; no network. Pure."""

import warnings
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from cryptography import x509

from hostscope.binaries import signify_keys
from hostscope.binaries.certificates import (
    CODE_SIGNING,
    Broken,
    check_bag,
    check_limits,
    der,
    purposes,
    weak_links,
)
from hostscope.binaries.cms import VERSIONS, is_plain
from hostscope.binaries.trust import Trust
from hostscope.model.signature import Flaw, weak_flaws

UNTRUSTED = frozenset({"CERTIFICATE_ERROR"})
CODES = {
    "INVALID_DIGEST": "digest",
    "INVALID_ADDITIONAL_HASH": "page-hash",
    "COUNTERSIGNER_ERROR": "timestamp",
    "CERTIFICATE_ERROR": "chain",
    "PARSE_ERROR": "malformed",
    "VERIFY_ERROR": "cms",
    "INCONSISTENT_DIGEST_ALGORITHM": "cms",
    "NOT_SIGNED": "digest",
    "UNKNOWN_ERROR": "malformed",
}


@cache
def signify() -> Any:
    """The package. Cost: 0.3 s, once, and Microsoft's list of roots with the first signature."""
    signify_keys.install()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from signify import authenticode
        from signify import x509 as signify_x509
    return authenticode, signify_x509


def judge_chain(one: Any, trust: Trust, **known: Any) -> tuple[list[x509.Certificate], tuple[Flaw, ...]]:
    """The certificates from the leaf to the root, or why there are none."""
    authenticode, _ = signify()
    chains: list[Any] = []

    def verify() -> None:
        chains.extend(
            one.verify(
                trusted_certificate_store=_store(one, trust.extra_roots),
                verification_context_kwargs={"timestamp": trust.at} if trust.at else None,
                **known,
            )
        )

    result, failed = authenticode.AuthenticodeVerificationResult.call(verify)
    if failed is None:
        path = [x509.load_der_x509_certificate(certificate.to_der) for certificate in chains[0]]
        path = path[::-1] if path[-1] == leaf_of(one) else path
        return path, (
            *_limit_flaws(path),
            *_form_flaws(one),
            *_bag_flaws(one, path, trust.extra_roots),
            *weak_links(path),
        )
    severity = "untrusted" if result.name in UNTRUSTED else "broken"
    detail = " ".join(str(failed).split())[:400] or type(failed).__name__
    return [], (Flaw(CODES[result.name], detail, "untrusted" if severity == "untrusted" else "broken"),)


def _limit_flaws(path: list[x509.Certificate]) -> Iterator[Flaw]:
    """What `signify` is lenient about: limits that issuers set, and certificates without a purpose."""
    try:
        check_limits(path[:-1], CODE_SIGNING)
        if CODE_SIGNING not in (purposes(path[0]) or ()):
            yield Flaw("chain", "the certificate is not meant for code", "untrusted")
    except Broken as failed:
        yield Flaw(failed.code, str(failed), "untrusted")


def _form_flaws(one: Any) -> Iterator[Flaw]:
    """What nobody signs is at least what it must be; `signify` does not look there."""
    signers = [signer for signer in (one.signer_info, one.signer_info.countersigner) if signer is not None]
    signers = [getattr(signer, "signer_info", signer) for signer in signers]
    for signer in signers:
        if not is_plain(signer.asn1["signature_algorithm"]):
            yield Flaw("malformed", "the scheme of a signature is unknown")
    for part in (one, one.signer_info.countersigner, *signers):
        if part is not None and part.asn1["version"].native not in VERSIONS:
            yield Flaw("malformed", "a message is of an unknown version")
    yield from weak_flaws(one.signer_info.digest_algorithm().name, "the message")


def _bag_flaws(one: Any, path: list[x509.Certificate], extra: Iterable[x509.Certificate]) -> Iterator[Flaw]:
    """Certificates that came along, with the signature and with its time stamp."""
    bag = [x509.load_der_x509_certificate(certificate.to_der) for certificate in _came_along(one)]
    roots = [x509.load_der_x509_certificate(root.to_der) for root in _store(one, ())]
    try:
        yield from check_bag(bag, (*roots, *extra), path)
    except Broken as failed:
        yield failed.flaw()


@cache
def _shipped() -> list[tuple[Any, dict[str, list[Any]]]]:
    """Microsoft's stores: what each says of its roots, and the roots by name. Cost: 0.2 s, once."""
    authenticode, _ = signify()
    found = []
    for store in authenticode.TRUSTED_CERTIFICATE_STORE.stores:
        by_name: dict[str, list[Any]] = {}
        for root in store:
            by_name.setdefault(root.asn1.subject.hashable, []).append(root)
        found.append((store.ctl, by_name))
    return found


def _store(one: Any, extra: Iterable[x509.Certificate]) -> Any:
    """Of the roots that we trust those that are named in a signature: `signify` looks at each of what it is given."""
    _, signify_x509 = signify()
    names = _names(one)
    added = [signify_x509.Certificate.from_der(der(root)) for root in extra]
    found = signify_x509.CertificateStore(added, trusted=True)
    for limits, by_name in _shipped():
        roots = [root for name in names for root in by_name.get(name, ())]
        found |= signify_x509.CertificateStore(roots, trusted=True, ctl=limits)
    return found


def _names(one: Any) -> frozenset[str]:
    """Subjects and issuers of all certificates in a signature and in its time stamp."""
    certificates = [certificate.asn1 for certificate in _came_along(one)]
    return frozenset(name.hashable for one in certificates for name in (one.subject, one.issuer))


def _came_along(one: Any) -> list[Any]:
    """The certificates in a signature and in its time stamp."""
    bags = (one.certificates, getattr(one.signer_info.countersigner, "certificates", None) or ())
    return [certificate for bag in bags for certificate in bag]


def leaf_of(one: Any) -> x509.Certificate | None:
    signer = one.signer_info
    for certificate in one.certificates:
        if certificate.serial_number == signer.serial_number and certificate.issuer == signer.issuer:
            return x509.load_der_x509_certificate(certificate.to_der)
    return None
