"""`verify` on Windows' Python: CPython's own signed files, and the catalogue that comes with some builds of it."""

import os
import sys
from pathlib import Path

import pytest

from hostscope import open_session
from hostscope.collectors import signatures
from hostscope.collectors.signatures import VerifyRequest
from hostscope.model.request import ProcessRequest
from hostscope.model.signature import Signature
from hostscope.platforms.windows.host import open_host

HOME = Path(sys.base_prefix)


def one(path: Path, *catalogs: Path) -> Signature:
    request = VerifyRequest(catalogs=tuple(map(str, catalogs)))
    with open_session() as session:
        (found,) = session.verify([str(path)], request).rows()
    return found


def signed(path: Path) -> Path:
    if not path.exists() or one(path).status == "unsigned":
        pytest.skip(f"{path.name} of this Python is not there, or not signed")
    return path


def test_the_interpreter_is_signed() -> None:
    found = one(signed(HOME / "python.exe"))
    assert (found.format, found.status, found.method, found.confidence) == ("pe", "valid", "authenticode", "high")
    assert found.signer == "Python Software Foundation"


def test_a_verdict_is_remembered_until_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Setting the times back that programs can set does not bring it back."""
    monkeypatch.setattr(signatures, "SETTLED_NS", -(10**12))
    path = tmp_path / "python3.dll"
    raw = bytearray(signed(HOME / "python3.dll").read_bytes())
    path.write_bytes(raw)
    known, before = signatures.Signatures(open_host()), path.stat()
    assert not known.remembers(str(path))
    assert known.of_path(str(path)).status == "valid"
    assert known.remembers(str(path))
    raw[0x600] ^= 1
    path.write_bytes(raw)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_ino, after.st_size, after.st_mtime_ns) == (before.st_ino, before.st_size, before.st_mtime_ns)
    assert not known.remembers(str(path))
    assert known.of_path(str(path)).status == "invalid"


def test_nested_signatures_of_the_runtime() -> None:
    found = one(signed(HOME / "vcruntime140.dll"))
    assert [(part.name, part.status) for part in found.parts] == [("signature 1", "valid"), ("signature 1.1", "valid")]


def test_one_changed_bit(tmp_path: Path) -> None:
    raw = bytearray(signed(HOME / "python3.dll").read_bytes())
    raw[0x600] ^= 1
    (tmp_path / "python3.dll").write_bytes(raw)
    assert one(tmp_path / "python3.dll").status == "invalid"


def test_a_catalogue_vouches_for_what_it_lists(tmp_path: Path) -> None:
    catalog = HOME / "python.cat"
    if not catalog.exists():
        pytest.skip("this Python has no catalogue")
    itself = one(catalog)
    assert (itself.format, itself.status) == ("catalog", "valid")
    raw = bytearray(catalog.read_bytes())
    raw[len(raw) // 2] ^= 1
    (tmp_path / "python.cat").write_bytes(raw)
    assert one(tmp_path / "python.cat").status != "valid"


def test_modules_of_a_process() -> None:
    signed(HOME / "python.exe")
    with open_session() as session:
        found = session.inspect(str(os.getpid()), signatures=True)
    assert found.process.signature and found.process.signature.signer == "Python Software Foundation"
    judged = {module.name.lower(): module.signature for module in found.detail.modules or ()}
    ours, theirs = judged["python.exe"], judged["ntdll.dll"]
    assert ours and ours.status == "valid"
    assert theirs and theirs.format == "pe"


def test_what_a_process_runs() -> None:
    signed(HOME / "python.exe")
    with open_session() as session:
        (found,) = session.verify([str(os.getpid())]).rows()
    assert found.key and found.key.pid == os.getpid()
    assert (found.status, found.signer) == ("valid", "Python Software Foundation")


def test_code_of_services() -> None:
    with open_session() as session:
        rows = session.snapshot("services", ProcessRequest(fields=frozenset({"signature"}))).rows()
    judged = [row for row in rows if row.signature]
    assert judged and all(row.scm and row.signature.path in (row.scm.library, row.scm.program) for row in judged)
    assert all(row.signature or any(gap.field == "signature" for gap in row.gaps) for row in rows)


def test_installed_catalogues_can_be_asked() -> None:
    """Wine installs none; a file that nobody signed is looked for in them without an error."""
    with (HOME / "python.exe").open("rb") as file:
        assert not [path for path in open_host().files.catalogs(file) if not Path(path).is_file()]
    library = one(Path(os.environ["SYSTEMROOT"]) / "System32" / "version.dll")
    assert not library.gaps
    if library.status == "unsigned":
        pytest.skip("Windows' own files are not signed here (Wine)")
    assert library.status == "valid"
