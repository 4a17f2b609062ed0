"""Programs ready for one kernel: relocated instructions and what they need. This is what the program cache keeps."""

from msgspec import Struct

FORMAT = "2"
"""Of `Image`; raise it when its meaning changes."""

RODATA = ".rodata"


class MapImage(Struct, array_like=True, frozen=True):
    """One map to create."""

    name: str
    kind: int
    key_bytes: int
    value_bytes: int
    entries: int
    flags: int = 0
    key_type: int = 0
    """In the object's own BTF, as the next; only maps that live in a socket or task need them."""
    value_type: int = 0


class DataImage(Struct, array_like=True, frozen=True):
    """The global variables of one section: a map of one element."""

    name: str
    content: bytes
    """What they begin with."""
    constant: bool
    """They are set before the programs are loaded, and never after."""


class ProgramImage(Struct, array_like=True, frozen=True):
    """One program to load."""

    name: str
    kind: str
    """A key of `program_kinds.KINDS`."""
    target: str
    """What it attaches to, such as a tracepoint's name; empty where the caller says."""
    sleepable: bool
    attach_btf_id: int
    """Of the target in the kernel's BTF; 0 where the kind needs none."""
    code: bytes
    maps: tuple[tuple[int, str], ...]
    """Byte offsets in `code` where a map's descriptor goes."""
    functions: bytes
    """bpf_func_info records; empty when the program has only one function."""
    obstacle: str = ""
    """What this kernel lacks for it; then there is no code."""


class Image(Struct, array_like=True, frozen=True):
    """Everything of one object, for one kernel."""

    maps: tuple[MapImage, ...]
    programs: tuple[ProgramImage, ...]
    btf: bytes
    data: tuple[DataImage, ...]
    variables: dict[str, tuple[str, int, int]]
    """Section, offset and size of each global variable."""
