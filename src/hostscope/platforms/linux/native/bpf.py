"""bpf(2): maps, BTF, programs, links and iterators as file descriptors.

Every call raises `OSError` as the kernel answered; `hostscope.platforms.linux.loader` says what that means.
"""

import ctypes
import errno
import os
import struct

SYSCALL_NUMBERS = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "loongarch64": 280}
"""Of bpf(2), by machine; little-endian ones only, as the shipped programs are."""

MAP_CREATE, MAP_LOOKUP_ELEM, MAP_UPDATE_ELEM, MAP_DELETE_ELEM, MAP_GET_NEXT_KEY, PROG_LOAD = range(6)
RAW_TRACEPOINT_OPEN, BTF_LOAD, MAP_FREEZE, LINK_CREATE, ITER_CREATE = 17, 18, 22, 28, 33
MAP_LOOKUP_BATCH, MAP_LOOKUP_AND_DELETE_BATCH = 24, 25

F_SLEEPABLE = 16
F_RDONLY_PROG, F_MMAPABLE = 1 << 7, 1 << 10

_LOG_BYTES = (1 << 24) - 1
"""As much as every kernel takes. Only what the kernel fills costs memory."""
_PROG_ATTR = struct.Struct("=IIQQIIQII16sIIIIQIIQIIIIQQ")
_BATCH_ATTR = struct.Struct("=QQQQIIQQ")
_BATCH_COUNT_AT = 32
_TOKEN_BYTES = 8
"""At least: for hashes the kernel keeps a bucket's number there, for others a key."""

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long


def _bpf(command: int, attr: "bytes | ctypes.Array[ctypes.c_char]") -> int:
    number = SYSCALL_NUMBERS.get(os.uname().machine)
    if number is None:
        raise OSError(errno.ENOSYS, f"bpf(2) is not known on {os.uname().machine}")
    buffer = _copy(attr) if isinstance(attr, bytes) else attr
    result: int = _syscall(ctypes.c_long(number), ctypes.c_long(command), buffer, ctypes.c_long(len(attr)))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def _copy(raw: bytes) -> "ctypes.Array[ctypes.c_char]":
    return ctypes.create_string_buffer(raw, max(len(raw), 1))


# Maps ---------------------------------------------------------------------------------------------------------------


def map_create(
    kind: int, key_bytes: int, value_bytes: int, entries: int, flags: int, name: str,
    btf_fd: int = 0, key_type: int = 0, value_type: int = 0,
) -> int:  # fmt: skip
    """A map; its descriptor."""
    numbers = (kind, key_bytes, value_bytes, entries, flags, 0, 0)
    return _bpf(
        MAP_CREATE, struct.pack("=7I16s4I", *numbers, name.encode()[:15], 0, btf_fd, key_type, value_type)
    )  # fmt: skip


def map_lookup(fd: int, key: bytes, value_bytes: int) -> bytes:
    """One element's value. Raises `FileNotFoundError` when there is none."""
    key_copy, value = _copy(key), ctypes.create_string_buffer(value_bytes)
    _bpf(MAP_LOOKUP_ELEM, struct.pack("=IIQQQ", fd, 0, ctypes.addressof(key_copy), ctypes.addressof(value), 0))
    return value.raw


def map_update(fd: int, key: bytes, value: bytes, flags: int = 0) -> None:
    """Sets one element; a queue's, which have no keys, is put at its end."""
    key_copy, value_copy = _copy(key), _copy(value)
    key_at = ctypes.addressof(key_copy) if key else 0
    attr = struct.pack("=IIQQQ", fd, 0, key_at, ctypes.addressof(value_copy), flags)
    _bpf(MAP_UPDATE_ELEM, attr)


def map_delete(fd: int, key: bytes) -> None:
    """Removes one element. Raises `FileNotFoundError` when there is none."""
    key_copy = _copy(key)
    _bpf(MAP_DELETE_ELEM, struct.pack("=IIQQQ", fd, 0, ctypes.addressof(key_copy), 0, 0))


def map_next_key(fd: int, key: bytes | None, key_bytes: int) -> bytes:
    """The key after `key`, the first one after None or a key that is gone. Raises `FileNotFoundError` at the end."""
    key_copy, following = _copy(key or b""), ctypes.create_string_buffer(key_bytes)
    before = ctypes.addressof(key_copy) if key is not None else 0
    _bpf(MAP_GET_NEXT_KEY, struct.pack("=IIQQQ", fd, 0, before, ctypes.addressof(following), 0))
    return following.raw


