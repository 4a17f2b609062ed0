"""Small signed Mach-O files, built field by field: what the tests say is in them is in them."""

import hashlib
import plistlib
import struct
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .pki import NOW, TEAM, Identity, cdhash_attributes, pki, sign

SHA1, SHA256, SHA384 = 1, 2, 4
NAMES = {SHA1: "sha1", SHA256: "sha256", SHA384: "sha384"}
SIZES = {SHA1: 20, SHA256: 32, SHA384: 48}
ARM64, X86_64 = 0x0100000C, 0x01000007
ADHOC, RUNTIME = 0x2, 0x10000


def blob(magic: int, content: bytes) -> bytes:
    """A blob with its head."""
    return struct.pack(">II", magic, 8 + len(content)) + content


def word(value: int) -> bytes:
    return struct.pack(">I", value)


def data(raw: bytes) -> bytes:
    """Padded data of a requirement."""
    return word(len(raw)) + raw + bytes(-len(raw) % 4)


def requirements(expression: bytes) -> bytes:
    """A set with one designated requirement."""
    one = struct.pack(">III", 0xFADE0C00, 12 + len(expression), 1) + expression
    return struct.pack(">IIIII", 0xFADE0C01, 20 + len(one), 1, 3, 20) + one


DESIGNATED = requirements(
    word(6) + word(6) + word(2) + data(b"org.test.tool") + word(15)
    + word(11) + word(0) + data(b"subject.OU") + word(1) + data(TEAM.encode())
)  # fmt: skip


def tlv(tag: int, content: bytes) -> bytes:
    """DER with lengths up to 65,535."""
    size = len(content)
    head = bytes([size]) if size < 128 else b"\x82" + struct.pack(">H", size)
    return bytes([tag]) + head + content


def der(value: Any) -> bytes:
    """A value of entitlements."""
    if isinstance(value, bool):
        return tlv(1, b"\xff" if value else b"\0")
    if isinstance(value, int):
        return tlv(2, value.to_bytes(4, "big", signed=True))
    if isinstance(value, str):
        return tlv(12, value.encode())
    if isinstance(value, list):
        return tlv(0x30, b"".join(map(der, value)))
    return tlv(0xB0, pairs(value))


def pairs(value: dict[str, Any]) -> bytes:
    return b"".join(tlv(0x30, tlv(12, name.encode()) + der(inner)) for name, inner in sorted(value.items()))


def der_entitlements(value: dict[str, Any], old: bool = False) -> bytes:
    """Both forms that Apple has used."""
    return tlv(0x31, pairs(value)) if old else tlv(0x70, tlv(2, b"\1") + tlv(0xB0, pairs(value)))


@dataclass
class Recipe:
    """What goes into a file."""

    cpu: int = ARM64
    pages: int = 5
    page_exponent: int = 12
    hashes: tuple[int, ...] = (SHA1, SHA256)
    flags: int = RUNTIME
    identifier: str = "org.test.tool"
    team: str | None = TEAM
    entitlements: dict[str, Any] | None = field(
        default_factory=lambda: {"com.apple.security.cs.allow-jit": True, "groups": ["a", "b"], "n": 5}
    )
    old_der: bool = False
    xml_tail: bytes = b"\n"
    info_plist: bytes | None = plistlib.dumps({"CFBundleIdentifier": "org.test.tool"})
    info_slot: bytes | None = None
    """A bundle's Info.plist."""
    resources_slot: bytes | None = None
    requirement: bytes | None = DESIGNATED
    ticket: bytes | None = None
    signer: Identity | None = None
    certificates: tuple[Identity, ...] | None = None
    stamp: tuple[Identity, datetime] | None = None
    at: datetime | None = NOW
    attributes: bool = True
    adhoc: bool = False
    no_message: bool = False
    slack: bytes = b""


def build(recipe: Recipe | None = None) -> bytes:
    """The whole file."""
    recipe = recipe or Recipe()
    blobs = _blobs(recipe)
    sizes = sum(map(len, blobs.values())) + 20_000
    code, room = _code(recipe, sizes)
    signature = _signature(recipe, code, blobs)
    padding = room - len(signature) - len(recipe.slack)
    return code + signature + recipe.slack + bytes(padding)


def _blobs(recipe: Recipe) -> dict[int, bytes]:
    blobs: dict[int, bytes] = {}
    if recipe.requirement:
        blobs[2] = recipe.requirement
    if recipe.entitlements is not None:
        blobs[5] = blob(0xFADE7171, plistlib.dumps(recipe.entitlements).rstrip() + recipe.xml_tail)
        blobs[7] = blob(0xFADE7172, der_entitlements(recipe.entitlements, recipe.old_der))
    return blobs


