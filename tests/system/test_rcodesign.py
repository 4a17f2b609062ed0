"""Files that another implementation signs (apple-platform-rs), linked for macOS by zig, with our own certificates."""

import plistlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hostscope.binaries.content import Held
from hostscope.binaries.trust import Trust
from hostscope.binaries.verdict import judge
from hostscope.collectors.bundles import judge_bundle
from hostscope.model.signature import Signature
from tests.unit.binaries.pki import TEAM, pki

pytestmark = [pytest.mark.system, pytest.mark.slow]

ENTITLEMENTS = {"com.apple.security.cs.allow-jit": True, "keychain-access-groups": ["a", "b"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A universal file, and what signs it."""
    pytest.importorskip("ziglang")
    other = pytest.importorskip("apple_platform")
    place, known = tmp_path_factory.mktemp("rcodesign"), pki()
    (place / "t.c").write_text("int main(void) { return 0; }\n")
    for target in ("aarch64-macos", "x86_64-macos"):
        command = [sys.executable, "-m", "ziglang", "cc", "-Os", "-s", "-target", target, "t.c", "-o", target]
        subprocess.run(command, cwd=place, check=True)
    other.macho.create_universal([str(place / "aarch64-macos"), str(place / "x86_64-macos")], str(place / "fat"))
    (place / "leaf.pem").write_bytes(known.leaf.pem + known.leaf.key_pem)
    (place / "ca.der").write_bytes(known.issuer.der)
    (place / "root.der").write_bytes(known.root.der)
    (place / "ent.plist").write_bytes(plistlib.dumps(ENTITLEMENTS))
    return place


def sign(folder: Path, source: str, target: str | None, **more: Any) -> None:
    import apple_platform as other

    signer = other.Signer(
        pem=other.PemKey(files=[str(folder / "leaf.pem")]),
        certificate_der=other.CertificateDerKey(paths=[str(folder / "ca.der"), str(folder / "root.der")]),
    )
    other.sign(
        str(folder / source),
        str(folder / target) if target else None,
        signer=signer,
        entitlements_xml_file=str(folder / "ent.plist"),
        code_signature_flags=["runtime"],
        team_name=TEAM,
        timestamp_url="none",
        **more,
    )


def verdict(raw: bytes) -> Signature:
    return judge("x", Held(raw), Trust(extra_roots=(pki().root.certificate,)))


def test_a_universal_file(folder: Path) -> None:
    sign(folder, "fat", "signed", binary_identifier="org.test.tool", digests=["sha1", "sha256"])
    raw = (folder / "signed").read_bytes()
    found = verdict(raw)
    assert found.status == "valid", found
    assert [part.name for part in found.parts] == ["arm64", "x86_64"]
    for part in found.parts:
        assert (part.identifier, part.team, part.digests) == ("org.test.tool", TEAM, ("sha1", "sha256"))
        assert part.entitlements is not None
        assert {one.name for one in part.entitlements} == set(ENTITLEMENTS)
        assert part.requirement and '"org.test.tool"' in part.requirement
    for at in (0x4800, len(raw) // 2):
        changed = bytearray(raw)
        changed[at] ^= 1
        assert verdict(bytes(changed)).status == "invalid"


def test_a_bundle(folder: Path) -> None:
    contents = folder / "Demo.app" / "Contents"
    (contents / "MacOS").mkdir(parents=True)
    (contents / "Resources" / "en.lproj").mkdir(parents=True)
    (contents / "MacOS" / "Demo").write_bytes((folder / "fat").read_bytes())
    info = {"CFBundleIdentifier": "org.test.demo", "CFBundleExecutable": "Demo", "CFBundlePackageType": "APPL"}
    (contents / "Info.plist").write_bytes(plistlib.dumps(info))
    (contents / "Resources" / "a.txt").write_text("hi")
    sign(folder, "Demo.app", None)
    trust = Trust(extra_roots=(pki().root.certificate,))
    found = judge_bundle(str(folder / "Demo.app"), trust)
    assert (found.status, found.all_flaws) == ("valid", ()), found
    (contents / "Resources" / "a.txt").write_text("hI")
    (contents / "Resources" / "b.txt").write_text("new")
    codes = {flaw.code for flaw in judge_bundle(str(folder / "Demo.app"), trust).all_flaws}
    assert codes == {"resource-changed", "resource-added"}
