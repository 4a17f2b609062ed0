"""Which CPUs have a share of a per-CPU value, and how values are laid out."""

import pytest

from hostscope.platforms.linux import bpf_maps
from hostscope.platforms.linux.bpf_maps import ARRAY, HASH, PERCPU_ARRAY, PERCPU_HASH, Map, parse_cpus


@pytest.mark.parametrize(("text", "count"), [("0\n", 1), ("0-3\n", 4), ("0-1,4-7", 6), ("0,2,4\n", 3)])
def test_possible_cpus_are_counted_without_the_gaps(text: str, count: int) -> None:
    assert parse_cpus(text) == count


@pytest.mark.parametrize(
    ("kind", "value_bytes", "stride"), [(HASH, 12, 12), (ARRAY, 5, 5), (PERCPU_HASH, 12, 48), (PERCPU_ARRAY, 8, 24)]
)
def test_each_cpus_share_is_rounded_up(
    kind: int, value_bytes: int, stride: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bpf_maps, "count_possible_cpus", lambda: 3)
    assert Map(-1, "some", kind, 4, value_bytes, 10).stride_bytes == stride
