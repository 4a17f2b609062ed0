"""The text of /proc and /etc that tells of the host. Pure: bytes in, fields out; nonsense is a `ValueError`."""

import re

from msgspec import Struct

from hostscope.model.host import DiskCounters, Pressure

SECTOR_BYTES = 512
"""/proc/diskstats counts in these, whatever the device's own sectors are (Documentation/admin-guide/iostats.rst)."""
_ESCAPE = re.compile(rb"\\([0-3][0-7][0-7])")
_WHOLE_DISK_FIELDS = 14
_UNQUOTED = re.compile(r"\\(.)")


class Mount(Struct, frozen=True):
    """One line of /proc/PID/mountinfo."""

    root: bytes
    """Which directory of the file system is mounted."""
    point: bytes
    type: bytes
    options: tuple[bytes, ...]
    """Of the mount and of the file system, together."""


def parse_mounts(raw: bytes) -> list[Mount]:
    """Source: proc_pid_mountinfo(5). Later mounts stand on top of earlier ones with the same point."""
    return [_mount(line) for line in raw.split(b"\n") if line]  # a carriage return may be in a name


def _mount(line: bytes) -> Mount:
    left, separator, right = line.partition(b" - ")
    before, after = left.split(b" "), right.split(b" ")
    if not separator or len(before) < 6 or not after[0]:
        raise ValueError("mountinfo line is cut short")
    options = before[5].split(b",") + (after[2].split(b",") if len(after) > 2 else [])
    return Mount(unescape_octal(before[3]), unescape_octal(before[4]), after[0], tuple(options))


def unescape_octal(raw: bytes) -> bytes:
    r"""``\040`` and its like back to the byte (seq_path, mangle_path in fs/seq_file.c)."""
    return _ESCAPE.sub(lambda found: bytes([int(found[1], 8)]), raw) if b"\\" in raw else raw


class Cpus(Struct, frozen=True):
    """/proc/stat; times in clock ticks, summed over all processors."""

    user: int
    """With nice; guests are contained in it (account_guest_time counts them twice)."""
    system: int
    """With interrupts."""
    idle: int
    iowait: int
    steal: int
    count: int
    context_switches: int | None
    created: int | None
    running: int | None


def parse_cpus(raw: bytes) -> Cpus:
    """Source: proc_stat(5)."""
    lines = [line.split() for line in raw.splitlines() if line.strip()]
    values = {line[0]: line[1:] for line in lines}
    if len(values.get(b"cpu", ())) < 8:
        raise ValueError("stat has no cpu line")
    user, nice, system, idle, iowait, irq, softirq, steal = (int(ticks) for ticks in values[b"cpu"][:8])
    one = {name: int(found[0]) for name in (b"ctxt", b"processes", b"procs_running") if (found := values.get(name))}
    return Cpus(
        user=user + nice,
        system=system + irq + softirq,
        idle=idle,
        iowait=iowait,
        steal=steal,
        count=sum(name.startswith(b"cpu") for name in values) - 1,
        context_switches=one.get(b"ctxt"),
        created=one.get(b"processes"),
        running=one.get(b"procs_running"),
    )


def parse_meminfo(raw: bytes) -> dict[str, int]:
    """Name -> bytes (a plain count where the line has no unit). Source: proc_meminfo(5)."""
    found = {}
    for line in raw.splitlines():
        name, separator, rest = line.partition(b":")
        words = rest.split()
        if not separator or not words:
            raise ValueError("meminfo line without a value")
        found[name.decode("ascii", "replace")] = int(words[0]) << (10 if words[1:] == [b"kB"] else 0)
    return found


def parse_loadavg(raw: bytes) -> tuple[float, float, float]:
    """Averages over 1, 5 and 15 minutes. Source: proc_loadavg(5)."""
    one, five, fifteen = raw.split()[:3]
    return float(one), float(five), float(fifteen)


def parse_last_pid(raw: bytes) -> int:
    """The pid that was given out last in our PID namespace. Source: proc_loadavg(5), field 5."""
    return int(raw.split()[4])


def parse_pressure(raw: bytes) -> Pressure:
    """Source: Documentation/accounting/psi.rst (4.20). The host's cpu file has no "full" line before 5.13."""
    shares = {line.split()[0]: _shares(line) for line in raw.splitlines() if line.strip()}
    if b"some" not in shares:
        raise ValueError("pressure file without a 'some' line")
    return Pressure(*shares[b"some"], *shares.get(b"full", (None, None, None)))


def _shares(line: bytes) -> tuple[float, float, float]:
    values = dict(word.split(b"=", 1) for word in line.split()[1:] if b"=" in word)
    if not {b"avg10", b"avg60", b"avg300"} <= values.keys():
        raise ValueError("pressure line lacks an average")
    # Per cent with two decimals; rounding keeps the ratio as short as the kernel's figure.
    ten, sixty, threehundred = (round(float(values[name]) / 100, 4) for name in (b"avg10", b"avg60", b"avg300"))
    return ten, sixty, threehundred


def parse_disks(raw: bytes) -> tuple[DiskCounters, ...]:
    """Every block device that did anything since boot, partitions too. Source: proc_diskstats(5)."""
    disks = (_disk(line.split()) for line in raw.splitlines())
    return tuple(disk for disk in disks if disk.reads or disk.writes)


def _disk(words: list[bytes]) -> DiskCounters:
    if len(words) < _WHOLE_DISK_FIELDS:
        raise ValueError("diskstats line is cut short")
    reads, _, sectors_in, in_ms, writes, _, sectors_out, out_ms, _, busy_ms = (int(word) for word in words[3:13])
    return DiskCounters(
        name=words[2].decode("utf-8", "replace"),
        reads=reads,
        read_bytes=sectors_in * SECTOR_BYTES,
        read_time_ns=in_ms * 1_000_000,
        writes=writes,
        written_bytes=sectors_out * SECTOR_BYTES,
        write_time_ns=out_ms * 1_000_000,
        busy_ns=busy_ms * 1_000_000,
    )


def parse_os_release(raw: bytes) -> dict[str, str]:
    """Names and values, quotes taken off; lines that are none are passed over. Source: os-release(5)."""
    found = {}
    for line in raw.decode("utf-8", "replace").splitlines():
        name, separator, value = line.strip().partition("=")
        if separator and not name.startswith("#"):
            found[name] = _unquote(value)
    return found


def _unquote(value: str) -> str:
    """Shell quoting as far as os-release(5) allows it."""
    if len(value) >= 2 and value[0] == value[-1] == "'":
        return value[1:-1]
    if len(value) >= 2 and value[0] == value[-1] == '"':
        value = value[1:-1]
    return _UNQUOTED.sub(r"\1", value)


def parse_bracketed(raw: bytes) -> str:
    """The chosen word of a list such as ``none [integrity] confidentiality``."""
    opening, closing = raw.index(b"["), raw.index(b"]")
    return raw[opening + 1 : closing].decode("ascii", "replace")
