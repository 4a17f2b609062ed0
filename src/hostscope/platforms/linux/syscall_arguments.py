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
_FIRST_REALTIME, _LAST_REALTIME = 32, 64


def signed(value: int) -> int:
    """The lower 32 bits, as int."""
    value &= _INT - 1
    return value - _INT if value >> 31 else value


def _pointer(value: int) -> str:
    return hex(value) if value else "NULL"


def _long(value: int) -> str:
    """A number of 64 bits that may be negative."""
    return str(value - _WORD if value >> 63 else value)


def _int(value: int) -> str:
    return str(signed(value))


def _descriptor(value: int) -> str:
    number = signed(value)
    return "AT_FDCWD" if number == known.AT_FDCWD else str(number)


def _hexadecimal(value: int) -> str:
    return hex(value) if value else "0"


def _octal(value: int) -> str:
    return f"0{value & 0xFFFF:o}".zfill(3)


def _node(value: int) -> str:
    """Of what kind a new file is, and its mode."""
    kind, rest = value & 0o170000, value & 0o7777
    return f"{known.NODES.get(kind, _octal(kind))}|{_octal(rest)}" if kind else _octal(rest)


def _owner(value: int) -> str:
    """A user or group; -1 leaves it as it is."""
    return "-1" if value == _INT - 1 else str(value)


def flags(names: Mapping[int, str], nothing: str = "0", first: str = "") -> Render:
    """A function from a set of bits to their names in the order of `names`, joined by ``|``; unknown bits as one
    number."""
    places = {name: place for place, name in enumerate(names.values())}

    @lru_cache(maxsize=1024)
    def render(value: int) -> str:
        found, rest = [first] if first else [], value
        for bits in sorted(names, reverse=True):
            if bits and rest & bits == bits:
                found.append(names[bits])
                rest &= ~bits
        found[1 if first else 0 :] = sorted(found[1 if first else 0 :], key=places.__getitem__)
        return "|".join([*found, *([hex(rest)] if rest else [])]) or nothing

    return render


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
    number = signed(value)
    if _FIRST_REALTIME <= number <= _LAST_REALTIME:
        return f"SIGRT_{number - _FIRST_REALTIME}"
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


_PROT, _MAP = flags(known.PROT, "PROT_NONE"), split(known.MAP_TYPES, 0xF, known.MAP)
_OPEN = split(known.ACCESS_MODES, 3, known.OPEN)
_AT = flags(known.AT)
_MOUNT, _UNMOUNT = flags(known.MOUNT), flags(known.UNMOUNT)

RENDERS: dict[tuple[str, str], Render] = {
    ("mmap", "addr"): _pointer, ("mmap", "prot"): _PROT, ("mmap", "flags"): _MAP, ("mmap", "off"): _hexadecimal,
    ("mprotect", "start"): _pointer, ("mprotect", "prot"): _PROT, ("munmap", "addr"): _pointer,
    ("pkey_mprotect", "start"): _pointer, ("pkey_mprotect", "prot"): _PROT,
    ("mremap", "addr"): _pointer, ("mremap", "new_addr"): _pointer, ("mremap", "flags"): flags(known.MREMAP),
    ("madvise", "start"): _pointer, ("madvise", "behavior"): enumerated(known.MADVISE),
    ("msync", "start"): _pointer, ("msync", "flags"): flags(known.MSYNC),
    ("mlock", "start"): _pointer, ("munlock", "start"): _pointer, ("mlock2", "start"): _pointer,
    ("brk", "brk"): _pointer, ("memfd_create", "flags"): flags(known.MEMFD),
    ("open", "flags"): _OPEN, ("openat", "flags"): _OPEN, ("mq_open", "oflag"): _OPEN, ("umask", "mask"): _octal,
    ("mknod", "mode"): _node, ("mknodat", "mode"): _node, ("mount", "flags"): _MOUNT, ("umount2", "flags"): _UNMOUNT,
    ("access", "mode"): flags(known.ACCESS, "F_OK"), ("faccessat", "mode"): flags(known.ACCESS, "F_OK"),
    ("faccessat2", "mode"): flags(known.ACCESS, "F_OK"), ("faccessat2", "flags"): flags(known.AT_OF_ACCESS),
    ("newfstatat", "flag"): _AT, ("statx", "flags"): split(known.STATX_SYNC, 0x6000, known.AT),
    ("unlinkat", "flag"): _AT, ("linkat", "flags"): _AT,
    ("fchownat", "flag"): _AT, ("fchmodat2", "flags"): _AT, ("utimensat", "flags"): _AT, ("execveat", "flags"): _AT,
    ("statx", "mask"): _hexadecimal, ("lseek", "whence"): enumerated(known.WHENCE),
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
    ("accept4", "flags"): flags(known.SOCKET), ("dup3", "flags"): flags(known.OPEN),
    ("pipe2", "flags"): flags(known.OPEN),
}  # fmt: skip
"""By call and argument; the others are shown by their kind."""
_BY_KIND: dict[str, Render] = {
    "f": _descriptor, "p": _pointer, "s": _pointer, "a": _pointer, "d": _int, "u": str, "w": str, "l": _long,
    "o": _octal, "i": _owner,
}  # fmt: skip
_OF_32_BITS = frozenset("fdwoi")
_CREATES = 0x40 | 0x40_0000
"""O_CREAT and what is O_TMPFILE's own."""
_WITHOUT_MODE = {"open": 1, "openat": 2}
"""Where the flags stand: when nothing is created nobody reads the mode, and it is any number."""


