"""Which form a dump has on which system, and what follows from that."""

from collections.abc import Iterator, Sequence

from hostscope.dumps import core_notes
from hostscope.dumps.loaded_image import Read, parse_image
from hostscope.dumps.macho_layout import has_state
from hostscope.dumps.minidump_layout import DumpedModule, has_context
from hostscope.model.dump import SYSTEM
from hostscope.model.memory import Region, ThreadState

CORE, MINIDUMP, MACHO, RAW = "core", "minidump", "macho-core", "raw"
OF_SYSTEM = {"windows": MINIDUMP, "macos": MACHO}
"""What the debuggers of a system open, where that is no ELF core."""
SUFFIXES = {CORE: "core", MINIDUMP: "dmp", MACHO: "core", RAW: "raw", SYSTEM: "dmp"}


def image_for(system: str, asked: str) -> str:
    """The form of a dump: ``core`` means the system's own."""
    return OF_SYSTEM.get(system, CORE) if asked == CORE else asked


def has_registers(thread: ThreadState, architecture: str, image: str) -> bool:
    """Whether the file has the thread's registers."""
    if image == MINIDUMP:
        return has_context(thread)
    return has_state(thread, architecture) if image == MACHO else core_notes.has_registers(thread, architecture)


def loaded_modules(regions: Sequence[Region], exe: str | None, read: Read) -> Iterator[DumpedModule]:
    """Programs and libraries with what their headers say, the executable first, as debuggers expect it."""
    spans: dict[int, list[Region]] = {}
    for region in regions:
        if region.kind == "image" and region.allocation is not None:
            spans.setdefault(region.allocation, []).append(region)
    for base, parts in sorted(spans.items(), key=lambda span: (span[1][0].path != exe, span[0])):
        image = parse_image(read, base)
        size = image.size_bytes if image and image.size_bytes else parts[-1].end - base
        yield DumpedModule(base, size, parts[0].path or "", image)
