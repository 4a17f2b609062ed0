"""Starting a program that waits. Source: spawn.h, sys/spawn.h (POSIX_SPAWN_START_SUSPENDED)."""

import ctypes
import os
from collections.abc import Mapping, Sequence
from ctypes import c_char_p, c_int16, c_int32, c_void_p

from hostscope.platforms.macos.native import errnos
from hostscope.platforms.macos.native.library import LIBSYSTEM, Library

POSIX_SPAWN_SETSIGDEF, POSIX_SPAWN_START_SUSPENDED = 0x4, 0x80
_RESET = (2, 13, 15, 25)
"""SIGINT, SIGPIPE, SIGTERM, SIGXFSZ: what Python or we changed is as a shell would leave it."""

SIGNATURES = {
    "posix_spawnp": (c_int32, (c_void_p, c_char_p, c_void_p, c_void_p, c_void_p, c_void_p)),
    "posix_spawnattr_init": (c_int32, (c_void_p,)),
    "posix_spawnattr_destroy": (c_int32, (c_void_p,)),
    "posix_spawnattr_setflags": (c_int32, (c_void_p, c_int16)),
    "posix_spawnattr_setsigdefault": (c_int32, (c_void_p, c_void_p)),
}
spawning = Library(LIBSYSTEM, SIGNATURES)


def start_suspended(argv: Sequence[bytes], environment: Mapping[bytes, bytes]) -> int:
    """Starts a program that waits before its first instruction for SIGCONT; its pid.

    Raises:
        OSError: ENOENT, EACCES.
    """
    attributes, pid = c_void_p(), c_int32()
    signals = ctypes.c_uint32(sum(1 << number - 1 for number in _RESET))
    by = ctypes.byref
    _checked(spawning.posix_spawnattr_init(by(attributes)), "posix_spawnattr_init")
    try:
        flags = POSIX_SPAWN_START_SUSPENDED | POSIX_SPAWN_SETSIGDEF
        _checked(spawning.posix_spawnattr_setflags(by(attributes), flags), "posix_spawnattr_setflags")
        _checked(spawning.posix_spawnattr_setsigdefault(by(attributes), by(signals)), "posix_spawnattr_setsigdefault")
        words = _words(argv)
        settings = _words([name + b"=" + value for name, value in environment.items()])
        code = spawning.posix_spawnp(by(pid), argv[0], None, by(attributes), words, settings)
        _checked(code, os.fsdecode(argv[0]))
    finally:
        spawning.posix_spawnattr_destroy(by(attributes))
    return pid.value


def _words(texts: Sequence[bytes]) -> ctypes.Array[c_char_p]:
    return (c_char_p * (len(texts) + 1))(*texts, None)


def _checked(code: int, what: str) -> None:
    if code:
        raise errnos.error(code, f"{what}: {errnos.text(code)}")
