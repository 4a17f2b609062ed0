"""Arguments of system calls as people read them: flags by name, paths quoted, the way strace writes them. Pure."""

import errno
import signal
from collections.abc import Callable, Mapping
from functools import lru_cache

from hostscope.model.event import SystemCall
from hostscope.model.syscall import Argument
from hostscope.platforms.linux import syscall_flags as known
from hostscope.platforms.linux import syscall_names
from hostscope.platforms.linux.syscall_record import Call
from hostscope.platforms.linux.syscall_text import quote, socket_address

Render = Callable[[int], str]
LAST_ERROR = 4095
"""MAX_ERRNO: results from -4095 to -1 are errors."""
_KERNEL_ERRORS = {512: "ERESTARTSYS", 513: "ERESTARTNOINTR", 514: "ERESTARTNOHAND", 516: "ERESTART_RESTARTBLOCK"}
"""What only tracers see: the call is made again after a signal."""
_WORD, _INT = 1 << 64, 1 << 32


def signed(value: int) -> int:
    """The lower 32 bits, as int."""
    value &= _INT - 1
    return value - _INT if value >> 31 else value


def _unsigned(value: int) -> str:
    return str(value)


def _pointer(value: int) -> str:
    return hex(value) if value else "NULL"


def _long(value: int) -> str:
    """A number that is negative more likely than huge."""
    return str(value - _WORD if value >> 63 else value)


def _int(value: int) -> str:
    return str(signed(value))


def _descriptor(value: int) -> str:
    number = signed(value)
    return "AT_FDCWD" if number == known.AT_FDCWD else str(number)


def _hexadecimal(value: int) -> str:
    return hex(value) if value else "0"


def _octal(value: int) -> str:
    return f"0{value & 0xFFFF:o}"


def flags(names: Mapping[int, str], nothing: str = "0", first: str = "") -> Render:
    """A function from a set of bits to their names, joined by ``|``; unknown bits as one number."""

    @lru_cache(maxsize=1024)
    def render(value: int) -> str:
        found, rest = [first] if first else [], value
        for bits in sorted(names, reverse=True):
            if bits and rest & bits == bits:
                found.append(names[bits])
                rest &= ~bits
        found[1 if first else 0 :] = sorted(found[1 if first else 0 :], key=lambda name: _place(names, name))
        return "|".join([*found, *([hex(rest)] if rest else [])]) or nothing

    return render


def _place(names: Mapping[int, str], name: str) -> int:
    return next(bits for bits, known_name in names.items() if known_name == name)


def enumerated(names: Mapping[int, str], mask: int = _INT - 1) -> Render:
    """A function from a number to its name."""
    return lambda value: names.get(value & mask, hex(value & mask))


def split(values: Mapping[int, str], mask: int, bits: Mapping[int, str]) -> Render:
    """A function for a number whose lower bits are one of several values, and the others flags."""

    @lru_cache(maxsize=1024)
    def render(value: int) -> str:
        low = values.get(value & mask, hex(value & mask))
        rest = value & (_INT - 1) & ~mask
        return f"{low}|{flags(bits)(rest)}" if rest else low

    return render


def _clone(value: int) -> str:
    """The lower byte is the signal at the end."""
    bits, number = value & ~0xFF, value & 0xFF
    parts = [flags(known.CLONE)(bits)] if bits else []
    return "|".join([*parts, *([_signal(number)] if number else [])]) or "0"


def _signal(value: int) -> str:
    try:
        return signal.Signals(signed(value)).name
    except ValueError:
        return str(signed(value))


_PROT, _MAP = flags(known.PROT, "PROT_NONE"), split(known.MAP_TYPES, 0xF, known.MAP)
_OPEN = split(known.ACCESS_MODES, 3, known.OPEN)
_AT = flags(known.AT)

