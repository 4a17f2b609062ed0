"""Loads relocated programs into the kernel, and lets go of all of it again.

No libbpf and no compiler: `image` did the relocation, `native.bpf` does the system calls.
"""

import errno
import mmap
import os
import struct
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from hostscope.errors import Denied, Error, NativeError, Unavailable, Unsupported
from hostscope.platforms.linux.bpf_maps import ARRAY, LOCAL_STORAGE, RING, Map, Variable
from hostscope.platforms.linux.image import DataImage, Image, ProgramImage
from hostscope.platforms.linux.native import bpf
from hostscope.platforms.linux.program_kinds import KINDS

if TYPE_CHECKING:
    from hostscope.platforms.linux.ring import Ring

Made = TypeVar("Made")
_ENABLE = "needs root, or CAP_BPF and CAP_PERFMON (before Linux 5.8: CAP_SYS_ADMIN)"
_ENABLE_NET = "needs root, or CAP_BPF and CAP_NET_ADMIN; a cgroup may also be taken by a program that shares with none"
_LOCKED = "; kernel lockdown in confidentiality mode forbids it to root as well"
_LOG_LINES = 6


class Programs:
    """The programs of one object in the kernel, which share its maps and variables.

    Nothing is loaded, and no map made, before it is asked for: what this kernel refuses costs only the program that
    needs it. Everything goes when this is closed or the process ends.
    """

    def __init__(
        self, image: Image, constants: Mapping[str, int | bytes] | None = None, entries: Mapping[str, int] | None = None
    ) -> None:
        """Takes an object's image.

        Args:
            constants: what global variables begin with, by name; those of .rodata can only be set here.
            entries: how many elements (for rings: bytes) maps have, by name, where not as declared.

        Raises:
            KeyError: there is no such variable or map.
        """
        self._image = image
        self._open = ExitStack()
        self._data = {part.name: part for part in _filled(image, constants or {})}
        self._declared = {declared.name: declared for declared in image.maps}
        self._entries = dict(entries or {})
        if unknown := self._entries.keys() - self._declared.keys():
            raise KeyError(f"there is no map {', '.join(sorted(unknown))}")
        self._maps: dict[str, Map] = {}
        self._memory: dict[str, mmap.mmap] = {}
        self._rings: dict[str, Ring] = {}
        self._loaded: dict[str, int] = {}
        self._links: dict[str, int] = {}
        self._btf: int | None = None

    # Programs -------------------------------------------------------------------------------------------------------

    def obstacle(self, name: str) -> str | None:
        """What this kernel lacks for a program, such as its tracepoint; None when it may be tried. Costs nothing."""
        return self._program(name).obstacle or None

    def load(self, name: str) -> int:
        """Puts one program into the kernel, once; its descriptor, which stays ours (for SO_ATTACH_BPF, for example).

        Raises:
            Denied: a capability is missing.
            Unsupported: this kernel lacks what the program needs, or refuses it; the message ends with the verifier's
                last words.
            Unavailable: the kernel is out of memory or descriptors for it.
        """
        if name not in self._loaded:
            program = self._program(name)
            if program.obstacle:
                raise Unsupported(f"eBPF program {name}: {program.obstacle}")
            self._loaded[name] = self._try(name, lambda: self._load(program), _hint(program))
        return self._loaded[name]

    def attach(self, name: str, cgroup_fd: int | None = None) -> None:
        """Loads a program if need be, and has the kernel run it from now on; `cgroup_fd` is for the cgroup_skb kinds.

        Raises:
            ValueError: programs of this kind are not attached so, or are attached already.
            HostError: as `load`.
        """
        program, fd = self._program(name), self.load(name)
        if name in self._links:
            raise ValueError(f"program {name} is attached already")
        if program.kind.startswith("cgroup_skb/") != (cgroup_fd is not None) or program.kind == "socket":
            raise ValueError(f"program {name} is of kind {program.kind}")
        self._links[name] = self._try(name, lambda: _link(program, fd, cgroup_fd), _hint(program))

    def detach(self, name: str) -> None:
        """The kernel runs it no more; it stays loaded, and its maps stay."""
        os.close(self._links.pop(name))

    def open_pass(self, name: str) -> int:
        """A descriptor that gives an iterator's output once, from the start; the caller closes it."""
        if name not in self._links:
            self.attach(name)
        return self._try("iterator", lambda: bpf.iter_create(self._links[name]))

    # Data -----------------------------------------------------------------------------------------------------------

    def map(self, name: str) -> Map:
        """A map as declared in the object; made now if no loaded program uses it yet."""
        if name not in self._maps:
            self._maps[name] = self._try(name, lambda: self._make(name))
        return self._maps[name]

    def ring(self, name: str) -> "Ring":
        """The reader of a ring buffer."""
        from hostscope.platforms.linux.ring import Ring  # one-shot commands have none

        if name not in self._rings:
            made = self.map(name)
            if made.kind != RING:
                raise ValueError(f"map {name} is no ring buffer")
            self._rings[name] = self._try(name, lambda: Ring(made.fd, made.entries))
            self._open.callback(self._rings[name].close)
        return self._rings[name]

    def memory(self, name: str) -> mmap.mmap:
        """The values of a map that can be mapped, one after the other: no system call to read or write them."""
        if name not in self._memory:
            made = self.map(name)
            length = -(-made.entries * made.value_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
            self._memory[name] = self._try(name, lambda: mmap.mmap(made.fd, length))
            self._open.callback(self._memory[name].close)
        return self._memory[name]

    def variable(self, name: str) -> Variable:
        """A global variable that is no constant, to read and to write.

        Raises:
            KeyError: there is none of this name.
        """
        section, offset, size = self._image.variables[name]
        if self._data[section].constant:
            raise KeyError(f"{name} is a constant")
        return Variable(self.memory(section), offset, size)

    def close(self) -> None:
        """Detaches and unloads all of it. What readers still hold of it fails from then on."""
        while self._links:
            os.close(self._links.popitem()[1])
        self._open.close()

    def __enter__(self) -> "Programs":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failed: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def _program(self, name: str) -> ProgramImage:
        for program in self._image.programs:
            if program.name == name:
                return program
        raise Unsupported(f"there is no program {name}")

    def _load(self, program: ProgramImage) -> int:
        code = bytearray(program.code)
        for offset, name in program.maps:
            struct.pack_into("<i", code, offset, self.map(name).fd)
        types = self._types() if program.functions else 0
        kind = KINDS[program.kind]
        return self._keep(
            bpf.prog_load(
                program.name, bytes(code), kind.program_type, kind.attach_type, program.attach_btf_id,
                program.sleepable, types, program.functions,
            )
        )  # fmt: skip

    def _types(self) -> int:
        if self._btf is None:
            self._btf = self._keep(bpf.btf_load(self._image.btf))
        return self._btf

    def _make(self, name: str) -> Map:
        if name in self._data:
            return self._make_data(self._data[name])
        m = self._declared[name]
        entries = self._entries.get(name, m.entries)
        types = (self._types(), m.key_type, m.value_type) if m.kind in LOCAL_STORAGE else (0, 0, 0)
        fd = self._keep(bpf.map_create(m.kind, m.key_bytes, m.value_bytes, entries, m.flags, name, *types))
        return Map(fd, name, m.kind, m.key_bytes, m.value_bytes, entries)

    def _make_data(self, data: DataImage) -> Map:
        """Constants are read-only for the program, then frozen: the verifier sees plain numbers and drops what they
        rule out. Variables can be mapped."""
        flags = bpf.F_RDONLY_PROG if data.constant else bpf.F_MMAPABLE
        size, name = len(data.content), data.name.strip(".").replace(".", "_")
        fd = self._keep(bpf.map_create(ARRAY, 4, size, 1, flags, name))
        bpf.map_update(fd, bytes(4), data.content)
        if data.constant:
            bpf.map_freeze(fd)
        return Map(fd, data.name, ARRAY, 4, size, 1)

    def _keep(self, fd: int) -> int:
        self._open.callback(os.close, fd)
        return fd

    def _try(self, what: str, make: Callable[[], Made], hint: str = _ENABLE) -> Made:
        """Makes something; what a failure leaves open goes with the rest when this is closed."""
        try:
            return make()
        except OSError as failed:
            if isinstance(failed, Error):  # Denied is a PermissionError, and so an OSError
                raise
            raise _error(what, failed, hint) from failed


class Loaded:
    """One program in the kernel, with its maps. Everything goes when it is closed or the process ends."""

    def __init__(self, image: Image, name: str, constants: Mapping[str, int | bytes]) -> None:
        """Loads and attaches the program called `name`, with these values in its read-only data.

        Raises:
            HostError: as `Programs.load`.
        """
        self._name = name
        self._programs = Programs(image, constants)
        try:
            self._programs.attach(name)
        except BaseException:
            self._programs.close()
            raise

    def open_pass(self) -> int:
        """A descriptor that gives the iterator's output once, from the start; the caller closes it."""
        return self._programs.open_pass(self._name)

    def close(self) -> None:
        """Takes the program out of the kernel."""
        self._programs.close()

    def __enter__(self) -> "Loaded":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failed: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()


def _hint(program: ProgramImage) -> str:
    return _ENABLE if program.kind in ("iter", "iter.s", "tp_btf", "raw_tp") else _ENABLE_NET


def _link(program: ProgramImage, fd: int, cgroup_fd: int | None) -> int:
    kind = KINDS[program.kind]
    if program.kind == "tp_btf":
        return bpf.raw_tracepoint_open(fd)
    if program.kind == "raw_tp":
        try:
            return bpf.raw_tracepoint_open(fd, program.target)
        except FileNotFoundError:
            raise Unsupported(f"eBPF program {program.name}: the kernel has no tracepoint {program.target}") from None
    return bpf.link_create(fd, kind.attach_type, cgroup_fd or 0)


def _filled(image: Image, constants: Mapping[str, int | bytes]) -> list[DataImage]:
    """The object's data, with the caller's values in it."""
    contents = {part.name: bytearray(part.content) for part in image.data}
    for name, value in constants.items():
        section, offset, size = image.variables[name]
        raw = value if isinstance(value, bytes) else value.to_bytes(size, "little", signed=value < 0)
        if len(raw) > size:
            raise ValueError(f"constant {name} has only {size} bytes")
        contents[section][offset : offset + len(raw)] = raw
    return [DataImage(part.name, bytes(contents[part.name]), part.constant) for part in image.data]


def _error(what: str, failed: OSError, hint: str = _ENABLE) -> Error:
    code = failed.errno or 0
    if code in (errno.EPERM, errno.EACCES) and not isinstance(failed, bpf.Rejected):
        from hostscope.platforms.linux.privileges import granting, lacking

        missing = lacking(("bpf", "net_admin" if hint == _ENABLE_NET else "perfmon"))
        locked = _LOCKED if os.geteuid() == 0 else ""
        return Denied(f"eBPF programs: permission denied{missing}", hint + locked + granting(missing))
    if isinstance(failed, bpf.Rejected):
        return Unsupported(f"this kernel refuses the eBPF program {what}: {_last_words(failed)}")
    if code in (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP):
        return Unsupported(f"this kernel has no such eBPF {what} ({failed.strerror})")
    if code in (errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN):
        return Unavailable(f"eBPF program {what}: {failed.strerror}")
    return NativeError("bpf", code, failed.strerror or str(failed))


def _last_words(failed: bpf.Rejected) -> str:
    lines = [line for line in failed.log.splitlines() if line.strip()]
    return " | ".join(lines[-_LOG_LINES:]) or failed.strerror or "no reason given"
