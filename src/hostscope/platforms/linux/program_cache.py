"""Relocated programs, kept between runs: what takes 50 ms the first time takes 1 ms after.

The cache holds instructions that root loads into the kernel, so it is believed only if nobody but root can have
written it: directory and file belong to root and nobody else may write to them, and the content has the digest that
was written with it. Anything else is refused with a reason, never loaded, and written anew. The digest alone guards
against damage, not against root. Other users have no cache.
"""

import hashlib
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import msgspec

from hostscope.errors import Unavailable, Unsupported
from hostscope.platforms.linux.image import FORMAT, Image

DIRECTORY = "/var/cache/hostscope"
KERNEL_NOTES = "/sys/kernel/notes"
OBJECT = os.path.join(os.path.dirname(__file__), "bpf", "tasks.bpf.o")
_MAGIC = b"hostscope programs\n"
_DIGEST_BYTES = 32
_LIMIT = 1 << 22
_DECODER = msgspec.msgpack.Decoder(Image)


class Found(NamedTuple):
    """Programs for this kernel."""

    image: Image
    note: str | None
    """Why they were not taken from the cache, or could not be kept; None when they came from it."""


class Refused(Exception):
    """The cache is not to be believed; the text says why."""


def load_image() -> Found:
    """The shipped programs for the running kernel, from the cache if it can be trusted.

    Raises:
        Unsupported: the kernel does not describe its types, or lacks what the programs need.
        Unavailable: it cannot be read.
    """
    with open(OBJECT, "rb") as file:
        raw_object = file.read()
    if os.geteuid() != 0:
        return Found(_build(raw_object), "only root has a cache of programs")
    return cached(DIRECTORY, cache_key(raw_object, read_build_id()), lambda: _build(raw_object))


def _build(raw_object: bytes) -> Image:
    # Imported late: a run that finds its programs in the cache needs none of it.
    from hostscope.platforms.linux.relocate import build_image, read_kernel_btf

    try:
        return build_image(raw_object, read_kernel_btf())
    except ValueError as failed:
        raise Unsupported(f"the programs do not fit this kernel: {failed}") from failed


def read_build_id() -> bytes:
    """What identifies this very build of the kernel, boot after boot. Source: /sys/kernel/notes (2.6.23)."""
    try:
        with open(KERNEL_NOTES, "rb") as file:
            return file.read(_LIMIT)
    except OSError as failed:
        raise Unavailable(f"{KERNEL_NOTES}: {failed.strerror}") from failed


def cache_key(raw_object: bytes, build_id: bytes) -> str:
    """Name of the cache entry: another kernel, object or format never meets an old one."""
    parts = (hashlib.sha256(part).digest() for part in (raw_object, build_id, FORMAT.encode()))
    return hashlib.sha256(b"".join(parts)).hexdigest()[:32]


def cached(directory: str, key: str, build: Callable[[], Image]) -> Found:
    """The entry `key` of a cache directory; built, and written there, when it is missing or not to be believed."""
    try:
        handle = open_directory(directory)
    except (OSError, Refused) as failed:
        return Found(build(), f"{directory} is not used: {failed}")
    try:
        return _cached_in(handle, f"tasks-{key}.bin", build)
    finally:
        os.close(handle)


def _cached_in(handle: int, name: str, build: Callable[[], Image]) -> Found:
    note = "no programs were cached for this kernel yet"
    try:
        return Found(read_entry(handle, name), None)
    except FileNotFoundError:
        pass
    except (OSError, Refused) as failed:
        note = f"the cached programs are refused: {failed}"
    image = build()
    try:
        write_entry(handle, name, image)
    except OSError as failed:
        note += f"; they cannot be kept: {failed}"
    return Found(image, note)


def open_directory(path: str) -> int:
    """A descriptor of the cache directory, made if it is missing. Its parent must be safe too, as /var/cache is.

    Raises:
        OSError
        Refused: not ours alone.
    """
    with suppress(FileExistsError):
        os.mkdir(path, 0o700)
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _check(os.stat(os.path.dirname(path)), 0o022, sticky=True)
        _check(os.fstat(handle), 0o077)
    except BaseException:
        os.close(handle)
        raise
    return handle


def read_entry(handle: int, name: str) -> Image:
    """One entry.

    Raises:
        OSError: FileNotFoundError when there is none; ELOOP when it is a symbolic link.
        Refused: someone else could have written it, or it is damaged.
    """
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=handle)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise Refused("it is no regular file")
        _check(status, 0o077)
        if status.st_nlink != 1 or status.st_size > _LIMIT:
            raise Refused("it has other names, or is too large")
        return parse_entry(os.read(fd, _LIMIT))
    finally:
        os.close(fd)


def parse_entry(raw: bytes) -> Image:
    """The image in an entry's content. Pure.

    Raises:
        Refused: damaged.
    """
    start = len(_MAGIC) + _DIGEST_BYTES
    if not raw.startswith(_MAGIC) or len(raw) < start:
        raise Refused("it is no program cache")
    if hashlib.sha256(raw[start:]).digest() != raw[len(_MAGIC) : start]:
        raise Refused("its digest does not match its content")
    try:
        return _DECODER.decode(raw[start:])
    except msgspec.MsgspecError as failed:
        raise Refused(f"it does not decode: {failed}") from None


def render_entry(image: Image) -> bytes:
    """What `parse_entry` reads."""
    body = msgspec.msgpack.encode(image)
    return _MAGIC + hashlib.sha256(body).digest() + body


def write_entry(handle: int, name: str, image: Image) -> None:
    """Puts an entry in place, whole or not at all, and removes those of other kernels and versions."""
    temporary = f".{name}.{os.getpid()}"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=handle)
    try:
        with open(fd, "wb") as file:
            file.write(render_entry(image))
        os.rename(temporary, name, src_dir_fd=handle, dst_dir_fd=handle)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=handle)
        raise
    for other in os.listdir(handle):
        if other.startswith("tasks-") and other != name:
            with suppress(OSError):
                os.unlink(other, dir_fd=handle)


def _check(status: os.stat_result, forbidden: int, sticky: bool = False) -> None:
    if status.st_uid != 0:
        raise Refused(f"it belongs to user {status.st_uid}, not to root")
    if status.st_mode & forbidden and not (sticky and status.st_mode & stat.S_ISVTX):
        raise Refused(f"others may read or write it (mode {stat.S_IMODE(status.st_mode):o})")
