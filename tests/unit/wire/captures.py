"""Capture files made by hand."""

import io
import struct
from collections.abc import Iterable

from hostscope.wire.capture_file import CaptureFile, read_capture

Packet = tuple[int, bytes]
"""Nanoseconds, bytes."""


def pcap(packets: Iterable[Packet], order: str = "<", unit_ns: int = 1000, link: int = 1, longer: int = 0) -> bytes:
    """`longer` is how much more each packet had on the wire."""
    magic = 0xA1B2C3D4 if unit_ns == 1000 else 0xA1B23C4D
    parts = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link)]
    for at_ns, raw in packets:
        seconds, rest = divmod(at_ns, 10**9)
        parts += [struct.pack(order + "4I", seconds, rest // unit_ns, len(raw), len(raw) + longer), raw]
    return b"".join(parts)


class Blocks:
    """pcapng blocks in one byte order."""

    def __init__(self, order: str = "<") -> None:
        self.order = order

    def pack(self, form: str, *values: int) -> bytes:
        return struct.pack(self.order + form, *values)

    def block(self, kind: int, body: bytes) -> bytes:
        body += bytes(-len(body) % 4)
        return self.pack("II", kind, len(body) + 12) + body + self.pack("I", len(body) + 12)

    def options(self, *pairs: tuple[int, bytes]) -> bytes:
        return b"".join(
            self.pack("HH", code, len(value)) + value + bytes(-len(value) % 4) for code, value in (*pairs, (0, b""))
        )

    def section(self) -> bytes:
        return self.block(0x0A0D0D0A, self.pack("IHHq", 0x1A2B3C4D, 1, 0, -1) + self.options((4, b"a program")))

    def interface(self, link: int = 1, *options: tuple[int, bytes], snap: int = 0) -> bytes:
        return self.block(1, self.pack("HHI", link, 0, snap) + self.options(*options))

    def packet(self, ticks: int, raw: bytes, interface: int = 0, *options: tuple[int, bytes], longer: int = 0) -> bytes:
        head = self.pack("5I", interface, ticks >> 32, ticks & 0xFFFFFFFF, len(raw), len(raw) + longer)
        return self.block(6, head + raw + bytes(-len(raw) % 4) + (self.options(*options) if options else b""))

    def old_packet(self, ticks: int, raw: bytes, interface: int = 0) -> bytes:
        return self.block(2, self.pack("HH4I", interface, 9, ticks >> 32, ticks & 0xFFFFFFFF, len(raw), len(raw)) + raw)

    def simple_packet(self, raw: bytes, longer: int = 0) -> bytes:
        return self.block(3, self.pack("I", len(raw) + longer) + raw)


def opened(raw: bytes) -> CaptureFile:
    return read_capture(io.BufferedReader(io.BytesIO(raw)), "memory")  # type: ignore[arg-type]


def packets_of(file: CaptureFile) -> list[tuple[int, bytes, int, int, int]]:
    """Time, bytes, length on the wire, interface and link of each packet."""
    return [
        (
            int(batch.at_ns[place]),
            batch.packet(place),
            int(batch.lengths[place]),
            int(batch.interface[place]),
            batch.link,
        )
        for batch in file.batches()
        for place in range(len(batch))
    ]
