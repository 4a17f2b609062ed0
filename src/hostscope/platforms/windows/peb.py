"""Arguments, working directory and environment of a process, as it keeps them itself."""

from typing import Protocol

from hostscope.errors import Unsupported
from hostscope.model.detail import Variable
from hostscope.model.gap import Gap, Reason
from hostscope.model.text import decode_utf16
from hostscope.platforms.windows import translate
from hostscope.platforms.windows.native import memory, ntdll
from hostscope.platforms.windows.native.library import SystemRefused, last_error, set_last_error
from hostscope.platforms.windows.native.types import ULONG_PTR
from hostscope.platforms.windows.parse import (
    MAX_VARIABLES,
    Span,
    has_end_of_environment,
    parse_environment,
    parse_own_string,
)
from hostscope.platforms.windows.parse_peb import (
    NARROW,
    PEB_BYTES,
    WIDE,
    Layout,
    Parameters,
    parse_parameters,
    parse_parameters_pointer,
)

ENVIRONMENT_LIMIT = 1 << 20
_OURSELVES = 2**64 - 1
"""What GetCurrentProcess gives."""
_COMMAND_LINE_BYTES = 4096
"""Room for most command lines at the first call."""
_MOST_BYTES = 1 << 17
_PIECE = 4096


def command_line(process: int) -> str:
    """The command line as the kernel gives it (Windows 8.1); the process keeps it, and can change it.

    Raises:
        OSError: 0xC0000003 before Windows 8.1.
        ValueError: the answer makes no sense.

    Source: NtQueryInformationProcess(ProcessCommandLineInformation). Cost: one call, two for long ones.
    """
    kind = ntdll.ProcessCommandLineInformation
    return parse_own_string(*ntdll.query_process_text(process, kind, _COMMAND_LINE_BYTES, _MOST_BYTES))


class Block:
    """The environment block of one process: of its 32-bit half where it has one, which is the one that it uses."""

    def __init__(self, process: int) -> None:
        """`process`: a handle with PROCESS_QUERY_LIMITED_INFORMATION and PROCESS_VM_READ.

        Raises:
            OSError: refused, or what the pointers lead to cannot be read.
            ValueError: it has none: it is a process without a program of its own, or ended.
        """
        self._process = process
        address, layout = _find(process)
        if not address:
            raise ValueError("it has no process environment block")
        pointer = parse_parameters_pointer(self._read(Span(address, PEB_BYTES)), layout)
        if not pointer:
            raise ValueError("it has no parameters yet")
        self._parameters = self._read_parameters(pointer, layout)

    def _read_parameters(self, address: int, layout: Layout) -> Parameters:
        return parse_parameters(self._read(Span(address, layout.parameters_bytes)), layout)

    def command_line(self) -> str:
        """Raises OSError."""
        return decode_utf16(self._read(self._parameters.command_line))

    def directory(self) -> str:
        """The working directory, without the backslash that ends it unless it is a root. Raises OSError."""
        path = decode_utf16(self._read(self._parameters.directory))
        return path[:-1] if path.endswith("\\") and not path.endswith(":\\") and len(path) > 1 else path

    def environment(self) -> tuple[tuple[Variable, ...], Gap | None]:
        """The environment, and a gap when only a part could be read. Raises OSError."""
        span = self._parameters.environment
        if not span.address:
            return (), None
        size = min(span.length or ENVIRONMENT_LIMIT, ENVIRONMENT_LIMIT)
        raw = read_up_to(self._process, Span(span.address, size))
        found = parse_environment(raw)
        if len(found) >= MAX_VARIABLES:
            return found, Gap("environment", Reason.TRUNCATED, f"more than {MAX_VARIABLES} variables")
        whole = has_end_of_environment(raw)
        return found, None if whole else Gap("environment", Reason.TRUNCATED, f"{len(raw)} bytes read")

    def _read(self, span: Span) -> bytes:
        if not span.length:
            return b""
        raw = read_up_to(self._process, span)
        if len(raw) < span.length:
            raise SystemRefused("ReadProcessMemory", translate.ERROR_PARTIAL_COPY)
        return raw


def read_up_to(process: int, span: Span) -> bytes:
    """The memory of another process from an address on, up to the first page that cannot be read.

    Raises:
        OSError: nothing can be read there.
    """
    into = bytearray(span.length)
    set_last_error(0)
    count = memory.read_into(process, span.address, memoryview(into))
    if count < span.length and not count:
        count = _by_pages(process, span, into)
    if not count:
        raise SystemRefused("ReadProcessMemory", last_error() or translate.ERROR_PARTIAL_COPY)
    return bytes(into[:count])


def _by_pages(process: int, span: Span, into: bytearray) -> int:
    """A read that leads beyond readable memory may give nothing at all; page by page it gives what there is."""
    done, view = 0, memoryview(into)
    while done < span.length:
        step = min(_PIECE - (span.address + done) % _PIECE, span.length - done)
        count = memory.read_into(process, span.address + done, view[done : done + step])
        done += count
        if count < step:
            break
    return done


def _find(process: int) -> tuple[int, Layout]:
    """Windows tells where the 32-bit block is; Wine only that there is one, a page above the other."""
    narrow = ULONG_PTR()
    ntdll.query_process(process, ntdll.ProcessWow64Information, narrow)
    if narrow.value > 1:
        return narrow.value, NARROW
    basic = ntdll.PROCESS_BASIC_INFORMATION()
    ntdll.query_process(process, ntdll.ProcessBasicInformation, basic)
    address = basic.PebBaseAddress or 0
    return (address + _PIECE, NARROW) if narrow.value and address else (address, WIDE)


class Program(Protocol):
    """A process that is read."""

    def need(self) -> int: ...
    def block(self) -> "Block": ...


class Arguments:
    """Command lines by the cheaper way, as long as this Windows has it. Not for several threads."""

    def __init__(self) -> None:
        self._by_kernel: bool | None = None

    def has_kernel(self) -> bool:
        """Whether the kernel tells command lines (from Windows 8.1), found out by asking for our own."""
        if self._by_kernel is None:
            try:
                command_line(_OURSELVES)
                self._by_kernel = True
            except Unsupported:
                self._by_kernel = False
            except (OSError, ValueError) as failed:
                self._by_kernel = getattr(failed, "winerror", None) not in translate.LACKING
        return self._by_kernel

    def read(self, program: Program) -> str:
        """The command line of a process: by the kernel, else from its memory.

        Raises:
            OSError, ValueError
        """
        return command_line(program.need()) if self.has_kernel() else program.block().command_line()
