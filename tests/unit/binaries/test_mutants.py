"""Mutants of signed files: one that is still called valid has a flaw that tells, or differs in bytes that nobody signs.

``python -m tests.unit.binaries.test_mutants 30000`` makes so many, of files of every format.
"""

import hashlib
import random
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import pytest
from asn1crypto import cms

from hostscope.binaries.appended_signature import MARK
from hostscope.binaries.content import Held
from hostscope.binaries.macho import slices
from hostscope.binaries.macho_signature import parse_signed
from hostscope.binaries.pe import certificates, parse_pe
from hostscope.binaries.trust import Trust
from hostscope.binaries.verdict import judge
from hostscope.model.signature import Signature

from .macho_builder import X86_64, Recipe, build, fat
from .pe_builder import OSSLSIGNCODE, image
from .pe_builder import sign as sign_pe
from .pki import NOW, pki, plain
from .pki import sign as sign_message
from .test_authenticode import FLAT, catalog

TRUST = Trust(extra_roots=(pki().root.certificate,))
SCRIPT = b"Write-Host hello"
EACH = 120
BITS = b"\x03\x82\x01\x01\x00"
"""A BIT STRING of 2048 bits."""
Places = dict[str, tuple[int, int]]
"""Where something begins and ends."""


@dataclass
class Seed:
    """A file that is valid, the places to change, and those that nobody signs."""

    raw: bytes
    places: Places
    free: Places = field(default_factory=dict)
    listed: bool = False
    """It is a catalogue, asked about a script."""

    def verdict(self, raw: bytes) -> Signature:
        if self.listed:
            return judge("x.ps1", Held(SCRIPT), TRUST, {"x.cat": raw})
        return judge("x.cat", Held(raw), TRUST)


def message_places(raw: bytes, start: int, size: int) -> Places:
    """The parts of a signed message."""
    signed = cms.ContentInfo.load(raw[start : start + size])["content"]
    signer = signed["signer_infos"][0]
    parts = {f"certificate {number}": one.dump() for number, one in enumerate(signed["certificates"])}
    parts |= {name: signer[name].contents or b"" for name in ("signed_attrs", "signature", "unsigned_attrs")}
    parts |= {"content": signed["encap_content_info"].dump(), "signer": signer["sid"].dump()}
    found = {name: raw.find(one, start, start + size) for name, one in parts.items() if one}
    return {name: (at, at + len(parts[name])) for name, at in found.items() if at >= 0} | {
        "message": (start, start + size)
    }


def macho_places(raw: bytes) -> Iterator[tuple[str, tuple[int, int]]]:
    for one in slices(Held(raw)):
        signed = parse_signed(one.content)
        assert signed and signed.layouts.signature
        base, at = one.end - one.content.size, signed.layouts.signature.offset
        yield f"{one.name} header", (base, base + 0x400)
        yield f"{one.name} code", (base + 0x400, base + at)
        yield f"{one.name} index", (base + at, base + at + 12 + 8 * len(signed.blob.blobs))
        for slot, blob in signed.blob.blobs.items():
            start = raw.find(blob, base + at, one.end)
            yield f"{one.name} slot {slot:#x}", (start, start + len(blob))
            if slot == 0x10000:
                inner = message_places(raw, start + 8, len(blob) - 8)
                yield from ((f"{one.name} {name}", place) for name, place in inner.items())


def macho() -> Seed:
    raw = build(Recipe(pages=3, stamp=(pki().authority, NOW)))
    return Seed(raw, dict(macho_places(raw)), _lengths(raw))


def universal() -> Seed:
    stamp = (pki().authority, NOW)
    raw = fat(build(Recipe(pages=3, stamp=stamp)), build(Recipe(pages=2, cpu=X86_64, stamp=stamp)))
    heads = {f"alignment {number}": (8 + 20 * number + 16, 8 + 20 * number + 20) for number in range(2)}
    heads |= {f"capabilities {number}": (8 + 20 * number + 4, 8 + 20 * number + 5) for number in range(2)}
    return Seed(raw, dict(macho_places(raw)) | {"heads": (0, 48)}, heads | _lengths(raw))


def _lengths(raw: bytes) -> Places:
    """A superblob may reach into the zeros behind it, and its alternate directories have any of six numbers."""
    found: Places = {}
    for one in slices(Held(raw)):
        signed = parse_signed(one.content)
        assert signed and signed.layouts.signature
        at = one.end - one.content.size + signed.layouts.signature.offset
        found[f"{one.name} length"] = (at + 4, at + 8)
        found[f"{one.name} alternate"] = (at + 20, at + 24)
    return found


def pe(folder: Path, *options: str) -> Seed:
    (folder / "tsa.pem").write_bytes(plain().authority.pem + plain().root.pem)
    (folder / "tsa.key").write_bytes(plain().authority.key_pem)
    stamp = ("-TSA-certs", "tsa.pem", "-TSA-key", "tsa.key", "-TSA-time", str(int(NOW.timestamp())))
    raw = sign_pe(folder, image(2), *stamp, *(one for one in options if one != "-nest"))
    raw = sign_pe(folder, raw, "-nest", *stamp) if "-nest" in options else raw
    head = parse_pe(Held(raw))
    assert head.table and head.entry_at
    start = head.table[0] + 8
    entry = next(certificates(Held(raw), head))
    places = {"headers": (0, 0x200), "code": (0x200, head.table[0]), "table": (head.table[0], start)}
    places |= {"entry": (head.entry_at, head.entry_at + 8), "end": (len(raw) - 16, len(raw))}
    free = {"checksum": (head.checksum_at, head.checksum_at + 4), "revision, padding": (head.table[0], start)}
    inner = message_places(raw, start, len(entry.data))
    return Seed(raw, places | inner, free | {"who signed, in another encoding": inner["signer"]} | _stamps(raw, inner))


