"""Where the rig stands."""

import os
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Rig:
    """One Wine prefix, and the Python that runs in it."""

    root: Path

    @property
    def prefix(self) -> Path:
        return self.root / "prefix"

    @property
    def python(self) -> Path:
        return self.root / "python"

    @property
    def executable(self) -> Path:
        return self.python / "python.exe"

    @property
    def packages(self) -> Path:
        return self.python / "Lib" / "site-packages"


def chosen() -> tuple[Rig, bool]:
    """The rig that HOSTSCOPE_WINE names, else our own below .venv; and whether it is ours to make and to end."""
    named = os.environ.get("HOSTSCOPE_WINE")
    return (Rig(Path(named)), False) if named else (Rig(REPOSITORY / ".venv" / "wine"), True)


def seen_inside(path: Path) -> str:
    """The name that a path has inside Wine."""
    return "Z:" + str(path).replace("/", "\\")
