"""The PROCMAP_QUERY ioctl: what is mapped at one address, without reading the whole map as text."""

import fcntl
import struct

PROCMAP_QUERY = 0xC0686611
"""_IOWR('f', 17, struct procmap_query); include/uapi/linux/fs.h, Linux 6.11."""
PROCMAP_QUERY_VMA_WRITABLE = 1 << 1
_QUERY = struct.Struct("=9Q4I2Q")
_FOUND = struct.Struct("=QQ")
_FOUND_AT = 32


def mapped_at(maps: int, address: int) -> tuple[int, int]:
    """Where the mapping at an address ends, and what may be done with its memory, by an open /proc/PID/maps.

    Raises:
        OSError: ENOENT when nothing is mapped there, ESRCH when the address space is gone, ENOTTY before Linux 6.11.
    """
    # size query_flags query_addr vma_start vma_end vma_flags vma_page_size vma_offset inode
    # dev_major dev_minor vma_name_size build_id_size vma_name_addr build_id_addr
    query = bytearray(_QUERY.pack(_QUERY.size, 0, address, *bytes(12)))
    fcntl.ioctl(maps, PROCMAP_QUERY, query, True)
    end, flags = _FOUND.unpack_from(query, _FOUND_AT)
    return end, flags
