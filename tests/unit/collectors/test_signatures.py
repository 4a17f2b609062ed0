"""Verdicts on files and processes of a host: packages, seals, what is remembered, what could not be judged."""

import hashlib
import os
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from hostscope.binaries.trust import Trust
from hostscope.collectors import signatures
from hostscope.collectors.processes import collect
from hostscope.collectors.signatures import Signatures, VerifyRequest, is_process, verify
from hostscope.errors import Denied, Unavailable, UsageError
from hostscope.model.gap import Reason
from hostscope.model.package import FileOwner
from hostscope.model.process import Executable
from hostscope.model.request import ENHANCED, ProcessRequest
from hostscope.model.signature import Seal
from hostscope.model.text import decode
from hostscope.platforms.base import Host
from tests.fake import Answers, host, process
from tests.unit.binaries.macho_builder import Recipe, build
from tests.unit.binaries.pe_builder import image
from tests.unit.binaries.pki import pki

SCRIPT = b"#!/bin/sh\necho\n"


def owned(digest: str | None, algorithm: str | None = "sha256") -> FileOwner:
    return FileOwner("coreutils", "9.1", "dpkg", algorithm, digest)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "program"
    path.write_bytes(SCRIPT)
    os.utime(path, ns=(10**18, 10**18))
    return path


def of(path: Path, **answers: object) -> Host:
    return host(process(1), answers=Answers(**answers))  # type: ignore[arg-type]


def test_a_file_as_its_package_brought_it(file: Path) -> None:
    look = of(file, owners={str(file): owned(hashlib.sha256(SCRIPT).hexdigest())})
    found = Signatures(look).of_path(str(file))
    assert (found.status, found.method, found.signer, found.confidence) == (
        "valid",
        "package-digest",
        "coreutils 9.1",
        "low",
    )


def test_a_file_that_its_package_did_not_bring_so_is_found(file: Path) -> None:
    found = Signatures(of(file, owners={str(file): owned("00" * 32)})).of_path(str(file))
    assert (found.status, [flaw.code for flaw in found.all_flaws]) == ("invalid", ["package"])


def test_a_package_without_digest_decides_nothing(file: Path) -> None:
    found = Signatures(of(file, owners={str(file): owned(None, None)})).of_path(str(file))
    assert found.status == "unknown"


def test_a_package_database_that_does_not_answer_is_a_gap(file: Path) -> None:
    found = Signatures(of(file, owners={str(file): Unavailable("broken")})).of_path(str(file))
    assert (found.status, [(gap.field, gap.reason) for gap in found.gaps]) == (
        "unsigned",
        [("parts.package", Reason.UNAVAILABLE)],
    )


