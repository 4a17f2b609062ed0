"""Owners of files, by small package databases."""

import hashlib
import os
import sqlite3
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.errors import Unavailable
from hostscope.model.package import FileOwner
from hostscope.platforms.linux.dpkg import aliases, parse_digest, parse_diversions, parse_versions
from hostscope.platforms.linux.packages import Packages, hash_file
from hostscope.platforms.linux.rpmheader import BadHeader, Header, parse_algorithm, parse_file, parse_name

MD5 = "7210080490f9fd139c1b44fa0f730988"
STATUS = b"""Package: bash
Status: install ok installed
Architecture: amd64
Version: 5.2.15-2+b8
Description: shell
 Package: not this

Package: libc6
Status: install ok installed
Architecture: amd64
Multi-Arch: same
Version: 2.36-9

Package: libc6
Status: install ok installed
Architecture: i386
Multi-Arch: same
Version: 2.36-8

Package: removed
Status: deinstall ok config-files
Architecture: all
Version: 1
"""


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A merged-/usr host with a few packages."""
    info = tmp_path / "var/lib/dpkg/info"
    info.mkdir(parents=True)
    for name in ("bin", "lib"):
        (tmp_path / "usr" / name).mkdir(parents=True)
        (tmp_path / name).symlink_to(f"usr/{name}")
    (tmp_path / "var/lib/dpkg/status").write_bytes(STATUS)
    (tmp_path / "var/lib/dpkg/diversions").write_text(
        "/bin/sh\n/bin/sh.distrib\ndash\n/usr/bin/which\n/usr/bin/which.mine\n:\n"
    )
    lists = {
        "bash": "/.\n/bin\n/bin/bash\n/bin/sh\n/usr/bin/which\n/usr/bin/new\nline\n",
        "dash": "/.\n/bin\n/bin/dash\n/bin/sh\n",
        "libc6:amd64": "/.\n/lib/x/libc.so.6\n/usr/share/doc/libc6/copyright\n",
        "libc6:i386": "/.\n/lib/y/libc.so.6\n/usr/share/doc/libc6/copyright\n",
    }
    for name, text in lists.items():
        (info / f"{name}.list").write_text(text)
    (info / "bash.md5sums").write_text(f"{MD5}  bin/bash\n{'0' * 32}  usr/bin/which\n{'1' * 32}  bin/sh\n")
    (info / "libc6:amd64.md5sums").write_text(f"{'2' * 32}  lib/x/libc.so.6\n")
    return tmp_path


def dpkg(package: str, version: str | None, digest: str | None) -> FileOwner:
    return FileOwner(package, version, "dpkg", "md5" if digest else None, digest)


@pytest.mark.parametrize("path", ["/bin/bash", "/usr/bin/bash"])
def test_either_side_of_a_merged_usr(host: Path, path: str) -> None:
    assert Packages(str(host)).owner(path) == dpkg("bash", "5.2.15-2+b8", MD5)


def test_usr_that_is_not_merged(host: Path) -> None:
    (host / "bin").unlink()
    (host / "bin").mkdir()
    assert Packages(str(host)).owner("/usr/bin/bash") is None
    assert Packages(str(host)).owner("/bin/bash") is not None


def test_multiarch_names_and_versions(host: Path) -> None:
    packages = Packages(str(host))
    assert packages.owner("/usr/lib/x/libc.so.6") == dpkg("libc6:amd64", "2.36-9", "2" * 32)
    assert packages.owner("/lib/y/libc.so.6") == dpkg("libc6:i386", "2.36-8", None)
    assert packages.owner("/usr/share/doc/libc6/copyright") == dpkg("libc6:amd64", "2.36-9", None)


def test_diversions(host: Path) -> None:
    packages = Packages(str(host))
    assert packages.owner("/bin/sh") == dpkg("dash", None, None), "the diverting package's"
    assert packages.owner("/usr/bin/sh.distrib") == dpkg("bash", "5.2.15-2+b8", "1" * 32), "the diverted package's"
    assert packages.owner("/usr/bin/which") is None, "a local diversion leaves no package's file"
    assert packages.owner("/usr/bin/which.mine") == dpkg("bash", "5.2.15-2+b8", "0" * 32)


@pytest.mark.parametrize("path", ["/bin/bas", "/bin/bash/x", "bash", "", "/", "/usr", "/nowhere", "/bin/\U0010eeff"])
def test_nobodys_file(host: Path, path: str) -> None:
    assert Packages(str(host)).owner(path) is None


def test_a_new_package_is_seen(host: Path) -> None:
    packages = Packages(str(host))
    assert packages.owner("/opt/tool") is None
    info = host / "var/lib/dpkg/info"
    (info / "tool.list").write_text("/.\n/opt\n/opt/tool\n")
    os.utime(info, ns=(1, 1))
    assert packages.owner("/opt/tool") == dpkg("tool", None, None)


def test_no_database(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="neither"):
        Packages(str(tmp_path)).owner("/bin/bash")


@pytest.mark.parametrize(("name", "kind"), [("Packages", "Berkeley DB"), ("Packages.db", "NDB")])
def test_rpm_databases_that_only_rpm_reads(tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / "var/lib/rpm").mkdir(parents=True)
    (tmp_path / "var/lib/rpm" / name).write_bytes(b"\0" * 100)
    with pytest.raises(Unavailable, match=kind):
        Packages(str(tmp_path)).owner("/bin/bash")


# RPM headers --------------------------------------------------------------------------------------------------------


def header(**tags: tuple[int, int, list[bytes] | list[int]]) -> bytes:
    """A header blob of (tag, type, values)."""
    entries, data = b"", b""
    for tag, kind, values in tags.values():
        entries += struct.pack(">IIII", tag, kind, len(data), len(values))
        codes = {3: ">H", 4: ">I", 1: ">B"}
        data += b"".join(v + b"\0" if isinstance(v, bytes) else struct.pack(codes[kind], v) for v in values)
    return struct.pack(">II", len(tags), len(data)) + entries + data


def package(**more: tuple[int, int, list[bytes] | list[int]]) -> bytes:
    tags: dict[str, tuple[int, int, list[bytes] | list[int]]] = {
        "name": (1000, 6, [b"bash"]),
        "version": (1001, 6, [b"5.2"]),
        "release": (1002, 6, [b"1.fc40"]),
        "basenames": (1117, 8, [b"bash", b"gone", b"bash"]),
        "folders": (1118, 8, [b"/usr/bin/", b"/usr/share/"]),
        "indexes": (1116, 4, [0, 0, 1]),
        "digests": (1035, 8, [b"a" * 64, b"", b"b" * 64]),
        "states": (1029, 1, [0, 1, 0]),
        "algorithm": (5011, 4, [8]),
    }
    return header(**(tags | more))


def test_header() -> None:
    parsed = Header(package(epoch=(1003, 4, [2])))
    assert parse_name(parsed) == ("bash", "2:5.2-1.fc40")
    assert parse_algorithm(parsed) == "sha256"
    assert parse_algorithm(Header(package(algorithm=(5011, 4, [99])))) is None
    assert parse_algorithm(Header(header())) == "md5"
    first, gone = parse_file(parsed, 0), parse_file(parsed, 1)
    assert (first.path, first.digest, first.installed) == (b"/usr/bin/bash", "a" * 64, True)
    assert (gone.path, gone.digest, gone.installed) == (b"/usr/bin/gone", None, False)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\0" * 7,
        struct.pack(">II", 1, 0),
        struct.pack(">II", 0xFFFFFFFF, 0xFFFFFFFF),
        struct.pack(">II", 0, 5),
    ],
)
def test_no_header(raw: bytes) -> None:
    with pytest.raises(BadHeader):
        Header(raw)


@pytest.mark.parametrize(
    ("kind", "offset", "count"),
    [(8, 0, 0xFFFFFFFF), (8, 0xFFFFFFFF, 1), (8, 4, 1), (4, 0, 1), (9, 0, 2), (99, 0, 1), (0, 0, 0)],
)
def test_entries_that_reach_beyond_the_data(kind: int, offset: int, count: int) -> None:
    raw = struct.pack(">IIIIII", 1, 4, 1000, kind, offset, count) + b"bash"
    with pytest.raises(BadHeader):
        Header(raw).text(1000)


def test_numbers_that_reach_beyond_the_data() -> None:
    for kind, offset, count in ((4, 1, 1), (5, 0, 1), (4, 0, 0xFFFFFFFF), (6, 0, 1)):
        raw = struct.pack(">IIIIII", 1, 4, 1116, kind, offset, count) + b"\0\0\0\1"
        with pytest.raises(BadHeader):
            Header(raw).integers(1116)


@given(st.binary(max_size=300) | st.binary(max_size=200).map(lambda tail: struct.pack(">II", 3, 40) + tail))
def test_any_header(raw: bytes) -> None:
    try:
        parsed = Header(raw)
        parse_name(parsed)
        parse_file(parsed, 0)
        parse_algorithm(parsed)
    except BadHeader:
        pass


@given(st.data())
def test_any_damage_to_a_header(data: st.DataObject) -> None:
    raw = bytearray(package())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        parsed = Header(bytes(raw))
        for index in range(4):
            parse_file(parsed, index)
        parse_name(parsed)
        parse_algorithm(parsed)
    except BadHeader:
        pass


@pytest.fixture
def rpm_host(tmp_path: Path) -> Path:
    folder = tmp_path / "usr/lib/sysimage/rpm"
    folder.mkdir(parents=True)
    (tmp_path / "usr/bin").mkdir()
    (tmp_path / "bin").symlink_to("usr/bin")
    with sqlite3.connect(folder / "rpmdb.sqlite") as database:
        database.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)")
        database.execute("CREATE TABLE Basenames (key TEXT NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL)")
        database.execute("INSERT INTO Packages VALUES (7, ?)", [package()])
        names = [("bash", 7, 0), ("gone", 7, 1), ("bash", 7, 2)]
        database.executemany("INSERT INTO Basenames VALUES (?, ?, ?)", names)
    database.close()
    return tmp_path


def test_rpm_owner(rpm_host: Path) -> None:
    packages = Packages(str(rpm_host))
    expected = FileOwner("bash", "5.2-1.fc40", "rpm", "sha256", "a" * 64)
    assert packages.owner("/usr/bin/bash") == packages.owner("/bin/bash") == expected
    assert packages.owner("/usr/bin/gone") is None, "listed as not installed"
    assert packages.owner("/usr/lib/bash") is None
    assert [path.name for path in (rpm_host / "usr/lib/sysimage/rpm").iterdir()] == ["rpmdb.sqlite"], "nothing is made"


def test_rpm_database_in_a_transaction(rpm_host: Path) -> None:
    (rpm_host / "usr/lib/sysimage/rpm/rpmdb.sqlite-wal").write_bytes(b"x")
    with pytest.raises(Unavailable, match="being written"):
        Packages(str(rpm_host)).owner("/usr/bin/bash")


@pytest.mark.parametrize("damage", [b"no database", b"", package()])
def test_damaged_rpm_database(rpm_host: Path, damage: bytes) -> None:
    (rpm_host / "usr/lib/sysimage/rpm/rpmdb.sqlite").write_bytes(damage)
    with pytest.raises(Unavailable, match="cannot be read"):
        Packages(str(rpm_host)).owner("/usr/bin/bash")


# Pure parsers -------------------------------------------------------------------------------------------------------


def test_versions() -> None:
    versions = parse_versions(STATUS)
    assert versions["bash"] == versions["bash:amd64"] == "5.2.15-2+b8"
    assert (versions["libc6:amd64"], versions["libc6:i386"]) == ("2.36-9", "2.36-8")
    assert "removed" not in versions


def test_aliases() -> None:
    merged = frozenset({b"/bin"})
    assert aliases(b"/bin/sh", merged) == (b"/bin/sh", b"/usr/bin/sh")
    assert aliases(b"/usr/bin/sh", merged) == (b"/usr/bin/sh", b"/bin/sh")
    assert aliases(b"/usr/lib/sh", merged) == (b"/usr/lib/sh",)
    assert aliases(b"/binary", merged) == (b"/binary",)
    assert aliases(b"/usrbin/sh", merged) == (b"/usrbin/sh",)


@given(st.binary(max_size=300))
def test_any_bytes(raw: bytes) -> None:
    parse_versions(raw)
    parse_diversions(raw)
    parse_digest(raw, (raw, b"/bin/sh"))
    aliases(raw, frozenset({b"/bin"}))


def test_a_whole_file_is_hashed_wherever_its_descriptor_stands(tmp_path: Path) -> None:
    path = tmp_path / "tool"
    path.write_bytes(b"x" * 3_000_000)
    with path.open("rb", buffering=0) as file:
        file.seek(5)
        assert hash_file(file.fileno(), "sha256") == hashlib.sha256(b"x" * 3_000_000).hexdigest()
        assert hash_file(file.fileno(), "md5") == hashlib.md5(b"x" * 3_000_000).hexdigest()
        assert file.tell() == 5
