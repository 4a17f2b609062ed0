"""Settings that protect the host, changed by a child while `hostscope watch` looks; each is put back."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.windows.children import Child

LSA = r"HKLM\SYSTEM\CurrentControlSet\Control\Lsa"
SETTER = r"""
import winreg
key = winreg.CreateKeyEx(winreg.HKEY_LOCAL_MACHINE, r"SYSTEM\CurrentControlSet\Control\Lsa", 0, winreg.KEY_ALL_ACCESS)
try:
    before = winreg.QueryValueEx(key, "LsaCfgFlags")
except FileNotFoundError:
    before = None
say(before=None if before is None else str(before[0]))
try:
    winreg.SetValueEx(key, "LsaCfgFlags", 0, winreg.REG_DWORD, int(wait()))
    say(set=True)
    wait()
finally:
    if before is None:
        winreg.DeleteValue(key, "LsaCfgFlags")
    else:
        winreg.SetValueEx(key, "LsaCfgFlags", 0, before[1], before[0])
say(restored=True)
"""


@contextmanager
def watching(*options: str) -> Iterator[Iterator[dict[str, Any]]]:
    """`hostscope watch`, once it watches: its events."""
    command = [sys.executable, "-m", "hostscope", "watch", "--format", "ndjson", "--duration", "300", *options]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as running:
        try:
            assert running.stdout and b'"coverage"' in running.stdout.readline()
            yield (json.loads(line)["event"] for line in running.stdout if b'"type":"event"' in line.replace(b" ", b""))
        finally:
            running.kill()


@pytest.mark.parametrize("options", [("--kinds", "security"), ("--kinds", "start,exit,security", "--interval", "0.2")])
def test_a_setting_that_is_changed_is_told(child: Callable[..., Child], options: tuple[str, ...]) -> None:
    setter = child(SETTER)
    with watching(*options) as events:
        told = (event for event in events if event["body"]["type"] == "security" and event["body"]["key"] == LSA)
        setter.ask("3")
        change = next(told)
        body = change["body"]
        assert (body["value"], body["before"], body["after"]) == ("LsaCfgFlags", setter.told["before"], "3")
        assert change["source"] == "registry" and change["schema"] == "hostscope.security_change/1"
        setter.ask("restore")
        body = next(told)["body"]
        assert (body["before"], body["after"]) == ("3", setter.told["before"])
