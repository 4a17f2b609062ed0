"""Loads relocated programs into the kernel, and lets go of all of it again.

No libbpf and no compiler: `image` did the relocation, `native.bpf` does the system calls.
"""

import errno
import os
import struct
from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType

from hostscope.errors import Denied, Error, NativeError, Unavailable, Unsupported
from hostscope.platforms.linux.image import RODATA, Image, ProgramImage
from hostscope.platforms.linux.native import bpf

_MAP_ARRAY = 2
_ENABLE = "needs root, or CAP_BPF and CAP_PERFMON (before Linux 5.8: CAP_SYS_ADMIN)"
_LOCKED = "; kernel lockdown in confidentiality mode forbids it to root as well"
_LOG_LINES = 6


class Loaded:
    """One program in the kernel, with its maps. Everything goes when it is closed or the process ends."""

    def __init__(self, image: Image, name: str, constants: Mapping[str, int]) -> None:
        """Loads and attaches the program called `name`, with these values in its read-only data.

        Raises:
            Denied: a capability is missing.
            Unsupported: this kernel does not take the program; the message ends with the verifier's last words.
            Unavailable: the kernel is out of memory or descriptors for it.
        """
        self._open = ExitStack()
        try:
            self._link = self._load(image, _program(image, name), constants)
        except OSError as failed:
            self._open.close()
            raise _error(name, failed) from failed
        except BaseException:
            self._open.close()
            raise

    def _load(self, image: Image, program: ProgramImage, constants: Mapping[str, int]) -> int:
        used = {name for _, name in program.maps}
        maps = {m.name: self._map(m.kind, m.key_bytes, m.value_bytes, m.entries, 0, m.name) for m in image.maps}
        if RODATA in used:
            maps[RODATA] = self._constants(_fill(image, constants))
        code = bytearray(program.code)
        for offset, name in program.maps:
            struct.pack_into("<i", code, offset, maps[name])
        types = self._keep(bpf.btf_load(image.btf)) if program.functions else 0
        loaded = self._keep(
            bpf.prog_load(
                program.name, bytes(code), bpf.TRACE_ITER, program.attach_btf_id, program.sleepable, types,
                program.functions,
            )
        )  # fmt: skip
        return self._keep(bpf.link_create(loaded, bpf.TRACE_ITER))

    def _map(self, kind: int, key: int, value: int, entries: int, flags: int, name: str) -> int:
        return self._keep(bpf.map_create(kind, key, value, entries, flags, name))

    def _constants(self, content: bytes) -> int:
        """Read-only for the program, then frozen: the verifier sees plain numbers and drops what they rule out."""
        fd = self._map(_MAP_ARRAY, 4, len(content), 1, bpf.F_RDONLY_PROG, "constants")
        bpf.map_update(fd, bytes(4), content)
        bpf.map_freeze(fd)
        return fd

    def _keep(self, fd: int) -> int:
        self._open.callback(os.close, fd)
        return fd

    def open_pass(self) -> int:
        """A descriptor that gives the iterator's output once, from the start; the caller closes it."""
        try:
            return bpf.iter_create(self._link)
        except OSError as failed:
            raise _error("iterator", failed) from failed

    def close(self) -> None:
        """Takes the program out of the kernel."""
        self._open.close()

    def __enter__(self) -> "Loaded":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failed: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()


def _program(image: Image, name: str) -> ProgramImage:
    for program in image.programs:
        if program.name == name:
            return program
    raise Unsupported(f"there is no program {name}")


def _fill(image: Image, constants: Mapping[str, int]) -> bytes:
    content = bytearray(image.rodata)
    for name, value in constants.items():
        offset, size = image.constants[name]
        content[offset : offset + size] = value.to_bytes(size, "little")
    return bytes(content)


def _error(what: str, failed: OSError) -> Error:
    code = failed.errno or 0
    if code in (errno.EPERM, errno.EACCES) and not isinstance(failed, bpf.Rejected):
        return Denied(f"eBPF program {what}: permission denied", _ENABLE + (_LOCKED if os.geteuid() == 0 else ""))
    if isinstance(failed, bpf.Rejected):
        return Unsupported(f"this kernel refuses the eBPF program {what}: {_last_words(failed)}")
    if code in (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP):
        return Unsupported(f"this kernel has no eBPF iterators ({failed.strerror})")
    if code in (errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN):
        return Unavailable(f"eBPF program {what}: {failed.strerror}")
    return NativeError("bpf", code, failed.strerror or str(failed))


def _last_words(failed: bpf.Rejected) -> str:
    lines = [line for line in failed.log.splitlines() if line.strip()]
    return " | ".join(lines[-_LOG_LINES:]) or failed.strerror or "no reason given"
