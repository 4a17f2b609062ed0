"""Capturing packets."""

from msgspec import Struct


class CaptureInterface(Struct, frozen=True):
    """One interface that is captured from."""

    index: int
    """The system's number."""
    name: str
    link: int
    """Link-layer type as in pcap files (LINKTYPE_…)."""
    net_ns: int | None = None


class CaptureCounts(Struct, frozen=True):
    """What one interface gave and lost so far."""

    interface: str
    received: int
    """Packets that passed the filter."""
    dropped: int
    """Packets that found no room in the ring."""


class CaptureRequest(Struct, frozen=True):
    """What to capture."""

    interfaces: tuple[str, ...] = ()
    """All of our network namespace that are up when empty."""
    bpf: str | None = None
    """A packet filter expression for the kernel, libpcap's syntax."""
    snap_bytes: int = 262_144
    ring_bytes: int = 64 << 20
    promiscuous: bool = False


class CaptureSummary(Struct, frozen=True):
    """What a capture wrote."""

    files: tuple[str, ...]
    packets: int
    bytes: int
    named_packets: int
    """With a process beside them."""
    counts: tuple[CaptureCounts, ...]
