"""Capturing packets."""

from msgspec import Struct

CAPTURE_SCHEMA = "hostscope.capture/1"


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
    dropped: int | None
    """Of these, packets that found no room; None where the system does not count them (Windows)."""


class CaptureRequest(Struct, frozen=True):
    """What to capture."""

    interfaces: tuple[str, ...] = ()
    """All of our network namespace that are up when empty."""
    bpf: str | None = None
    """A packet filter expression for the kernel, libpcap's syntax."""
    snap_bytes: int = 262_144
    ring_bytes: int = 64 << 20
    promiscuous: bool = False
    namespace: str | None = None
    """Of this network namespace's interfaces: a pid, or a name; ours when None."""
    owners: bool = False
    """Prefer a way that says itself whose each packet is (macOS: PKTAP)."""


class CaptureOutput(Struct, frozen=True):
    """Where packets go, and how many."""

    path: str
    """A file, or ``-`` for standard output. Of several files each has its number and time in its name."""
    rotate_bytes: int | None = None
    """A file that would grow larger ends, and another one begins."""
    rotate_ns: int | None = None
    """So does a file that is so old."""
    keep: int | None = None
    """Of several files, how many stay; the oldest go."""
    last_ns: int | None = None
    """Keep packets of so long in memory, and write them when told and at the end."""
    memory_bytes: int = 256 << 20
    """The most memory for that; where it does not last, packets are kept for a shorter time."""
    max_packets: int | None = None
    owners: bool = True
    """Say of each packet which process sent or received it."""


class CaptureSummary(Struct, frozen=True):
    """What a capture has written so far."""

    files: tuple[str, ...]
    """Those that are still there."""
    packets: int
    bytes: int
    named_packets: int
    """With a process beside them."""
    counts: tuple[CaptureCounts, ...]
    elapsed_ns: int = 0
    waiting: int = 0
    """Packets in memory that nobody told to write."""
    forgotten: int = 0
    """Packets that memory had no room for within the time they were to be kept."""
