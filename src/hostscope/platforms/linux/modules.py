"""Programs and libraries in memory, by what is mapped."""

from collections.abc import Iterable

from hostscope.model.detail import MemoryMap, Module


def modules_of(maps: Iterable[MemoryMap]) -> tuple[Module, ...]:
    """Files of which a part may be executed, by address; each as far as mappings of it follow one another.

    A file that was loaded twice is there twice. Code that a program made itself has no file, so it is in no module.
    """
    runs: list[list[MemoryMap]] = []
    for mapping in maps:
        if runs and _goes_on(runs[-1], mapping):
            runs[-1].append(mapping)
        elif mapping.path and mapping.path.startswith("/"):
            runs.append([mapping])
    return tuple(map(_module, filter(_executable, runs)))


def _goes_on(run: list[MemoryMap], mapping: MemoryMap) -> bool:
    """Whether it is of the same loading of the file: a later part of it, or the zeros that follow a part."""
    last = run[-1]
    if mapping.path is None:
        return mapping.start == last.end
    same = (mapping.path, mapping.device, mapping.inode) == (run[0].path, run[0].device, run[0].inode)
    return same and mapping.offset > run[0].offset


def _executable(run: list[MemoryMap]) -> bool:
    return any("x" in mapping.permissions and mapping.path is not None for mapping in run)


def _module(run: list[MemoryMap]) -> Module:
    path = run[0].path or ""
    end = max(mapping.end for mapping in run if mapping.path is not None)
    return Module(path.rpartition("/")[2], path, run[0].start, end - run[0].start, deleted=run[0].deleted)
