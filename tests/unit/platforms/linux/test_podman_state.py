"""Names of Podman's pods, from databases made here; a real one is in the system tests."""

import json
import sqlite3
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.model.container import Container
from hostscope.platforms.linux.container_state import parse_bundle
from hostscope.platforms.linux.containers import Containers
from hostscope.platforms.linux.podman_state import parse_bolt, parse_pod_id, parse_sqlite

POD, OTHER, NAME = "21065c7f" * 8, "0badcafe" * 8, "97071c11" * 8
SIZE = 4096
BRANCH, LEAF, META = 1, 2, 4


@pytest.mark.parametrize(
    ("group", "pod"),
    [
        (f"/libpod_parent/{POD}/libpod-{NAME}", POD),
        (f"machine-libpod_pod_{POD}.slice:libpod:{NAME}", POD),
        (f"/machine.slice/machine-libpod_pod_{POD}.slice/libpod-{NAME}.scope", POD),
        (f"/libpod_parent/libpod-{NAME}", None),
        (f"machine.slice:libpod:{NAME}", None),
        ("", None),
    ],
)
def test_pod_of_a_group(group: str, pod: str | None) -> None:
    assert parse_pod_id(group) == pod


def leaf(*entries: tuple[int, bytes, bytes], number: int = 0) -> bytes:
    head = struct.pack("<QHHI", number, LEAF, len(entries), 0)
    elements, data = b"", b""
    for place, (flags, key, value) in enumerate(entries):
        at = 16 * (len(entries) - place) + len(data)
        elements += struct.pack("<IIII", flags, at, len(key), len(value))
        data += key + value
    return head + elements + data


def branch(*pages: int, number: int = 0) -> bytes:
    elements = b"".join(struct.pack("<IIQ", 0, 0, page) for page in pages)
    return struct.pack("<QHHI", number, BRANCH, len(pages), 0) + elements


def checksum(data: bytes) -> int:
    found = 14695981039346656037
    for byte in data:
        found = ((found ^ byte) * 1099511628211) % 2**64
    return found


def meta(number: int, root: int, transaction: int) -> bytes:
    fields = struct.pack("<IIIIQQQQQ", 0xED0CDAED, 2, SIZE, 0, root, 0, 0, 9, transaction)
    return struct.pack("<QHHI", number, META, 0, 0) + fields + struct.pack("<Q", checksum(fields))


def file(*pages: bytes) -> bytes:
    return b"".join(page.ljust(SIZE, b"\0") for page in pages)


PODS = leaf((0, OTHER.encode(), b"shop"), (0, POD.encode(), b"web\xff"), (0, b"no id", b"x"))
INLINE = struct.pack("<QQ", 0, 0) + PODS
BOLT = file(meta(0, 9, 1), meta(1, 2, 2), leaf((1, b"all-ctrs", INLINE), (1, b"allPods", INLINE), (0, b"pod", b"")))
DEEP = file(meta(0, 2, 4), meta(1, 9, 3), branch(3), leaf((1, b"allPods", struct.pack("<QQ", 4, 0))), branch(5), PODS)


def test_bolt() -> None:
    names = parse_bolt(BOLT)
    assert names is not None and names.keys() == {POD, OTHER}
    assert names[OTHER] == "shop"
    assert parse_bolt(DEEP) == names, "buckets and trees in pages of their own"


def test_bolt_takes_the_last_whole_transaction() -> None:
    torn = bytearray(BOLT)
    torn[SIZE + 40] ^= 1
    assert parse_bolt(bytes(torn)) is None, "the older one's root is beyond the end"
    assert parse_bolt(file(meta(0, 2, 1), meta(1, 9, 2)[:-1], PODS)) == {}


def test_bolt_that_leads_in_circles() -> None:
    assert parse_bolt(file(meta(0, 2, 2), meta(1, 2, 1), branch(2, 2))) is None


def sqlite(path: Path, *statements: str) -> bytes:
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA journal_mode=WAL")
        for statement in statements:
            database.execute(statement)
    database.close()
    return path.read_bytes()


TABLE = "CREATE TABLE PodConfig (ID TEXT PRIMARY KEY NOT NULL, Name TEXT UNIQUE NOT NULL, JSON TEXT NOT NULL)"


def test_sqlite(tmp_path: Path) -> None:
    row = f"INSERT INTO PodConfig VALUES ('{POD}', 'web', '{{}}'), ('{OTHER}', x'00', '')"
    assert parse_sqlite(sqlite(tmp_path / "db.sql", TABLE, row)) == {POD: "web"}
    assert parse_sqlite(sqlite(tmp_path / "empty.sql", "CREATE TABLE x (y)")) is None
    assert parse_sqlite(b"") is None


def test_sqlite_that_never_ends(tmp_path: Path) -> None:
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x FROM n) SELECT x AS ID, x AS Name FROM n WHERE x > 1"
    assert parse_sqlite(sqlite(tmp_path / "db.sql", f"CREATE VIEW PodConfig AS {endless}")) is None


@given(st.binary(max_size=400), st.integers(0, 3 * SIZE), st.sampled_from([BOLT, DEEP]))
def test_any_bytes(piece: bytes, at: int, whole: bytes) -> None:
    parse_bolt(piece)
    parse_bolt(whole[:at] + piece + whole[at + len(piece) :])
    parse_sqlite(piece)
    parse_sqlite(b"SQLite format 3\0" + piece)


@given(st.text(max_size=200))
def test_any_group(group: str) -> None:
    parse_pod_id(group)


BUNDLE = {
    "annotations": {
        "io.container.manager": "libpod",
        "io.kubernetes.cri-o.ContainerType": "container",
        "io.kubernetes.cri-o.SandboxID": OTHER,
    },
    "linux": {"cgroupsPath": f"/libpod_parent/{POD}/libpod-{NAME}"},
}


def test_a_container_in_a_pod_is_podmans_and_not_cri_os(tmp_path: Path) -> None:
    facts = parse_bundle(json.dumps(BUNDLE).encode())
    assert facts is not None and (facts.runtime, facts.pod) == ("podman", POD)
    folder = tmp_path / f"storage/overlay-containers/{NAME}/userdata"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(BUNDLE))
    containers = Containers(str(tmp_path), storages=(str(tmp_path / "storage"),))
    asked = Container("podman", NAME)
    assert containers.describe(asked).pod == POD, "its id where there is no database"
    (tmp_path / "storage/libpod").mkdir()
    (tmp_path / "storage/libpod/bolt_state.db").write_bytes(BOLT)
    found = Containers(str(tmp_path), storages=(str(tmp_path / "storage"),)).describe(asked)
    assert found.pod is not None and found.pod.startswith("web")
    sqlite(tmp_path / "storage/db.sql", TABLE, f"INSERT INTO PodConfig VALUES ('{POD}', 'newer', '')")
    assert Containers(str(tmp_path), storages=(str(tmp_path / "storage"),)).describe(asked).pod == "newer"
