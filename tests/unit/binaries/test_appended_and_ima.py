"""Signatures of kernel modules, and IMA's attributes."""

import hashlib
import struct

import pytest
from asn1crypto import cms
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from hostscope.binaries.appended_signature import MARK, verify_appended
from hostscope.binaries.content import Held
from hostscope.binaries.ima import judge_seal
from hostscope.binaries.trust import Trust
from hostscope.binaries.verdict import conclude, judge
from hostscope.model.signature import Seal, SignedPart

from .pki import Identity, plain, sign

MODULE = b"\x7fELF" + hashlib.shake_128(b"module").digest(4096)


def module(content: bytes = MODULE, kind: int = 2, cut: int = 0, certificates: bool = False) -> bytes:
    """As scripts/sign-file does: without attributes of its own, and mostly without certificates."""
    known = plain()
    message = sign(content, known.leaf, (known.leaf, known.issuer) if certificates else ())
    trailer = struct.pack(">BBBBB3xI", 0, 0, kind, 0, 0, len(message))
    return content + message[: len(message) - cut] + trailer + MARK


def keys() -> Trust:
    known = plain()
    return Trust(extra_roots=(known.leaf.certificate, known.root.certificate))


def part(raw: bytes, trust: Trust | None = None) -> SignedPart:
    found = verify_appended(Held(raw), trust or keys())
    assert found
    return found


def test_a_module_signed_with_a_key_that_we_have() -> None:
    found = part(module())
    assert (found.status, found.method, found.signer, found.flaws) == ("valid", "module-cms", "Test Publisher", ())
    assert judge("x.ko", Held(module()), keys()).status == "valid"


def test_a_chain_leads_to_a_root_that_was_given() -> None:
    found = part(module(certificates=True), Trust(extra_roots=(plain().root.certificate,)))
    assert (found.status, len(found.chain)) == ("valid", 2 + 1)


def test_the_kernels_own_keys_are_not_ours() -> None:
    found = part(module(), Trust())
    assert (found.status, [flaw.code for flaw in found.flaws]) == ("untrusted", ["root"])
    assert found.signer and "Test Code Signing CA" in found.signer


@pytest.mark.parametrize("at", [4, 100, 4000, 4099])
def test_changed_code_is_caught(at: int) -> None:
    raw = bytearray(module())
    raw[at] ^= 1
    assert part(bytes(raw)).status == "invalid"


def test_a_changed_or_cut_message_is_caught() -> None:
    raw = bytearray(module())
    raw[-len(MARK) - 12 - 40] ^= 1
    assert part(bytes(raw)).status == "invalid"
    assert part(module(cut=10)).status == "invalid"


def test_bytes_behind_the_signature_leave_no_signature() -> None:
    """The kernel finds none then, either."""
    assert verify_appended(Held(module() + b"x"), keys()) is None
    assert judge("x.ko", Held(module() + b"x"), keys()).status == "unsigned"


def test_other_kinds_and_lies_are_malformed() -> None:
    assert part(module(kind=1)).status == "invalid"
    lying = MODULE + struct.pack(">BBBBB3xI", 0, 0, 2, 0, 0, 1 << 31) + MARK
    assert part(lying).status == "invalid"


# IMA


def digest(algorithm: str) -> bytes:
    return hashlib.new(algorithm, MODULE).digest()


def signed(by: Identity, content: bytes = MODULE) -> bytes:
    signature = by.key.sign(content, padding.PKCS1v15(), hashes.SHA256())
    return struct.pack(">BBBIH", 3, 2, 4, 0xCAFE, len(signature)) + signature


def test_a_digest_of_ima_is_compared() -> None:
    assert judge_seal(Seal("ima", b"\x04\x04" + digest("sha256")), digest, ()).status == "adhoc"
    assert judge_seal(Seal("ima", b"\x01" + digest("sha1")), digest, ()).status == "adhoc"
    assert judge_seal(Seal("ima", b"\x04\x04" + bytes(32)), digest, ()).status == "invalid"


def test_a_signature_of_ima_is_judged_with_the_keys_we_have() -> None:
    leaf = plain().leaf
    found = judge_seal(Seal("ima", signed(leaf)), digest, [plain().issuer.certificate, leaf.certificate])
    assert (found.status, found.signer) == ("valid", "Test Publisher")
    assert judge_seal(Seal("ima", signed(leaf)), digest, ()).status == "untrusted"
    assert judge_seal(Seal("ima", signed(leaf, b"other")), digest, [leaf.certificate]).status == "untrusted"


