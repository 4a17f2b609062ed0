"""Numbers to names."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.platforms.linux import names
from hostscope.platforms.linux.names import Terminals, TtyDriver, parse_tty_drivers
from tests.unit.platforms.linux.samples import TTY_DRIVERS


@pytest.fixture
def terminals(monkeypatch: pytest.MonkeyPatch) -> Terminals:
    """With the drivers of a usual host."""
    monkeypatch.setattr(names, "_read_drivers", lambda: parse_tty_drivers(TTY_DRIVERS))
    return Terminals()


@pytest.mark.parametrize(
    ("major", "minor", "name"),
    [
        (136, 0, "pts/0"), (136, 3, "pts/3"), (136, 300, "pts/300"), (136, 70000, "pts/70000"), (4, 1, "tty1"),
        (4, 63, "tty63"), (4, 64, "ttyS0"), (4, 65, "ttyS1"), (188, 2, "ttyUSB2"), (5, 1, "console"), (5, 0, "tty"),
        (204, 64, "204:64"), (4, 200, "4:200"),
    ],
)  # fmt: skip
def test_terminal(terminals: Terminals, major: int, minor: int, name: str) -> None:
    assert terminals.name(os.makedev(major, minor)) == name


def test_no_terminal(terminals: Terminals) -> None:
    assert terminals.name(0) is None


@given(st.integers(-(2**31), 2**31 - 1))
def test_any_number_has_a_name(number: int) -> None:
    """/proc/PID/stat prints it as a signed int."""
    assert isinstance(Terminals().name(number), str | None)


def test_terminals_without_a_list_of_drivers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "_read_drivers", lambda: ())
    assert Terminals().name(os.makedev(136, 3)) == "136:3"


@given(
    st.binary()
    | st.lists(st.sampled_from([b"/dev/tty", b"4", b"0-9", b" ", b"\n", b"-", b"x", b"9" * 5000])).map(b"".join)
)
def test_any_bytes_are_a_list_of_drivers(raw: bytes) -> None:
    assert all(isinstance(driver, TtyDriver) for driver in parse_tty_drivers(raw))


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"one",
        b"a /dev/b 1",
        b"a b 1 2 c",
        b"a /dev/b x 2 c",
        b"a /dev/b 1 x-2 c",
        b"a /dev/b 1 2- c d e",
        b"a /dev/b " + b"9" * 5000 + b" 1 c",
    ],
)
def test_lines_of_another_shape_are_left_out(line: bytes) -> None:
    assert parse_tty_drivers(line) == ()
