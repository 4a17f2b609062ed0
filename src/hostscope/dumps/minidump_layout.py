"""A minidump with all memory: its head, and where each region goes behind it."""

from collections.abc import Sequence

from msgspec import Struct

from hostscope.dumps import minidump_form as form
from hostscope.dumps.layout import PAGE_BYTES, Layout, place
from hostscope.dumps.loaded_image import LoadedImage
from hostscope.model.memory import Region, ThreadState
from hostscope.model.text import encode

MOST_RVA = (1 << 32) - 1
_PLATFORM_NT = 2
_WORKSTATION = 1


class DumpedModule(Struct, frozen=True, gc=False):
    """A file that is loaded as a program or library."""

    base: int
    size_bytes: int
    path: str
    image: LoadedImage | None = None


class DumpedProcess(Struct, frozen=True):
    """What a minidump says of the process as a whole."""

    pid: int
    created_s: int
    """Since the epoch."""
    architecture: str
    version: tuple[int, int, int]
    """Of Windows: major, minor, build."""
    processors: int
    at_s: int
    comment: str
    user_s: int = 0
    kernel_s: int = 0


def minidump_layout(
    regions: Sequence[Region],
    included: Sequence[bool],
    threads: Sequence[ThreadState],
    modules: Sequence[DumpedModule],
    process: DumpedProcess,
) -> Layout:
    """Headers and streams, then the regions that are included, one after the other.

    Regions that are left out are described, without their memory. Of a thread's stack the place in the file is given
    where 32 bits can say it; debuggers find it among the memory otherwise.
    """
    held = [region for region, wanted in zip(regions, included, strict=True) if wanted]
    size = len(_head(regions, held, threads, modules, process, 0))
    base = -(-size // PAGE_BYTES) * PAGE_BYTES
    head = _head(regions, held, threads, modules, process, base)
    offsets, end = place(regions, included, base)
    return Layout(head, offsets, end)


def _head(
    regions: Sequence[Region],
    held: Sequence[Region],
    threads: Sequence[ThreadState],
    modules: Sequence[DumpedModule],
    process: DumpedProcess,
    base: int,
) -> bytes:
    """Its size does not depend on `base`."""
    architecture = form.NAMES.get(process.architecture.lower(), "x86_64")
    known = [thread for thread in threads if has_context(thread)]
    written = _Streams(7 + bool(known))
    written.add(form.SYSTEM_INFO, _system(written, process, architecture))
    written.add(form.MISC_INFO, _misc(process))
    written.add(form.COMMENT, encode(process.comment) + b"\0")
    if known:
        written.add(form.THREAD_LIST, _threads(written, known, architecture, held, base))
    written.add(form.THREAD_INFO_LIST, _thread_infos(threads))
    written.add(form.MODULE_LIST, _modules(written, modules))
    written.add(form.MEMORY_INFO_LIST, _infos(regions))
    ranges = b"".join(form.MEMORY64.pack(region.start, region.size_bytes) for region in held)
    written.add(form.MEMORY64_LIST, form.MEMORY64_HEAD.pack(len(held), base) + ranges)
    return written.finish(process.at_s)


def has_context(thread: ThreadState) -> bool:
    """Whether a minidump can hold the thread's registers."""
    return len(thread.registers) in form.CONTEXT_BYTES.values()


class _Streams:
    """A file that grows: streams with their directory, and what they point to."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._directory: list[tuple[int, int, int]] = []
        self._content = bytearray(form.HEADER.size + form.DIRECTORY.size * count)

    def put(self, content: bytes) -> int:
        """Where the content stands now, aligned for a CONTEXT."""
        self._content += bytes(-len(self._content) % 16)
        at = len(self._content)
        self._content += content
        return at

    def text(self, text: str) -> int:
        """MINIDUMP_STRING: UTF-16, its size before it."""
        raw = encode(text).decode("utf-8", "replace").encode("utf-16-le")
        return self.put(form.COUNT.pack(len(raw)) + raw + b"\0\0")

    def add(self, kind: int, content: bytes) -> None:
        self._directory.append((kind, len(content), self.put(content)))

    def finish(self, at_s: int) -> bytes:
        flags = form.WITH_FULL_MEMORY | form.WITH_FULL_MEMORY_INFO | form.WITH_THREAD_INFO
        form.HEADER.pack_into(
            self._content, 0, form.SIGNATURE, form.VERSION, self._count, form.HEADER.size, 0, at_s & MOST_RVA, flags
        )
        for index, entry in enumerate(self._directory):
            form.DIRECTORY.pack_into(self._content, form.HEADER.size + index * form.DIRECTORY.size, *entry)
        return bytes(self._content)


def _system(written: _Streams, process: DumpedProcess, architecture: str) -> bytes:
    number = next(number for number, name in form.ARCHITECTURES.items() if name == architecture)
    return form.SYSTEM.pack(
        number, 0, 0, min(process.processors, 255), _WORKSTATION, *process.version, _PLATFORM_NT,
        written.text(""), 0, 0, bytes(24),
    )  # fmt: skip


def _misc(process: DumpedProcess) -> bytes:
    flags = form.MISC_PID | form.MISC_TIMES
    created = max(0, process.created_s) & MOST_RVA
    return form.MISC.pack(form.MISC.size, flags, process.pid, created, process.user_s, process.kernel_s)


def _threads(
    written: _Streams, threads: Sequence[ThreadState], architecture: str, held: Sequence[Region], base: int
) -> bytes:
    rows = [form.COUNT.pack(len(threads))]
    for thread in threads:
        at = written.put(thread.registers)
        stack = _stack(form.pointers(thread.registers, architecture)[1], held, base)
        rows.append(
            form.THREAD.pack(
                thread.tid, 0, 0, (thread.priority or 0) & MOST_RVA, thread.block or 0, *stack,
                len(thread.registers), at,
            )
        )  # fmt: skip
    return b"".join(rows)


def _stack(pointer: int | None, held: Sequence[Region], base: int) -> tuple[int, int, int]:
    """From the stack pointer to the end of its region, and where it stands in the file."""
    offset = base
    for region in held:
        if pointer is not None and region.start <= pointer < region.end:
            size, at = region.end - pointer, offset + pointer - region.start
            return (pointer, size, at) if at + size <= MOST_RVA else (pointer, 0, 0)
        offset += region.size_bytes
    return pointer or 0, 0, 0


def _thread_infos(threads: Sequence[ThreadState]) -> bytes:
    rows = [form.THREAD_INFO_HEAD.pack(form.THREAD_INFO_HEAD.size, form.THREAD_INFO.size, len(threads))]
    rows += [
        form.THREAD_INFO.pack(
            thread.tid, 0, 0, 0, 0, 0, thread.system_ns // 100, thread.user_ns // 100, thread.start_address or 0, 0
        )
        for thread in threads
    ]
    return b"".join(rows)


def _modules(written: _Streams, modules: Sequence[DumpedModule]) -> bytes:
    rows = [form.COUNT.pack(len(modules))]
    for module in modules:
        image = module.image or LoadedImage(module.size_bytes, 0, 0)
        record = (len(image.codeview), written.put(image.codeview)) if image.codeview else (0, 0)
        rows.append(
            form.MODULE.pack(
                module.base, module.size_bytes & MOST_RVA, image.checksum, image.stamp, written.text(module.path),
                *[0] * 13, *record, 0, 0, 0, 0,
            )
        )  # fmt: skip
    return b"".join(rows)


def _infos(regions: Sequence[Region]) -> bytes:
    rows = [form.LIST_HEAD.pack(form.LIST_HEAD.size, form.MEMORY_INFO.size, len(regions))]
    for region in regions:
        committed = region.state != "reserved"
        kind = region.kind or ("mapped" if region.has_file else "private")
        rows.append(
            form.MEMORY_INFO.pack(
                region.start, region.allocation if region.allocation is not None else region.start,
                protection(region.initial or region.permissions), 0, region.size_bytes,
                form.STATES["committed" if committed else "reserved"],
                protection(region.permissions, region.flags, region.guard) if committed else 0, form.KINDS[kind], 0,
            )
        )  # fmt: skip
    return b"".join(rows)


def protection(permissions: str, flags: Sequence[str] = (), guard: bool = False) -> int:
    """PAGE_* of permissions."""
    bits = form.PROTECTIONS.get(permissions[:3], 0x01)
    if "writecopy" in flags:
        bits = form.COPIES.get(bits, bits)
    for name, bit in (("nocache", form.NO_CACHE), ("writecombine", form.WRITE_COMBINE)):
        bits |= bit if name in flags else 0
    return bits | (form.GUARD if guard else 0)


def windows_version(kernel: str) -> tuple[int, int, int]:
    """``10.0.19045`` -> (10, 0, 19045); zeros for what it does not say."""
    numbers = [int(word) if word.isascii() and word.isdigit() else 0 for word in kernel.split(".")[:3]]
    major, minor, build = [*numbers, 0, 0, 0][:3]
    return major & MOST_RVA, minor & MOST_RVA, build & MOST_RVA
