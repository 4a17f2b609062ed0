"""Makes a Linux library of the files here, and checks them as Apple's compiler would; both once for each content."""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.abi.compiler import COMPILER, cache

HERE = Path(__file__).parent
STRICT = ("-Wall", "-Wextra", "-Werror", "-std=gnu17")
MACHINES = ("aarch64-macos", "x86_64-macos")
IR = ("-O1", "-fno-stack-protector", "-fno-sanitize=all", "-D_FORTIFY_SOURCE=0", "-S", "-emit-llvm")
RETARGETED = (
    (re.compile(r"^target triple = .*$", re.M), 'target triple = "x86_64-unknown-linux-gnu"'),
    (re.compile(r"(target datalayout = \".*?)m:o"), r"\1m:e"),
    (re.compile(r"\\01_"), ""),
)


def sources() -> list[Path]:
    """Files of the scripted library, without the host's part."""
    return sorted(path for path in HERE.glob("*.c") if path.name != "host.c")


def library() -> Path:
    """The library for this host, built when its sources changed."""
    target = cache() / f"libfakedarwin-{_digest()}.so"
    if not target.exists():
        with tempfile.TemporaryDirectory() as folder:
            made = _build(Path(folder))
            staged = target.with_suffix(f".{os.getpid()}")
            shutil.copy(made, staged)
            staged.replace(target)
    return target


def _build(folder: Path) -> Path:
    units = [_unit(source, folder) for source in sources()]
    made = folder / "fake.so"
    _run(
        "cc",
        "-target",
        "x86_64-linux-gnu",
        "-fPIC",
        "-shared",
        "-Wno-override-module",
        *units,
        HERE / "host.c",
        "-o",
        made,
    )
    return made


def _unit(source: Path, folder: Path) -> Path:
    for machine in MACHINES:
        _run("cc", *STRICT, "-target", machine, "-c", source, "-o", folder / "checked.o")
    ir = folder / f"{source.stem}.ll"
    _run("cc", *IR, "-target", "x86_64-macos", source, "-o", ir)
    text = ir.read_text(encoding="utf-8")
    for pattern, replacement in RETARGETED:
        text = pattern.sub(replacement, text)
    ir.write_text(text, encoding="utf-8")
    return ir


def _run(*arguments: object) -> None:
    ran = subprocess.run([*COMPILER, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, f"{' '.join(map(str, arguments))}\n{ran.stderr[:6000]}"


def _digest() -> str:
    digest = hashlib.sha256()
    for path in sorted((*HERE.glob("*.c"), *HERE.glob("*.h"), HERE / "build.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:32]
