"""The scripted libSystem from Python's side: what stands in its process table, what fails, what was asked."""

import ctypes
import importlib
import pkgutil
import re
from collections.abc import Sequence
from ctypes import c_char_p, c_int, c_int32, c_int64, c_uint8, c_uint16, c_uint32, c_uint64, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

from hostscope.platforms.macos import native
from hostscope.platforms.macos.native.library import LIBSYSTEM, Library

ANY = -1
_HEADER = (Path(__file__).parent / "fake" / "fake.h").read_text(encoding="utf-8")
FUNCTIONS = {
    name: number for number, name in enumerate(re.findall(r"\bFAKE_([A-Z_]+),", _HEADER.split("FAKE_FUNCTIONS")[0]))
}
"""Of `enum fake_function`."""
VALID, RUNTIME, PLATFORM, RESTRICT, GET_TASK_ALLOW = 0x1, 0x10000, 0x4000000, 0x800, 0x4


def _words(kind: Any, names: str) -> tuple[tuple[str, Any], ...]:
    return tuple((name, kind) for name in names.split())


class FakeFd(ctypes.Structure):
    """struct fake_fd."""

    _fields_ = (
        *_words(c_int, "fd type flags kind"),
        ("mode", c_uint16),
        ("offset", c_int64),
        ("inode", c_uint64),
        ("path", c_char_p),
        ("socket", c_void_p),
    )


class FakeProcess(ctypes.Structure):
    """struct fake_process."""

    _fields_ = (
        *_words(c_int, "pid ppid pgid sid uid ruid svuid gid rgid svgid ngroups"),
        ("groups", c_int * 16),
        *_words(c_int, "status flags proc_flags nice tdev threads running priority policy"),
        ("start_sec", c_int64),
        ("start_usec", c_int),
        *_words(c_uint64, "user_time system_time resident virt"),
        *_words(c_int, "faults pageins switches"),
        *_words(c_uint64, "footprint disk_read disk_written energy coalition unique parent_unique"),
        *_words(c_int, "cputype cpusubtype responsible sandboxed"),
        ("csflags", c_uint32),
        *_words(c_char_p, "comm name path cwd root team identity"),
        *_words(c_char_p, "args xml der"),
        *_words(c_int, "argc args_len xml_len der_len"),
        ("cdhash", c_uint8 * 20),
        ("fds", ctypes.POINTER(FakeFd)),
        ("nfds", c_int),
        ("dies_after", c_int),
    )


USUAL: dict[str, Any] = {
    "ppid": 1, "status": 2, "threads": 7, "running": 1, "priority": 31, "nice": 0, "tdev": -1,
    "start_sec": 1_700_000_000, "start_usec": 42, "user_time": 2_400_000, "system_time": 1_200_000,
    "resident": 1 << 20, "virt": 1 << 32, "faults": 300, "pageins": 20, "switches": 9, "footprint": 2 << 20,
    "disk_read": 4096, "disk_written": 8192, "energy": 1000, "coalition": 77, "cputype": 0x0100000C, "cpusubtype": 2,
    "csflags": VALID | RUNTIME, "proc_flags": 0x10, "flags": 0x4,
    "cwd": b"/", "comm": b"program", "path": b"/usr/local/bin/program",
}  # fmt: skip


