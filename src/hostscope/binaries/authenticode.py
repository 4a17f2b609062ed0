"""Authenticode: signatures on PE files and in catalogues. Pure.

`signify` judges messages, chains, time stamps and countersignatures; what it needs of a file (digests of the image and
of its pages) is worked out here in one pass, and what lies outside of everything is told.
"""

import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from itertools import groupby, islice
from operator import itemgetter
from typing import Any

from cryptography import x509

from hostscope.binaries.authenticode_chain import judge_chain, leaf_of, signify
from hostscope.binaries.certificates import COMMON_NAME, ORGANISATION, attribute, describe, nanoseconds
from hostscope.binaries.cms import said
from hostscope.binaries.content import Content
from hostscope.binaries.hands import hand_over
from hostscope.binaries.image_digests import FileDigests, ImageDigests, Page, check_pages
from hostscope.binaries.pe import PAGE_BYTES, WIN_CERT_TYPE_PKCS_SIGNED_DATA, Pe, certificates, parse_pe
from hostscope.binaries.trust import Trust
from hostscope.model.signature import Flaw, SignedPart, Timestamp, status_of, weak_flaws

MOST_SIGNATURES = 32
MOST_LISTED = 8
MOST_BYTES = 1 << 20
"""Of a signature, besides the digests of its pages: 36 bytes for each page of 4 KiB."""
PAGES_AT_ONCE = 2048


def verify_pe(content: Content, trust: Trust, catalogs: Mapping[str, bytes] | None = None) -> tuple[SignedPart, ...]:
    """Every signature on a PE file, nested ones and those of the given catalogues included. Flaws, never exceptions.

    Args:
        catalogs: catalogues by name; those that do not list the file are passed over.
    """
    try:
        pe = parse_pe(content)
        entries = list(certificates(content, pe))
    except ValueError as failed:
        return (SignedPart("signature", "invalid", "authenticode", flaws=(Flaw("malformed", str(failed)),)),)
    with warnings.catch_warnings():  # of certificates with overlong names
        warnings.simplefilter("ignore")
        digests = ImageDigests(content, pe)
        parts = [
            part
            for number, entry in enumerate(entries, 1)
            if entry.type == WIN_CERT_TYPE_PKCS_SIGNED_DATA
            for part in _entry(f"signature {number}", entry.data, digests, trust)
        ]
        for name, raw in (catalogs or {}).items():
            parts += _catalogued(f"catalog {name}", raw, digests, trust)
    return tuple(parts) or (SignedPart("signature", "unsigned", "none"),)


def outside_flaws(content: Content, pe: Pe) -> Iterator[Flaw]:
    """What nothing covers, or what no loader needs."""
    if pe.table is None:
        return
    offset, size = pe.table
    if offset < pe.image_end:
        yield Flaw("certificate-table", "sections reach into the signatures, which no digest covers")
    if offset > pe.image_end:
        yield Flaw("overlay", f"{offset - pe.image_end} bytes stand between the image and its signatures", "noted")
    for number, entry in enumerate(certificates(content, pe), 1):
        if entry.type != WIN_CERT_TYPE_PKCS_SIGNED_DATA:
            yield Flaw("certificate-table", f"entry {number} of type {entry.type} is no signature", "noted")
        elif any(slack := entry.data[_der_length(entry.data) :]):
            yield Flaw("certificate-table", f"{len(slack)} bytes are hidden behind signature {number}", "noted")
    if offset + size < content.size:
        yield Flaw("appended", f"{content.size - offset - size} bytes stand behind the signatures")


def _der_length(raw: bytes) -> int:
    """Bytes of the one value at the beginning."""
    if len(raw) < 2:
        return len(raw)
    count = raw[1] & 0x7F if raw[1] & 0x80 else 0
    size = int.from_bytes(raw[2 : 2 + count], "big") if count else raw[1]
    return min(len(raw), 2 + count + size)


