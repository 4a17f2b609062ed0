"""Who asked what a capture file holds, where the file itself says so: in the comments that `capture` writes."""

from collections import OrderedDict

from hostscope.collectors.file_owners import NEITHER, Said, parse_owners
from hostscope.model.gap import Gap, Reason
from hostscope.model.socket import Endpoint
from hostscope.wire.dns import DnsPacket
from hostscope.wire.queries import Exchange, Owner, Written, protocol_of
from hostscope.wire.stubs import is_loopback

FROM_COMMENTS = "processes are what the comments in the file say, with their pid at that time"
_MOST = 65_536
_REASONS = {"gone": Reason.GONE, "denied": Reason.DENIED}

_Way = tuple[str, Endpoint, Endpoint]


class FileAskers:
    """Implements `hostscope.collectors.dns.Asked` by what is written beside the messages."""

    def __init__(self) -> None:
        self._said: OrderedDict[_Way, Said] = OrderedDict()
        self._here: set[str] = set()
        self.named = False
        """Whether any process was named."""

    def hear(self, packet: DnsPacket) -> None:
        """Takes note of what is said beside a message; of both its ends."""
        said = parse_owners(packet.comments)
        both = said.get(NEITHER)
        protocol = protocol_of(packet.transport)
        for local, remote in ((packet.source, packet.destination), (packet.destination, packet.source)):
            if one := said.get(str(local)) or both:
                self._put((protocol, local, remote), one)

    def _put(self, way: _Way, said: Said) -> None:
        self._said[way] = said
        self._said.move_to_end(way)
        if len(self._said) > _MOST:
            self._said.popitem(last=False)
        if said.name:
            self.named = True
            if len(self._here) < _MOST:
                self._here.add(way[1].address)

    def is_local(self, address: str) -> bool:
        """Whether it is of the host that captured: a process is named there."""
        return address in self._here or is_loopback(address)

    def early(self, protocol: str, local: Endpoint, remote: Endpoint, at_ns: int) -> Owner:
        """See `Asked`: what stands beside the question itself."""
        return _owner(self._said.get((protocol, local, remote)))

    def late(self, exchange: Exchange) -> None:
        """See `Asked`: what stands beside the answer."""
        exchange.settled = exchange.ended_ns is not None
        if not isinstance(exchange.owner, Written):
            found = self.early(protocol_of(exchange.transport), exchange.client, exchange.server, exchange.at_ns)
            exchange.owner = found or exchange.owner

    def serving(self, exchange: Exchange) -> Written | None:
        """See `Asked`."""
        found = self.early(protocol_of(exchange.transport), exchange.server, exchange.client, exchange.at_ns)
        return found if isinstance(found, Written) else None


def _owner(said: Said | None) -> Owner:
    if said is None:
        return None
    if said.name:
        return Written(said.name)
    return Gap("process", _REASONS.get(said.unknown or "", Reason.UNAVAILABLE), f"the file says: {said.unknown}")
