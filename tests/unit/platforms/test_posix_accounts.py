"""Numbers of users and groups to names."""

from types import SimpleNamespace

import pytest

from hostscope.model.process import Account
from hostscope.platforms.posix_accounts import Accounts

grp = pytest.importorskip("grp", reason="POSIX only: numbers of users")
pwd = pytest.importorskip("pwd", reason="POSIX only: numbers of users")


@pytest.mark.parametrize("database", ["pwd.getpwuid", "grp.getgrgid"])
def test_account_names_of_any_bytes_are_text(monkeypatch: pytest.MonkeyPatch, database: str) -> None:
    """Python gives lone surrogates for them, which no output could be encoded with."""
    named = SimpleNamespace(pw_name="a\udcff", gr_name="a\udcff")
    monkeypatch.setattr(database, lambda number: named)
    accounts = Accounts()
    found = accounts.user(7) if database == "pwd.getpwuid" else accounts.group(7)
    assert found.name == "a\U0010eeff"


def test_accounts_of_this_host() -> None:
    accounts = Accounts()
    assert accounts.user(0) == Account("0", pwd.getpwuid(0).pw_name)
    assert accounts.group(0) == Account("0", grp.getgrgid(0).gr_name)


def test_accounts_are_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr("pwd.getpwuid", lambda number: SimpleNamespace(pw_name=asked.append(number) or "a"))
    accounts = Accounts()
    assert accounts.user(7) is accounts.user(7)
    assert asked == [7]


@pytest.mark.parametrize("number", [4_000_000_001, 2**32 - 2, 2**32 - 1, 2**40])
def test_numbers_nobody_has(number: int) -> None:
    assert Accounts().user(number) == Accounts().group(number) == Account(str(number), None)
