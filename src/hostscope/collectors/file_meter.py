"""Traffic of a capture file: flows, with processes where the file names them."""

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from time import monotonic_ns, time_ns
from typing import TYPE_CHECKING

from hostscope.errors import Unsupported
from hostscope.model.socket import Endpoint
from hostscope.model.traffic import Counts, Flow, Reading
from hostscope.platforms.tally import Tally

if TYPE_CHECKING:
    from hostscope.collectors.file_owners import FileOwners, Said
    from hostscope.collectors.packet_flows import PacketFlows
    from hostscope.private import Override
    from hostscope.wire.flow_records import WireFlow

FROM_COMMENTS = (
    "processes are what the comments in the file say, with their pid at that time; a connection between two of them "
    "is shown for each"
)
UNRECORDED = "unrecorded"
"""Why there is no process: the file does not say."""


def read_file(path: str, tally: Tally, max_flows: int, names: bool, raised: "Override" = nullcontext) -> Reading:
    """All flows of a pcap or pcapng file.

    The initiator counts as the local end, or the end whose process the file names. `raised`: see `open_capture`.

    Raises:
        UsageError: no such file, or no capture file.
        Denied, Unsupported
    """
    try:
        from hostscope.collectors.file_owners import FileOwners
        from hostscope.collectors.packet_flows import PacketFlows
        from hostscope.wire.capture_file import open_capture
    except ImportError as missing:  # NumPy
        raise Unsupported(f"packets cannot be decoded: {missing}") from missing
    began_ns, flows, owners = monotonic_ns(), PacketFlows(max_flows, names), FileOwners(max_flows)
    with open_capture(path, raised) as file:
        for batch in file.batches():
            owners.learn(file, batch, flows.feed(batch))
        if file.ending is not None:
            tally.failed += 1
            tally.note(f"{path}: {file.ending.lost_bytes} bytes at the end: {file.ending.reason}")
    if malformed := flows.malformed():
        tally.note(f"{malformed} packets could not be decoded")
    tally.method = "file"
    names_of = file.names if names else {}
    found = tuple(_flows(flows, owners, [interface.name for interface in file.interfaces], names_of))
    if any(flow.name for flow in found):
        tally.note(FROM_COMMENTS)
    return Reading(time_ns(), monotonic_ns() - began_ns, found, None, evicted=flows.evicted())


def _flows(
    flows: "PacketFlows", owners: "FileOwners", interfaces: list[str | None], names: Mapping[str, str]
) -> Iterator[Flow]:
    """One for each flow, or two where the file names the processes at both ends."""
    from hostscope.collectors.file_owners import NEITHER, Said
    from hostscope.collectors.packet_flows import end_of

    for wire in flows.flows():
        here, there, said = end_of(wire.initiator), end_of(wire.responder), owners.of(wire.flow_id)
        ours = said.get(str(here)) or said.get(NEITHER) or Said(None, UNRECORDED)
        theirs = said.get(str(there)) or Said(None)
        place = wire.interface or 0
        interface = interfaces[place] if place < len(interfaces) else None
        if ours.name or not theirs.name:
            named = flows.domain_of(wire) or ((names[there.address], "file") if there.address in names else None)
            yield _flow(wire, here, there, ours, interface, named)
        if theirs.name:
            yield _flow(wire, there, here, theirs, interface)


def _flow(
    wire: "WireFlow", local: Endpoint, remote: Endpoint, said: "Said", interface: str | None,
    named: tuple[str, str] | None = None,
) -> Flow:  # fmt: skip
    from hostscope.collectors.packet_flows import end_of, protocol_of

    outbound = local == end_of(wire.initiator)
    sent, received = (wire.sent, wire.received) if outbound else (wire.received, wire.sent)
    return Flow(
        protocol=protocol_of(wire),
        local=local,
        remote=remote,
        key=None,
        name=said.name,
        unknown=said.unknown,
        direction=("outbound" if outbound else "inbound") if wire.initiator_by == "syn" else None,
        interface=interface,
        wire=Counts(sent.wire_bytes, received.wire_bytes, sent.packets, received.packets),
        first_at_ns=wire.first_at_ns,
        last_at_ns=wire.last_at_ns,
        closed=wire.state in ("fin", "rst") if wire.state else None,
        domain=named[0] if named else None,
        domain_source=named[1] if named else None,
    )


class FileMeter:
    """Implements `hostscope.platforms.base_network.Meter` for a file that was read."""

    method = "file"

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def read(self) -> Reading:
        """What the file holds; it does not grow."""
        return self._reading
