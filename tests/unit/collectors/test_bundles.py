"""Bundles that we seal ourselves: what was changed, added or is missing is told, and nothing else."""

import hashlib
import os
import plistlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hostscope.binaries.content import Held
from hostscope.binaries.macho import slices
from hostscope.binaries.macho_signature import parse_signed
from hostscope.binaries.trust import Trust
from hostscope.collectors.bundles import is_bundle, judge_bundle
from hostscope.errors import UsageError
from hostscope.model.signature import Signature
from tests.unit.binaries.macho_builder import SHA256, Recipe, build
from tests.unit.binaries.pki import pki
from tests.unit.binaries.test_ticket import ticket

pytestmark = pytest.mark.posix("bundles hold symbolic links")

RULES2 = {
    "^.*": True,
    "^Resources/.*\\.lproj/": {"optional": True, "weight": 1000.0},
    "^Resources/.*\\.lproj/locversion.plist$": {"omit": True, "weight": 1100.0},
    "^(.*/)?\\.DS_Store$": {"omit": True, "weight": 2000.0},
    "^Info\\.plist$": {"omit": True, "weight": 20.0},
    "^PkgInfo$": {"omit": True, "weight": 20.0},
    "^(Frameworks|PlugIns)/": {"nested": True, "weight": 10.0},
}
RULES1 = {"^Resources/": True, "^version.plist$": True}
CONTENT = {"Resources/a.txt": b"hello", "Resources/en.lproj/b.strings": b"text", "PkgInfo": b"APPL????"}


def info(name: str) -> bytes:
    return plistlib.dumps({"CFBundleIdentifier": f"org.test.{name}", "CFBundleExecutable": name})


def cdhash(raw: bytes) -> bytes:
    signed = parse_signed(slices(Held(raw))[0].content)
    assert signed
    return signed.best.cdhash


def seal(nested: dict[str, bytes], version: int) -> bytes:
    resources = {path: raw for path, raw in CONTENT.items() if path.startswith("Resources/")}
    first = {path: hashlib.sha1(raw).digest() for path, raw in resources.items()}
    if version == 1:
        return plistlib.dumps({"files": first, "rules": RULES1})
    second: dict[str, Any] = {
        path: {"hash": hashlib.sha1(raw).digest(), "hash2": hashlib.sha256(raw).digest()}
        | ({"optional": True} if ".lproj/" in path else {})
        for path, raw in resources.items()
    }
    second["Resources/link"] = {"symlink": "a.txt"}
    second |= {path: {"cdhash": one, "requirement": "x"} for path, one in nested.items()}
    return plistlib.dumps({"files": first, "rules": RULES1, "files2": second, "rules2": RULES2})


def make(folder: Path, name: str = "Demo", version: int = 2, inner: bool = True) -> Path:
    """A signed bundle, with another one inside."""
    app = folder / f"{name}.app"
    contents = app / "Contents"
    for path, raw in CONTENT.items():
        (contents / path).parent.mkdir(parents=True, exist_ok=True)
        (contents / path).write_bytes(raw)
    os.symlink("a.txt", contents / "Resources" / "link")
    nested: dict[str, bytes] = {}
    if inner and version == 2:
        plugin = make(contents / "PlugIns", "Inner", inner=False)
        library = build(Recipe(identifier="lib", info_plist=None, hashes=(SHA256,)))
        (contents / "Frameworks").mkdir()
        (contents / "Frameworks" / "lib.dylib").write_bytes(library)
        nested = {
            "PlugIns/Inner.app": cdhash((plugin / "Contents/MacOS/Inner").read_bytes()),
            "Frameworks/lib.dylib": cdhash(library),
        }
    resources = seal(nested, version)
    (contents / "Info.plist").write_bytes(info(name))
    (contents / "_CodeSignature").mkdir()
    (contents / "_CodeSignature" / "CodeResources").write_bytes(resources)
    program = Recipe(info_plist=None, info_slot=info(name), resources_slot=resources, hashes=(SHA256,))
    (contents / "MacOS").mkdir()
    (contents / "MacOS" / name).write_bytes(build(program))
    return app


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("bundle"))


@pytest.fixture
def app(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "Demo.app", symlinks=True))


def verdict(app: Path) -> Signature:
    return judge_bundle(str(app), Trust(extra_roots=(pki().root.certificate,)))


def codes(found: Signature) -> set[str]:
    return {flaw.code for flaw in found.all_flaws}


def test_an_intact_bundle_is_valid(app: Path) -> None:
    found = verdict(app)
    assert (found.format, found.status, found.all_flaws) == ("bundle", "valid", ())
    assert found.resources == 5
    assert found.parts[0].notarised is False


def test_a_stapled_ticket_counts_for_the_program_it_names(app: Path) -> None:
    stapled = app / "Contents" / "CodeResources"
    stapled.write_bytes(ticket(cdhash((app / "Contents/MacOS/Demo").read_bytes())))
    assert (verdict(app).status, verdict(app).parts[0].notarised, verdict(app).all_flaws) == ("valid", True, ())
    for other in (b"ticket", ticket(bytes(20))):
        stapled.write_bytes(other)
        found = verdict(app)
        assert (found.status, found.parts[0].notarised, codes(found)) == ("valid", False, {"ticket"})


