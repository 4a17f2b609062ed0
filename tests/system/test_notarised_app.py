"""An app that Apple notarised, out of a public package: 25 programs and libraries for two architectures, a ticket."""

import io
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from hostscope.binaries.trust import Trust
from hostscope.collectors.bundles import judge_bundle
from hostscope.model.signature import Signature

from .signed_packages import files_in

pytestmark = [pytest.mark.system, pytest.mark.posix("bundles hold symbolic links")]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("notarised")
    (packed,) = files_in("qviple", "Qviple-macos.zip").values()
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        for one in archive.infolist():
            place = folder / one.filename
            if one.external_attr >> 28 == 0xA:  # a symbolic link
                place.parent.mkdir(parents=True, exist_ok=True)
                os.symlink(archive.read(one), place)
            else:
                archive.extract(one, folder)
    return folder / "Qviple.app"


def verdict(app: Path) -> Signature:
    return judge_bundle(str(app), Trust())


def test_it_is_valid_and_its_ticket_names_it(original: Path) -> None:
    found = verdict(original)
    assert (found.status, found.confidence, found.team, found.resources) == ("valid", "high", "C6294V5GT2", 48)
    assert [(part.name, part.status, part.notarised) for part in found.parts] == [
        ("x86_64", "valid", True),
        ("arm64", "valid", True),
    ]


def test_what_a_signature_before_left_behind_is_told(original: Path) -> None:
    found = verdict(original / "Contents" / "Frameworks" / "FlutterMacOS.framework")
    assert found.status == "valid"
    assert {(flaw.code, flaw.severity) for flaw in found.all_flaws} == {("appended", "noted")}


def flip(path: Path, at: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)


def longer(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "program": (lambda contents: flip(contents / "MacOS" / "Qviple", 0x9000), "page"),
    "Info.plist": (lambda contents: longer(contents / "Info.plist"), "special-slot"),
    "seal": (lambda contents: flip(contents / "_CodeSignature" / "CodeResources", 500), "special-slot"),
    "framework": (
        lambda contents: flip(contents / "Frameworks/Xml2.framework/Versions/A/Xml2", 0x9000),
        "nested",
    ),
    "added": (lambda contents: (contents / "Resources" / "added").write_bytes(b"x"), "resource-added"),
    "removed": (lambda contents: (contents / "Resources" / "AppIcon.icns").unlink(), "resource-missing"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changes_are_caught(original: Path, tmp_path: Path, name: str) -> None:
    change, code = CHANGES[name]
    app = Path(shutil.copytree(original, tmp_path / "Qviple.app", symlinks=True, copy_function=os.link))
    for path in app.rglob("*"):  # a changed file must not be the original, too
        if path.is_file() and not path.is_symlink() and path.stat().st_size < 20_000_000:
            raw = path.read_bytes()
            path.unlink()
            path.write_bytes(raw)
    change(app / "Contents")
    found = verdict(app)
    assert found.status == "invalid" and code in {flaw.code for flaw in found.all_flaws}, found.all_flaws


def test_a_changed_ticket_counts_for_nothing(original: Path, tmp_path: Path) -> None:
    app = Path(shutil.copytree(original, tmp_path / "Qviple.app", symlinks=True, copy_function=os.link))
    ticket = app / "Contents" / "CodeResources"
    raw = bytearray(ticket.read_bytes())
    raw[1600] ^= 1
    ticket.unlink()
    ticket.write_bytes(raw)
    found = verdict(app)
    assert (found.status, [part.notarised for part in found.parts]) == ("valid", [False, False])
