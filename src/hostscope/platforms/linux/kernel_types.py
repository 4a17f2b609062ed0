"""What the running kernel has, by its own description of its types: tracepoints, structs, fields, enumerators.

A program knows by itself what it lacks (`loader.Programs.obstacle`, HAS() in its source); this is for choices before
any program is at hand.
"""

from hostscope.errors import Unsupported
from hostscope.platforms.linux.btf import COMPOSITE, ENUM, ENUM64, TYPEDEF, Btf
from hostscope.platforms.linux.program_kinds import KINDS
from hostscope.platforms.linux.relocate import read_kernel_btf

_TRACEPOINT = KINDS["tp_btf"].prefix.encode()


class KernelTypes:
    """Answers from one kernel's BTF. Pure."""

    def __init__(self, raw: bytes) -> None:
        """Raises `ValueError`: this is not BTF. Cost: about 25 ms."""
        self._btf = Btf(raw)

    def tracepoints(self) -> frozenset[str]:
        """Names that programs of kind tp_btf may attach to; those of modules are not among them. Cost: 20 ms."""
        names = (self._btf.name(type_id) for type_id in self._btf.of_kind(TYPEDEF))
        return frozenset(n.removeprefix(_TRACEPOINT).decode() for n in names if n.startswith(_TRACEPOINT))

    def has_tracepoint(self, name: str) -> bool:
        """Whether there is a tracepoint of this name."""
        return bool(self._find(_TRACEPOINT.decode() + name, TYPEDEF))

    def has_type(self, name: str) -> bool:
        """Whether there is a struct, union, enumeration or typedef of this name."""
        return bool(self._find(name, *COMPOSITE, ENUM, ENUM64, TYPEDEF))

    def has_field(self, struct: str, *path: str) -> bool:
        """Whether a struct or union has a field; further names go into it, as in ``sock __sk_common skc_state``."""
        return any(self._leads(type_id, path) for type_id in self._find(struct, *COMPOSITE))

    def size(self, struct: str) -> int | None:
        """Bytes of a struct or union; None when there is none of this name."""
        return next((self._btf.size(type_id) for type_id in self._find(struct, *COMPOSITE)), None)

    def enumerator(self, enumeration: str, name: str) -> int | None:
        """The value of an enumerator; None when the kernel has none of this name."""
        found = (self._btf.enumerators(type_id) for type_id in self._find(enumeration, ENUM, ENUM64))
        return next((value for names in found for known, value in names if known == name.encode()), None)

    def _find(self, name: str, *kinds: int) -> list[int]:
        found = self._btf.find(frozenset({name.encode()})).get(name.encode(), [])
        return [type_id for type_id in found if self._btf.kind(type_id) in kinds]

    def _leads(self, type_id: int, path: tuple[str, ...]) -> bool:
        for name in path:
            type_id = self._btf.strip(type_id)
            member = self._btf.member(type_id, name.encode()) if self._btf.kind(type_id) in COMPOSITE else None
            if member is None:
                return False
            type_id = member.type
        return True


def read_kernel_types() -> KernelTypes:
    """The running kernel's. Raises `Unsupported`: it does not describe its types."""
    try:
        return KernelTypes(read_kernel_btf())
    except ValueError as failed:
        raise Unsupported(f"the kernel's description of its types does not read: {failed}") from failed