@pytest.mark.posix("names that are not UTF-8")
def test_a_name_that_is_no_text_is_looked_up_as_the_host_tells_it(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xff\x9b31m"
    with open(name, "wb") as made:
        made.write(SCRIPT)
    look = of(tmp_path, owners={decode(name): owned(hashlib.sha256(SCRIPT).hexdigest())})
    assert Signatures(look).of_path(decode(name)).status == "valid"


@pytest.mark.posix("making symbolic links")
def test_a_link_is_followed_to_the_name_that_the_package_knows(file: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(file)
    look = of(file, owners={str(file): owned(hashlib.sha256(SCRIPT).hexdigest())})
    assert Signatures(look).of_path(str(tmp_path / "link")).status == "valid"


def test_seals_are_witnesses(file: Path) -> None:
    bad = Seal("ima", b"\x04\x04" + bytes(32))
    good = Seal("ima", b"\x04\x04" + hashlib.sha256(SCRIPT).digest())
    package = {str(file): owned(hashlib.sha256(SCRIPT).hexdigest())}
    assert Signatures(of(file, seals=(good,))).of_path(str(file)).status == "adhoc"
    assert Signatures(of(file, seals=(good,), owners=package)).of_path(str(file)).status == "valid"
    assert Signatures(of(file, seals=(bad,), owners=package)).of_path(str(file)).status == "invalid"
    refused = Signatures(of(file, seals=Denied("no"), owners=package)).of_path(str(file))
    assert (refused.status, refused.gaps[0].field) == ("valid", "parts.seals")


def test_a_process_is_judged_by_the_image_it_runs(tmp_path: Path) -> None:
    """Whatever stands at its path now."""
    image, path = tmp_path / "image", tmp_path / "path"
    image.write_bytes(build(Recipe()))
    path.write_bytes(SCRIPT)
    row = process(7, exe=Executable(str(path), 1, 2))
    look = host(row, answers=Answers(images={7: str(image)}))
    request = VerifyRequest(roots=(pki().root.pem,))
    (found,) = verify(look, ["7"], request).rows()
    assert (found.format, found.status, found.key, found.path) == ("mach-o", "valid", row.key, str(path))


def test_a_deleted_image_is_not_looked_up_by_its_path(file: Path) -> None:
    row = process(7, exe=Executable(str(file), 1, 2, deleted=True))
    look = host(row, answers=Answers(images={7: str(file)}, owners={str(file): owned("00" * 32)}))
    (found,) = verify(look, ["7"], VerifyRequest()).rows()
    assert found.status == "unsigned"


def test_every_process_on_request(file: Path) -> None:
    rows = [process(1, exe=Executable(str(file), 1, 2)), process(2, exe=Executable("/x", 1, 3)), process(3, exe=None)]
    look = host(*rows, answers=Answers(images={1: str(file)}))
    answer = collect(look, ProcessRequest(fields=frozenset({"signature"}))).rows()
    assert [row.signature and row.signature.status for row in answer] == ["unsigned", None, None]
    assert [gap.field for gap in answer[1].gaps] == ["signature"]
    assert "signature" not in ENHANCED, "it has to be named"
    assert collect(look, ProcessRequest()).rows()[0].signature is None


# What is remembered


class Counting:
    """Counts how often a file is judged."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times, judge = 0, signatures.judge

        def counted(*arguments: object) -> object:
            self.times += 1
            return judge(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(signatures, "judge", counted)


def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as settled at once: their change time cannot be set."""
    monkeypatch.setattr(signatures, "SETTLED_NS", -(10**12))


@pytest.mark.posix("times of changes")
def test_a_file_that_stays_as_it_is_is_judged_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settled(monkeypatch)
    counting, one = Counting(monkeypatch), Signatures(of(file))
    assert one.of_path(str(file)) == one.of_path(str(file))
    assert counting.times == 1


@pytest.mark.parametrize("restore", [False, True])
def test_a_changed_file_is_never_answered_from_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restore: bool
) -> None:
    """Not even when its size and modification time are as before: the change time is not."""
    settled(monkeypatch)
    path = tmp_path / "tool"
    raw = bytearray(build(Recipe()))
    path.write_bytes(raw)
    before = path.stat()
    one = Signatures(of(path), Trust(extra_roots=(pki().root.certificate,)))
    assert one.of_path(str(path)).status == "valid"
    raw[0x2000] ^= 1
    deadline = time.monotonic() + 60
    while path.stat().st_ctime_ns == before.st_ctime_ns and time.monotonic() < deadline:
        path.write_bytes(raw)
        if restore:
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert one.of_path(str(path)).status == "invalid"


def test_a_file_that_changed_just_now_is_not_remembered(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counting, one = Counting(monkeypatch), Signatures(of(file))
    file.write_bytes(SCRIPT)
    one.of_path(str(file))
    one.of_path(str(file))
    assert counting.times == 2


def test_a_file_that_is_written_to_while_it_is_read_is_unavailable(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = signatures.judge

    def slowly(*arguments: object) -> object:
        file.write_bytes(SCRIPT + b"more")
        return judge(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(signatures, "judge", slowly)
    with pytest.raises(Unavailable, match="written to"):
        Signatures(of(file)).of_path(str(file))


# Targets


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("1", True),
        ("12@345", True),
        ("12@345#6", True),
        (":443", True),
        ("./1", False),
        ("/bin/ls", False),
        ("ls", False),
    ],
)
def test_what_is_a_process_and_what_a_file(target: str, expected: bool) -> None:
    assert is_process(target) is expected


def test_one_of_several_that_cannot_be_read_is_counted(file: Path, tmp_path: Path) -> None:
    answer = verify(of(file), [str(file), str(tmp_path / "none")], VerifyRequest())
    assert len(answer.rows()) == 1
    covered = answer.coverage
    assert (covered.seen, covered.rows, covered.failed, covered.complete) == (2, 1, 1, False)
    assert any("none" in note for note in covered.notes)
    assert any("revocation" in note for note in covered.notes)


@pytest.mark.parametrize("name", ["none", "."])
def test_a_single_target_that_cannot_be_read_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"No such file|is a folder"):
        verify(of(tmp_path), [str(tmp_path / name)], VerifyRequest()).rows()


@pytest.mark.posix("pipes with a name in a folder")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="no regular file"):
        verify(of(tmp_path), [str(tmp_path / "pipe")], VerifyRequest()).rows()


