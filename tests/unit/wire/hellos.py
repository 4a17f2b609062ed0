"""Hellos for tests: real ones from the ssl module, and QUIC packets sealed here, apart from the code under test."""

import hashlib
import hmac
import ssl

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hostscope.model.dns import Name
from hostscope.wire.hello import Hellos

SALTS = {
    1: bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a"),
    0x6B3343CF: bytes.fromhex("0dede3def700a6db819381be6e269dcbf9bd2ed9"),
}
LABELS = {1: "quic", 0x6B3343CF: "quicv2"}
FIRST = {1: 0xC0, 0x6B3343CF: 0xD0}
CONNECTION = bytes.fromhex("8394c8f03e515708")

RFC_CRYPTO_FRAME = bytes.fromhex(
    "060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e86804fe3a47f06a2b69484c00000413011302010000c0000000"
    "10000e00000b6578616d706c652e636f6dff01000100000a00080006001d0017001800100007000504616c706e0005000501000000000033"
    "00260024001d00209370b2c9caa47fbabaf4559fedba753de171fa71f50f1ce15d43e994ec74d748002b0003020304000d0010000e040305"
    "0306030203080408050806002d00020101001c00024001003900320408ffffffffffffffff05048000ffff07048000ffff08011001048000"
    "75300901100f088394c8f03e51570806048000ffff"
)
"""RFC 9001 A.2, which RFC 9369 A.2 repeats; PADDING fills it up to 1162 bytes."""


def client_records(name: str | None, alpn: tuple[str, ...] = ()) -> bytes:
    """What OpenSSL sends first for this server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if alpn:
        context.set_alpn_protocols(list(alpn))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("a handshake without a server")


def client_message(name: str | None, alpn: tuple[str, ...] = ()) -> bytes:
    """The handshake message in those records."""
    records = client_records(name, alpn)
    assert int.from_bytes(records[3:5], "big") == len(records) - 5, "one record"
    return records[5:]


def varint(value: int) -> bytes:
    for size, mark in ((1, 0), (2, 0x40), (4, 0x80)):
        if value < 1 << (8 * size - 2):
            raw = bytearray(value.to_bytes(size, "big"))
            raw[0] |= mark
            return bytes(raw)
    raise AssertionError(value)


def crypto(offset: int, data: bytes) -> bytes:
    """A CRYPTO frame."""
    return b"\x06" + varint(offset) + varint(len(data)) + data


def expand(secret: bytes, label: str, size: int) -> bytes:
    """HKDF-Expand-Label for outputs of one block, by hand."""
    name = b"tls13 " + label.encode()
    info = size.to_bytes(2, "big") + bytes([len(name)]) + name + b"\0"
    return hmac.new(secret, info + b"\x01", hashlib.sha256).digest()[:size]


def secrets(version: int, connection: bytes) -> tuple[bytes, bytes, bytes]:
    """Key, IV and header key of the client."""
    first = hmac.new(SALTS[version], connection, hashlib.sha256).digest()
    client = expand(first, "client in", 32)
    label = LABELS[version]
    return expand(client, f"{label} key", 16), expand(client, f"{label} iv", 12), expand(client, f"{label} hp", 16)


def seal(
    frames: bytes,
    number: int = 0,
    version: int = 1,
    connection: bytes = CONNECTION,
    number_bytes: int = 4,
    token: bytes = b"",
    keys_of: bytes | None = None,
    least: int = 0,
) -> bytes:
    """A client's Initial packet with these frames, padded to `least` bytes of them."""
    key, iv, header_key = secrets(version, connection if keys_of is None else keys_of)
    frames = frames.ljust(least, b"\0")
    first = FIRST[version] | number_bytes - 1
    head = bytes([first]) + version.to_bytes(4, "big") + bytes([len(connection)]) + connection + b"\0"
    size = number_bytes + len(frames) + 16
    head += varint(len(token)) + token + (0x4000 | size).to_bytes(2, "big") + number.to_bytes(number_bytes, "big")
    nonce = (int.from_bytes(iv, "big") ^ number).to_bytes(12, "big")
    sealed = head + AESGCM(key).encrypt(nonce, frames, head)
    at = len(head) - number_bytes
    mask = Cipher(algorithms.AES(header_key), modes.ECB()).encryptor().update(sealed[at + 4 : at + 20])
    raw = bytearray(sealed)
    raw[0] ^= mask[0] & 0x0F
    for place in range(number_bytes):
        raw[at + place] ^= mask[1 + place]
    return bytes(raw)


def server_name(payload: bytes, protocol: str) -> Name | None:
    """What the first payload of a flow says alone."""
    return Hellos().feed("flow", protocol, payload)