class Darwin:
    """One scripted system."""

    def __init__(self, path: Path) -> None:
        self.library = ctypes.CDLL(str(path))
        assert self.library.fake_process_size is not None
        self.library.fake_process_size.restype = ctypes.c_size_t
        assert self.library.fake_process_size() == ctypes.sizeof(FakeProcess)
        self._kept: list[Any] = []

    def reset(self, uid: int = 0) -> None:
        """An empty table, asked by a user; the usual values of sysctl."""
        self._kept.clear()
        self.library.fake_reset(uid)
        self.library.fake_sysctl_reset()
        self.library.fake_protection(0)
        self.library.fake_newest_usage(6)
        self.library.fake_timebase(125, 3)
        self.value("kern.bootsessionuuid", b"5C0B7F2E-0000-4000-8000-000000000001\0")
        self.value("kern.boottime", (1_699_999_000).to_bytes(8, "little") + bytes(8))
        self.value("kern.argmax", (1 << 20).to_bytes(4, "little"))
        self.value("hw.optional.arm64", (1).to_bytes(4, "little"))

    def add(
        self,
        pid: int,
        argv: Sequence[bytes] | None = None,
        env: Sequence[bytes] = (),
        fds: Sequence[dict[str, Any]] = (),
        **fields: Any,
    ) -> None:
        """A process; `fields` are of struct fake_process, bytes for its strings."""
        values = {**USUAL, "unique": pid + 1_000_000, "parent_unique": 1_000_001, "pgid": pid, "sid": pid, **fields}
        uid = values.get("uid", 0)
        values = {"ruid": uid, "svuid": uid, "gid": 20, "rgid": 20, "svgid": 20, "groups": (20, 12), **values}
        groups = tuple(values.pop("groups"))
        values.setdefault("ngroups", len(groups))
        process = FakeProcess(pid=pid, groups=(c_int * 16)(*groups))
        self._arguments(values, argv, env)
        for name in ("xml", "der"):
            values[f"{name}_len"] = len(values.get(name, b"") or b"")
        process.fds, process.nfds = self._descriptors(fds), len(fds)
        process.cdhash = (c_uint8 * 20)(*values.pop("cdhash", bytes(range(20))))
        for name, value in values.items():
            setattr(process, name, value)
        self._kept.append(process)  # and with it the bytes it points to
        assert self.library.fake_add(ctypes.byref(process)) > 0

    def _arguments(self, values: dict[str, Any], argv: Sequence[bytes] | None, env: Sequence[bytes]) -> None:
        path = values["path"] or values["comm"]
        argv = [path] if argv is None else argv
        if "args" not in values:
            values["args"] = path + bytes(8 - len(path) % 8) + b"".join(text + b"\0" for text in (*argv, *env, b""))
            values.setdefault("argc", len(argv))
        values["args_len"] = len(values["args"] or b"")

    def _descriptors(self, fds: Sequence[dict[str, Any]]) -> Any:
        made = (FakeFd * max(1, len(fds)))(*(FakeFd(**fd) for fd in fds))
        self._kept.append(made)
        return made

    def value(self, name: str, data: bytes) -> None:
        """A value of sysctlbyname(3); the last one set counts."""
        self._kept.append((name, data))
        self.library.fake_sysctl_name(name.encode(), data, ctypes.c_size_t(len(data)))

    def numbers(self, numbers: Sequence[int], data: bytes) -> None:
        """A value of sysctl(3)."""
        self._kept.append(data)
        self.library.fake_sysctl_numbers(
            (c_int32 * len(numbers))(*numbers), c_uint32(len(numbers)), data, ctypes.c_size_t(len(data))
        )

    def fail(self, function: str, code: int, pid: int = ANY, detail: int = ANY, times: int = ANY) -> None:
        """Lets a call fail with Darwin's number; `detail` is the flavour, operation or second number."""
        self.library.fake_error(pid, FUNCTIONS[function], detail, code, times)

    def kill(self, pid: int) -> None:
        """Its end, without a zombie."""
        self.library.fake_kill(pid)

    def grow(self, by: int) -> None:
        """So many processes start each time the list is read."""
        self.library.fake_grow(by)

    def calls(self, function: str, detail: int = ANY) -> int:
        """How often a call was made since the last reset."""
        count: int = self.library.fake_count(FUNCTIONS[function], detail)
        return count

    def protection(self, config: int) -> None:
        """What csr_get_active_config gives."""
        self.library.fake_protection(c_uint32(config))


def install(path: Path | None) -> None:
    """Lets all native modules call the scripted library; None: Apple's again."""
    for library in _libraries():
        library.name, library._loaded = (LIBSYSTEM if path is None else str(path)), None
        for function in library.signatures.keys() & vars(library).keys():
            delattr(library, function)


@cache
def _libraries() -> tuple[Library, ...]:
    """Every library object of the native modules that stands for libSystem."""
    names = (f"{native.__name__}.{info.name}" for info in pkgutil.iter_modules(native.__path__))
    values = (value for name in names for value in vars(importlib.import_module(name)).values())
    found = {id(value): value for value in values if isinstance(value, Library) and value.name == LIBSYSTEM}
    return tuple(found.values())
