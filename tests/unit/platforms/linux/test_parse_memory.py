"""/proc/PID/maps and smaps, and pagemap entries."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from hostscope.platforms.linux.clock import PAGE_BYTES
from hostscope.platforms.linux.pagemap import joined, runs
from hostscope.platforms.linux.parse_memory import parse_in_memory, parse_regions, parse_remote, parse_smaps

SMAPS = b"""00400000-00401000 r-xp 00000000 fe:00 12 /usr/bin/a b (deleted)
Size:                  4 kB
Rss:                   4 kB
Private_Dirty:         0 kB
VmFlags: rd ex mr mw me
7ffd0000-7ffd2000 rw-p 00000000 00:00 0 [stack]
Rss:                   8 kB
Private_Dirty:         8 kB
THPeligible:           0
VmFlags: rd wr gd ac
"""


def test_smaps() -> None:
    code, stack = parse_smaps(SMAPS)
    assert (code.start, code.end, code.permissions, code.inode) == (0x400000, 0x401000, "r-xp", 12)
    assert (code.path, code.deleted, code.resident_bytes, code.private_dirty_bytes) == ("/usr/bin/a b", True, 4096, 0)
    assert code.flags == ("rd", "ex", "mr", "mw", "me")
    assert (stack.path, stack.size_bytes, stack.private_dirty_bytes) == ("[stack]", 8192, 8192)


def test_maps_say_less() -> None:
    lines = b"".join(line + b"\n" for line in SMAPS.splitlines() if line[:1] in b"07")
    assert [one.resident_bytes for one in parse_regions(lines)] == [None, None]
    assert [one.start for one in parse_regions(lines)] == [one.start for one in parse_smaps(SMAPS)]


@given(st.one_of(st.binary(max_size=400), st.lists(st.sampled_from(SMAPS.splitlines())).map(b"\n".join)))
def test_any_text_is_regions_or_a_value_error(raw: bytes) -> None:
    for parse in (parse_regions, parse_smaps):
        try:
            parse(raw)
        except ValueError:
            continue


@given(st.lists(st.booleans(), max_size=200))
def test_runs_are_the_pages_that_are_there(pages: list[bool]) -> None:
    raw = struct.pack(
        f"<{len(pages)}Q", *((1 << 63 if number % 2 else 1 << 62) * used for number, used in enumerate(pages))
    )
    found = [page for start, end in runs(raw, 0x10000) for page in range(start, end, PAGE_BYTES)]
    assert found == [0x10000 + number * PAGE_BYTES for number, used in enumerate(pages) if used]


def test_ranges_that_touch_are_one() -> None:
    assert list(joined([(0, 1), (1, 2), (3, 4), (3, 6), (9, 10)])) == [(0, 2), (3, 6), (9, 10)]
    assert list(joined([])) == []


MOUNTS = b"""22 27 0:21 / /proc rw,relatime - proc proc rw
36 35 0:300 / /home rw,noatime shared:1 - fuse.sshfs me@there:/ rw
37 35 0:47 / /srv rw - nfs4 server:/ rw
38 35 254:0 / / rw - ext4 /dev/vda rw
"""


def test_file_systems_of_others_by_device() -> None:
    assert parse_remote(MOUNTS) == {"00:12c": "fuse.sshfs", "00:2f": "nfs4"}


def test_a_carriage_return_in_a_name_ends_no_line() -> None:
    assert parse_remote(b"38 35 0:48 / /mnt/a\rb rw shared:1 - fuse.x x rw\n") == {"00:30": "fuse.x"}


@given(st.one_of(st.binary(max_size=400), st.lists(st.sampled_from(MOUNTS.split(b" "))).map(b" ".join)))
def test_any_text_is_mounts_or_a_value_error(raw: bytes) -> None:
    try:
        parse_remote(raw)
        parse_in_memory(raw)
    except ValueError:
        return
