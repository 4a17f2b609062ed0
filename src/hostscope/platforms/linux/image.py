"""Programs ready for one kernel: relocated instructions and what they need. This is what the program cache keeps."""

from msgspec import Struct

FORMAT = "1"
"""Of `Image`; raise it when its meaning changes."""

RODATA = ".rodata"


class MapImage(Struct, array_like=True, frozen=True):
    """One map to create."""

    name: str
    kind: int
    key_bytes: int
    value_bytes: int
    entries: int


class ProgramImage(Struct, array_like=True, frozen=True):
    """One program to load."""

    name: str
    sleepable: bool
    attach_btf_id: int
    """Of ``bpf_iter_<target>`` in the kernel's BTF."""
    code: bytes
    maps: tuple[tuple[int, str], ...]
    """Byte offsets in `code` where a map's descriptor goes."""
    functions: bytes
    """bpf_func_info records; empty when the program has only one function."""


class Image(Struct, array_like=True, frozen=True):
    """Everything of one object, for one kernel."""

    maps: tuple[MapImage, ...]
    programs: tuple[ProgramImage, ...]
    btf: bytes
    rodata: bytes
    constants: dict[str, tuple[int, int]]
    """Offset and size in `rodata` of what is set at load time."""
