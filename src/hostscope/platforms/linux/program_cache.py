"""Relocated programs, kept between runs: what takes 50 ms the first time takes 1 ms after.

The cache holds instructions that root loads into the kernel, so it is believed only if nobody but root can have
written it (see `trusted`), and the content has the digest that was written with it. Anything else is refused with a
reason, never loaded, and written anew. The digest alone guards against damage, not against root. Other users have no
cache.
"""

import hashlib
import os
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import NamedTuple

import msgspec

from hostscope.errors import Unavailable, Unsupported, Untrusted
from hostscope.platforms.linux.image import FORMAT, Image
from hostscope.platforms.linux.trusted import Folder, cache_folder, open_folder

KERNEL_NOTES = "/sys/kernel/notes"
OBJECTS = os.path.join(os.path.dirname(__file__), "bpf")
_MAGIC = b"hostscope programs\n"
_DIGEST_BYTES = 32
_LIMIT = 1 << 22
_DECODER = msgspec.msgpack.Decoder(Image)


class Found(NamedTuple):
    """Programs for this kernel."""

    image: Image
    note: str | None
    """Why they were not taken from the cache, or could not be kept; None when they came from it."""


def load_image(name: str = "tasks") -> Found:
    """The programs of one shipped object for the running kernel, from the cache if it can be trusted.

    Raises:
        Unsupported: the kernel does not describe its types, or the object is not made for this machine.
        Unavailable: it cannot be read.
    """
    raw_object = read_object(name)
    folder = cache_folder()
    if os.geteuid() != 0 or folder is None:
        return Found(_build(raw_object), "only root has a cache of programs")
    return cached(folder, name, cache_key(raw_object, read_build_id()), lambda: _build(raw_object))


def read_object(name: str, folder: str = OBJECTS) -> bytes:
    """A compiled object: ``NAME.bpf.o``, or where it depends on the machine ``NAME.x86_64.bpf.o`` and the like.

    Raises:
        Unsupported: there is none for this machine.
    """
    machine = os.uname().machine
    for file_name in (f"{name}.{machine}.bpf.o", f"{name}.bpf.o"):
        with suppress(FileNotFoundError), open(os.path.join(folder, file_name), "rb") as file:
            return file.read()
    raise Unsupported(f"there are no eBPF programs {name} for {machine}")


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


def cached(directory: str, name: str, key: str, build: Callable[[], Image]) -> Found:
    """An object's entry in a cache directory; built, and written there, when it is missing or not to be believed."""
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(open_folder(directory, make=True))
        except (OSError, Untrusted) as failed:
            return Found(build(), f"{directory} is not used: {failed}")
        return _cached_in(folder, f"{name}-{key}.bin", build)


def _cached_in(folder: Folder, name: str, build: Callable[[], Image]) -> Found:
    note = "no programs were cached for this kernel yet"
    try:
        return Found(parse_entry(folder.read(name, _LIMIT)), None)
    except FileNotFoundError:
        pass
    except (OSError, Untrusted) as failed:
        note = f"the cached programs are refused: {failed}"
    image = build()
    try:
        _keep(folder, name, image)
    except OSError as failed:
        note += f"; they cannot be kept: {failed}"
    return Found(image, note)


def _keep(folder: Folder, name: str, image: Image) -> None:
    """Stores an entry, and removes those of the same object for other kernels and of other versions."""
    folder.replace(name, render_entry(image))
    for other in folder.names():
        if other != name and other.rpartition("-")[0] == name.rpartition("-")[0]:
            with suppress(OSError):
                folder.remove(other)


def parse_entry(raw: bytes) -> Image:
    """The image in an entry's content. Pure.

    Raises:
        Untrusted: damaged.
    """
    start = len(_MAGIC) + _DIGEST_BYTES
    if not raw.startswith(_MAGIC) or len(raw) < start:
        raise Untrusted("it is no program cache")
    if hashlib.sha256(raw[start:]).digest() != raw[len(_MAGIC) : start]:
        raise Untrusted("its digest does not match its content")
    try:
        return _DECODER.decode(raw[start:])
    except msgspec.MsgspecError as failed:
        raise Untrusted(f"it does not decode: {failed}") from None


def render_entry(image: Image) -> bytes:
    """What `parse_entry` reads."""
    body = msgspec.msgpack.encode(image)
    return _MAGIC + hashlib.sha256(body).digest() + body
