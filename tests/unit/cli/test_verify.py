"""`hostscope verify` as typed: what it prints, and with which code it ends."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.binaries.macho_builder import Recipe, build, fat
from tests.unit.binaries.pe_builder import image
from tests.unit.binaries.pki import pki
from tests.unit.cli.conftest import Run


@pytest.fixture
def signed(tmp_path: Path) -> Path:
    (tmp_path / "tool").write_bytes(build(Recipe()))
    (tmp_path / "root.pem").write_bytes(pki().root.pem)
    return tmp_path


def test_a_valid_file_is_code_0(hostscope: Run, signed: Path) -> None:
    done = hostscope("verify", str(signed / "tool"), "--root", str(signed / "root.pem"))
    assert done.code == 0
    head, row = done.out.splitlines()[:2]
    assert head.split()[:2] == ["STATUS", "FILE"]
    assert row.startswith("valid ") and "Developer ID Application: Test" in row and "Test Root CA" in row
    assert "revocation is not checked" in done.out


def test_an_untrusted_signer_is_a_finding(hostscope: Run, signed: Path) -> None:
    done = hostscope("verify", str(signed / "tool"))
    assert done.code == 10
    assert done.out.splitlines()[1].startswith("untrusted ")


def test_a_broken_signature_is_a_finding(hostscope: Run, signed: Path) -> None:
    raw = bytearray((signed / "tool").read_bytes())
    raw[0x2000] ^= 1
    (signed / "tool").write_bytes(raw)
    done = hostscope("verify", str(signed / "tool"), "--root", str(signed / "root.pem"))
    assert done.code == 10
    assert "changed since it was signed" in done.out


@pytest.mark.parametrize("content", [image(), b"text", b""])
def test_an_unsigned_file_is_no_finding(hostscope: Run, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    done = hostscope("verify", str(tmp_path / "x"))
    assert (done.code, done.out.splitlines()[1].split()[0]) == (0, "unsigned")


def test_findings_beside_what_could_not_be_read_are_code_11(hostscope: Run, signed: Path) -> None:
    done = hostscope("verify", str(signed / "tool"), str(signed / "none"))
    assert done.code == 11
    assert "No such file" in done.out


def test_nothing_found_and_not_everything_read_is_code_8(hostscope: Run, signed: Path) -> None:
    root = str(signed / "root.pem")
    assert hostscope("verify", str(signed / "tool"), str(signed / "none"), "--root", root).code == 8


@pytest.mark.parametrize("name", ["none", ""])
def test_a_single_file_that_is_not_there_is_one_line(hostscope: Run, tmp_path: Path, name: str) -> None:
    done = hostscope("verify", str(tmp_path / name))
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") <= 2 and done.err.startswith("hostscope: ")


def test_json_holds_the_whole_verdict(hostscope: Run, signed: Path) -> None:
    done = hostscope("verify", str(signed / "tool"), "--root", str(signed / "root.pem"), "--format", "json")
    document = json.loads(done.out)
    assert document["schema"] == "hostscope.signature/1"
    (row,) = document["rows"]
    assert row["status"] == "valid" and row["revocation"] == "not checked"
    assert row["parts"][0]["requirement"].startswith('identifier "org.test.tool"')


def test_columns_and_filter(hostscope: Run, signed: Path) -> None:
    (signed / "both").write_bytes(fat(build(Recipe(cpu=0x01000007)), build(Recipe(adhoc=True))))
    done = hostscope(
        "verify", str(signed / "tool"), str(signed / "both"), "--root", str(signed / "root.pem"),
        "--columns", "file,parts,entitlements,flags", "--filter", 'status == "adhoc"', "--format", "csv",
    )  # fmt: skip
    lines = done.out.splitlines()
    assert lines[0] == "file,parts,entitlements,flags"
    assert "x86_64:valid arm64:adhoc" in lines[1] and "com.apple.security.cs.allow-jit" in lines[1]
    assert len(lines) == 2


@pytest.mark.parametrize(
    "make", [lambda p: (p / "r").write_bytes(b"x"), lambda p: None], ids=["no certificate", "no file"]
)
def test_a_root_that_cannot_be_used_is_code_2(hostscope: Run, tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path)
    (tmp_path / "x").write_bytes(b"x")
    done = hostscope("verify", str(tmp_path / "x"), "--root", str(tmp_path / "r"))
    assert (done.code, done.out) == (2, "")
    assert str(tmp_path / "r") in done.err.splitlines()[0] and len(done.err.splitlines()) <= 2, "and a hint"


@pytest.mark.parametrize("raw", [image(), b"", b"\x30\x82\x01\x00\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"])
def test_a_catalogue_that_is_none_is_code_2(hostscope: Run, tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "x").write_bytes(b"x")
    (tmp_path / "c.cat").write_bytes(raw)
    done = hostscope("verify", str(tmp_path / "x"), "--catalog", str(tmp_path / "c.cat"))
    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines()[0] == f"hostscope: {tmp_path / 'c.cat'} is no catalogue"


@pytest.mark.posix("names that are no text")
def test_a_name_that_is_no_text_is_shown(hostscope: Run, tmp_path: Path) -> None:
    import os

    name = os.fsencode(tmp_path) + b"/\xff\x1b[31m"
    with open(name, "wb") as file:
        file.write(b"x")
    done = hostscope("verify", os.fsdecode(name))
    assert done.code == 0
    assert "\x1b" not in done.out and "\\xff" in done.out


def test_a_recording_says_that_it_has_no_signatures(hostscope: Run, recording: Path) -> None:
    """Files are not in a recording: a gap, never a verdict on this host's own."""
    done = hostscope("ps", "--replay", str(recording), "--fields", "signature,exe", "--format", "json", "--limit", "3")
    row = next(row for row in json.loads(done.out)["rows"] if row["exe"])
    assert row["signature"] is None
    assert [(gap["field"], gap["reason"]) for gap in row["gaps"] if gap["field"] == "signature"] == [
        ("signature", "unsupported")
    ]