@pytest.mark.parametrize("path", ["Info.plist", "_CodeSignature/CodeResources"])
def test_what_is_signed_is_not_elsewhere(app: Path, tmp_path: Path, path: str) -> None:
    place = app / "Contents" / path
    place.rename(tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    assert (verdict(app).status, codes(verdict(app))) == ("invalid", {"resource-changed"})


def test_a_link_to_the_seal_is_no_ticket(app: Path) -> None:
    """Which bundles of old have where a ticket is now."""
    (app / "Contents" / "CodeResources").symlink_to("_CodeSignature/CodeResources")
    found = verdict(app)
    assert (found.status, found.parts[0].notarised, found.all_flaws) == ("valid", False, ())


def test_the_first_version_of_rules_is_understood(tmp_path: Path) -> None:
    app = make(tmp_path, version=1)
    assert verdict(app).status == "invalid", "the link is added: rules of the first version seal all of Resources"
    (app / "Contents/Resources/link").unlink()
    assert (verdict(app).status, verdict(app).resources) == ("valid", 2)
    (app / "Contents/Resources/a.txt").write_bytes(b"other")
    assert codes(verdict(app)) == {"resource-changed", "resource-rules"}


Change = Callable[[Path], Any]
CHANGES: dict[str, tuple[Change, str]] = {
    "changed": (lambda c: (c / "Resources/a.txt").write_bytes(b"hellO"), "resource-changed"),
    "missing": (lambda c: (c / "Resources/a.txt").unlink(), "resource-missing"),
    "added": (lambda c: (c / "Resources/evil.sh").write_bytes(b"#!"), "resource-added"),
    "added program": (lambda c: (c / "MacOS/evil").write_bytes(b"#!"), "resource-added"),
    "a link for a file": (
        lambda c: ((c / "Resources/a.txt").unlink(), os.symlink("/etc/passwd", c / "Resources/a.txt")),
        "resource-changed",
    ),
    "a link elsewhere": (
        lambda c: ((c / "Resources/link").unlink(), os.symlink("/tmp", c / "Resources/link")),
        "resource-changed",
    ),
    "an added link": (lambda c: os.symlink("/tmp", c / "Resources/folder"), "resource-added"),
    "Info.plist": (lambda c: (c / "Info.plist").write_bytes(info("Demo") + b" "), "special-slot"),
    "CodeResources": (lambda c: (c / "_CodeSignature/CodeResources").write_bytes(seal({}, 2)), "special-slot"),
    "no CodeResources": (lambda c: (c / "_CodeSignature/CodeResources").unlink(), "special-slot"),
    "no program": (lambda c: (c / "MacOS/Demo").unlink(), "resource-missing"),
    "other nested code": (
        lambda c: (c / "Frameworks/lib.dylib").write_bytes(build(Recipe(identifier="evil"))),
        "nested",
    ),
    "no nested code": (lambda c: (c / "Frameworks/lib.dylib").unlink(), "resource-missing"),
    "changed nested code": (lambda c: _flip(c / "Frameworks/lib.dylib", 0x2000), "nested"),
    "changed nested bundle": (lambda c: (c / "PlugIns/Inner.app/Contents/Resources/a.txt").write_bytes(b"x"), "nested"),
}  # fmt: skip


def _flip(path: Path, at: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(bytes(raw))


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_is_told(app: Path, name: str) -> None:
    change, expected = CHANGES[name]
    change(app / "Contents")
    found = verdict(app)
    assert found.status == "invalid"
    assert expected in codes(found)


@pytest.mark.parametrize(
    "change",
    [
        lambda c: (c / "Resources/.DS_Store").write_bytes(b"x"),
        lambda c: (c / "PkgInfo").write_bytes(b"x"),
        lambda c: (c / "Resources/en.lproj/b.strings").unlink(),
    ],
)
def test_what_the_rules_leave_out_may_change(app: Path, change: Change) -> None:
    change(app / "Contents")
    assert verdict(app).status == "valid"


def test_a_changed_language_file_is_told(app: Path) -> None:
    (app / "Contents/Resources/en.lproj/b.strings").write_bytes(b"x")
    assert codes(verdict(app)) == {"resource-changed"}


def test_a_folder_is_no_bundle(tmp_path: Path) -> None:
    assert not is_bundle(str(tmp_path))
    with pytest.raises(UsageError, match="no bundle"):
        judge_bundle(str(tmp_path), Trust())


def test_a_program_outside_of_its_bundle_is_refused(app: Path) -> None:
    (app / "Contents/Info.plist").write_bytes(plistlib.dumps({"CFBundleExecutable": "../../../bin/ls"}))
    assert codes(verdict(app)) == {"malformed"}


def test_sealed_paths_that_lead_out_are_malformed(tmp_path: Path) -> None:
    from hostscope.binaries.bundle import check, parse_seal
    from hostscope.collectors.bundles import Folder

    raw = plistlib.dumps(
        {"files2": {"../../etc/passwd": {"hash2": bytes(32)}, "/etc/passwd": bytes(20)}, "rules2": RULES2}
    )
    found = list(check(parse_seal(raw), Folder(str(tmp_path), Trust(), 0), ()))
    assert [flaw.code for flaw in found] == ["malformed", "malformed"]
