"""Sockets that no process was seen to hold: the kernel's own, or somebody's who is hidden from us."""

from collections.abc import Iterable, Iterator, Set
from functools import partial

from hostscope.errors import Error
from hostscope.platforms.linux.net_namespaces import NetNamespace, inside
from hostscope.platforms.linux.socket_facts import Facts
from hostscope.platforms.linux.socket_iterator import FILES, SocketIterator
from hostscope.platforms.tally import Tally


def with_files(
    iterator: SocketIterator, namespaces: Iterable[NetNamespace], unheld: Iterable[Facts], tally: Tally
) -> Set[int]:
    """Cookies of those that a file stands for: some program holds them. Only TCP and UDP can be told.

    Cost: see `SocketIterator.have_files`; nothing where every socket has its holder.
    """
    asked: dict[tuple[int | None, int], set[int]] = {}
    for facts in unheld:
        if facts.inode and facts.cookie and facts.protocol in FILES:
            asked.setdefault((facts.net_ns, facts.protocol), set()).add(facts.cookie)
    try:
        return {cookie for cookie, has_file in _answers(iterator, namespaces, asked) if has_file}
    except (Error, OSError) as failed:
        tally.note(f"whether sockets without a process are the kernel's own could not be told: {failed}")
        return frozenset()


def _answers(
    iterator: SocketIterator, namespaces: Iterable[NetNamespace], asked: dict[tuple[int | None, int], set[int]]
) -> Iterator[tuple[int, bool]]:
    for namespace in namespaces:
        for protocol in FILES:
            if cookies := asked.get((namespace.inode, protocol)):
                yield from inside(namespace, partial(iterator.have_files, protocol, cookies)).items()


def describe(count: int) -> str:
    """For people."""
    what = "1 socket has" if count == 1 else f"{count} sockets have"
    return (
        f"{what} no process that could be seen, though some program has it open: one that is hidden from us or denied, "
        "or it is on its way from one process to another"
    )
