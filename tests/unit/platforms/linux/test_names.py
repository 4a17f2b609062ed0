"""Numbers to names."""

import grp
import os
import pwd
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.model.process import Account
from hostscope.platforms.linux import names
from hostscope.platforms.linux.names import Accounts, Terminals, TtyDriver, parse_tty_drivers
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


@pytest.mark.parametrize("database", ["pwd.getpwuid", "grp.getgrgid"])
def test_account_names_of_any_bytes_are_text(monkeypatch: pytest.MonkeyPatch, database: str) -> None:
    """Python gives lone surrogates for them, which no output could be encoded with."""
    named = SimpleNamespace(pw_name="a\udcff", gr_name="a\udcff")
    monkeypatch.setattr(database, lambda number: named)
    accounts = Accounts()
    found = accounts.user(7) if database == "pwd.getpwuid" else accounts.group(7)
    assert found.name == "a\U0010eeff"


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


def test_accounts_of_this_host() -> None:
    accounts = Accounts()
    assert accounts.user(0) == Account("0", pwd.getpwuid(0).pw_name)
    assert accounts.group(0) == Account("0", grp.getgrgid(0).gr_name)


def test_accounts_are_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(names, "_user_name", asked.append)
    accounts = Accounts()
    assert accounts.user(7) is accounts.user(7)
    assert asked == [7]


@pytest.mark.parametrize("number", [4_000_000_001, 2**32 - 2, 2**32 - 1, 2**40])
def test_numbers_nobody_has(number: int) -> None:
    assert Accounts().user(number) == Accounts().group(number) == Account(str(number), None)
