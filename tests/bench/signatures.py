"""``python -m tests.bench.signatures``: parsing signatures, and verifying large files beside hashing them.

Verifying and hashing take turns in one run, over the same open file in the page cache; the ratios are what to read.
"""

import hashlib
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hostscope.binaries.content import Content, Held
from hostscope.binaries.elf_hardening import parse_hardening
from hostscope.binaries.macho import slices
from hostscope.binaries.macho_signature import parse_signed
from hostscope.binaries.trust import Trust
from hostscope.binaries.verdict import judge
from hostscope.collectors.open_file import open_content
from hostscope.collectors.signatures import Signatures
from hostscope.platforms import open_host
from tests.bench.__main__ import show, stating_disturbance
from tests.unit.binaries.macho_builder import ARM64, SHA256, X86_64, Recipe, build
from tests.unit.binaries.pe_builder import OSSLSIGNCODE, image, sign
from tests.unit.binaries.pki import NOW, pki, plain

LARGE_BYTES = 150_000_000
PIECE_BYTES = 1 << 20
ROUNDS = 7
PARSES = 200
PARSE_MS, RATIO, REMEMBERED_MS = 15.0, 1.2, 1.0
TRUST = Trust(extra_roots=(pki().root.certificate,))


def hash_whole(content: Content, algorithm: str = "sha256") -> str:
    """What verification is compared with."""
    digest = hashlib.new(algorithm)
    for at in range(0, content.size, PIECE_BYTES):
        digest.update(content.read(at, PIECE_BYTES))
    return digest.hexdigest()


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


@contextmanager
def stored(raw: bytes) -> Iterator[Path]:
    """A file with this content."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        path.write_bytes(raw)
        yield path


def parsing(name: str, raw: bytes, parse: Callable[[Content], object], target: bool = True) -> None:
    """Milliseconds for the signature of a small file, in memory; judging it has no target of its own."""
    content = Held(raw)
    times = [seconds(lambda: parse(content)) * 1e3 for _ in range(PARSES)]
    figure = f"{statistics.median(times):.2f} ms, slowest {max(times):.2f} ms"
    good = statistics.median(times) < PARSE_MS if target else None
    show(name, figure, f"< {PARSE_MS:.0f} ms" if target else "", good)


def verifying(name: str, path: Path, passes: int = 1) -> None:
    """Verification of a large file beside hashing it, in turns; `passes`: how often its signature covers each byte."""
    with open_content(str(path)) as content:
        assert judge(str(path), content, TRUST).status == "valid"
        ratios, hashed, verified = [], [], []
        for _ in range(ROUNDS):
            hashed.append(sum(seconds(lambda: hash_whole(content)) for _ in range(passes)))
            verified.append(seconds(lambda: judge(str(path), content, TRUST)))
            ratios.append(verified[-1] / hashed[-1])
    ratio = statistics.median(ratios)
    times = f"{statistics.median(verified) * 1e3:.0f} ms, SHA-256 {statistics.median(hashed) * 1e3:.0f} ms"
    show(
        f"verify {content.size / 1e6:.0f} MB: {name}", f"{ratio:.2f} x hashing ({times})", f"< {RATIO} x", ratio < RATIO
    )


def large(cpu: int, exponent: int) -> bytes:
    """A signed Mach-O file of 150 MB."""
    pages = LARGE_BYTES >> exponent
    return build(Recipe(cpu=cpu, pages=pages, page_exponent=exponent, hashes=(SHA256,), stamp=(pki().authority, NOW)))


def remembering() -> None:
    """A verdict that is known already."""
    with stored(build(Recipe(pages=2000))) as path:
        known = Signatures(open_host(), TRUST)
        first = seconds(lambda: known.of_path(str(path)))
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and not known.remembers(str(path)):  # until its change counts as settled
            time.sleep(0.2)
            known.of_path(str(path))
        again = statistics.median(seconds(lambda: known.of_path(str(path))) for _ in range(50)) * 1e3
    show(
        "a verdict that is known",
        f"{again:.2f} ms, new {first * 1e3:.0f} ms",
        f"< {REMEMBERED_MS} ms",
        again < REMEMBERED_MS,
    )


def main() -> None:
    """All figures."""
    warnings.simplefilter("ignore")
    small = build(Recipe(stamp=(pki().authority, NOW)))
    parsing("parse: Mach-O with two code directories", small, lambda content: parse_signed(slices(content)[0].content))
    parsing("small Mach-O, judged: chain, time stamp", small, lambda content: judge("x", content, TRUST), False)
    parsing("parse: ELF hardening of python", Path("/usr/bin/python3").read_bytes(), parse_hardening)
    with tempfile.TemporaryDirectory() as folder:
        if OSSLSIGNCODE:
            raw = sign(Path(folder), image(), signer=plain().leaf)
            judge("x", Held(raw), TRUST)  # imports signify, and reads Microsoft's roots
            parsing("small PE, judged", raw, lambda content: judge("x", content, TRUST), False)
    with stored(large(ARM64, 14)) as path:
        verifying("Mach-O, pages of 16 KiB", path)
    with stored(large(X86_64, 12)) as path:
        verifying("Mach-O, pages of 4 KiB", path)
    if OSSLSIGNCODE:
        with tempfile.TemporaryDirectory() as folder:
            raw = sign(Path(folder), image(LARGE_BYTES // 4096))
            with stored(raw) as path:
                verifying("PE", path)
            raw = sign(Path(folder), image(LARGE_BYTES // 4096), "-ph")
            with stored(raw) as path:
                verifying("PE with page hashes", path, passes=2)
    remembering()


if __name__ == "__main__":
    with stating_disturbance():
        main()
