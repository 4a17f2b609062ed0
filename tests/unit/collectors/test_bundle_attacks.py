"""Bundles that lie: each was made to be called valid, and must not be."""

import hashlib
import os
import plistlib
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hostscope.binaries.bundle import check, parse_seal
from hostscope.binaries.trust import Trust
from hostscope.collectors.bundles import Folder, beside_program
from tests.unit.binaries.macho_builder import ARM64, SHA1, SHA256, X86_64, Recipe, build, fat
from tests.unit.collectors.test_bundles import RULES2, cdhash, codes, info, make, verdict

pytestmark = pytest.mark.posix("bundles hold symbolic links")
SECONDS = 20.0


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("bundle"))


@pytest.fixture
def app(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "Demo.app", symlinks=True))


def sealed(app: Path, resources: dict[str, Any], **recipe: Any) -> None:
    """The bundle, with a seal of its signer's own making."""
    raw = plistlib.dumps(resources, fmt=plistlib.FMT_BINARY)
    (app / "Contents/_CodeSignature/CodeResources").write_bytes(raw)
    given: dict[str, Any] = {
        "info_plist": None, "info_slot": info("Demo"), "resources_slot": raw, "hashes": (SHA256,),
    }  # fmt: skip
    (app / "Contents/MacOS/Demo").write_bytes(build(Recipe(**(given | recipe))))


def seal_of(app: Path) -> dict[str, Any]:
    found: dict[str, Any] = plistlib.loads((app / "Contents/_CodeSignature/CodeResources").read_bytes())
    return found


def elsewhere(app: Path, name: str) -> None:
    """The same files, in a folder outside that a link leads to."""
    shutil.move(app / "Contents" / name, app.parent / "outside")
    os.symlink(app.parent / "outside", app / "Contents" / name)


