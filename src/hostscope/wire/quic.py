"""QUIC's first packets: their keys follow from the connection identifier, so anyone on the path can read them.

The client's Initial packets carry a TLS ClientHello in CRYPTO frames, in any order and over several packets.
Source: RFC 9000 17.2.2 and 19, RFC 9001 5, RFC 9369 3.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

from msgspec import Struct

from hostscope.wire.stream import Stream
from hostscope.wire.tls import MAX_HELLO_BYTES, ClientHello, parse_client_hello

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.hashes import SHA256

MAX_COALESCED = 8
"""Packets of one datagram that are looked at."""
MAX_FRAMES = 256
_MAX_CONNECTION_ID = 20
_TAG_BYTES = 16
_SAMPLE_BYTES = 16
_PING, _ACK, _ACK_ECN, _CRYPTO = 1, 2, 3, 6


class _Version(Struct, frozen=True):
    salt: bytes
    initial: int
    """The two bits that say Initial."""
    label: str


VERSIONS: dict[int, _Version] = {
    0x00000001: _Version(bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a"), 0, "quic"),
    0x6B3343CF: _Version(bytes.fromhex("0dede3def700a6db819381be6e269dcbf9bd2ed9"), 1, "quicv2"),
}
"""Version 1 (RFC 9001 5.2) and 2 (RFC 9369 3.3)."""


class Keys(Struct, frozen=True):
    """What the client protects its Initial packets with."""

    key: bytes
    iv: bytes
    header: bytes


class Initial(Struct, frozen=True):
    """One protected Initial packet."""

    version: int
    connection_id: bytes
    """Of the destination."""
    packet: bytes
    """From its first byte to its last."""
    number_at: int
    """Where the packet number begins."""


class _Malformed(Exception):
    """No QUIC, or not to its end."""


class _Reader:
    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.at:
            raise _Malformed
        self.at += count
        return self.data[self.at - count : self.at]

    def unpadded(self) -> int:
        """The next byte that is no PADDING frame."""
        self.at = len(self.data) - len(self.data[self.at :].lstrip(b"\0"))
        return self.take(1)[0]

    def varint(self) -> int:
        """Source: RFC 9000 16."""
        first = self.take(1)[0]
        rest = self.take((1 << (first >> 6)) - 1)
        return int.from_bytes(bytes([first & 0x3F]) + rest, "big")


def is_initial(datagram: bytes) -> bool:
    """Whether a datagram begins like an Initial packet of a known version. Cost: under a microsecond."""
    if len(datagram) < 7 or datagram[0] & 0xC0 != 0xC0:
        return False
    version = VERSIONS.get(int.from_bytes(datagram[1:5], "big"))
    return version is not None and (datagram[0] >> 4) & 3 == version.initial


def initials(datagram: bytes) -> Iterator[Initial]:
    """The Initial packets at the beginning of a datagram."""
    at = 0
    for _ in range(MAX_COALESCED):
        if not is_initial(datagram[at : at + 7]):
            return
        try:
            packet = _initial(datagram[at:])
        except _Malformed:
            return
        yield packet
        at += len(packet.packet)


def _initial(data: bytes) -> Initial:
    reader = _Reader(data, 5)
    destination = reader.take(reader.take(1)[0])
    source = reader.take(reader.take(1)[0])
    if max(len(destination), len(source)) > _MAX_CONNECTION_ID:
        raise _Malformed
    reader.take(reader.varint())  # token
    size = reader.varint()
    number_at = reader.at
    reader.take(size)
    if size < 4 + _SAMPLE_BYTES:
        raise _Malformed
    return Initial(int.from_bytes(data[1:5], "big"), destination, data[: reader.at], number_at)


@lru_cache(maxsize=1024)
def client_keys(version: int, connection_id: bytes) -> Keys:
    """The keys that follow from the connection identifier the client chose first."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.hmac import HMAC

    known, algorithm = VERSIONS[version], SHA256()
    extract = HMAC(known.salt, algorithm)  # HKDF-Extract (RFC 5869 2.2)
    extract.update(connection_id)
    secret = _expand(algorithm, extract.finalize(), "client in", 32)
    return Keys(
        _expand(algorithm, secret, f"{known.label} key", 16),
        _expand(algorithm, secret, f"{known.label} iv", 12),
        _expand(algorithm, secret, f"{known.label} hp", 16),
    )


