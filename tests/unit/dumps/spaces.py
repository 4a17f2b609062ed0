"""An address space in memory, scripted by a test."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from hostscope.errors import Gone
from hostscope.model.memory import Region

PAGE = 4096


def region(
    start: int, pages: int, permissions: str = "rw-p", path: str | None = None, inode: int = 0, **more
) -> Region:  # type: ignore[no-untyped-def]
    """A mapping; `start` in pages."""
    return Region(
        start * PAGE, (start + pages) * PAGE, permissions, 0, "fe:00" if inode else "00:00", inode, path, **more
    )


@dataclass(eq=False)
class FakeSpace:
    """Pages by their number; what is not there cannot be read."""

    pages: dict[int, bytes]
    untouched: set[int] = field(default_factory=set)
    ends_after: int | None = None
    auxiliary_vector: bytes = b""
    method: str = "fake"
    reads: int = 0
    gathers: int = 0

    def read(self, address: int, into: memoryview) -> int:
        self.reads += 1
        if self.ends_after is not None and self.reads > self.ends_after:
            raise Gone("it ended")
        done = 0
        while done < len(into):
            page = self.pages.get((address + done) // PAGE)
            if page is None:
                break
            within = (address + done) % PAGE
            count = min(PAGE - within, len(into) - done)
            into[done : done + count] = page[within : within + count]
            done += count
        return done

    def read_bytes(self, address: int, size: int) -> bytes:
        into = bytearray(size)
        return bytes(into[: self.read(address, memoryview(into))])

    def gather(self, ranges: Sequence[tuple[int, int]], into: memoryview) -> bool:
        self.gathers += 1
        at = 0
        for start, end in ranges:
            if self.read(start, into[at : at + end - start]) < end - start:
                return False
            at += end - start
        return True

    def resident(self, region: Region) -> Iterator[tuple[int, int]]:
        start = None
        for page in range(region.start // PAGE, region.end // PAGE):
            if page in self.untouched and start is not None:
                yield start * PAGE, page * PAGE
                start = None
            elif page not in self.untouched and start is None:
                start = page
        if start is not None:
            yield start * PAGE, region.end

    def check(self) -> None:
        """It stays one program."""
