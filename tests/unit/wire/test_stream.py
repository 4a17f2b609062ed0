"""Pieces of a stream, in any order."""

from hypothesis import given
from hypothesis import strategies as st

from hostscope.wire.stream import Stream


@given(st.data())
def test_any_order_gives_the_same(data: st.DataObject) -> None:
    whole = data.draw(st.binary(min_size=1, max_size=200))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(whole)), max_size=20)) | {len(whole)})
    pieces = [(start, whole[max(0, start - data.draw(st.integers(0, 5))) : end])
              for start, end in zip([0, *cuts], cuts, strict=False)]  # fmt: skip
    placed = [(end_ - len(piece), piece) for (_, piece), end_ in zip(pieces, cuts, strict=True)]
    stream, taken = Stream(), b""
    for offset, piece in data.draw(st.permutations([*placed, *placed[:2]])):
        assert stream.add(offset, piece)
        taken += stream.take(data.draw(st.integers(0, 40)))
    assert taken + stream.ready == whole
    assert stream.end == len(whole)


@given(st.lists(st.tuples(st.integers(0, 300), st.binary(max_size=60)), max_size=60))
def test_nothing_breaks_the_bounds(pieces: list[tuple[int, bytes]]) -> None:
    stream = Stream(limit_bytes=100, limit_pieces=3)
    for offset, data in pieces:
        stream.add(offset, data)
        assert len(stream.ready) <= 100


def test_bounds_are_said() -> None:
    stream = Stream(limit_bytes=10, limit_pieces=2)
    assert not stream.add(0, bytes(11))
    assert stream.add(2, b"c") and stream.add(4, b"e")
    assert not stream.add(6, b"g"), "two pieces lie ahead already"
    assert stream.add(0, b"ab") and stream.ready == b"abc"
    assert stream.take(2) == b"ab" and stream.ready == b"c"
    assert stream.add(0, b"ZZZ") and stream.ready == b"c", "what was taken does not come back"
    assert stream.add(1, b"ZZd") and stream.ready == b"cde"