def _entry(name: str, raw: bytes, digests: ImageDigests, trust: Trust) -> Iterator[SignedPart]:
    """The signature of one entry, and those nested in it."""
    authenticode, _ = signify()
    if len(raw) > MOST_BYTES + digests.content.size // 32:
        yield SignedPart(
            name, "invalid", "authenticode", flaws=(Flaw("malformed", "a signature of an implausible size"),)
        )
        return
    try:
        outer = authenticode.AuthenticodeSignature.from_envelope(raw[: _der_length(raw)])
        found = list(islice(outer.iter_recursive_nested(), MOST_SIGNATURES))
    except Exception as failed:  # signify and asn1crypto raise what comes up while they meet nonsense
        yield SignedPart(name, "invalid", "authenticode", flaws=(_unreadable(failed),))
        return
    for number, one in enumerate(found):
        yield _guarded(f"{name}.{number}" if number else name, one, digests, trust)


def _unreadable(failed: Exception) -> Flaw:
    return Flaw("malformed", f"the signature cannot be parsed: {said(failed)}")


def _guarded(name: str, one: Any, digests: ImageDigests, trust: Trust) -> SignedPart:
    try:
        return _judged(name, one, digests, trust)
    except Exception as failed:  # as in _entry: attributes are parsed when they are asked for
        return SignedPart(name, "invalid", "authenticode", flaws=(_unreadable(failed),))


def _judged(name: str, one: Any, digests: ImageDigests, trust: Trust) -> SignedPart:
    indirect = one.indirect_data
    algorithm = indirect.digest_algorithm().name
    image = digests.begin(algorithm)
    pages, begun = _begin_pages(indirect, digests)
    # signify is told the digest that is claimed, so that it judges the rest while the real one is being worked out
    path, flaws = judge_chain(one, trust, expected_hash=indirect.digest, verify_additional_hashes=False)
    if image.result() != indirect.digest:
        flaws = (Flaw("digest", "the file was changed since it was signed: its digest is another"), *flaws)
    bad = [start for part in begun for start in part.result()]
    if bad:
        listed = ", ".join(map(hex, bad[:MOST_LISTED])) + ("…" if len(bad) > MOST_LISTED else "")
        flaws += (Flaw("page-hash", f"changed since it was signed: pages at {listed}"),)
    return _described(name, "authenticode", one, path, flaws, indirect.digest.hex(), algorithm, pages)


def _begin_pages(indirect: Any, digests: ImageDigests) -> "tuple[int | None, list[Future[list[int]]]]":
    """How many pages have digests of their own, and, when it is worked out, where those do not match."""
    if indirect.content_type != "microsoft_spc_pe_image_data":
        return None, []
    by_algorithm: list[tuple[str, list[Page]]] = [
        (new().name, [page[:3] for page in pages])
        for new, pages in groupby(indirect.content.page_hashes, key=itemgetter(3))
    ]
    for _, pages in by_algorithm:
        check_pages(pages)
    begun = [
        hand_over(len(pages) * PAGE_BYTES, digests.changed_pages, algorithm, pages[first : first + PAGES_AT_ONCE])
        for algorithm, pages in by_algorithm
        for first in range(0, len(pages), PAGES_AT_ONCE)
    ]
    return sum(len(pages) for _, pages in by_algorithm) or None, begun


def _described(
    name: str,
    method: str,
    one: Any,
    path: list[x509.Certificate],
    flaws: tuple[Flaw, ...],
    digest: str,
    algorithm: str,
    pages: int | None,
) -> SignedPart:
    leaf = leaf_of(one)
    trusted = all(flaw.severity == "noted" for flaw in flaws)
    opus = getattr(one.signer_info, "program_name", None)
    return SignedPart(
        name=name,
        status=status_of(flaws),
        method=method,
        signer=attribute(leaf, COMMON_NAME) if leaf else None,
        publisher=attribute(leaf, ORGANISATION) if leaf else None,
        identifier=opus or None,
        digests=(algorithm,),
        code_hash=digest,
        chain=tuple(map(describe, path or ([leaf] if leaf else []))),
        timestamp=_timestamp(one, trusted),
        page_hashes=pages,
        flaws=(*flaws, *weak_flaws(algorithm)),
    )


