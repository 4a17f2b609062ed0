"""What a system can be asked about the memory of its processes: see `hostscope.platforms.base`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, BinaryIO, Protocol

if TYPE_CHECKING:
    from hostscope.model.key import ProcessKey
    from hostscope.model.memory import Region


class AddressSpace(Protocol):
    """The memory of one process, opened once: what is read is that process's, or nothing. For several threads."""

    auxiliary_vector: bytes
    """As the system gave it to the program; empty where there is none."""

    @property
    def method(self) -> str:
        """How memory is read, and how untouched pages are told apart."""

    def read(self, address: int, into: memoryview) -> int:
        """Reads up to ``len(into)`` bytes; how many there were from `address` on before the first unreadable page.

        Raises:
            Gone: the process ended, or runs another program now.
        """

    def read_bytes(self, address: int, size: int) -> bytes:
        """The same as bytes of their own, without copying them once more. Raises as `read`."""

    def gather(self, ranges: Sequence[tuple[int, int]], into: memoryview) -> bool:
        """Reads all of several ranges, one behind the other in `into`, in one call.

        Returns:
            False where that could not be, whatever is in `into`: each range is to be read on its own.

        Raises:
            Gone: the process ended, or runs another program now.
        """

    def resident(self, region: Region) -> Iterator[tuple[int, int]]:
        """The ranges that hold pages, ascending: what was never touched reads as zeros and is left out.

        Raises:
            Gone
        """

    def check(self) -> None:
        """Looks, after reading, whether all of it is of one program.

        Raises:
            Gone: it runs another program now; what was read may be of two.
        """


class Memory(Protocol):
    """Address spaces of processes."""

    def regions(self, key: ProcessKey, details: bool) -> tuple[Region, ...]:
        """All mappings, ascending; with `details` what each holds, which walks page tables.

        Raises:
            Gone, Denied, Mismatch
        """

    def open(self, key: ProcessKey) -> AbstractContextManager[AddressSpace]:
        """The address space of this very process.

        Raises:
            Gone, Denied, Mismatch
        """

    def give_way(self) -> None:
        """Others run before the calling thread from now on: who reads memory must not slow down whose it is.

        Nothing happens where the system has no such thing.
        """

    def executable(self, key: ProcessKey) -> AbstractContextManager[BinaryIO]:
        """The file that this very process runs, whatever stands at its path now.

        Raises:
            Gone, Denied, Mismatch
        """