RENDERS: dict[tuple[str, str], Render] = {
    ("mmap", "addr"): _pointer, ("mmap", "prot"): _PROT, ("mmap", "flags"): _MAP, ("mmap", "off"): _hexadecimal,
    ("mprotect", "start"): _pointer, ("mprotect", "prot"): _PROT, ("munmap", "addr"): _pointer,
    ("pkey_mprotect", "start"): _pointer, ("pkey_mprotect", "prot"): _PROT,
    ("mremap", "addr"): _pointer, ("mremap", "new_addr"): _pointer, ("mremap", "flags"): flags(known.MREMAP),
    ("madvise", "start"): _pointer, ("madvise", "behavior"): enumerated(known.MADVISE),
    ("msync", "start"): _pointer, ("msync", "flags"): flags(known.MSYNC),
    ("mlock", "start"): _pointer, ("munlock", "start"): _pointer, ("mlock2", "start"): _pointer,
    ("brk", "brk"): _pointer, ("memfd_create", "flags"): flags(known.MEMFD),
    ("open", "flags"): _OPEN, ("openat", "flags"): _OPEN, ("open", "mode"): _octal, ("openat", "mode"): _octal,
    ("creat", "mode"): _octal, ("mkdir", "mode"): _octal, ("mkdirat", "mode"): _octal, ("chmod", "mode"): _octal,
    ("fchmod", "mode"): _octal, ("fchmodat", "mode"): _octal, ("umask", "mask"): _octal, ("mknod", "mode"): _octal,
    ("access", "mode"): flags(known.ACCESS, "F_OK"), ("faccessat", "mode"): flags(known.ACCESS, "F_OK"),
    ("faccessat2", "mode"): flags(known.ACCESS, "F_OK"), ("faccessat2", "flags"): _AT,
    ("newfstatat", "flag"): _AT, ("statx", "flags"): _AT, ("unlinkat", "flag"): _AT, ("linkat", "flags"): _AT,
    ("fchownat", "flag"): _AT, ("execveat", "flags"): _AT, ("statx", "mask"): _hexadecimal,
    ("lseek", "whence"): enumerated(known.WHENCE), ("lseek", "offset"): _long,
    ("clone", "clone_flags"): _clone, ("clone", "newsp"): _pointer, ("clone", "tls"): _hexadecimal,
    ("unshare", "unshare_flags"): flags(known.CLONE), ("setns", "flags"): flags(known.CLONE),
    ("kill", "sig"): _signal, ("tkill", "sig"): _signal, ("tgkill", "sig"): _signal,
    ("rt_sigaction", "sig"): _signal, ("pidfd_send_signal", "sig"): _signal,
    ("wait4", "options"): flags(known.WAIT), ("waitid", "options"): flags(known.WAIT),
    ("ptrace", "request"): enumerated(known.PTRACE), ("ptrace", "addr"): _pointer, ("ptrace", "data"): _pointer,
    ("prctl", "option"): enumerated(known.PRCTL),
    ("socket", "family"): enumerated(known.FAMILIES), ("socketpair", "family"): enumerated(known.FAMILIES),
    ("socket", "type"): split(known.SOCKET_TYPES, 0xF, known.SOCKET),
    ("socketpair", "type"): split(known.SOCKET_TYPES, 0xF, known.SOCKET),
    ("accept4", "flags"): flags(known.SOCKET), ("dup3", "flags"): _OPEN, ("pipe2", "flags"): flags(known.OPEN),
}  # fmt: skip
"""By call and argument; the others are shown by their kind."""
_BY_KIND: dict[str, Render] = {"f": _descriptor, "p": _pointer, "s": _pointer, "a": _pointer, "d": _int, "u": _unsigned}
_CREATES = 0x40
_WITHOUT_MODE = {"open": 1, "openat": 2}
"""Where the flags stand: without O_CREAT nobody reads the mode, and it is any number."""


_Form = tuple[str, tuple[tuple[str, Render], ...], tuple[int, ...], int | None]
"""Name, arguments, which are paths, which is a socket's address."""


class Decoder:
    """Makes system calls of numbers, for one machine."""

    def __init__(self, machine: str) -> None:
        """Raises: `UsageError`, when there is no table for the machine."""
        self._machine = machine
        self._names = syscall_names.names(machine)
        self._forms: dict[int, _Form] = {}

    def decode(self, call: Call, tid: int) -> SystemCall:
        """The call with its arguments as text, and what is remarkable about it."""
        form = self._forms.get(call.number) or self._form(call.number)
        name, renders, paths, address = form
        values = call.arguments
        arguments = [
            Argument(argument, value, render(value)) for (argument, render), value in zip(renders, values, strict=False)
        ]
        for place, text in zip(paths, call.texts, strict=False):
            if values[place]:
                quoted = quote(text) + ("..." if call.truncated and len(text) > _ALMOST else "")
                arguments[place] = Argument(arguments[place].name, values[place], quoted)
        if address is not None and call.texts:
            size = values[address + 1] & (_INT - 1)
            if shown := socket_address(call.texts[0][:size]):
                arguments[address] = Argument(arguments[address].name, values[address], shown)
        if name in _WITHOUT_MODE and not values[_WITHOUT_MODE[name]] & _CREATES:
            arguments.pop()
        result = call.result
        error = error_name(-result) if result is not None and -LAST_ERROR <= result < 0 else None
        remarks = remarks_of(name, call) if error is None else ()
        return SystemCall(name, tuple(arguments), result, error, tid, call.duration_ns, remarks)

    def _form(self, number: int) -> _Form:
        name = self._names.get(number, f"syscall_{number}")
        described = syscall_names.arguments(name, self._machine)
        renders = tuple((argument, RENDERS.get((name, argument), _BY_KIND[kind])) for argument, kind in described)
        places = (syscall_names.paths(name, self._machine), syscall_names.address(name, self._machine))
        form = self._forms[number] = (name, renders, *places)
        return form


_ALMOST = 250


def error_name(code: int) -> str:
    """``ENOENT``; what only tracers see by its kernel name."""
    return errno.errorcode.get(code) or _KERNEL_ERRORS.get(code) or f"errno {code}"


_READ, _WRITE, _EXEC = 1, 2, 4
_ANONYMOUS = 0x20
_PROT_AT = {"mmap": 2, "mprotect": 2, "pkey_mprotect": 2}


def remarks_of(name: str, call: Call) -> tuple[str, ...]:
    """What is remarkable about a call that succeeded.

    ``w-to-x``: memory that could be written becomes executable. ``executable-anonymous``: executable memory of no file
    is mapped. ``writable-executable``: memory that is both.
    """
    place = _PROT_AT.get(name)
    if place is None or not call.arguments[place] & _EXEC:
        return ()
    protection, found = call.arguments[place], []
    if call.was_writable:
        found.append("w-to-x")
    if name == "mmap" and call.arguments[3] & _ANONYMOUS:
        found.append("executable-anonymous")
    if protection & _WRITE:
        found.append("writable-executable")
    return tuple(found)
