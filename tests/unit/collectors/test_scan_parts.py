"""What is scanned of a region when not all of it can be read."""

import threading

import pytest

from hostscope.collectors.scan import _Coming
from hostscope.dumps import matching
from hostscope.dumps.patience import open_hands
from hostscope.dumps.reading import NO_PAGE
from tests.unit.dumps.spaces import PAGE, FakeSpace, region


def content(number: int) -> bytes:
    return bytes([number]) * PAGE


@pytest.mark.parametrize("part_pages", [4, 16])
def test_what_lies_behind_a_page_that_cannot_be_read_is_scanned(
    part_pages: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matching, "PART_BYTES", part_pages * PAGE)
    monkeypatch.setattr(matching, "OVERLAP_BYTES", PAGE)
    space = FakeSpace({number: content(number) for number in range(1, 11) if number not in (1, 4, 5, 10)})
    with open_hands(1, lambda: None) as reader:
        coming = _Coming(reader, space, region(1, 10))
        held: dict[int, int] = {}
        for address, raw in coming.parts():
            held.update({address // PAGE + place: raw[place * PAGE] for place in range(len(raw) // PAGE)})
    assert held == {number: number for number in (2, 3, 6, 7, 8, 9)}
    assert coming.missing == {NO_PAGE} and not coming.stalled


def test_a_part_that_does_not_answer_keeps_what_was_read_before() -> None:
    gate = threading.Event()

    class Stalling(FakeSpace):
        def read_bytes(self, address: int, size: int) -> bytes:
            if address >= 4 * PAGE:
                gate.wait(60)
            return super().read_bytes(address, size)

    space = Stalling({number: content(number) for number in (1, 2, 4)})
    with open_hands(1, lambda: None, 0.2) as reader:
        coming = _Coming(reader, space, region(1, 4))
        found = list(coming.parts())
        gate.set()
    assert [(address, len(raw)) for address, raw in found] == [(PAGE, 2 * PAGE)]
    assert coming.stalled and len(coming.missing) == 2


def test_what_a_server_was_not_asked_for_is_missing() -> None:
    space = FakeSpace({number: content(number) for number in range(1, 5)}, untouched={3})
    with open_hands(1, lambda: None) as reader:
        coming = _Coming(reader, space, region(1, 4, path="/far", inode=5, served_by="nfs4"))
        assert [len(raw) // PAGE for _, raw in coming.parts()] == [2, 1]
        here = _Coming(reader, space, region(1, 4))
        list(here.parts())
    assert len(coming.missing) == 1 and "nfs4" in coming.missing.pop()
    assert here.missing == set()
