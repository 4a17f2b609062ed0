"""Filters for packets without their link header."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.errors import UsageError
from hostscope.platforms.linux import packet_filter as filters

LOAD_HALF, LOAD_BYTE, LOAD_WORD, LOAD_INDEXED, HEADER_LENGTH, RETURN = 0x28, 0x30, 0x20, 0x48, 0xB1, 0x06


def test_loads_behind_the_cooked_header_move_to_the_packet() -> None:
    assert filters.for_cooked(((LOAD_BYTE, 1, 2, 29),)) == ((LOAD_BYTE, 1, 2, 9),)
    assert filters.for_cooked(((LOAD_INDEXED, 0, 0, 22), (HEADER_LENGTH, 0, 0, 20))) == (
        (LOAD_INDEXED, 0, 0, 2),
        (HEADER_LENGTH, 0, 0, 0),
    )


@pytest.mark.parametrize(("offset", "asked"), [(0, 0), (4, 8), (10, 4)])
def test_loads_inside_it_become_questions_to_the_kernel(offset: int, asked: int) -> None:
    assert filters.for_cooked(((LOAD_HALF, 0, 0, offset),)) == ((LOAD_WORD, 0, 0, 0xFFFF_F000 + asked),)


@pytest.mark.parametrize("offset", [2, 8, 12, 19])
def test_what_the_kernel_does_not_tell_a_filter_is_refused(offset: int) -> None:
    with pytest.raises(UsageError, match="any"):
        filters.for_cooked(((LOAD_HALF, 0, 0, offset),))


@given(st.lists(st.tuples(st.sampled_from([0x15, 0x25, 0x54, 0x06, 0x02, 0x80, 0x00]), *[st.integers(0, 255)] * 3)))
def test_everything_else_stays(program: list[filters.Instruction]) -> None:
    assert filters.for_cooked(tuple(program)) == tuple(program)


def test_without_an_expression_everything_passes_up_to_the_snap_length() -> None:
    assert filters.program_for(None, 1, 96) == ((RETURN, 0, 0, 96),)
    assert filters.program_for("", 1, 96) == filters.accept_all(96)
