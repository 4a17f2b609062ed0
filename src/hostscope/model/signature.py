"""Who vouches for a file, and whether the file is what they signed."""

from typing import Literal

from msgspec import Struct

from hostscope.model.gap import Gap
from hostscope.model.key import ProcessKey
from hostscope.model.macos import Entitlement

SCHEMA = "hostscope.signature/1"

Status = Literal["valid", "invalid", "untrusted", "adhoc", "unsigned", "unknown"]
"""``valid``: intact, and its signer is vouched for. ``invalid``: it is not what was signed, or the signature is broken.
``untrusted``: its signer leads to no root we trust, or is unknown: then nothing shows that it is intact, either.
``adhoc``: intact, by its own account: nobody signed.
``unsigned``: nobody says anything about it. ``unknown``: there is something that could not be judged."""

WORST: tuple[Status, ...] = ("invalid", "unknown", "untrusted", "unsigned", "adhoc", "valid")
"""Of several parts the first of these counts."""
FINDINGS = frozenset({"invalid", "untrusted"})
"""What `verify` reports as found."""

Confidence = Literal["high", "medium", "low", "none"]
"""``high``: cryptography, up to a root that we pin or ship. ``medium``: up to a root that was given to us, without a
proof of when, or by SHA-1 or short keys. ``low``: by what the host itself stores, which who owns the host can change.
``none``: nothing.
A verdict other than ``valid`` has the confidence of what led to it: a digest that does not match is ``high``."""

REVOCATION = "not checked"
"""Lists of revoked certificates are on the network, which is never asked."""


class Certificate(Struct, frozen=True):
    """One certificate of a chain."""

    subject: str
    """RFC 4514."""
    issuer: str
    serial: str
    """Hexadecimal."""
    sha256: str
    valid_from_ns: int
    valid_until_ns: int


class Flaw(Struct, frozen=True):
    """One thing that is wrong with a signature, or lies outside of it."""

    code: str
    """``page special-slot directory cms signature chain root expired timestamp requirement identity entitlements
    appended truncated malformed ticket digest page-hash certificate-table overlay resource-changed resource-added
    resource-missing resource-rules nested package weak``."""
    detail: str
    severity: Literal["broken", "untrusted", "noted"] = "broken"
    """``noted``: does not change the verdict."""


def status_of(flaws: tuple[Flaw, ...], adhoc: bool = False) -> Status:
    """What follows for a signature from what is wrong with it."""
    severities = {flaw.severity for flaw in flaws}
    if "broken" in severities:
        return "invalid"
    if adhoc:
        return "adhoc"
    return "untrusted" if "untrusted" in severities else "valid"


WEAK = frozenset({"md2", "md5", "sha1"})
"""Digests that two different files can be made to share: whoever signed the one signed the other."""


def weak_flaws(algorithm: str, what: str = "it") -> tuple[Flaw, ...]:
    """Whether what is signed rests on such a digest."""
    if algorithm not in WEAK:
        return ()
    return (Flaw("weak", f"{what} rests on {algorithm}: two files can be made to share one", "noted"),)


class Timestamp(Struct, frozen=True):
    """When a signature was made."""

    at_ns: int
    kind: Literal["rfc3161", "countersignature", "claimed"]
    """``claimed``: by the signer; the others by an authority whose own chain was verified."""
    authority: str | None = None


class Seal(Struct, frozen=True):
    """What a file system keeps beside a file to vouch for it."""

    kind: Literal["ima", "evm", "fs-verity"]
    raw: bytes
    """``ima``, ``evm``: the extended attribute; ``fs-verity``: the digest that the kernel measures every read by."""
    algorithm: str | None = None
    """Of an fs-verity digest."""


class SignedPart(Struct, frozen=True):
    """One signature: of a slice of a universal binary, one of several on a PE file, a catalogue's, a bundle's."""

    name: str
    """``arm64``, ``signature 1``, ``signature 1.1`` (nested), ``catalog FILE``, ``module``, ``package``, ``ima``…"""
    status: Status
    method: str
    """How it is signed: ``macho-cms macho-adhoc authenticode catalog module-cms package-digest ima fs-verity none``."""
    signer: str | None = None
    """Common name of the leaf certificate; a package for `package-digest`."""
    publisher: str | None = None
    """Organisation in the leaf certificate, or the program's publisher as signed."""
    identifier: str | None = None
    """Mach-O: the signing identifier; PE: the program's name as signed."""
    team: str | None = None
    digests: tuple[str, ...] = ()
    """Algorithms of its digests, such as ``sha1 sha256``."""
    code_hash: str | None = None
    """Mach-O: cdhash; PE: the image digest. Hexadecimal."""
    flags: tuple[str, ...] = ()
    """Mach-O: flags of the code directory."""
    requirement: str | None = None
    """Mach-O: the designated requirement as text."""
    entitlements: tuple[Entitlement, ...] | None = None
    """Mach-O: as signed; None without such a blob."""
    notarised: bool | None = None
    """Mach-O: a stapled ticket, signed by Apple, names this code. False: none is stapled, or one that does not count
    (flaw ``ticket``); Apple may have notarised it all the same, and says so on the network, which is never asked."""
    chain: tuple[Certificate, ...] = ()
    """Leaf first, the trusted root last; as far as it could be built."""
    timestamp: Timestamp | None = None
    page_hashes: int | None = None
    """How many pages have a digest of their own."""
    outside_bytes: int = 0
    """Bytes of the file that the signature says nothing of."""
    flaws: tuple[Flaw, ...] = ()


class Hardening(Struct, frozen=True):
    """What an ELF file was built with. None where the file does not tell."""

    kind: str
    """``executable pie shared-object static static-pie relocatable core other``."""
    pie: bool | None
    """Position independent, so that its place in memory is random; None for what is no program."""
    relro: str
    """``full partial none``: the tables that calls go through are read-only once filled."""
    nx: bool | None
    """Its stack is not executable; None without the header that says so (the kernel's default then counts)."""
    stack_protector: bool | None
    """Calls __stack_chk_fail; None when there are no names to look for."""
    fortified: bool | None
    """Calls checked variants (__memcpy_chk); None when there are no names to look for. False may mean that it calls
    nothing that could be checked."""
    run_path: str | None = None
    """DT_RUNPATH or DT_RPATH: other places that libraries are loaded from."""
    build_id: str | None = None


class Signature(Struct, frozen=True):
    """The verdict on one file, bundle or running executable."""

    path: str
    format: str
    """``mach-o pe elf bundle catalog other``."""
    status: Status
    """The worst of its parts."""
    method: str
    """Of the part that decided; see `SignedPart.method`."""
    confidence: Confidence
    reason: str
    """In a sentence why the status is what it is."""
    signer: str | None = None
    team: str | None = None
    identifier: str | None = None
    signed_at_ns: int | None = None
    """UTC; who says so is in the part's `timestamp`."""
    size_bytes: int | None = None
    parts: tuple[SignedPart, ...] = ()
    hardening: Hardening | None = None
    resources: int | None = None
    """Bundles: how many sealed files were compared."""
    flaws: tuple[Flaw, ...] = ()
    """Of the file as a whole."""
    revocation: str = REVOCATION
    key: ProcessKey | None = None
    """The process whose running image this is; None when a file was asked for."""
    gaps: tuple[Gap, ...] = ()

    @property
    def all_flaws(self) -> tuple[Flaw, ...]:
        """Those of the file and of its parts."""
        return self.flaws + tuple(flaw for part in self.parts for flaw in part.flaws)
