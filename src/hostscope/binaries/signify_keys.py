"""`signify`'s public key operations, done by `cryptography`.

`signify` asks `oscrypto` for them, which looks for the system's OpenSSL (starting ldconfig or a compiler to find it)
and cannot parse versions such as 3.0.19. `cryptography` brings a maintained OpenSSL along on every system, and answers:
the functions below have the names and the errors that `signify` and `certvalidator` expect of `oscrypto.asymmetric`.
"""

import sys
from types import ModuleType
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key
from oscrypto.errors import SignatureError

HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "md5": hashes.MD5,
    "sha1": hashes.SHA1,
    "sha224": hashes.SHA224,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}
KINDS = {rsa.RSAPublicKey: "rsa", ec.EllipticCurvePublicKey: "ec", dsa.DSAPublicKey: "dsa"}
ASYMMETRIC, TRUST_LIST = "oscrypto.asymmetric", "oscrypto.trust_list"


class PublicKey:
    """A key as `oscrypto` has it."""

    def __init__(self, key: Any) -> None:
        self.key = key
        self.algorithm = next((name for kind, name in KINDS.items() if isinstance(key, kind)), "unknown")


def load_public_key(source: Any) -> PublicKey:
    """From asn1crypto's PublicKeyInfo."""
    try:
        return PublicKey(load_der_public_key(source.dump()))
    except (UnsupportedAlgorithm, ValueError) as failed:
        raise SignatureError(str(failed)) from failed


def rsa_pkcs1v15_verify(key: PublicKey, signature: bytes, data: bytes, hash_algorithm: str) -> None:
    """PKCS #1 v1.5; with ``raw`` the padded data is the digest alone, which very old signatures hold."""
    if hash_algorithm != "raw":
        _verify(key, signature, data, padding.PKCS1v15(), _hash(hash_algorithm))
        return
    if not isinstance(key.key, rsa.RSAPublicKey):
        raise SignatureError("Signature is invalid")
    try:
        recovered = key.key.recover_data_from_signature(signature, padding.PKCS1v15(), None)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError) as failed:
        raise SignatureError("Signature is invalid") from failed
    if recovered != data:
        raise SignatureError("Signature is invalid")


def ecdsa_verify(key: PublicKey, signature: bytes, data: bytes, hash_algorithm: str) -> None:
    """ECDSA."""
    _verify(key, signature, data, ec.ECDSA(_hash(hash_algorithm)))


def dsa_verify(key: PublicKey, signature: bytes, data: bytes, hash_algorithm: str) -> None:
    """DSA."""
    _verify(key, signature, data, _hash(hash_algorithm))


def _hash(name: str) -> hashes.HashAlgorithm:
    if name not in HASHES:
        raise SignatureError(f"digest algorithm {name} is unknown")
    return HASHES[name]()


def _verify(key: PublicKey, signature: bytes, data: bytes, *scheme: Any) -> None:
    try:
        key.key.verify(signature, data, *scheme)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError, AttributeError) as failed:
        raise SignatureError("Signature is invalid") from failed


def get_list(*_: object) -> list[Any]:
    """Roots of the system, which nobody of ours trusts for code."""
    return []


def install() -> None:
    """Gives `signify` these functions, unless the program that we are part of uses `oscrypto` itself already."""
    if ASYMMETRIC in sys.modules:
        return
    asymmetric, trust_list = ModuleType(ASYMMETRIC), ModuleType(TRUST_LIST)
    for function in (load_public_key, rsa_pkcs1v15_verify, ecdsa_verify, dsa_verify):
        setattr(asymmetric, function.__name__, function)
    setattr(asymmetric, "load_certificate", lambda source: load_public_key(source.public_key))  # noqa: B010
    setattr(trust_list, "get_list", get_list)  # noqa: B010
    sys.modules[ASYMMETRIC], sys.modules[TRUST_LIST] = asymmetric, trust_list
