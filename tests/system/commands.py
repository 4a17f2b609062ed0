"""Commands that tests need, installed when that is possible."""

import os
import shutil
import subprocess

import pytest


def need(command: str, package: str) -> str:
    """The path of a command, from `package` if it has to be installed; skips the test when that cannot be."""
    found = shutil.which(command)
    if found:
        return found
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        pytest.skip(f"{command} is missing, and installing {package} needs root and apt")
    done = subprocess.run(
        ["apt-get", "install", "-y", "--no-install-recommends", package],
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    found = shutil.which(command)
    if not found:
        pytest.skip(f"{command} is missing, and apt-get install {package} failed: {done.stderr.strip()[-200:]}")
    return found
