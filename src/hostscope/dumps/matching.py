"""Rules over regions, part by part."""

from collections.abc import Iterable, Iterator

from hostscope.dumps.rules import OVERLAP_BYTES, PART_BYTES, PatternMatch, Rules
from hostscope.errors import Error
from hostscope.model.dump import RuleMatch
from hostscope.model.key import ProcessKey
from hostscope.model.memory import Region

MOST_LISTED = 100
"""Of one pattern in one region; more are counted."""
Range = tuple[int, int]


def cut_parts(ranges: Iterable[Range]) -> Iterator[Range]:
    """Address and size of the parts of ranges; those of one range overlap."""
    for start, end in ranges:
        last = max(min(start + 1, end), end - OVERLAP_BYTES)  # what remains behind it is in the part before
        for first in range(start, last, PART_BYTES - OVERLAP_BYTES):
            yield first, min(PART_BYTES, end - first)


def region_matches(
    rules: Rules,
    region: Region,
    parts: Iterable[tuple[int, bytes]],
    pid: int | None = None,
    name: str | None = None,
    key: ProcessKey | None = None,
) -> Iterator[RuleMatch]:
    """What rules find in the parts of one region, each match once; `MOST_LISTED` of a pattern, the rest counted.

    Raises:
        Unavailable: the scanner gave up; after what it had found until then. As reading the parts does, likewise.
    """
    for match, address, more in _matches(rules, parts):
        yield RuleMatch(
            match.rule, match.namespace, match.pattern, address, match.length, "memory", region.permissions,
            region.path, address - region.start, pid, key, name, match.tags, more,
        )  # fmt: skip


def file_matches(
    rules: Rules,
    path: str,
    parts: Iterable[tuple[int, bytes]],
    pid: int | None = None,
    name: str | None = None,
    key: ProcessKey | None = None,
) -> Iterator[RuleMatch]:
    """The same in the parts of a file, by their offsets."""
    for match, offset, more in _matches(rules, parts):
        yield RuleMatch(
            match.rule, match.namespace, match.pattern, None, match.length, "executable", None,
            path, offset, pid, key, name, match.tags, more,
        )  # fmt: skip


def _matches(rules: Rules, parts: Iterable[tuple[int, bytes]]) -> Iterator[tuple[PatternMatch, int, int]]:
    """Each with its place, and how many more of its pattern there are; what ends the parts is raised after them."""
    listed, ended = _Listed(), None
    try:
        for place, content in parts:
            for match in rules.scan(content) if content else ():
                listed.add(match, place + match.offset)
    except Error as failed:
        ended = failed
    yield from listed.rows()
    if ended:
        raise ended


class _Listed:
    """Matches by pattern: the first ones, and how many more."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str, str | None], dict[int, PatternMatch]] = {}

    def add(self, match: PatternMatch, place: int) -> None:
        places = self._seen.setdefault((match.namespace, match.rule, match.pattern), {})
        # A rule without patterns matches once for each part; one line is enough.
        if place not in places and not (match.pattern is None and places):
            places[place] = match

    def rows(self) -> Iterator[tuple[PatternMatch, int, int]]:
        for places in self._seen.values():
            rows = list(places.items())
            more = max(0, len(rows) - MOST_LISTED)
            for index, (place, match) in enumerate(rows[:MOST_LISTED], 1):
                yield match, place, more if index == MOST_LISTED else 0
