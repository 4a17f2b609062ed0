"""Every file of the folder is listed, and every table collects."""

import importlib
import pkgutil

import hostscope.collectors
from hostscope.cli.main import COMMANDS
from hostscope.collectors import COLLECTORS, PARTS
from hostscope.render.layouts import LAYOUTS


def test_every_file_is_listed() -> None:
    found = {module.name for module in pkgutil.iter_modules(hostscope.collectors.__path__)}
    assert found == COLLECTORS.keys() | PARTS.keys()


def test_every_table_collects_and_has_a_layout() -> None:
    for table in COLLECTORS:
        assert callable(importlib.import_module(f"hostscope.collectors.{table}").collect)
    assert LAYOUTS.keys() == COLLECTORS.keys()


def test_every_command_is_a_file() -> None:
    for name, line in COMMANDS.items():
        command = importlib.import_module(f"hostscope.cli.{name}").command
        assert command.name == name
        assert line.endswith(".")
