"""Small PE files, and what osslsigncode makes of them with certificates of our own."""

import hashlib
import shutil
import struct
import subprocess
from pathlib import Path

from .pki import Identity, plain

OSSLSIGNCODE = shutil.which("osslsigncode")


def image(pages: int = 3, overlay: bytes = b"", wide: bool = True) -> bytes:
    """An unsigned file with one section."""
    optional_size = 240 if wide else 224
    headers = bytearray(0x200)
    headers[:2] = b"MZ"
    struct.pack_into("<I", headers, 0x3C, 0x80)
    size = pages * 4096
    struct.pack_into("<4sHHIIIHH", headers, 0x80, b"PE\0\0", 0x8664 if wide else 0x14C, 1, 0, 0, 0, optional_size, 0x22)
    at = 0x98
    struct.pack_into("<H", headers, at, 0x20B if wide else 0x10B)
    struct.pack_into("<II", headers, at + 32, 0x1000, 0x200)  # alignments
    struct.pack_into("<III", headers, at + 56, 0x1000 + size, 0x200, 0)  # image, headers, checksum
    struct.pack_into("<I", headers, at + (108 if wide else 92), 16)
    struct.pack_into("<8sIIII", headers, at + optional_size, b".text", size, 0x1000, size, 0x200)
    return bytes(headers) + hashlib.shake_128(b"pe").digest(size) + overlay


def sign(folder: Path, raw: bytes, *options: str, signer: Identity | None = None, suffix: str = "exe") -> bytes:
    """The file with a signature of the leaf, or of another signer."""
    known = plain()
    one = signer or known.leaf
    (folder / "chain.pem").write_bytes(one.pem + known.issuer.pem + known.root.pem)
    (folder / "key.pem").write_bytes(one.key_pem)
    given, made = folder / f"in.{suffix}", folder / f"out.{suffix}"
    given.write_bytes(raw)
    made.unlink(missing_ok=True)
    assert OSSLSIGNCODE
    command = [OSSLSIGNCODE, "sign", "-certs", "chain.pem", "-key", "key.pem", "-h", "sha256", *options]
    done = subprocess.run(
        [*command, "-in", given.name, "-out", made.name], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return made.read_bytes()


def accepted(folder: Path, raw: bytes, root: bytes) -> bool:
    """What osslsigncode thinks of a file."""
    (folder / "given.exe").write_bytes(raw)
    (folder / "root.pem").write_bytes(root)
    assert OSSLSIGNCODE
    command = [
        OSSLSIGNCODE,
        "verify",
        "-ignore-crl",
        "-CAfile",
        "root.pem",
        "-TSA-CAfile",
        "root.pem",
        "-in",
        "given.exe",
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode == 0
