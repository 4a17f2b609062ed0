"""A pytest plugin that writes down what was skipped and why, and the text that is made of it."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest

WRITE_TO = "HOSTSCOPE_SKIPS"
_skipped: list[tuple[str, str]] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _note(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    _note(report)


def pytest_sessionfinish() -> None:
    if WRITE_TO in os.environ:
        Path(os.environ[WRITE_TO]).write_text(json.dumps(_skipped), encoding="utf-8")


def _note(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and isinstance(report.longrepr, tuple):
        reason = str(report.longrepr[2]).removeprefix("Skipped: ")
        _skipped.append((report.nodeid.partition("[")[0].replace("\\", "/"), reason))


def lines(skipped: list[tuple[str, str]]) -> list[str]:
    """One line for each reason, in order, with the tests that it stopped and how often."""
    reasons: dict[str, Counter[str]] = {}
    for test, reason in skipped:
        reasons.setdefault(" ".join(reason.split()), Counter())[test] += 1
    return [f"- {reason}: {_tests(reasons[reason])}" for reason in sorted(reasons)]


def _tests(tests: Counter[str]) -> str:
    return ", ".join(f"`{name}`" + (f" ({count})" if count > 1 else "") for name, count in sorted(tests.items()))
