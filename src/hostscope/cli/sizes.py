"""Sizes as people write them: ``512K``, ``64M``, ``2G``."""

from typing import Any

import click

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


class _Size(click.ParamType):  # type: ignore[type-arg, unused-ignore]  # generic from click 8.2 on
    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Bytes, at least one."""
        text = str(value).upper().removesuffix("B").removesuffix("I")
        digits, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS and text[-1:] else (text, "")
        if not (digits.isascii() and digits.isdecimal()) or not 0 < int(digits[:20]) * _UNITS[unit] < 1 << 62:
            return self.fail(f"{value!r} is no size such as 64M or 2G.", param, ctx)
        return int(digits) * _UNITS[unit]


SIZE = _Size()
