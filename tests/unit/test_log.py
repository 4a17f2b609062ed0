"""Diagnostics are off unless asked for, and one JSON object a line."""

import json
import subprocess
import sys

import pytest

LEVELS = ["debug", "info", "warning"]


@pytest.mark.parametrize(("verbosity", "shown"), [(0, LEVELS[2:]), (1, LEVELS[1:]), (2, LEVELS)])
def test_shows_what_was_asked_for(verbosity: int, shown: list[str]) -> None:
    code = f"""
from hostscope import log
log.configure({verbosity})
log.debug("a_detail", pid=1)
log.info("a_fact", text="line\\nbreak\\x1b")
log.warning("a_worry")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["level"] for line in lines] == shown
    assert done.stdout == ""
    assert "\x1b" not in done.stderr


def test_silence_does_not_load_structlog() -> None:
    code = "import sys; from hostscope import log; log.configure(0); log.info('x'); print('structlog' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