def test_a_root_that_is_no_certificate_is_refused(file: Path) -> None:
    with pytest.raises(UsageError, match="no certificate"):
        verify(of(file), [str(file)], VerifyRequest(roots=(b"nonsense",)))


def test_a_file_that_is_no_catalogue_is_refused(file: Path, tmp_path: Path) -> None:
    (tmp_path / "x.cat").write_bytes(image())
    with pytest.raises(UsageError, match=r"x\.cat is no catalogue"):
        verify(of(file), [str(file)], VerifyRequest(catalogs=(str(tmp_path / "x.cat"),)))


def test_where_changes_do_not_show_nothing_is_remembered(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settled(monkeypatch)
    look = of(file)
    monkeypatch.setattr(type(look.files), "changed_at_ns", lambda *_: (_ for _ in ()).throw(Unavailable("FAT")))
    counting, one = Counting(monkeypatch), Signatures(look)
    one.of_path(str(file))
    one.of_path(str(file))
    assert counting.times == 2 and not one.remembers(str(file))


def test_the_moment_can_be_given(tmp_path: Path) -> None:
    path = tmp_path / "tool"
    path.write_bytes(build(Recipe()))
    late = int((pki().leaf.certificate.not_valid_after_utc.timestamp() + 60) * 10**9)
    (found,) = verify(of(path), [str(path)], VerifyRequest(roots=(pki().root.pem,), at_ns=late)).rows()
    assert (found.status, [flaw.code for flaw in found.all_flaws]) == ("untrusted", ["expired"])


def test_what_nobody_signed_is_looked_up_in_the_hosts_catalogues(file: Path, tmp_path: Path) -> None:
    catalog = tmp_path / "broken.cat"
    catalog.write_bytes(b"no catalogue")
    found = Signatures(of(file, catalogs=(str(catalog),))).of_path(str(file))
    assert [(part.name, part.status) for part in found.parts] == [(f"catalog {catalog}", "invalid")]
    found = Signatures(of(file, catalogs=(str(tmp_path / "gone.cat"),))).of_path(str(file))
    assert (found.status, found.gaps[0].field) == ("unsigned", "parts.catalog")
    found = Signatures(of(file, catalogs=Denied("the catalogues: access denied"))).of_path(str(file))
    assert [(gap.field, gap.reason) for gap in found.gaps] == [("parts.catalog", Reason.DENIED)]


def test_packages_that_could_not_be_asked_are_a_gap(file: Path) -> None:
    """Nobody signed it, as far as could be seen: its path means another file here."""
    elsewhere = replace(process(1), exe=Executable(str(file)), root="/srv/chroot")
    deleted = replace(process(1), exe=Executable(str(file), deleted=True))
    for one in (elsewhere, deleted):
        look = host(one, answers=Answers(images={1: str(file)}, owners={str(file): owned("0" * 64)}))
        found = Signatures(look).of_process(one)
        assert found.status == "unsigned"
        assert [(gap.field, gap.reason) for gap in found.gaps] == [("parts.package", Reason.UNSUPPORTED)]


def test_a_target_is_named_once(tmp_path: Path) -> None:
    answer = verify(host(process(1)), [str(tmp_path), "/no/such/file"], VerifyRequest())
    assert list(answer) == []
    assert [note for note in answer.coverage.notes if "/no/such/file" in note] == [
        "cannot read /no/such/file: No such file or directory"
    ]