def _timestamp(one: Any, trusted: bool) -> Timestamp | None:
    """An authority's time where everything was verified; else only what is claimed."""
    counter = one.signer_info.countersigner
    if counter is None or not trusted:
        at = counter.signing_time if counter else one.signer_info.signing_time
        return Timestamp(nanoseconds(at), "claimed") if at else None
    authority, kind = _authority(counter, one)
    return Timestamp(nanoseconds(counter.signing_time), "rfc3161" if kind else "countersignature", authority)


def _authority(counter: Any, one: Any) -> tuple[str | None, bool]:
    """Who vouches for the time, and whether by a token of RFC 3161."""
    token = hasattr(counter, "tst_info")
    leaf = leaf_of(counter) if token else _countersigner(counter, one)
    return (attribute(leaf, COMMON_NAME) if leaf else None), token


def _countersigner(counter: Any, one: Any) -> x509.Certificate | None:
    for certificate in one.certificates:
        if certificate.serial_number == counter.serial_number and certificate.issuer == counter.issuer:
            return x509.load_der_x509_certificate(certificate.to_der)
    return None


def _catalogued(name: str, raw: bytes, digests: "ImageDigests | FileDigests", trust: Trust) -> Iterator[SignedPart]:
    """The signature of a catalogue that lists this file; nothing when it does not."""
    authenticode, _ = signify()
    try:
        catalog = authenticode.CertificateTrustList.from_envelope(raw)
        algorithm = catalog.subject_algorithm().name
        subject = catalog.find_subject(digests.image(algorithm))  # by the digest that it is listed with
        if subject is None or subject.indirect_data is None:
            return
        listed = subject.indirect_data.digest == digests.image(subject.indirect_data.digest_algorithm().name)
        path, flaws = judge_chain(catalog, trust)
        flaws += _behind(raw)
        if not listed:
            flaws += (Flaw("digest", "the catalogue lists another digest for this file"),)
        digest = subject.indirect_data.digest.hex()
        yield _described(name, "catalog", catalog, path, flaws, digest, algorithm, None)
    except Exception as failed:  # as in _entry
        yield SignedPart(name, "invalid", "catalog", flaws=(_unreadable(failed),))


def _behind(raw: bytes) -> tuple[Flaw, ...]:
    """What stands behind a catalogue's one value."""
    size = len(raw) - _der_length(raw)
    return (Flaw("appended", f"{size} bytes stand behind the catalogue"),) if size else ()


def check_catalog(raw: bytes) -> None:
    """Raises `ValueError` when these bytes are no catalogue at all; whether one is sound, `verify_catalog` tells."""
    authenticode, _ = signify()
    try:
        authenticode.CertificateTrustList.from_envelope(raw)
    except Exception as failed:  # as in _entry
        raise ValueError(said(failed)) from failed


def verify_listed(content: Content, trust: Trust, catalogs: Mapping[str, bytes]) -> tuple[SignedPart, ...]:
    """What catalogues say of a file without a signature of its own: a script, a driver's .inf."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        flat = FileDigests(content)
        return tuple(
            part for name, raw in catalogs.items() for part in _catalogued(f"catalog {name}", raw, flat, trust)
        )


def verify_catalog(raw: bytes, trust: Trust) -> SignedPart:
    """A catalogue itself."""
    authenticode, _ = signify()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            catalog = authenticode.CertificateTrustList.from_envelope(raw)
            path, flaws = judge_chain(catalog, trust)
            flaws += _behind(raw)
            algorithm = catalog.subject_algorithm().name
            return _described("catalog", "catalog", catalog, path, flaws, "", algorithm, None)
        except Exception as failed:  # as in _entry
            return SignedPart("catalog", "invalid", "catalog", flaws=(_unreadable(failed),))
