"""Owners of real files, compared with dpkg and rpm themselves."""

import shutil
import subprocess
from pathlib import Path

import pytest

from hostscope.model.package import FileOwner
from hostscope.platforms.linux.packages import Packages, hash_file
from tests.system.commands import need

pytestmark = pytest.mark.system


def output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


@pytest.fixture(scope="module")
def packages() -> Packages:
    if not shutil.which("dpkg") or not Path("/var/lib/dpkg/info/bash.list").exists():
        pytest.skip("this host has no dpkg database")
    return Packages()


def matches(owner: FileOwner, path: str) -> bool:
    """Whether the file is the one that the database knows."""
    assert owner.digest_algorithm is not None
    with open(path, "rb") as file:
        return hash_file(file.fileno(), owner.digest_algorithm) == owner.digest


def test_bash_as_dpkg_says(packages: Packages) -> None:
    owner = packages.owner("/usr/bin/bash")
    assert owner is not None
    assert f"{owner.package}: /bin/bash" in output("dpkg", "-S", "/bin/bash")
    assert owner.version == output("dpkg-query", "-W", "-f", "${Version}", "bash")
    assert owner.manager == "dpkg"
    assert matches(owner, "/bin/bash") is True


def test_changed_copy_is_told(packages: Packages, tmp_path: Path) -> None:
    owner = packages.owner("/bin/bash")
    assert owner is not None
    copy = tmp_path / "bash"
    shutil.copy("/bin/bash", copy)
    assert matches(owner, str(copy)) is True
    with copy.open("r+b") as file:
        file.seek(1000)
        byte = file.read(1)
        file.seek(1000)
        file.write(bytes([byte[0] ^ 1]))
    assert matches(owner, str(copy)) is False


def test_own_files_have_no_owner(packages: Packages, tmp_path: Path) -> None:
    assert packages.owner(str(tmp_path / "tool")) is None


def test_many_executables_as_dpkg_says(packages: Packages) -> None:
    """Diversions apart, which dpkg -S answers in another form."""
    paths = [str(path) for path in sorted(Path("/usr/bin").iterdir()) if path.is_file() and not path.is_symlink()][::7]
    names = [name for path in paths for name in (path, path.removeprefix("/usr"))]
    lines = subprocess.run(["dpkg", "-S", *names], capture_output=True, text=True, check=False, timeout=120).stdout
    expected: dict[str, set[str]] = {}
    for line in lines.splitlines():
        owners, _, path = line.rpartition(": ")
        if not line.startswith(("diversion by", "local diversion")):
            expected.setdefault("/usr" + path.removeprefix("/usr"), set()).update(owners.split(", "))
    diverted = {path for line in lines.splitlines() if "diversion by" in line for path in line.split(": ")[1:]}
    compared = 0
    for path in paths:
        if path in diverted or path.removeprefix("/usr") in diverted:
            continue
        owner = packages.owner(path)
        assert (owner.package if owner else None) in (expected.get(path) or {None}), path
        compared += 1
    assert compared > 20


SPEC = """Name: hostscope-test
Version: 1.5
Release: 2
Epoch: 3
Summary: A package for a test
License: none
BuildArch: noarch
%description
%prep
%build
%install
mkdir -p %{buildroot}/usr/bin %{buildroot}/opt/hs
printf 'one' > %{buildroot}/usr/bin/hs-one
printf 'two' > %{buildroot}/opt/hs/hs-one
ln -s hs-one %{buildroot}/usr/bin/hs-link
%files
/usr/bin/hs-one
/usr/bin/hs-link
/opt/hs
%ghost /opt/hs-ghost
"""


@pytest.fixture(scope="module")
def rpm_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file system root whose RPM database holds one package that rpmbuild made."""
    need("rpmbuild", "rpm")
    top, root = tmp_path_factory.mktemp("build"), tmp_path_factory.mktemp("root")
    (top / "test.spec").write_text(SPEC)
    database = root / "usr/lib/sysimage/rpm"
    database.mkdir(parents=True)
    build = [
        "rpmbuild",
        "-bb",
        "--define",
        f"_topdir {top}",
        "--define",
        "_build_id_links none",
        str(top / "test.spec"),
    ]
    build += ["--define", "_use_internal_dependency_generator 0", "--nodeps"]
    install = ["rpm", "--dbpath", str(database), "-i", "--justdb", "--nodeps", "--ignorearch", "--ignoreos"]
    for command in (build, ["rpm", "--dbpath", str(database), "--initdb"]):
        attempt(command)
    attempt([*install, *map(str, top.glob("RPMS/**/*.rpm"))])
    return root


def attempt(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode != 0:
        pytest.skip(f"{command[0]} does not work here: {done.stderr.strip()[-300:]}")


def test_rpm_as_rpm_says(rpm_root: Path, tmp_path: Path) -> None:
    database = rpm_root / "usr/lib/sysimage/rpm"
    if not (database / "rpmdb.sqlite").exists():
        pytest.skip("this rpm writes no SQLite database")
    before = sorted(path.name for path in database.iterdir())
    packages = Packages(str(rpm_root))
    owner = packages.owner("/usr/bin/hs-one")
    assert owner is not None
    assert output("rpm", "--dbpath", str(database), "-qf", "/usr/bin/hs-one", "--qf", "%{NAME} %{EVR}") == (
        f"{owner.package} {owner.version}"
    )
    assert (owner.version, owner.manager, owner.digest_algorithm) == ("3:1.5-2", "rpm", "sha256")
    (tmp_path / "one").write_text("one")
    assert matches(owner, str(tmp_path / "one")) is True
    (tmp_path / "one").write_text("two")
    assert matches(owner, str(tmp_path / "one")) is False
    other = packages.owner("/opt/hs/hs-one")
    assert other is not None
    assert other.digest != owner.digest
    link = packages.owner("/usr/bin/hs-link")
    assert link is not None
    assert link.digest is None
    assert packages.owner("/usr/lib/hs-one") is None
    assert packages.owner("/opt/hs-ghost") is None
    assert sorted(path.name for path in database.iterdir()) == before
