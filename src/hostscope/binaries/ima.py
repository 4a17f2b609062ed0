"""IMA's extended attribute: a digest of the file, or a signature of it by a key that the kernel knows. Pure.

Source: security/integrity/integrity.h of Linux (struct signature_v2_hdr), include/uapi/linux/hash_info.h.
"""

import hashlib
from collections.abc import Callable, Iterable
from struct import Struct as Layout

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from hostscope.binaries.certificates import COMMON_NAME, attribute, describe, weak_links
from hostscope.binaries.cms import HASHES
from hostscope.model.signature import Flaw, Seal, SignedPart, status_of, weak_flaws

IMA_XATTR_DIGEST, EVM_IMA_XATTR_DIGSIG, IMA_XATTR_DIGEST_NG = 1, 3, 4
SIGNATURE_V2 = Layout(">BBBIH")
ALGORITHMS = {0: "md4", 1: "md5", 2: "sha1", 4: "sha256", 5: "sha384", 6: "sha512", 7: "sha224"}

Digest = Callable[[str], bytes]
"""A file's digest by algorithm."""


def judge_seal(seal: Seal, digest: Digest, keys: Iterable[x509.Certificate]) -> SignedPart:
    """What a seal is worth."""
    if seal.kind == "fs-verity":
        return SignedPart(
            "fs-verity", "adhoc", "fs-verity", digests=(seal.algorithm or "unknown",), code_hash=seal.raw.hex()
        )
    if seal.kind == "evm" or not seal.raw:
        return _unknown(seal.kind, "not judged: its key is in the kernel")
    try:
        return _ima(seal.raw, digest, keys)
    except ValueError as failed:
        return SignedPart("ima", "invalid", "ima", flaws=(Flaw("malformed", str(failed)),))


def _unknown(name: str, detail: str) -> SignedPart:
    return SignedPart(name, "unknown", "ima", flaws=(Flaw("root", detail, "noted"),))


def _ima(raw: bytes, digest: Digest, keys: Iterable[x509.Certificate]) -> SignedPart:
    if raw[0] == IMA_XATTR_DIGEST:
        return _compared("sha1", raw[1:], digest)
    if raw[0] == IMA_XATTR_DIGEST_NG and len(raw) > 2:
        return _compared(_algorithm(raw[1]), raw[2:], digest)
    if raw[0] == EVM_IMA_XATTR_DIGSIG and raw[1:2] == b"\x03":
        return _unknown("ima", "a signature of the third version, over fs-verity's digest, is not judged")
    if raw[0] == EVM_IMA_XATTR_DIGSIG and len(raw) >= SIGNATURE_V2.size:
        return _signed(raw, digest, keys)
    return _unknown("ima", f"an attribute of the kind {raw[0]} is not judged")


def _algorithm(number: int) -> str:
    if ALGORITHMS.get(number) not in hashlib.algorithms_available:
        raise ValueError(f"digest algorithm {number} is unknown")
    return ALGORITHMS[number]


def _compared(algorithm: str, sealed: bytes, digest: Digest) -> SignedPart:
    same = digest(algorithm) == sealed
    flaws = () if same else (Flaw("digest", "the file is not what IMA has a digest of"),)
    status = "adhoc" if same else status_of(flaws)
    return SignedPart("ima", status, "ima", digests=(algorithm,), code_hash=sealed.hex(), flaws=flaws)


def _signed(raw: bytes, digest: Digest, keys: Iterable[x509.Certificate]) -> SignedPart:
    _, version, number, key, size = SIGNATURE_V2.unpack_from(raw)
    signature = raw[SIGNATURE_V2.size :]
    if version != 2 or size != len(signature):
        raise ValueError("the signature in IMA's attribute does not fit")
    algorithm = _algorithm(number)
    if algorithm not in HASHES:
        raise ValueError(f"digest algorithm {algorithm} is not judged")
    for certificate in keys:
        if _made_by(certificate, signature, digest(algorithm), algorithm):
            signer = attribute(certificate, COMMON_NAME)
            weak = (*weak_flaws(algorithm), *weak_links((certificate,)))
            chain = (describe(certificate),)
            return SignedPart("ima", "valid", "ima", signer=signer, digests=(algorithm,), chain=chain, flaws=weak)
        if _key_id(certificate) == key:
            made = Flaw("digest", f"{attribute(certificate, COMMON_NAME)} signed something else")
            return SignedPart("ima", "invalid", "ima", digests=(algorithm,), flaws=(made,))
    flaw = Flaw("root", f"signed with key {key:08x}, which we were not given: nothing is proven", "untrusted")
    return SignedPart("ima", "untrusted", "ima", signer=f"key {key:08x}", digests=(algorithm,), flaws=(flaw,))


def _key_id(certificate: x509.Certificate) -> int | None:
    """What IMA calls a key by: the end of its identifier."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except (x509.ExtensionNotFound, ValueError):
        return None
    return int.from_bytes(found[-4:], "big")


def _made_by(certificate: x509.Certificate, signature: bytes, digest: bytes, algorithm: str) -> bool:
    public, hashed = certificate.public_key(), Prehashed(HASHES[algorithm]())
    try:
        if isinstance(public, rsa.RSAPublicKey):
            public.verify(signature, digest, padding.PKCS1v15(), hashed)
        elif isinstance(public, ec.EllipticCurvePublicKey):
            public.verify(signature, digest, ec.ECDSA(hashed))
        else:
            return False
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True
