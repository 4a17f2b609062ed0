"""What receive offload hides from a capture: packets that the interface counted one by one."""

from hostscope.collectors.capture_meter import merged_packets
from hostscope.model.socket import Endpoint
from hostscope.model.traffic import Counts
from hostscope.wire.flow_records import Sent, WireFlow


def flow(packets: int, payload: int, state: str | None = "open") -> WireFlow:
    """One way has this payload and 66 bytes of headers a packet; the other only acknowledges."""
    here, there = Endpoint("10.0.0.1", 1), Endpoint("10.0.0.2", 2)
    sent, received = Sent(packets, payload + packets * 66, payload, 0x10), Sent(packets, packets * 66, 0, 0x10)
    return WireFlow(1, 6 if state else 17, here, there, "syn", sent, received, 0, 1, state)


def test_each_missing_packet_had_the_headers_of_the_large_ones() -> None:
    assert merged_packets(700, [flow(10, 600_000), flow(50, 5_000)]) == Counts(0, 700 * 66, 0, 700)


def test_nothing_was_merged_where_no_packet_is_larger_than_a_link_carries() -> None:
    assert merged_packets(700, [flow(10, 14_600)]) == Counts()
    assert merged_packets(700, [flow(10, 600_000, None)]) == Counts()
    assert merged_packets(700, []) == Counts()


def test_nothing_was_merged_where_nothing_is_missing() -> None:
    assert merged_packets(0, [flow(10, 600_000)]) == Counts()
    assert merged_packets(-3, [flow(10, 600_000)]) == Counts()