class MapBatch:
    """One pass over a map, many elements a call (Linux 5.6, per-CPU arrays 5.13), with buffers that are used again."""

    def __init__(self, fd: int, key_bytes: int, value_bytes: int, most: int, delete: bool) -> None:
        """`value_bytes` of all CPUs together; `most` elements in one piece; `delete` what was read (hashes only)."""
        self._fd = fd
        self._command = MAP_LOOKUP_AND_DELETE_BATCH if delete else MAP_LOOKUP_BATCH
        self._key_bytes, self._value_bytes = key_bytes, value_bytes
        self._from: ctypes.Array[ctypes.c_char] | None = None
        self._to = ctypes.create_string_buffer(max(key_bytes, _TOKEN_BYTES))
        self.grow(most)

    def grow(self, most: int) -> None:
        """Makes room for more elements: a hash's bucket must fit as a whole (ENOSPC otherwise)."""
        self.most = most
        self._keys = ctypes.create_string_buffer(max(most * self._key_bytes, 1))
        self._values = ctypes.create_string_buffer(max(most * self._value_bytes, 1))

    def read(self) -> tuple[int, bytes, bytes, bool]:
        """The next elements: how many, their keys, their values, whether these were the last.

        Raises:
            OSError: ENOSPC: `grow` and try again. EINVAL, ENOTSUPP (524): this kernel cannot do it for this map.
        """
        attr = ctypes.create_string_buffer(
            _BATCH_ATTR.pack(
                ctypes.addressof(self._from) if self._from else 0, ctypes.addressof(self._to),
                ctypes.addressof(self._keys), ctypes.addressof(self._values), self.most, self._fd, 0, 0,
            ),
            _BATCH_ATTR.size,
        )  # fmt: skip
        last = False
        try:
            _bpf(self._command, attr)
        except FileNotFoundError:
            last = True
        (count,) = struct.unpack_from("=I", attr, _BATCH_COUNT_AT)
        self._from = _copy(self._to.raw)
        keys = ctypes.string_at(self._keys, count * self._key_bytes)
        return count, keys, ctypes.string_at(self._values, count * self._value_bytes), last


def map_freeze(fd: int) -> None:
    """Forbids further writes from user space: the verifier then treats the content of a read-only map as constants."""
    _bpf(MAP_FREEZE, struct.pack("=I", fd))


# Programs -----------------------------------------------------------------------------------------------------------


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
    name: str, code: bytes, program_type: int, attach_type: int, attach_btf_id: int, sleepable: bool, btf_fd: int,
    functions: bytes,
) -> int:  # fmt: skip
    """A program; its descriptor. `functions` are bpf_func_info records (offset, type id).

    Raises:
        Rejected: with the verifier's log, for which the program is loaded a second time.
    """
    code_copy, functions_copy, license_copy = _copy(code), _copy(functions), _copy(b"GPL\0")

    def load(level: int, log_bytes: int, log: int) -> int:
        return _bpf(
            PROG_LOAD,
            _PROG_ATTR.pack(
                program_type, len(code) // 8, ctypes.addressof(code_copy), ctypes.addressof(license_copy),
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


def link_create(program_fd: int, attach_type: int, target_fd: int = 0) -> int:
    """Attaches a program, to a cgroup or to what it was loaded for; the link's descriptor."""
    return _bpf(LINK_CREATE, struct.pack("=IIIIQIIQQQ", program_fd, target_fd, attach_type, 0, 0, 0, 0, 0, 0, 0))


def raw_tracepoint_open(program_fd: int, name: str = "") -> int:
    """Attaches a program to a tracepoint, which one of kind tp_btf knows by itself; the link's descriptor."""
    copy = _copy(name.encode() + b"\0")
    return _bpf(RAW_TRACEPOINT_OPEN, struct.pack("=QII", ctypes.addressof(copy) if name else 0, program_fd, 0))


def iter_create(link_fd: int) -> int:
    """One pass of an iterator; a descriptor to read from."""
    return _bpf(ITER_CREATE, struct.pack("=II", link_fd, 0))
