"""Which addresses are this host's, and where."""

from collections.abc import Callable
from time import monotonic

from hostscope.collectors.held_ends import Places, is_loopback, is_to_many
from hostscope.errors import Error
from hostscope.platforms.base import Host
from hostscope.platforms.tally import Tally

_ADDRESSES_S = 5.0
"""Between two lists, at least."""


class Addresses:
    """This host's addresses, and in which network namespaces they are."""

    def __init__(self, host: Host, tally: Tally, net_ns: int | None, clock: Callable[[], float] = monotonic) -> None:
        self._host, self._tally, self._net_ns, self._clock = host, tally, net_ns, clock
        self._of: dict[str, frozenset[int | None]] | None = None
        self._broadcast: set[str] = set()
        self._next_s = 0.0

    def is_local(self, address: str) -> bool:
        """Whether it is one of them; True for any where they cannot be listed."""
        known = self._known()
        return not known or address in known or is_loopback(address)

    def is_to_many(self, address: str) -> bool:
        """Whether nobody in particular has it: multicast, or broadcast in one of our networks."""
        return is_to_many(address) or address in self._broadcast

    def places(self, address: str) -> Places:
        """Where it may be; None for anywhere."""
        if is_loopback(address) or is_to_many(address):
            return None if self._net_ns is None else frozenset({self._net_ns})
        return self._known().get(address)

    def namespaces(self) -> int:
        """How many network namespaces have addresses."""
        return len(frozenset[int | None]().union(*self._known().values()))

    def renew(self) -> None:
        """Lists them again, unless that was done a moment ago: an address that nobody had may be a new one."""
        if self._clock() >= self._next_s:
            self._of = self._listed()

    def _known(self) -> dict[str, frozenset[int | None]]:
        if self._of is None:
            self._of = self._listed()
        return self._of

    def _listed(self) -> dict[str, frozenset[int | None]]:
        found: dict[str, frozenset[int | None]] = {}
        self._next_s = self._clock() + _ADDRESSES_S
        try:
            for row in self._host.interfaces.interfaces(Tally()):
                for one in row.addresses:
                    self._broadcast |= {one.broadcast} if one.broadcast else set()
                    for address in filter(None, (one.address.partition("%")[0], one.broadcast)):
                        found[address] = found.get(address, frozenset()) | {row.net_ns}
        except Error as failed:
            self._tally.note(f"which addresses are this host's is not known: {failed.message}")
        return found
