"""Names learnt from watching: which domain led to an address. Bounded; nothing is ever asked."""

from collections import OrderedDict

from msgspec import Struct

from hostscope.model.dns import DnsAnswer, Name
from hostscope.wire.dns import DnsMessage

MAX_ADDRESSES = 65_536
"""Addresses with a name; of more those learnt longest ago are dropped."""
MAX_DOMAINS = 4
"""Domains that are remembered for one address."""
MAX_CHAIN = 16
"""CNAMEs that are followed from a question to an address."""
LEAST_NS = 60 * 1_000_000_000
"""A name counts as fresh for a minute even if its time to live is shorter: programs connect after it has passed."""
KEEP_NS = 3600 * 1_000_000_000
"""How long a name is still given, as expired: programs keep addresses, and connections last."""


class _Lead(Struct, frozen=True, gc=False):
    """One domain that leads to an address."""

    domain: str
    aliases: tuple[str, ...]
    at_ns: int
    fresh_until_ns: int


class NameTable:
    """Addresses and the domains that DNS answers gave them for."""

    def __init__(self, limit: int = MAX_ADDRESSES) -> None:
        self.evicted = 0
        """Addresses that made room for others."""
        self._limit = limit
        self._leads: OrderedDict[str, tuple[_Lead, ...]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._leads)

    def learn_dns(self, message: DnsMessage, at_ns: int) -> int:
        """Takes the addresses of an answer, CNAMEs followed from its question; how many there were."""
        if not message.response or message.rcode != "NOERROR":
            return 0
        learnt = 0
        for question in message.questions[:1]:
            for address, aliases, ttl_s in addresses_of(question.name, message.answers):
                fresh_until_ns = at_ns + max(LEAST_NS, ttl_s * 1_000_000_000)
                self._put(address, _Lead(question.name, aliases, at_ns, fresh_until_ns))
                learnt += 1
        return learnt

    def _put(self, address: str, lead: _Lead) -> None:
        others = (other for other in self._leads.get(address, ()) if other.domain != lead.domain)
        live = [other for other in others if lead.at_ns < other.fresh_until_ns + KEEP_NS]
        self._leads[address] = (lead, *live[: MAX_DOMAINS - 1])
        self._leads.move_to_end(address)
        if len(self._leads) > self._limit:
            self._leads.popitem(last=False)
            self.evicted += 1

    def name_of(self, address: str, at_ns: int) -> Name | None:
        """The domain that led to an address as it was known at a moment, the one asked for last."""
        leads = [lead for lead in self._leads.get(address, ()) if lead.at_ns <= at_ns < lead.fresh_until_ns + KEEP_NS]
        if not leads:
            return None
        last = leads[0]
        return Name(
            last.domain, "dns", aliases=last.aliases, others=len(leads) - 1, expired=at_ns >= last.fresh_until_ns
        )


def addresses_of(domain: str, answers: tuple[DnsAnswer, ...]) -> list[tuple[str, tuple[str, ...], int]]:
    """Each address that `domain` leads to, the CNAMEs on the way, and the shortest time to live on it in seconds."""
    nexts = {answer.name: answer for answer in reversed(answers) if answer.type == "CNAME"}
    name, ttl_s = domain, (1 << 31) - 1
    aliases: tuple[str, ...] = ()
    for _ in range(MAX_CHAIN):
        ends = [each for each in answers if each.name == name and each.type in ("A", "AAAA")]
        alias = nexts.pop(name, None)
        if ends or alias is None:
            return [(each.value, aliases, min(ttl_s, each.ttl_s or 0)) for each in ends]
        name, ttl_s, aliases = alias.value, min(ttl_s, alias.ttl_s or 0), (*aliases, alias.value)
    return []
