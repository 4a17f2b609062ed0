"""What Event Tracing for Windows delivers in bytes. Pure; payloads are other processes' bytes."""

from ipaddress import IPv6Address, ip_address
from struct import Struct as Layout
from typing import NamedTuple
from uuid import UUID

from hostscope.model.text import decode_utf16
from hostscope.platforms.windows.parse import end_of_text

KERNEL_PROCESS = UUID("22fb2cd6-0e7b-422b-a0c7-2fad1fd0e716")
"""Microsoft-Windows-Kernel-Process."""
KERNEL_NETWORK = UUID("7dd42a49-5329-4832-8dfd-43d979153a88")
"""Microsoft-Windows-Kernel-Network."""
DNS_CLIENT = UUID("1c95126e-7eea-49a9-a3fe-a378b03ddb4d")
"""Microsoft-Windows-DNS-Client."""

FLAG_32_BIT = 0x20
"""EVENT_HEADER_FLAG_32_BIT_HEADER: pointers in the payload are of four bytes."""


class EtwRecord(NamedTuple):
    """One event, copied out of the session's buffers."""

    provider: UUID
    id: int
    version: int
    opcode: int
    pid: int
    """Of the process that logged it; the kernel's providers say in the payload which process is meant."""
    tid: int
    filetime: int
    """When it happened: 100 ns since 1601 (UTC)."""
    payload: bytes
    pointer_bytes: int = 8
    """Of pointers in the payload."""


class Head(NamedTuple):
    """EVENT_RECORD, and where its payload is."""

    flags: int
    tid: int
    pid: int
    filetime: int
    provider: bytes
    """A GUID as it lies in memory."""
    id: int
    version: int
    opcode: int
    payload_bytes: int
    payload_at: int


_HEAD = {8: Layout("<4xH2xIIq16sHB2xB34x6xH8xQ8x"), 4: Layout("<4xH2xIIq16sHB2xB34x6xH4xI4x")}
"""EVENT_RECORD by the size of this process's pointers; evntcons.h."""
RECORD_BYTES = {size: layout.size for size, layout in _HEAD.items()}


def parse_head(raw: bytes, pointer_bytes: int) -> Head:
    """The event's header. `raw` is one EVENT_RECORD.

    Raises:
        struct.error: it is shorter.
    """
    return Head(*_HEAD[pointer_bytes].unpack_from(raw))


class Fields:
    """Reads the fields of a payload one after the other."""

    def __init__(self, record: EtwRecord) -> None:
        self._raw, self._at = record.payload, 0

    def take(self, size: int) -> bytes:
        """The next bytes.

        Raises:
            ValueError: there are not so many.
        """
        end = self._at + size
        if end > len(self._raw):
            raise ValueError(f"the event ends at {len(self._raw)}, in a field that reaches to {end}")
        found, self._at = self._raw[self._at : end], end
        return found

    def number(self, size: int) -> int:
        """An unsigned number of so many bytes. Raises as `take`."""
        return int.from_bytes(self.take(size), "little")

    def text(self) -> str:
        """UTF-16 with its NUL; what is left where there is none."""
        end = end_of_text(self._raw, self._at)
        found, self._at = self._raw[self._at : end], min(end + 2, len(self._raw))
        return decode_utf16(found)


# Microsoft-Windows-Kernel-Network -------------------------------------------------------------------------------------

IPV4_KEYWORD, IPV6_KEYWORD = 0x10, 0x20
SENT, RECEIVED, CONNECTED, DISCONNECTED, RETRANSMITTED, ACCEPTED = (
    "sent", "received", "connected", "disconnected", "retransmitted", "accepted",
)  # fmt: skip
_TCP_EVENTS = {10: SENT, 11: RECEIVED, 12: CONNECTED, 13: DISCONNECTED, 14: RETRANSMITTED, 15: ACCEPTED}
_IPV6_AFTER = 16
"""Events of IPv6 have numbers so much higher."""
NETWORK_EVENTS: dict[int, tuple[str, str, int]] = {
    **{number: ("tcp", kind, 4) for number, kind in _TCP_EVENTS.items()},
    **{number + _IPV6_AFTER: ("tcp", kind, 16) for number, kind in _TCP_EVENTS.items()},
    42: ("udp", SENT, 4),
    43: ("udp", RECEIVED, 4),
    58: ("udp", SENT, 16),
    59: ("udp", RECEIVED, 16),
}
"""Event -> protocol, what happened, bytes of an address. Left out: reconnections (16), copies of data that is counted
already (18) and failures (17, 49)."""


class Transfer(NamedTuple):
    """What one process did with one connection."""

    protocol: str
    kind: str
    """``sent received connected disconnected retransmitted accepted``."""
    pid: int
    size: int
    """Bytes of payload."""
    local: tuple[bytes, int]
    """Packed address, and port."""
    remote: tuple[bytes, int]


def parse_network(record: EtwRecord) -> Transfer | None:
    """An event of Kernel-Network; None for others.

    ``saddr`` is taken for our end, as the kernel's TCP events have it, sent or received; whoever knows our addresses
    can tell where that is not so.

    Raises:
        ValueError: it is cut short.
    """
    known = NETWORK_EVENTS.get(record.id)
    if known is None:
        return None
    protocol, kind, width = known
    fields = Fields(record)
    pid, size = fields.number(4), fields.number(4)
    remote, local = fields.take(width), fields.take(width)
    remote_port, local_port = fields.take(2), fields.take(2)
    here, there = (local, int.from_bytes(local_port, "big")), (remote, int.from_bytes(remote_port, "big"))
    return Transfer(protocol, kind, pid, size, here, there)


# Microsoft-Windows-DNS-Client -----------------------------------------------------------------------------------------

QUERY_BEGAN, QUERY_ENDED = 3006, 3008
_MOST_RESULTS = 256


class DnsEvent(NamedTuple):
    """A process asked for a name (event 3006), or has its answer (3008)."""

    name: str
    type: int
    """Number of the record type."""
    options: int
    status: int | None
    """Windows' error code; 0 for success, None while it is a question."""
    results: tuple[str, ...]
    """As the resolver writes them: addresses, IPv4 ones as ``::ffff:192.0.2.1``, and ``type: 5 alias.example``."""


def parse_dns(record: EtwRecord) -> DnsEvent | None:
    """An event of DNS-Client; None for others.

    Raises:
        ValueError: it is cut short.
    """
    if record.id not in (QUERY_BEGAN, QUERY_ENDED):
        return None
    fields = Fields(record)
    name, kind, options = fields.text(), fields.number(4), fields.number(8)
    if record.id == QUERY_BEGAN:
        return DnsEvent(name, kind, options, None, ())
    status, results = fields.number(4), fields.text()
    found = tuple(part.strip() for part in results.split(";", _MOST_RESULTS)[:_MOST_RESULTS] if part.strip())
    return DnsEvent(name, kind, options, status, found)


def result_addresses(results: tuple[str, ...]) -> tuple[str, ...]:
    """The addresses among results, as records write them."""
    found: list[str] = []
    for text in results:
        try:
            address = ip_address(text)
        except ValueError:
            continue
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        found.append(str(mapped or address))
    return tuple(found)


def result_alias(text: str) -> tuple[int, str] | None:
    """Type and value of a result that is no address: ``type: 5 alias.example``."""
    kind, _, value = text.removeprefix("type:").strip().partition(" ")
    if not text.startswith("type:") or not (kind.isascii() and kind.isdecimal()) or len(kind) > 5:
        return None
    return int(kind), value.strip()
