"""A filter expression, asked of packets one by one: behind PKTAP's headers, where the kernel cannot be asked.

The kernel's filter begins at PKTAP's header, whose length it does not know, and behind it each interface's packets
begin in their own way. So libpcap says of the expression what it means for each kind of link, and whether a packet
fits; tcpdump of macOS does the same.
"""

from collections.abc import Iterable

from hostscope.errors import UsageError
from hostscope.platforms.macos.native import pcap
from hostscope.platforms.tally import Tally


class Choice:
    """Programs by the link that they are for."""

    def __init__(self, expression: str, links: Iterable[tuple[str, int]], snap_bytes: int, tally: Tally) -> None:
        """Translates the expression for every link.

        Args:
            links: names of interfaces, and the DLT_* number of what their packets begin with.

        Raises:
            UsageError: libpcap rejects the expression for all of them. Unavailable, Unsupported
        """
        self._filters: dict[int, pcap.Filter] = {}
        refused: dict[int, UsageError] = {}
        senseless: list[str] = []
        for name, link in links:
            if link not in self._filters and link not in refused:
                try:
                    self._filters[link] = pcap.Filter(pcap.compile_filter(expression, link, snap_bytes))
                except UsageError as failed:
                    refused[link] = failed
            if link in refused:
                senseless.append(name)
        if not self._filters and refused:
            raise next(iter(refused.values()))
        if senseless:
            tally.note(f"the filter makes no sense for packets of {', '.join(senseless)}: none of them are shown")

    def fits(self, link: int, address: int, captured: int, length: int) -> bool:
        """Whether a packet of that link passes. Cost: one call of libpcap, 1 µs.

        Args:
            address: where its bytes stand in our memory; they must stay there meanwhile.
        """
        chosen = self._filters.get(link)
        return chosen is not None and chosen.passes(address, captured, length)
