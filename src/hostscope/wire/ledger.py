"""Whether what was seen adds up to what the interfaces counted."""

from collections.abc import Iterable, Iterator, Mapping

from hostscope.model.traffic import Counts, Ledger, LedgerLine


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
