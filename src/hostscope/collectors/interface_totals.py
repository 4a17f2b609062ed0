"""What the interfaces of our network namespace counted since, and which addresses are theirs."""

from collections.abc import Mapping

from hostscope.errors import UsageError
from hostscope.model.interface import Interface
from hostscope.model.traffic import Counts
from hostscope.platforms.base import Host
from hostscope.platforms.tally import Tally

LOOPBACK = "loopback"


class InterfaceTotals:
    """The counters at the beginning, to compare with later ones."""

    def __init__(self, host: Host, names: tuple[str, ...] = ()) -> None:
        """Reads them.

        Raises:
            UsageError: there is no interface of a name.
        """
        self._host, self._names = host, names
        self._before = self.read()
        if missing := [name for name in names if name not in self._before]:
            known = sorted(self._read(()))
            raise UsageError(f"there is no interface {missing[0]!r}", f"interfaces: {', '.join(known)}")

    def begin(self) -> None:
        """Counts from now on."""
        self._before = self.read()

    def read(self) -> dict[str, Interface]:
        """The interfaces by name: ours come first, so of equal names the first one is."""
        return self._read(self._names)

    def _read(self, names: tuple[str, ...]) -> dict[str, Interface]:
        found: dict[str, Interface] = {}
        ours: int | None = None
        for number, interface in enumerate(self._host.interfaces.interfaces(Tally())):
            ours = interface.net_ns if number == 0 else ours
            if interface.net_ns == ours and (not names or interface.name in names):
                found[interface.name] = interface
        return found

    def counted(self, now: Mapping[str, Interface]) -> dict[str, Counts]:
        """What each one counted meanwhile."""
        return {name: _counts(interface) - _counts(self._before.get(name)) for name, interface in now.items()}


def addresses_of(interfaces: Mapping[str, Interface]) -> frozenset[str]:
    """All their addresses."""
    return frozenset(one.address.partition("%")[0] for interface in interfaces.values() for one in interface.addresses)


def _counts(interface: Interface | None) -> Counts:
    if interface is None or interface.counters is None:
        return Counts()
    c = interface.counters
    return Counts(c.sent_bytes, c.received_bytes, c.sent_packets, c.received_packets)