EVMCTL = b"""-----BEGIN CERTIFICATE-----
MIIBdzCCAR2gAwIBAgIUKUMD5O08FPRHzoTC0m9WNID97SswCgYIKoZIzj0EAwIw
ETEPMA0GA1UEAwwGSU1BIEVDMB4XDTI2MTEyMjE2NTQzOVoXDTI3MDMwMjE2NTQz
OVowETEPMA0GA1UEAwwGSU1BIEVDMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
U4tc6kZkVdO39tqsxvXXcdMysZRiUSJXg67JYCIeZucFKTLvYyeBeSwQ9Ww7vdp5
sqCRdFgGbJ6Qy+xMzEZ2iaNTMFEwHQYDVR0OBBYEFKjVIHEda2Zk3+M+BGuoItZb
KC72MB8GA1UdIwQYMBaAFKjVIHEda2Zk3+M+BGuoItZbKC72MA8GA1UdEwEB/wQF
MAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIhAKY0Gx9HaAYJzxtu4rR/0EYKJuPbpM93
MxW9/qyL6RymAiA26SPEz65wX7AnZgcefECd5q2BiZZ2+9UOrHfWp0CJ5A==
-----END CERTIFICATE-----
"""
"""Its key signed ``hello\\n`` by evmctl 1.4 (``ima_sign -a sha256``)."""
BY_EVMCTL = bytes.fromhex(
    "0302045b282ef600463044022006d99aaa4a1ee7a6ab6223b4c14656b1bfe3c52342ffd141ff0390"
    "30fff5bb4c022059a4ba91705441420d8e908d2ee7497c10cb33f15ab3b8859d1e479940aa0f00"
)


def test_what_evmctl_signed_is_valid() -> None:
    (key,) = x509.load_pem_x509_certificates(EVMCTL)
    found = judge_seal(Seal("ima", BY_EVMCTL), lambda name: hashlib.new(name, b"hello\n").digest(), [key])
    assert (found.status, found.signer, found.digests) == ("valid", "IMA EC", ("sha256",))
    other = judge_seal(Seal("ima", BY_EVMCTL), lambda name: hashlib.new(name, b"hallo\n").digest(), [key])
    assert (other.status, other.flaws[0].detail) == ("invalid", "IMA EC signed something else")


@pytest.mark.parametrize("raw", [b"\x04\x63" + bytes(8), signed(plain().leaf)[:-1], b"\x03\x01" + bytes(30)])
def test_nonsense_of_ima_is_malformed(raw: bytes) -> None:
    assert judge_seal(Seal("ima", raw), digest, ()).status == "invalid"


@pytest.mark.parametrize("seal", [Seal("evm", b"x"), Seal("ima", b""), Seal("ima", b"\x09")])
def test_what_is_not_judged_is_unknown(seal: Seal) -> None:
    assert judge_seal(seal, digest, ()).status == "unknown"


def test_fs_verity_is_the_kernels_word() -> None:
    found = judge_seal(Seal("fs-verity", b"\xab" * 32, "sha256"), digest, ())
    assert (found.status, found.code_hash, found.digests) == ("adhoc", "ab" * 32, ("sha256",))


# Files that lie


@pytest.mark.parametrize("at", [0, 1, 3, 4, 5, 6, 7])
def test_a_trailer_that_the_kernel_refuses_is_malformed(at: int) -> None:
    raw = bytearray(module())
    raw[-len(MARK) - 12 + at] = 1
    assert part(bytes(raw)).status == "invalid"


@pytest.mark.parametrize("size", [0, 1, 12, 1 << 20, (1 << 32) - 1])
def test_lengths_that_lie_are_malformed(size: int) -> None:
    raw = bytearray(module())
    struct.pack_into(">I", raw, len(raw) - len(MARK) - 4, size)
    assert part(bytes(raw)).status == "invalid"


def test_a_message_without_a_digest_of_the_content_is_caught() -> None:
    message = cms.ContentInfo.load(sign(MODULE, plain().leaf, ()))
    info = message["content"]["signer_infos"][0]
    kept = [one for one in info["signed_attrs"] if one["type"].native != "message_digest"]
    info["signed_attrs"] = cms.CMSAttributes(kept)
    signature = plain().leaf.key.sign(
        info["signed_attrs"].untag().dump(force=True), padding.PKCS1v15(), hashes.SHA256()
    )
    info["signature"] = signature
    raw = message.dump(force=True)
    found = part(MODULE + raw + struct.pack(">BBBBB3xI", 0, 0, 2, 0, 0, len(raw)) + MARK)
    assert (found.status, found.flaws[0].code) == ("invalid", "cms")


def test_who_signed_is_told_of_the_part_that_decides() -> None:
    """A package's digest that fits, and a signature that anybody made in somebody's name."""
    package = SignedPart("package", "valid", "package-digest", signer="coreutils 9")
    own = SignedPart("module", "untrusted", "module-cms", signer="Microsoft Corporation")
    found = conclude("x", "elf", 1, (own, package), Trust())
    assert (found.status, found.signer, found.confidence) == ("valid", "coreutils 9", "low")


def test_a_key_that_we_have_and_that_signed_something_else() -> None:
    leaf = plain().leaf
    identifier = leaf.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    raw = bytearray(signed(leaf, b"other"))
    raw[3:7] = identifier[-4:]
    assert judge_seal(Seal("ima", bytes(raw)), digest, [leaf.certificate]).status == "invalid"


def test_a_third_version_of_ima_is_not_judged() -> None:
    assert judge_seal(Seal("ima", b"\x03\x03" + bytes(40)), digest, ()).status == "unknown"
