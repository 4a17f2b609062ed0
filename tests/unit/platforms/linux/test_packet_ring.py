"""How the ring of a packet socket is laid out."""

from hostscope.platforms.linux.packet_ring import BLOCK_BYTES

LARGEST = (1 << 16) + 512
"""What segmentation offload makes, and the ring's own headers."""


def test_blocks_hold_several_of_the_largest_packets() -> None:
    assert BLOCK_BYTES // LARGEST * LARGEST > BLOCK_BYTES * 0.7
