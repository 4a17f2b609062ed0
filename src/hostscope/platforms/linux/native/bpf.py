"""bpf(2): maps, BTF, programs, links and iterators as file descriptors.

Every call raises `OSError` as the kernel answered; `hostscope.platforms.linux.loader` says what that means.
"""

import ctypes
import errno
import os
import struct

SYSCALL_NUMBERS = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "loongarch64": 280}
"""Of bpf(2), by machine; little-endian ones only, as the shipped programs are."""

MAP_CREATE, MAP_UPDATE_ELEM, PROG_LOAD, BTF_LOAD, MAP_FREEZE, LINK_CREATE, ITER_CREATE = 0, 2, 5, 18, 22, 28, 33

PROG_TRACING = 26
TRACE_ITER = 28
F_SLEEPABLE = 16
F_RDONLY_PROG = 1 << 7

_LOG_BYTES = 1 << 20
_PROG_ATTR = struct.Struct("=IIQQIIQII16sIIIIQIIQIIIIQQ")

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long


def _bpf(command: int, attr: bytes) -> int:
    number = SYSCALL_NUMBERS.get(os.uname().machine)
    if number is None:
        raise OSError(38, f"bpf(2) is not known on {os.uname().machine}")
    buffer = ctypes.create_string_buffer(attr, len(attr))
    result: int = _syscall(ctypes.c_long(number), ctypes.c_long(command), buffer, ctypes.c_long(len(attr)))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def _copy(raw: bytes) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(raw, max(len(raw), 1))


def map_create(kind: int, key_bytes: int, value_bytes: int, entries: int, flags: int, name: str) -> int:
    """A map; its descriptor."""
    attr = struct.pack("=7I16s", kind, key_bytes, value_bytes, entries, flags, 0, 0, name.encode()[:15])
    return _bpf(MAP_CREATE, attr)


def map_update(fd: int, key: bytes, value: bytes) -> None:
    """Sets one element."""
    key_copy, value_copy = _copy(key), _copy(value)
    attr = struct.pack("=IIQQQ", fd, 0, ctypes.addressof(key_copy), ctypes.addressof(value_copy), 0)
    _bpf(MAP_UPDATE_ELEM, attr)


def map_freeze(fd: int) -> None:
    """Forbids further writes from user space: the verifier then treats the content of a read-only map as constants."""
    _bpf(MAP_FREEZE, struct.pack("=I", fd))


def btf_load(raw: bytes) -> int:
    """Type information of a program; its descriptor."""
    copy = _copy(raw)
    return _bpf(BTF_LOAD, struct.pack("=QQIII", ctypes.addressof(copy), 0, len(raw), 0, 0))


class Rejected(OSError):
    """The verifier said no; `log` is its reasoning, the reason last."""

    def __init__(self, code: int, log: str) -> None:
        super().__init__(code, os.strerror(code))
        self.log = log


def prog_load(
    name: str, code: bytes, attach_type: int, attach_btf_id: int, sleepable: bool, btf_fd: int, functions: bytes
) -> int:
    """A tracing program; its descriptor. `functions` are bpf_func_info records (offset, type id).

    Raises:
        Rejected: with the verifier's log, for which the program is loaded a second time.
    """
    code_copy, functions_copy, license_copy = _copy(code), _copy(functions), _copy(b"GPL\0")

    def load(level: int, log_bytes: int, log: int) -> int:
        return _bpf(
            PROG_LOAD,
            _PROG_ATTR.pack(
                PROG_TRACING, len(code) // 8, ctypes.addressof(code_copy), ctypes.addressof(license_copy),
                level, log_bytes, log, 0, F_SLEEPABLE if sleepable else 0, name.encode()[:15], 0, attach_type,
                btf_fd, 8 if functions else 0, ctypes.addressof(functions_copy), len(functions) // 8,
                0, 0, 0, attach_btf_id, 0, 0, 0, 0,
            ),
        )  # fmt: skip

    try:
        return load(0, 0, 0)
    except OSError as failed:
        if failed.errno == errno.EPERM:  # a capability is missing; EACCES is the verifier's word for a bad access
            raise
        log = ctypes.create_string_buffer(_LOG_BYTES)
    try:
        return load(1, _LOG_BYTES, ctypes.addressof(log))
    except OSError as failed:
        raise Rejected(failed.errno or 0, log.value.decode("ascii", "replace")) from None


def link_create(program_fd: int, attach_type: int) -> int:
    """Attaches a program to what it was loaded for; the link's descriptor."""
    return _bpf(LINK_CREATE, struct.pack("=IIIIQIIQQQ", program_fd, 0, attach_type, 0, 0, 0, 0, 0, 0, 0))


def iter_create(link_fd: int) -> int:
    """One pass of an iterator; a descriptor to read from."""
    return _bpf(ITER_CREATE, struct.pack("=II", link_fd, 0))
