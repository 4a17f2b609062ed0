"""Signatures that stand behind a file: those of Linux kernel modules, kexec images and eBPF objects. Pure.

Source: include/linux/module_signature.h, scripts/sign-file.c.
"""

import warnings
from struct import Struct as Layout

from msgspec import Struct

from hostscope.binaries.certificates import (
    CODE_SIGNING,
    COMMON_NAME,
    ORGANISATION,
    Broken,
    attribute,
    build_chain,
    describe,
    weak_links,
)
from hostscope.binaries.cms import describe_signer, parse_message, verify_signer
from hostscope.binaries.content import Content, take
from hostscope.binaries.trust import Trust
from hostscope.model.signature import Flaw, SignedPart, status_of, weak_flaws

MARK = b"~Module signature appended~\n"
TRAILER = Layout(">BBBBB3sI")
PKEY_ID_PKCS7 = 2
KINDS = {0: "PGP", 1: "X.509", 2: "PKCS #7"}
MOST_BYTES = 1 << 20


class Appended(Struct, frozen=True):
    """Where a signature stands behind a file's content."""

    content_bytes: int
    """Of the file proper, which is signed."""
    kind: int
    signature: bytes


def find_appended(content: Content) -> Appended | None:
    """The signature behind a file; None when there is none. Raises `ValueError` when one makes no sense."""
    end = content.size - len(MARK)
    if end < TRAILER.size or content.read(end, len(MARK)) != MARK:
        return None
    algorithm, digest, kind, signer, key, padding, size = TRAILER.unpack(
        take(content, end - TRAILER.size, TRAILER.size)
    )
    start = end - TRAILER.size - size
    if size > MOST_BYTES or start < 0 or (kind == PKEY_ID_PKCS7 and any((algorithm, digest, signer, key, *padding))):
        raise ValueError("the signature behind the file does not fit")
    return Appended(start, kind, take(content, start, size))


def verify_appended(content: Content, trust: Trust) -> SignedPart | None:
    """The verdict on it; None when there is none. A kernel's keys are in the kernel: they must be given."""
    try:
        found = find_appended(content)
        if found is None:
            return None
        if found.kind != PKEY_ID_PKCS7:
            detail = f"a signature of the kind {KINDS.get(found.kind, found.kind)} is not judged"
            return _part((Flaw("malformed", detail),))
        with warnings.catch_warnings():  # of certificates with overlong names
            warnings.simplefilter("ignore")
            return _judged(found, take_all(content, found.content_bytes), trust)
    except ValueError as failed:
        return _part((Flaw("malformed", str(failed)),))


def take_all(content: Content, size: int) -> bytes:
    """So many bytes from the start, at most 256 MiB: no kernel module is longer."""
    if size > 1 << 28:
        raise ValueError("a module of an implausible size")
    return content.read(0, size)


def _judged(found: Appended, signed: bytes, trust: Trust) -> SignedPart:
    try:
        message = parse_message(found.signature)
    except Broken as failed:
        return _part((failed.flaw(),))
    try:
        leaf = verify_signer(message, signed, trust.extra_roots)
    except Broken as failed:
        return _part((failed.flaw(),), signer=describe_signer(message), digests=(message.algorithm,))
    try:
        path = build_chain(leaf, message.certificates, trust.extra_roots, trust.now, CODE_SIGNING, demanded=False)
        flaws = (*weak_flaws(message.algorithm), *weak_links(path))
    except Broken as failed:
        path, flaws = (leaf,), (failed.flaw(),)
    return SignedPart(
        "module",
        status_of(flaws),
        "module-cms",
        signer=attribute(leaf, COMMON_NAME),
        publisher=attribute(leaf, ORGANISATION),
        digests=(message.algorithm,),
        chain=tuple(map(describe, path)),
        flaws=flaws,
    )


def _part(flaws: tuple[Flaw, ...], signer: str | None = None, digests: tuple[str, ...] = ()) -> SignedPart:
    return SignedPart("module", status_of(flaws), "module-cms", signer=signer, digests=digests, flaws=flaws)