def _stamps(raw: bytes, inner: Places) -> Places:
    """A time stamp that is called something else is none: the signature is as good as one without."""
    start, end = inner["unsigned_attrs"]
    return {
        f"kind of attribute at {at}": (at, at + 12)
        for oid in (
            b"\x06\x0a\x2b\x06\x01\x04\x01\x82\x37\x03\x03\x01",
            b"\x06\x0a\x2b\x06\x01\x04\x01\x82\x37\x02\x04\x01",
        )
        for at in range(start, end)
        if raw.startswith(oid, at)
    }


def module() -> Seed:
    content = b"module" * 700
    message = sign_message(content, plain().leaf, (plain().leaf, plain().issuer))
    raw = content + message + b"\0\0\2\0\0\0\0\0" + struct.pack(">I", len(message)) + MARK
    places = {"code": (0, len(content)), "end": (len(raw) - 40, len(raw))}
    return Seed(raw, places | message_places(raw, len(content), len(message)))


def listing(folder: Path) -> Seed:
    others = ((FLAT, hashlib.sha256(bytes([number])).digest()) for number in range(3))
    raw = catalog(folder, (FLAT, hashlib.sha256(SCRIPT).digest()), *others)
    inner = message_places(raw, 0, len(raw))
    return Seed(raw, inner, {"who signed, in another encoding": inner["signer"]}, listed=True)


SEEDS: Mapping[str, Callable[[Path], Seed]] = {
    "Mach-O": lambda _: macho(),
    "universal": lambda _: universal(),
    "PE": pe,
    "PE with page hashes": lambda folder: pe(folder, "-ph"),
    "PE with two signatures": lambda folder: pe(folder, "-nest"),
    "catalogue": listing,
    "module": lambda _: module(),
}


@cache
def seed(name: str) -> Seed:
    with tempfile.TemporaryDirectory() as folder:
        made = SEEDS[name](Path(folder))
    return replace(made, free=made.free | unused_bits(made.raw))


def mutant(one: Seed, chance: random.Random) -> bytes:
    """Changed in one place, in one of many ways."""
    start, end = chance.choice(list(one.places.values()))
    at, raw = chance.randrange(start, end), bytearray(one.raw)
    size = chance.randint(1, 16)
    kind = chance.choice(("bit", "bit", "byte", "zeros", "ones", "put in", "take out", "copy", "cut", "append"))
    if kind == "bit":
        raw[at] ^= 1 << chance.randrange(8)
    elif kind == "byte":
        raw[at] = chance.randrange(256)
    elif kind in ("zeros", "ones"):
        raw[at : at + size] = (b"\0" if kind == "zeros" else b"\xff") * len(raw[at : at + size])
    elif kind == "put in":
        raw[at:at] = chance.randbytes(size)
    elif kind == "take out":
        del raw[at : at + size]
    elif kind == "copy":
        begin = chance.randrange(len(raw) - size)
        raw[at : at + size] = raw[begin : begin + len(raw[at : at + size])]
    elif kind == "cut":
        del raw[at:]
    else:
        raw += chance.choice((bytes(size), chance.randbytes(size)))
    return bytes(raw)


def accepted(one: Seed, count: int, chance: random.Random) -> Iterator[tuple[list[str], int, str, str]]:
    """Where mutants differ first that are called valid without a word, though somebody signed those bytes."""
    for _ in range(count):
        raw = mutant(one, chance)
        if raw == one.raw:
            continue
        found = one.verdict(raw)
        if found.status != "valid" or found.all_flaws:
            continue
        differs = [at for at, (old, new) in enumerate(zip(one.raw, raw, strict=False)) if old != new]
        if len(raw) == len(one.raw) and all(_is_within(at, one.free) for at in differs):
            continue
        first = differs[0] if differs else min(len(raw), len(one.raw))
        names = [name for name, place in one.places.items() if place[0] <= first < place[1]]
        yield names, first, one.raw[first - 8 : first + 8].hex(), raw[first - 8 : first + 8].hex()


def unused_bits(raw: bytes) -> Places:
    """How many bits of a certificate's signature are not used: none, and naming those that are zero changes nothing."""
    return {f"unused bits at {at}": (at + 4, at + 5) for at in range(len(raw)) if raw.startswith(BITS, at)}


def _is_within(at: int, places: Places) -> bool:
    return any(start <= at < end for start, end in places.values())


@pytest.mark.parametrize("name", SEEDS)
def test_no_mutant_is_called_valid_without_a_word(name: str) -> None:
    if OSSLSIGNCODE is None and name.startswith(("PE", "cat")):
        pytest.skip("osslsigncode is not installed")
    one = seed(name)
    assert (one.verdict(one.raw).status, one.verdict(one.raw).all_flaws) == ("valid", ())
    assert not list(accepted(one, EACH, random.Random(name)))


def main() -> None:
    """As many as are asked for, by another chance each time."""
    count, chance = int(sys.argv[1]) // len(SEEDS), random.Random()
    for name in SEEDS:
        print(f"{name}: {count} mutants, accepted: {list(accepted(seed(name), count, chance))}", flush=True)


if __name__ == "__main__":
    main()