_Form = tuple[str, tuple[tuple[str, int, Render], ...], tuple[int, ...], int | None]
"""Name, arguments with the bits of them that count, which are paths, which is a socket's address."""


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
            Argument(argument, value, render(value & mask))
            for (argument, mask, render), value in zip(renders, values, strict=False)
        ]
        for slot, (place, text) in enumerate(zip(paths, call.texts, strict=False)):
            if text is not None:
                quoted = quote(text) + ("..." if slot in call.cut else "")
                arguments[place] = Argument(arguments[place].name, values[place], quoted)
        if address is not None and call.texts and call.texts[0] is not None:
            size = values[address + 1] & (_INT - 1)
            if shown := socket_address(call.texts[0][:size]):
                arguments[address] = Argument(arguments[address].name, values[address], shown)
        if name in _WITHOUT_MODE and not values[_WITHOUT_MODE[name]] & _CREATES:
            arguments.pop()
        result = call.result
        error = error_name(-result) if result is not None and -LAST_ERROR <= result < 0 else None
        remarks = remarks_of(name, call, error)
        return SystemCall(name, tuple(arguments), result, error, tid, call.duration_ns, remarks)

    def _form(self, number: int) -> _Form:
        name = self._names.get(number, f"syscall_{number}")
        described = syscall_names.arguments(name, self._machine)
        renders = tuple(
            (argument, (_INT if kind in _OF_32_BITS else _WORD) - 1, RENDERS.get((name, argument), _BY_KIND[kind]))
            for argument, kind in described
        )
        places = (syscall_names.paths(name, self._machine), syscall_names.address(name, self._machine))
        form = self._forms[number] = (name, renders, *places)
        return form


def error_name(code: int) -> str:
    """``ENOENT``; what only tracers see by its kernel name."""
    return errno.errorcode.get(code) or _KERNEL_ERRORS.get(code) or f"errno {code}"


_READ, _WRITE, _EXEC = 1, 2, 4
_ANONYMOUS = 0x20
_PROT_AT = {"mmap": 2, "mprotect": 2, "pkey_mprotect": 2}


def remarks_of(name: str, call: Call, error: str | None) -> tuple[str, ...]:
    """What is remarkable about a call that succeeded, or changed memory up to a hole (ENOMEM of mprotect).

    ``w-to-x``: memory that could be written becomes executable. ``maybe-w-to-x``: memory becomes executable, and nobody
    could see whether it could be written, as another thread was changing the map. ``executable-anonymous``: executable
    memory of no file is mapped. ``writable-executable``: memory that is both.
    """
    place = _PROT_AT.get(name)
    if place is None or not call.arguments[place] & _EXEC:
        return ()
    if error is not None and not (error == "ENOMEM" and call.was_writable):
        return ()
    protection, found = call.arguments[place], []
    if call.was_writable is not False:
        found.append("w-to-x" if call.was_writable else "maybe-w-to-x")
    if name == "mmap" and call.arguments[3] & _ANONYMOUS:
        found.append("executable-anonymous")
    if protection & _WRITE:
        found.append("writable-executable")
    return tuple(found)
