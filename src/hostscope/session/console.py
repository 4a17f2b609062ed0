"""The console that this program was started on: what faces on it ask for."""

from hostscope.platforms import open_console

__all__ = ["open_console"]
