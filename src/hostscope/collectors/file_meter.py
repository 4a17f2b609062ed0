"""Traffic of a capture file: flows, without processes."""

from collections.abc import Iterator
from time import monotonic_ns, time_ns

from hostscope.errors import Unsupported
from hostscope.model.traffic import Counts, Flow, Reading
from hostscope.platforms.tally import Tally

UNRECORDED = "unrecorded"
"""Why there is no process: the file does not say."""


def read_file(path: str, tally: Tally, max_flows: int, names: bool) -> Reading:
    """All flows of a pcap or pcapng file; the initiator counts as the local end.

    Raises:
        UsageError: no such file, or no capture file.
        Denied, Unsupported
    """
    try:
        from hostscope.collectors.packet_flows import PacketFlows
        from hostscope.wire.capture_file import open_capture
    except ImportError as missing:  # NumPy
        raise Unsupported(f"packets cannot be decoded: {missing}") from missing
    began_ns, flows = monotonic_ns(), PacketFlows(max_flows, names)
    with open_capture(path) as file:
        for batch in file.batches():
            flows.feed(batch)
        interfaces = [interface.name for interface in file.interfaces]
        if file.ending is not None:
            tally.note(f"the end of the file was not understood: {file.ending}")
    if malformed := flows.malformed():
        tally.note(f"{malformed} packets could not be decoded")
    tally.method = "file"
    found = tuple(_flows(flows, interfaces))
    return Reading(time_ns(), monotonic_ns() - began_ns, found, None, evicted=flows.evicted())


def _flows(flows: "object", interfaces: list[str | None]) -> Iterator[Flow]:
    from hostscope.collectors.packet_flows import PacketFlows, end_of, protocol_of

    assert isinstance(flows, PacketFlows)
    for wire in flows.flows():
        domain = flows.domain_of(wire)
        place = wire.interface or 0
        yield Flow(
            protocol=protocol_of(wire),
            local=end_of(wire.initiator),
            remote=end_of(wire.responder),
            key=None,
            name=None,
            unknown=UNRECORDED,
            interface=interfaces[place] if place < len(interfaces) else None,
            wire=Counts(wire.sent.wire_bytes, wire.received.wire_bytes, wire.sent.packets, wire.received.packets),
            first_at_ns=wire.first_at_ns,
            last_at_ns=wire.last_at_ns,
            closed=wire.state in ("fin", "rst") if wire.state else None,
            domain=domain[0] if domain else None,
            domain_source=domain[1] if domain else None,
        )


class FileMeter:
    """Implements `hostscope.platforms.base.Meter` for a file that was read."""

    method = "file"

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def read(self) -> Reading:
        """What the file holds; it does not grow."""
        return self._reading