def _code(recipe: Recipe, signature_bytes: int) -> tuple[bytes, int]:
    """Header, load commands, section and code up to the signature; and the signature's room."""
    limit = recipe.pages * (1 << recipe.page_exponent) - 700
    limit -= limit % 16
    room = (signature_bytes + recipe.pages * sum(SIZES[kind] for kind in recipe.hashes) + 15) & ~15
    info = recipe.info_plist or b""
    at = 0x400
    section = struct.pack("<16s16sQQIIIIIIII", b"__info_plist", b"__TEXT", at, len(info), at, 0, 0, 0, 0, 0, 0, 0)
    text = struct.pack("<II16sQQQQiiII", 0x19, 72 + 80, b"__TEXT", 0, limit, 0, limit, 7, 5, 1, 0) + section
    linkedit = struct.pack("<II16sQQQQiiII", 0x19, 72, b"__LINKEDIT", limit, room, limit, room, 1, 1, 0, 0)
    signature = struct.pack("<IIII", 0x1D, 16, limit, room)
    commands = (text if info else text[:4] + struct.pack("<I", 72) + text[8:64] + bytes(4) + text[68:72]) + linkedit
    commands += signature
    header = struct.pack("<IiiIIIII", 0xFEEDFACF, recipe.cpu, 0, 2, 3, len(commands), 0, 0)
    code = bytearray((header + commands).ljust(at, b"\0") + info)
    filling = hashlib.shake_128(b"code").digest(limit - len(code))
    return bytes(code) + filling, room


def _signature(recipe: Recipe, code: bytes, blobs: dict[int, bytes]) -> bytes:
    outside = {1: recipe.info_slot or recipe.info_plist, 3: recipe.resources_slot}
    special = {slot: content for slot, content in (outside | blobs).items() if content}
    directories = [_directory(recipe, kind, code, special) for kind in recipe.hashes]
    slots = {0: directories[0]} | {0x1000 + number: one for number, one in enumerate(directories[1:])}
    slots |= blobs
    if recipe.ticket:
        slots[0x10002] = blob(0xFADE0B02, recipe.ticket)
    if not recipe.no_message:
        slots[0x10000] = blob(0xFADE0B01, b"" if recipe.adhoc else _message(recipe, directories))
    return super_blob(slots)


def super_blob(slots: dict[int, bytes]) -> bytes:
    at = 12 + 8 * len(slots)
    index = b""
    for slot, one in slots.items():
        index += struct.pack(">II", slot, at)
        at += len(one)
    return struct.pack(">III", 0xFADE0CC0, at, len(slots)) + index + b"".join(slots.values())


def _directory(recipe: Recipe, kind: int, code: bytes, special: dict[int, bytes]) -> bytes:
    name, size, page = NAMES[kind], SIZES[kind], 1 << recipe.page_exponent
    most = max(special, default=0)
    texts = recipe.identifier.encode() + b"\0"
    team_at = 0
    if recipe.team and not recipe.adhoc:
        team_at = 96 + len(texts)
        texts += recipe.team.encode() + b"\0"
    digests = b"".join(
        hashlib.new(name, special[slot]).digest() if slot in special else bytes(size) for slot in range(most, 0, -1)
    )
    pages = [code[at : at + page] for at in range(0, len(code), page)]
    digests += b"".join(hashlib.new(name, one).digest() for one in pages)
    hash_at = 96 + len(texts) + most * size
    flags = recipe.flags | (ADHOC if recipe.adhoc else 0)
    head = struct.pack(
        ">9I4BI", 0xFADE0C02, 96 + len(texts) + len(digests), 0x20500, flags, hash_at, 96, most, len(pages),
        len(code), size, kind, 0, recipe.page_exponent, 0,
    )  # fmt: skip
    rest = struct.pack(">IIIQQQQII", 0, team_at, 0, 0, 0, len(code), 1, 0x0E0000, 0)
    return head + rest + texts + digests


def _message(recipe: Recipe, directories: list[bytes]) -> bytes:
    known = pki()
    digests = [
        (NAMES[kind], hashlib.new(NAMES[kind], raw).digest())
        for kind, raw in zip(recipe.hashes, directories, strict=True)
    ]
    return sign(
        directories[0],
        recipe.signer or known.leaf,
        recipe.certificates or (known.leaf, known.issuer, known.root),
        cdhash_attributes(digests) if recipe.attributes else (),
        at=recipe.at,
        stamp=recipe.stamp,
    )


def fat(*slices: bytes, tail: bytes = b"", gap: bytes = b"") -> bytes:
    """A universal file."""
    at, heads, bodies = 0x4000, b"", bytearray()
    for one in slices:
        cpu = struct.unpack_from("<i", one, 4)[0]
        heads += struct.pack(">iiIII", cpu, 0, at + len(bodies), len(one), 14)
        bodies += one
        bodies += gap.ljust(-len(one) % 0x4000, b"\0") if one is not slices[-1] else b""
    head = struct.pack(">II", 0xCAFEBABE, len(slices)) + heads
    return head.ljust(at, b"\0") + bytes(bodies) + tail