Change = Callable[[Path], Any]
CHANGES: dict[str, Change] = {
    "a folder that is a link": lambda app: elsewhere(app, "Resources"),
    "a program that is a link": lambda app: elsewhere(app, "MacOS/Demo"),
    "its program's folder is a link": lambda app: elsewhere(app, "MacOS"),
    "files beside Contents": lambda app: (app / "evil").write_bytes(b"#!"),
    "a folder beside Contents": lambda app: (app / "Payload").mkdir(),
    "a file among signatures": lambda app: (app / "Contents/_CodeSignature/evil").write_bytes(b"#!"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_stands_elsewhere_is_not_sealed(app: Path, name: str) -> None:
    assert verdict(app).status == "valid"
    CHANGES[name](app)
    assert verdict(app).status == "invalid"


def test_a_link_that_the_signer_sealed_may_not_lead_out(app: Path) -> None:
    for target, status in (("/tmp/evil", "invalid"), ("../../../evil", "invalid"), ("/System/Library/x", "valid")):
        (app / "Contents/Resources/link").unlink()
        os.symlink(target, app / "Contents/Resources/link")
        resources = seal_of(app)
        resources["files2"]["Resources/link"] = {"symlink": target}
        sealed(app, resources)
        assert verdict(app).status == status, target


def test_a_receipt_of_the_shop_is_no_change(app: Path) -> None:
    (app / "Contents/_MASReceipt").mkdir()
    (app / "Contents/_MASReceipt/receipt").write_bytes(b"bought")
    assert verdict(app).status == "valid"


@pytest.mark.parametrize(
    "rules",
    [{"^.*": {"omit": True, "weight": 3000.0}}, {}, {"^Resources/.*": True}, RULES2 | {"^Resources/a": {"omit": True}}],
)
def test_rules_that_leave_out_what_counts_are_caught(app: Path, rules: dict[str, Any]) -> None:
    resources = seal_of(app)
    resources["rules2"] = rules
    sealed(app, resources)
    assert "resource-rules" in codes(verdict(app))
    assert verdict(app).status == "invalid"


def test_a_program_from_elsewhere_does_not_make_a_bundle(app: Path) -> None:
    """A tool that is signed for itself seals neither this Info.plist nor these files."""
    (app / "Contents/MacOS/Demo").write_bytes(build(Recipe(info_plist=None, hashes=(SHA256,))))
    assert verdict(app).status == "invalid"
    (app / "Contents/_CodeSignature/CodeResources").unlink()
    assert verdict(app).status == "invalid"


def test_a_bundle_whose_files_nobody_sealed(app: Path) -> None:
    program = Recipe(info_plist=None, info_slot=info("Demo"), hashes=(SHA256,))
    (app / "Contents/MacOS/Demo").write_bytes(build(program))
    shutil.rmtree(app / "Contents/_CodeSignature")
    found = verdict(app)
    assert (found.status, "resource-added" in codes(found)) == ("invalid", True)


def test_nested_code_is_what_was_sealed_in_every_architecture(app: Path) -> None:
    """The sealed slice as it was, and beside it one that nobody signed."""
    library = app / "Contents/Frameworks/lib.dylib"
    mine = library.read_bytes()
    own = build(Recipe(cpu=X86_64, identifier="lib", adhoc=True, info_plist=None))
    library.write_bytes(fat(mine, own))
    assert "nested" in codes(verdict(app))


def test_nested_code_of_two_architectures_is_as_good_as_one(app: Path) -> None:
    slices = [build(Recipe(cpu=cpu, identifier="lib", info_plist=None, hashes=(SHA256,))) for cpu in (ARM64, X86_64)]
    (app / "Contents/Frameworks/lib.dylib").write_bytes(fat(*slices))
    resources = seal_of(app)
    resources["files2"]["Frameworks/lib.dylib"] = {"cdhash": cdhash(slices[0]), "requirement": "x"}
    sealed(app, resources)
    assert verdict(app).status == "valid", verdict(app).all_flaws


def test_what_is_to_be_said_of_nested_code_is_said_of_the_bundle(app: Path) -> None:
    library = build(Recipe(identifier="lib", info_plist=None, hashes=(SHA1,), slack=b"left behind"))
    (app / "Contents/Frameworks/lib.dylib").write_bytes(library)
    resources = seal_of(app)
    resources["files2"]["Frameworks/lib.dylib"] = {"cdhash": cdhash(library), "requirement": "x"}
    sealed(app, resources)
    found = verdict(app)
    assert (found.status, {(flaw.code, flaw.severity) for flaw in found.flaws}) == (
        "valid", {("weak", "noted"), ("appended", "noted")},
    )  # fmt: skip
    assert all(flaw.detail.startswith("Frameworks/lib.dylib: ") for flaw in found.flaws)


def test_what_is_wrong_with_nested_code_is_told(app: Path) -> None:
    (app / "Contents/PlugIns/Inner.app/Contents/Resources/a.txt").write_bytes(b"x")
    (flaw,) = verdict(app).flaws
    assert flaw.detail == "PlugIns/Inner.app is not what was signed: Resources/a.txt was changed since it was signed"


def test_another_version_of_a_framework_is_judged_too(tmp_path: Path) -> None:
    framework = tmp_path / "X.framework"
    for version in "AB":
        folder = framework / "Versions" / version
        (folder / "Resources").mkdir(parents=True)
        (folder / "Resources/Info.plist").write_bytes(info("X"))
        resources = plistlib.dumps({"files2": {}, "rules2": RULES2 | {"^Resources/Info\\.plist$": {"omit": True}}})
        (folder / "_CodeSignature").mkdir()
        (folder / "_CodeSignature/CodeResources").write_bytes(resources)
        program = Recipe(info_plist=None, info_slot=info("X"), resources_slot=resources, hashes=(SHA256,))
        (folder / "X").write_bytes(build(program))
    os.symlink("A", framework / "Versions/Current")
    os.symlink("Versions/Current/X", framework / "X")
    assert verdict(framework).status == "valid", verdict(framework).all_flaws
    (framework / "Versions/B/X").write_bytes(build(replace(program, slack=b"left behind")))
    found = verdict(framework)
    assert (found.status, [flaw.code for flaw in found.flaws]) == ("valid", ["appended"]), found.flaws
    assert found.flaws[0].detail.startswith("version B: ")
    (framework / "Versions/B/X").write_bytes(build(Recipe(adhoc=True)))
    assert verdict(framework).status == "invalid"
    shutil.rmtree(framework / "Versions/B")
    (framework / "evil").write_bytes(b"#!")
    assert verdict(framework).status == "invalid"


def test_a_helper_beside_the_program_has_no_part_in_the_seal(app: Path) -> None:
    """The bundle's Info.plist is its main program's."""
    folder = app / "Contents/MacOS"
    assert beside_program(str(folder / "Demo")) is not None
    (folder / "helper").write_bytes(b"x")
    assert beside_program(str(folder / "helper")) is None


# Bombs


def seal(files: dict[str, Any], rules: dict[str, Any] | None = None) -> bytes:
    return plistlib.dumps({"files2": files, "rules2": RULES2 if rules is None else rules}, fmt=plistlib.FMT_BINARY)


@pytest.mark.parametrize("path", ["a\0b", "./a", "a//b", "a/", "", "a/./b"])
def test_paths_that_no_bundle_has_are_malformed(tmp_path: Path, path: str) -> None:
    """Written in a thousand ways one file would be read a thousand times."""
    (tmp_path / "a").write_bytes(b"x")
    entry = {"hash2": hashlib.sha256(b"x").digest()}
    found = list(check(parse_seal(seal({path: entry})), Folder(str(tmp_path), Trust(), 0), ("a",)))
    assert [flaw.code for flaw in found] == ["malformed"]


@pytest.mark.parametrize("entry", [{"cdhash": 1 << 40}, {"symlink": 5}, {"hash2": 7}, 5, [], {"cdhash": "x"}])
def test_entries_of_another_kind_are_flaws(app: Path, entry: Any) -> None:
    resources = seal_of(app)
    resources["files2"]["Frameworks/lib.dylib"] = entry
    sealed(app, resources)
    assert verdict(app).status == "invalid"


@pytest.mark.parametrize(
    "pattern",
    [
        "a?" * 40 + "a" * 40 + "$",
        "(a|a)" * 40 + "b",
        "^.*a.*a.*a.*b",
        "(a|b|ab)(a|b|ab)(a|b|ab)(a|b|ab).*.*c",
        "(?=.*a.*a)b",
    ],
)
def test_rules_that_take_forever_are_refused(tmp_path: Path, pattern: str) -> None:
    (tmp_path / ("a" * 200)).write_bytes(b"")
    began = time.monotonic()
    with pytest.raises(ValueError, match="rule"):
        list(check(parse_seal(seal({}, {pattern: True})), Folder(str(tmp_path), Trust(), 0), ()))
    assert time.monotonic() - began < 1


def test_many_rules_for_many_paths_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tree:
        def paths(self) -> Any:
            return (f"Resources/{'a' * 900}{number}" for number in range(200_000))

        def link(self, path: str) -> None:
            return None

        digest = nested = link

    monkeypatch.setattr("hostscope.binaries.bundle.MOST_SECONDS", 0.2)
    rules = {f"^.*b{number}$": {"omit": True} for number in range(50)}
    began = time.monotonic()
    with pytest.raises(ValueError, match="too long"):
        list(check(parse_seal(seal({}, RULES2 | rules)), Tree(), ()))
    assert time.monotonic() - began < SECONDS


def test_bundles_in_bundles_without_end_are_told(tmp_path: Path) -> None:
    folder = tmp_path
    for _ in range(12):
        make(folder, "Demo", inner=False)
        folder = folder / "Demo.app/Contents/PlugIns"
    outer = tmp_path / "Demo.app"
    place = outer
    while (place / "Contents/PlugIns/Demo.app").exists():
        resources = seal_of(place)
        resources["files2"]["PlugIns/Demo.app"] = {"cdhash": bytes(20), "requirement": "x"}
        sealed(place, resources)
        place = place / "Contents/PlugIns/Demo.app"
    assert verdict(outer).status == "invalid"