def _expand(algorithm: "SHA256", secret: bytes, label: str, size: int) -> bytes:
    """HKDF-Expand-Label (RFC 8446 7.1) without context."""
    from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

    name = b"tls13 " + label.encode()
    info = size.to_bytes(2, "big") + bytes([len(name)]) + name + b"\0"
    return HKDFExpand(algorithm, size, info).derive(secret)


def header_mask(keys: Keys, sample: bytes) -> bytes:
    """Source: RFC 9001 5.4.3."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    # One block of AES is what the protocol asks for; there is no second block that could show a pattern.
    encryptor = Cipher(algorithms.AES(keys.header), modes.ECB()).encryptor()
    return encryptor.update(sample)


def decrypt(initial: Initial, keys: Keys) -> bytes | None:
    """The frames of a client's Initial packet; None when these are not its keys, or it was changed."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    packet, at = initial.packet, initial.number_at
    mask = header_mask(keys, packet[at + 4 : at + 4 + _SAMPLE_BYTES])
    first = packet[0] ^ (mask[0] & 0x0F)
    size = (first & 3) + 1
    number = bytes(a ^ b for a, b in zip(packet[at : at + size], mask[1:], strict=False))
    header = bytes([first]) + packet[1:at] + number
    nonce = (int.from_bytes(keys.iv, "big") ^ int.from_bytes(number, "big")).to_bytes(12, "big")
    try:
        return AESGCM(keys.key).decrypt(nonce, packet[at + size :], header)
    except InvalidTag:
        return None


def crypto_frames(frames: bytes) -> Iterator[tuple[int, bytes]]:
    """Offset and bytes of each CRYPTO frame, up to one that has no place in an Initial packet."""
    reader = _Reader(frames)
    try:
        for _ in range(MAX_FRAMES):
            kind = reader.unpadded()
            if kind == _CRYPTO:
                offset = reader.varint()
                yield offset, reader.take(reader.varint())
            elif kind in (_ACK, _ACK_ECN):
                _skip_ack(reader, kind)
            elif kind != _PING:
                return
    except _Malformed:
        return


def _skip_ack(reader: _Reader, kind: int) -> None:
    """Source: RFC 9000 19.3."""
    reader.varint()
    reader.varint()
    ranges = reader.varint()
    reader.varint()
    if ranges > MAX_FRAMES:
        raise _Malformed
    for _ in range(2 * ranges + (3 if kind == _ACK_ECN else 0)):
        reader.varint()


class QuicHello:
    """The ClientHello of one connection, from its datagrams in any order."""

    def __init__(self) -> None:
        self._stream = Stream(MAX_HELLO_BYTES)
        self._first: tuple[int, bytes] | None = None

    def feed(self, datagram: bytes) -> ClientHello | None:
        """What is known of the hello after another datagram of the client; None when nothing is."""
        for initial in initials(datagram):
            frames = self._open(initial)
            for offset, data in crypto_frames(frames) if frames else ():
                self._stream.add(offset, data)
        return parse_client_hello(self._stream.ready)

    def _open(self, initial: Initial) -> bytes | None:
        """Later packets may name another identifier and still use the first one's keys."""
        own = (initial.version, initial.connection_id)
        for version, connection_id in dict.fromkeys((self._first or own, own)):
            frames = decrypt(initial, client_keys(version, connection_id))
            if frames is not None:
                self._first = self._first or own
                return frames
        return None
