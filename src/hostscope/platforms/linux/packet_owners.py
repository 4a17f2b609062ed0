"""Whose the packets of one namespace are, or why they are nobody's."""

from collections.abc import Iterable
from ipaddress import ip_address

from hostscope.platforms.linux.packet_counter import Element, Situation
from hostscope.platforms.linux.packet_record import Packets, without_identifier
from hostscope.platforms.linux.rtnetlink import Link
from hostscope.platforms.socket_index import GONE, KERNEL, Ends, Holder, HostSockets

FORWARDED, BRIDGED, ELSEWHERE = "forwarded", "bridged", "other-namespace"
WITH_SOCKETS = frozenset({"tcp", "udp", "udplite", "sctp", "dccp"})
"""Protocols whose packets belong to a socket; without one, they are late or refused."""
Verdict = Holder | str
_Pair = tuple[str, str, str]


class PacketOwners:
    """Judges the packets that were counted in one namespace."""

    def __init__(self, net_ns: int | None, situation: Situation, index: HostSockets) -> None:
        self._net_ns, self._index, self._links = net_ns, index, situation.links
        self._addresses = situation.addresses
        self._local: dict[str, bool] = {}
        self._sent: dict[tuple[int, Ends], Verdict] = {}
        self._fragmented = False
        self._pairs: dict[_Pair, set[Verdict]] = {}

    def judge(self, elements: Iterable[Element]) -> list[tuple[Element, Verdict]]:
        """Every element with whose it is, or the reason why it is nobody's.

        What was sent is judged first: it often says whose the answers are. Later fragments come last: they belong to
        the only owner of packets between the same addresses.
        """
        ordered = sorted(elements, key=lambda element: (element.packets.fragment, not element.packets.out))
        self._fragmented = bool(ordered) and ordered[-1].packets.fragment
        return [(element, self._note(element.packets, self._judge(element))) for element in ordered]

    def _note(self, packets: Packets, verdict: Verdict) -> Verdict:
        protocol, here, _, there, _ = packets.ends
        if packets.out:
            self._sent[packets.interface, packets.ends] = verdict
        if self._fragmented and not packets.fragment:
            self._pairs.setdefault((protocol, here, there), set()).add(verdict)
        return verdict

    def _judge(self, element: Element) -> Verdict:
        packets = element.packets
        if not packets.ip:
            return KERNEL
        if self._is_port(self._links.get(packets.interface)) or (packets.tagged and self._has_vlans(packets.interface)):
            return BRIDGED
        found = self._find(packets, element.carried.cookie)
        if found is not None:
            return found.unknown or (found if found.key else GONE)
        return self._reason(packets, element.carried.cookie)

    def _find(self, packets: Packets, cookie: int) -> Holder | None:
        """The holder of a socket; not for packets on their way through."""
        if not self.is_local(packets.ends[1]) and not cookie:
            return None
        index = self._index.index(self._net_ns)
        found = index.find(packets.ends, cookie) or index.find(without_identifier(packets.ends), cookie)
        if packets.fragment and found is None:
            return self._by_addresses(packets.ends)
        sent = self._sent.get((packets.interface, packets.ends))
        if not packets.out and isinstance(sent, Holder):
            return sent
        return found

    def _by_addresses(self, ends: Ends) -> Holder | None:
        verdicts = self._pairs.get((ends[0], ends[1], ends[3]), set())
        only = next(iter(verdicts)) if len(verdicts) == 1 else None
        return only if isinstance(only, Holder) else None

    def _reason(self, packets: Packets, cookie: int) -> str:
        protocol, here, _, there, _ = packets.ends
        if self._index.elsewhere(self._net_ns, packets.ends) or self._index.elsewhere(
            self._net_ns, (protocol, there, packets.ends[4], here, packets.ends[2])
        ):
            return ELSEWHERE
        if not self.is_local(here):
            return KERNEL if _is_group(here) else FORWARDED
        if protocol not in WITH_SOCKETS:
            return KERNEL
        if packets.out:
            return GONE if cookie or self._is_loopback(packets.interface) else FORWARDED
        return FORWARDED if self._sent.get((packets.interface, packets.ends)) == FORWARDED else GONE

    def is_local(self, address: str) -> bool:
        """Whether packets to this address end in the namespace."""
        known = self._local.get(address)
        if known is None:
            known = address in self._addresses or address.startswith("127.") or address in ("::1", "0.0.0.0", "::")
            known = self._local[address] = known or _is_group(address)
        return known

    def _is_loopback(self, interface: int) -> bool:
        return interface == 1

    def _is_port(self, link: Link | None) -> bool:
        """Whether an interface belongs to a bridge or bond, which counts the same packets."""
        return link is not None and link.controller is not None

    def _has_vlans(self, interface: int) -> bool:
        return any(link.lower == interface and link.vlan is not None for link in self._links.values())


def _is_group(address: str) -> bool:
    """Whether it is a multicast or broadcast address."""
    if address == "255.255.255.255":
        return True
    parsed = ip_address(address.partition("%")[0])
    return parsed.is_multicast
