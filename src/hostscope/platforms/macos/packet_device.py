"""One device of the packet filter, bound to one interface."""

import os
from collections.abc import Callable
from typing import TypeVar

from hostscope.errors import Denied, Error, NativeError, Unavailable, Unsupported, UsageError
from hostscope.platforms.macos.native import bpf, errnos, pktap
from hostscope.platforms.macos.translate import REFUSED

Result = TypeVar("Result")
Program = tuple[tuple[int, int, int, int], ...]
HINT = "needs root, or the right to read /dev/bpf*: Wireshark's ChmodBPF grants it to a group"
_RETURN = 0x06
DROP_ALL: Program = ((_RETURN, 0, 0, 0),)
LEAST_BUFFER_BYTES = 32_768


def accept_all(snap_bytes: int) -> Program:
    """Lets the first `snap_bytes` of every packet through."""
    return ((_RETURN, 0, 0, snap_bytes),)


class PacketDevice:
    """An open /dev/bpf*: the kernel fills one buffer while we read the other."""

    def __init__(self, name: str, buffer_bytes: int, tap: bool = False) -> None:
        """Opens it and binds it, with a filter that lets nothing through.

        Args:
            tap: the interface is one of PKTAP's, whose headers are wanted.

        Raises:
            Denied, UsageError: there is no such interface. Unavailable: all devices are in use.
            Unsupported: the kernel gives no such headers.
        """
        self.name = name
        self.fd = opened(name)
        try:
            self.buffer_bytes = self._bind(name, max(LEAST_BUFFER_BYTES, buffer_bytes), tap)
            self.link = tried(name, lambda: bpf.get_number(self.fd, bpf.BIOCGDLT))
            if tap and self.link != pktap.DLT_PKTAP:
                raise Unsupported("this macOS does not say whose packets are", "capture interfaces by their names")
        except BaseException:
            os.close(self.fd)
            raise

    def _bind(self, name: str, wanted: int, tap: bool) -> int:
        """The buffer's size must be told first; the kernel makes it smaller when it is more than it allows."""
        size = tried(name, lambda: bpf.set_number(self.fd, bpf.BIOCSBLEN, wanted))
        if tap:
            tried(name, lambda: pktap.want_headers(self.fd))
        tried(name, lambda: bpf.bind(self.fd, name))
        tried(name, lambda: bpf.set_filter(self.fd, DROP_ALL))
        return size or tried(name, lambda: bpf.get_number(self.fd, bpf.BIOCGBLEN))

    def begin(self, program: Program, promiscuous: bool) -> None:
        """Lets packets in that pass the filter; they are handed over at once.

        Raises:
            Error
        """
        tried(self.name, lambda: bpf.set_number(self.fd, bpf.BIOCIMMEDIATE, 1))
        tried(self.name, lambda: bpf.set_number(self.fd, bpf.BIOCSSEESENT, 1))
        if promiscuous:
            tried(self.name, lambda: bpf.promiscuous(self.fd))
        tried(self.name, lambda: bpf.set_filter(self.fd, program))

    def read(self) -> bytes:
        """The packets that wait; empty when none do.

        Raises:
            OSError: ENXIO when the interface has gone.
        """
        try:
            return os.read(self.fd, self.buffer_bytes)
        except BlockingIOError:
            return b""

    def counts(self) -> tuple[int, int]:
        """Packets that came to the filter, and of those that passed it the ones that found no room. Raises OSError."""
        return bpf.counts(self.fd)

    def close(self) -> None:
        """Closes it, which also takes promiscuous mode back."""
        os.close(self.fd)


def opened(name: str) -> int:
    """A device that nobody uses.

    Raises:
        Denied, Unavailable
    """
    try:
        return bpf.open_device()
    except OSError as failed:
        if failed.errno in REFUSED:
            raise Denied(f"may not capture packets of {name}: /dev/bpf* may not be opened", HINT) from None
        if failed.errno == errnos.EBUSY:
            raise Unavailable("every packet filter device is in use", "end other captures") from None
        raise NativeError("open /dev/bpf", failed.errno or 0, errnos.text(failed.errno or 0)) from failed


def tried(name: str, step: Callable[[], Result]) -> Result:
    """Takes a step of opening; what the kernel says against it becomes ours."""
    try:
        return step()
    except OSError as failed:
        raise _translated(name, failed) from None


def _translated(name: str, failed: OSError) -> Error:
    if failed.errno in REFUSED:
        return Denied(f"may not capture packets of {name}", HINT)
    if failed.errno in (errnos.ENXIO, errnos.ENETDOWN):
        return UsageError(f"there is no interface {name!r}, or it is down", "hostscope interfaces lists all of them")
    return NativeError(f"bpf on {name}", failed.errno or 0, errnos.text(failed.errno or 0))
