"""Diagnostics for whoever runs hostscope: one JSON object a line on standard error, off unless asked for.

Telemetry, command lines, payloads and tokens never go here; acts and privileges go to the audit trail. structlog is
imported with the first event that is shown, so that commands which say nothing do not pay for it.
"""

import sys
from typing import Any

DEBUG, INFO, WARNING = 10, 20, 30
_NAMES = {DEBUG: "debug", INFO: "info", WARNING: "warning"}


class _State:
    threshold = WARNING
    logger: Any = None
    stream: Any = None


def configure(verbosity: int) -> None:
    """Shows warnings (0), also information (1), or everything (2)."""
    _State.threshold = {0: WARNING, 1: INFO}.get(verbosity, DEBUG)


def is_verbose() -> bool:
    """Whether somebody asked for more than warnings."""
    return _State.threshold < WARNING


def debug(event: str, **fields: object) -> None:
    """A detail. `event` is constant snake_case; what varies goes into fields."""
    _log(DEBUG, event, fields)


def info(event: str, **fields: object) -> None:
    """Something that a person who asked for more wants to know."""
    _log(INFO, event, fields)


def warning(event: str, **fields: object) -> None:
    """Something that works less well than it should."""
    _log(WARNING, event, fields)


def _log(level: int, event: str, fields: dict[str, object]) -> None:
    if level >= _State.threshold:
        getattr(_logger(), _NAMES[level])(event, **fields)


def _logger() -> Any:
    if _State.stream is not sys.stderr:
        import structlog

        _State.stream = sys.stderr
        _State.logger = structlog.wrap_logger(
            structlog.PrintLogger(sys.stderr),
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.JSONRenderer(),
            ],
        )
    return _State.logger
