"""What the interfaces themselves counted: the other side of the ledger."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing

from hostscope.errors import UsageError
from hostscope.model.traffic import Counts, Ledger, LedgerLine
from hostscope.platforms.linux.rtnetlink import Link, RouteSocket


def read_links(wanted: tuple[str, ...] = ()) -> dict[int, Link]:
    """The links of our network namespace by index, or those that are named. Cost: one dump, 40 µs a link.

    Raises:
        UsageError: there is no interface of a name.
    """
    with closing(RouteSocket()) as route:
        links = {link.index: link for link in route.links()}
    names = {link.name for link in links.values()}
    if missing := [name for name in wanted if name not in names]:
        raise UsageError(f"there is no interface {missing[0]!r}", f"interfaces: {', '.join(sorted(names))}")
    return {index: link for index, link in links.items() if not wanted or link.name in wanted}


def carried(before: Mapping[int, Link], after: Mapping[int, Link]) -> dict[int, Counts]:
    """What each interface counted between two readings; one that was made meanwhile began at nothing."""
    return {index: _counts(link) - _counts(before.get(index)) for index, link in after.items()}


def _counts(link: Link | None) -> Counts:
    if link is None or link.counters is None:
        return Counts()
    c = link.counters
    return Counts(c.sent_bytes, c.received_bytes, c.sent_packets, c.received_packets)


def balance(names: Iterable[str], counted: Iterable[Counts], parts: Mapping[str, Counts], estimated: bool) -> Ledger:
    """The ledger of these interfaces."""
    total = sum(counted, Counts())
    lines = tuple(_lines(parts))
    return Ledger(
        interfaces=tuple(names),
        interface_bytes=total.total_bytes,
        interface_packets=total.total_packets,
        lines=lines,
        remainder_bytes=total.total_bytes - sum(line.bytes for line in lines),
        remainder_packets=total.total_packets - sum(line.packets for line in lines),
        estimated=estimated,
    )


def _lines(parts: Mapping[str, Counts]) -> Iterator[LedgerLine]:
    """The attributed part first, then the reasons, the largest first."""
    for reason, counts in sorted(parts.items(), key=lambda part: (part[0] != "attributed", -part[1].total_bytes)):
        yield LedgerLine(reason, counts.total_bytes, counts.total_packets)
