"""Strings of a dump with what looks secret in them masked: by themselves, and by the string that stands before them.

A heuristic, as `render.mask` is: what has neither a name nor a shape passes, and what was torn from its name, too.
"""

import re

from msgspec import Struct
from msgspec.structs import replace

from hostscope.dumps.strings import STEP
from hostscope.model.dump import FoundString
from hostscope.render.mask import MASK, mask_argv, mask_text

_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----(?!.*-----END )")
_END = "-----END "
_LINE_END_CHARACTERS = 2


class _Before(Struct, frozen=True):
    """The string before, of the same encoding."""

    text: str
    end: int
    in_key: bool
    """Whether a private key began in it, or before, and has not ended."""


class Masking:
    """Masks strings in the order of their addresses."""

    def __init__(self) -> None:
        self._before: dict[str, _Before] = {}

    def mask(self, string: FoundString) -> FoundString:
        """The same string, masked."""
        step = STEP[string.encoding]
        before = self._before.get(string.encoding)
        if before and not 0 <= string.address - before.end <= _LINE_END_CHARACTERS * step:
            before = None
        in_key = before is not None and before.in_key
        self._before[string.encoding] = _Before(
            string.text,
            string.address + len(string.text) * step,
            bool(_BEGIN.search(string.text)) or (in_key and _END not in string.text),
        )
        if in_key:
            return replace(string, text=MASK)
        return replace(string, text=_masked(string.text, before.text if before else ""))


def _masked(text: str, before: str) -> str:
    """Also where it is an argument behind a flag of its own, a command line, or a variable with its value."""
    _, _, value = mask_argv(("", before, text))
    return MASK if value == MASK else mask_argv((mask_text(text),))[0]
