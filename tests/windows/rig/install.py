"""Makes the rig: a prefix, Windows' CPython from a package with a pinned hash, the tests' packages, one small DLL.

Nothing here fails the build: what is in the way is said, and the tests that need the rig are skipped.
"""

import fcntl
import filecmp
import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.windows.rig.places import HERE, Rig
from tests.windows.rig.session import environment

INPUTS = ("python.lock", "packages.lock", "bcryptprimitives.c", "install.py")
WINE_DLLS = Path("/usr/lib/x86_64-linux-gnu/wine/x86_64-windows")
PIP = ("-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-input", "--no-deps", "--require-hashes")
FOR_WINDOWS = ("--only-binary=:all:", "--platform", "win_amd64", "--python-version", "3.11", "--implementation", "cp")
NO_DISPLAY = ("/v", "Graphics", "/d", "null", "/f")


class _Failed(Exception):
    """One step did not work; the message says which and why."""


def install(rig: Rig) -> str | None:
    """Makes the rig, or finds it made from the same inputs; None, or the reason why there is none."""
    if not (shutil.which("wine") and shutil.which("wineserver")):
        return "wine is not installed (Debian packages wine, wine64)"
    rig.root.mkdir(parents=True, exist_ok=True)
    try:
        with _alone(rig):
            if _stamp(rig) != _wanted():
                _make(rig)
    except (_Failed, OSError, subprocess.TimeoutExpired) as failed:
        return str(failed)
    return None


def wine_version() -> str:
    """As `wine --version` tells, or empty."""
    try:
        asked = subprocess.run(["wine", "--version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return asked.stdout.strip()


@contextmanager
def _alone(rig: Rig) -> Iterator[None]:
    with (rig.root / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _stamp(rig: Rig) -> str:
    stamp = rig.root / ".made-of"
    return stamp.read_text() if stamp.exists() and rig.executable.exists() else ""


def _wanted() -> str:
    inputs = hashlib.sha256(b"\0".join((HERE / name).read_bytes() for name in INPUTS)).hexdigest()
    return f"{inputs} {wine_version()}\n"


def _make(rig: Rig) -> None:
    shutil.rmtree(rig.prefix, ignore_errors=True)
    shutil.rmtree(rig.python, ignore_errors=True)
    _install_python(rig)
    _build_dll(rig.python)
    _make_prefix(rig)
    (rig.root / ".made-of").write_text(_wanted())


def _install_python(rig: Rig) -> None:
    _step("install Windows' Python", sys.executable, *PIP, "--target", rig.python, "-r", HERE / "python.lock")
    (rig.python / "python311._pth").unlink()  # with it, neither PYTHONPATH nor site-packages would be looked at
    locked = ("--target", rig.packages, "-r", HERE / "packages.lock")
    _step("install its packages", sys.executable, *PIP, *FOR_WINDOWS, *locked)


def _build_dll(folder: Path) -> None:
    """Wine 8 lacks bcryptprimitives.dll, which extension modules written in Rust load."""
    target = ("-target", "x86_64-windows-gnu", "-shared", "-o", folder / "bcryptprimitives.dll")
    source = (HERE / "bcryptprimitives.c", "-ladvapi32")
    _step("build bcryptprimitives.dll", sys.executable, "-m", "ziglang", "cc", *target, *source)


def _make_prefix(rig: Rig) -> None:
    given = environment(rig)
    _step("make a Wine prefix", "wine", "wineboot", "-i", env=given)
    _step("make it Windows 10", "wine", "winecfg", "-v", "win10", env=given)
    # Windows can be made then, which nobody sees; without a display the usual driver makes none.
    _step("let windows be made", "wine", "reg", "add", r"HKCU\Software\Wine\Drivers", *NO_DISPLAY, env=given)
    _step("end its session", "wineserver", "-w", env=given)
    for copy in (rig.prefix / "drive_c" / "windows").rglob("*"):
        _share(copy)


def _share(copy: Path) -> None:
    """A link to the same file of the system: a prefix takes 19 MB then, instead of 700."""
    original = WINE_DLLS / copy.name
    if copy.is_file() and not copy.is_symlink() and original.is_file() and filecmp.cmp(copy, original, shallow=False):
        copy.unlink()
        copy.symlink_to(original)


def _step(what: str, *command: str | Path, env: dict[str, str] | None = None) -> None:
    """Runs a command; what it says goes to a file, because Wine's services keep a pipe open."""
    with tempfile.TemporaryFile() as said:
        words = [str(word) for word in command]
        handles = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": said}
        done = subprocess.run(words, **handles, env=env, timeout=600, check=False)  # type: ignore[call-overload]
        said.seek(0)
        last = said.read().decode(errors="replace").strip().splitlines()[-1:]
    if done.returncode:
        raise _Failed(f"could not {what}: {last[0] if last else f'exit code {done.returncode}'}")
