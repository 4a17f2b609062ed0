"""Capture files of any kind, as batches of packets."""

import gzip
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from hostscope.errors import Denied, Unsupported, UsageError
from hostscope.private import Override, permitted
from hostscope.wire.batch import I64, PacketBatch
from hostscope.wire.feed import Feed, Readable
from hostscope.wire.file_record import Ending, FileInterface
from hostscope.wire.pcap import MAGICS, PcapFile
from hostscope.wire.pcapng import MAGIC, PcapngFile

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


class CaptureFile(Protocol):
    """A file that is being read, whichever its format."""

    interfaces: list[FileInterface]
    """As far as the file was read; a batch's `interface` counts in it."""
    names: dict[str, str]
    """Address -> name, as the file says (pcapng's name resolution blocks)."""
    ending: Ending | None
    """Set once the batches are through, if the end of the file was not understood."""

    def batches(self) -> Iterator[PacketBatch]:
        """All complete packets, in the order of the file. Once."""

    def noted(self, batch: PacketBatch) -> I64:
        """The places of the packets beside which the file has more; of the batch that was given last."""

    def comments(self, batch: PacketBatch, place: int) -> tuple[str, ...]:
        """What the file says to one of these packets."""


@contextmanager
def open_capture(path: str | Path, raised: Override = nullcontext) -> Iterator[CaptureFile]:
    """A pcap or pcapng file, also compressed by gzip.

    Args:
        raised: brings the right to read files in spite of their permissions into effect, if there is any.

    Raises:
        UsageError: no such file, or not a capture file.
        Denied: it may not be read.
        Unsupported: it is compressed in another way.
    """
    with _open(path, raised) as file:
        yield read_capture(file, str(path))


def read_capture(file: BinaryIO, name: str) -> CaptureFile:
    """The same for an open file, which may be a pipe. `name` is for messages."""
    start = _peek(file)
    source = cast(Readable, file)
    if start.startswith(_GZIP):
        source = cast(Readable, gzip.GzipFile(fileobj=file))
    if start.startswith(_ZSTD):
        raise Unsupported(f"{name}: compressed by zstd", "decompress it first: zstd -d FILE")
    feed = Feed(source)
    feed.more(0)
    magic = feed.data[:4].tobytes()
    if magic == MAGIC:
        return PcapngFile(feed)
    if magic in MAGICS:
        return PcapFile(feed)
    why = f" ({feed.broken})" if feed.broken else ""
    raise UsageError(f"{name}: not a pcap or pcapng file{why}")


def _peek(file: BinaryIO) -> bytes:
    """The first bytes, which are read again. `open` and `sys.stdin.buffer` give files that can."""
    peek = getattr(file, "peek", None)
    return bytes(peek(4)[:4]) if peek else b""


def _open(path: str | Path, raised: Override) -> BinaryIO:
    try:
        return permitted(lambda: open(path, "rb"), raised)
    except PermissionError as error:
        if os.path.isdir(path):  # Windows refuses to open one
            raise UsageError(f"{path}: is a directory") from None
        raise Denied(f"cannot read {path}: {error.strerror}") from None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
