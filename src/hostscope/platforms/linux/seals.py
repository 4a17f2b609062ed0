"""What a file system keeps beside a file to vouch for it: IMA's and EVM's attributes, and fs-verity's digest.

Source: ``security.ima``, ``security.evm`` (security/integrity/ of Linux; reading them needs CAP_SYS_ADMIN on some file
systems and no privilege on most); FS_IOC_MEASURE_VERITY (include/uapi/linux/fsverity.h, Linux 5.4), which asks the
kernel for the digest that it measures every read of the file by.
"""

import errno
import fcntl
import os
import struct
from typing import Literal

from hostscope.errors import Unavailable
from hostscope.model.signature import Seal
from hostscope.platforms.linux.translate import error

ATTRIBUTES: dict[Literal["ima", "evm"], str] = {"ima": "security.ima", "evm": "security.evm"}
FS_IOC_MEASURE_VERITY = 0xC0046686
DIGEST = struct.Struct("=HH")
MOST_DIGEST_BYTES = 64
ALGORITHMS = {1: "sha256", 2: "sha512"}
NONE = frozenset({errno.ENODATA, errno.ENOTSUP, errno.ENOTTY, errno.EINVAL, errno.ENOSYS})
"""There is no such attribute, or the file system has none of its kind."""


def read_seals(file: int) -> tuple[Seal, ...]:
    """The seals of an open file.

    Raises:
        Denied, Unavailable

    Cost: three system calls.
    """
    found = [Seal(kind, raw) for kind, raw in _attributes(file).items()]
    verity = _verity(file)
    return (*found, verity) if verity else tuple(found)


def _attributes(file: int) -> dict[Literal["ima", "evm"], bytes]:
    found: dict[Literal["ima", "evm"], bytes] = {}
    for kind, name in ATTRIBUTES.items():
        try:
            found[kind] = os.getxattr(file, name)
        except OSError as failed:
            if failed.errno not in NONE:
                raise error("getxattr", failed) from failed
    return found


def _verity(file: int) -> Seal | None:
    room = bytearray(DIGEST.pack(0, MOST_DIGEST_BYTES) + bytes(MOST_DIGEST_BYTES))
    try:
        fcntl.ioctl(file, FS_IOC_MEASURE_VERITY, room)
    except OSError as failed:
        if failed.errno in NONE:
            return None
        raise error("FS_IOC_MEASURE_VERITY", failed) from failed
    number, size = DIGEST.unpack_from(room)
    if size > MOST_DIGEST_BYTES:
        raise Unavailable(f"fs-verity gave a digest of {size} bytes")
    return Seal("fs-verity", bytes(room[DIGEST.size : DIGEST.size + size]), ALGORITHMS.get(number, str(number)))
