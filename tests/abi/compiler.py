"""The compiler with the systems' headers (ziglang), with a cache by content: no source is compiled twice."""

import hashlib
import importlib.metadata
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

COMPILER = (sys.executable, "-m", "ziglang")
ERROR = re.compile(r"^(?P<file>[^:\n]+):(?P<line>\d+):\d+: (?:fatal )?error: (?P<text>.*)$", re.M)


STRICT = ("-std=c++17", "-w", "-ferror-limit=0", "-fno-caret-diagnostics")


class Failure(NamedTuple):
    """One error of the compiler, at the place that ``#line`` gave it."""

    file: str
    line: int
    text: str


def toolchain() -> Path:
    """Where the headers are."""
    import ziglang

    return Path(ziglang.__file__).parent


def failures(source: str, target: str) -> list[Failure]:
    """Compiles C++ for a target; the errors."""
    includes = f"-I{toolchain()}/lib/libc/include/any-windows-any/ddk"
    found = compiled(source, target, (*STRICT, includes), "cpp", "errors")
    return [Failure(one["file"], int(one["line"]), one["text"]) for one in ERROR.finditer(found)]


def compiled(source: str, target: str, options: Sequence[str], suffix: str, wanted: str) -> str:
    """Compiles a file; its assembly text, or what the compiler said, by `wanted` (``assembly`` or ``errors``)."""
    key = _key(source, target, *options, suffix, wanted)
    cached = cache() / key
    if not cached.exists():
        _store(cached, _compile(source, target, options, suffix, wanted))
    return cached.read_text(encoding="utf-8")


def cache() -> Path:
    """Where results are kept between runs; of this user only."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = Path(base) / "hostscope-tests"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def _key(*parts: str) -> str:
    version = importlib.metadata.version("ziglang")
    return hashlib.sha256("\0".join((version, *parts)).encode()).hexdigest()


def _store(path: Path, text: str) -> None:
    """Whole or not at all: two runs may meet here."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
        file.write(text)
    os.replace(file.name, path)


def _compile(source: str, target: str, options: Sequence[str], suffix: str, wanted: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        unit, out = Path(folder) / f"unit.{suffix}", Path(folder) / "unit.out"
        unit.write_text(source, encoding="utf-8")
        driver = "c++" if suffix == "cpp" else "cc"
        mode = "-S" if wanted == "assembly" else "-c"
        command = [*COMPILER, driver, *options, "-target", target, mode, str(unit), "-o", str(out)]
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        if wanted == "errors":
            return _checked(ran)
        if ran.returncode:
            raise AssertionError(f"{target}: {ran.stderr[:4000]}")
        return out.read_text(encoding="utf-8")


def _checked(ran: "subprocess.CompletedProcess[str]") -> str:
    """What it said; it must have named an error when it failed."""
    if ran.returncode and not ERROR.search(ran.stderr):
        raise AssertionError(f"the compiler failed without an error: {ran.stderr[:4000]}")
    return ran.stderr if ran.returncode else ""
