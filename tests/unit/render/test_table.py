"""Tables are aligned, cut only on terminals, and safe."""

from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.model.gap import Gap, Reason
from hostscope.render.layouts import PROCESSES
from hostscope.render.table import WIDEST, Style, cells_of, display_width, render_table
from tests.fake import ALICE, process, with_gaps

COLUMNS = PROCESSES.choose("pid,user,rss,command")
ROWS = [
    process(1, "init", 0),
    process(2, "kworker/0:1", 0, kernel=True, argv=None, exe=None, memory=None),
    process(31, "bash", 1, user=ALICE, argv=("bash", "\x1b[31mred\x1b[0m\nline")),
    process(4000, "日本", 1, argv=("日本", "東京")),
]


def table(*rows: object, style: Style | None = None, columns: object = COLUMNS) -> str:
    cells = cells_of(columns)  # type: ignore[arg-type,var-annotated]
    return "".join(render_table(columns, map(cells, rows), style or Style()))  # type: ignore[arg-type]


def test_looks_like_this() -> None:
    assert table(*ROWS).splitlines() == [
        " PID  USER      RSS  COMMAND",
        "   1  root     4.0K  init 1",
        "   2  root        -  [kworker/0:1]",
        "  31  alice  124.0K  bash \\x1b[31mred\\x1b[0m\\x0aline",
        "4000  root    15.6M  日本 東京",
    ]


def test_what_could_not_be_read_is_not_what_does_not_apply() -> None:
    denied = with_gaps(process(5), Gap("memory", Reason.DENIED), Gap("argv", Reason.DENIED), memory=None, argv=None)
    assert table(denied).splitlines()[1].split() == ["5", "root", "?", "[sleep]", "?"]
    assert table(process(5, memory=None)).splitlines()[1].split() == ["5", "root", "-", "sleep", "5"]


def test_a_truncated_command_line_says_so() -> None:
    cut = with_gaps(process(5, argv=("x",)), Gap("argv", Reason.TRUNCATED))
    assert table(cut).splitlines()[1].endswith("x …")


@pytest.mark.parametrize("width", [20, 25, 31])
def test_is_cut_at_the_width(width: int) -> None:
    lines = table(*ROWS, style=Style(width=width)).splitlines()
    assert max(map(display_width, lines)) <= width
    assert any(line.endswith("…") for line in lines)


def test_without_a_width_nothing_is_cut() -> None:
    long = process(1, argv=("x" * 5000,))
    assert "x" * 5000 in table(long)


def test_what_is_very_long_makes_only_its_own_line_long() -> None:
    shown = table(process(1, argv=("x" * 100_000,)), process(2, argv=("é" * 100_000,)), process(3, argv=("short",)),
                  columns=PROCESSES.choose("argv,pid"))  # fmt: skip
    head, one, two, three = shown.splitlines()
    assert one.split() == ["x" * 100_000, "1"] and two.split() == ["é" * 100_000, "2"]
    assert head == f"{'ARGV':{WIDEST}}  PID" and three == f"{'short':{WIDEST}}    3"


def test_colour_only_when_told() -> None:
    assert "\x1b" not in table(*ROWS)
    assert table(*ROWS, style=Style(colour=True)).startswith("\x1b[1m")


def test_no_rows_is_only_a_head() -> None:
    assert table() == "PID  USER  RSS  COMMAND\n"


def test_one_column_that_is_a_number() -> None:
    assert table(process(5), process(500), columns=PROCESSES.choose("pid")) == "PID\n  5\n500\n"


@given(st.lists(st.tuples(st.text(), st.lists(st.text()).map(tuple)), max_size=5))
def test_one_line_for_each_row_whatever_the_host_says(strings: list[tuple[str, tuple[str, ...]]]) -> None:
    rows = [process(place, name, argv=argv) for place, (name, argv) in enumerate(strings, 1)]
    text = table(*rows, columns=PROCESSES.choose("all"))
    assert len(text.splitlines()) == len(rows) + 1
    assert not {category(character) for character in text.replace("\n", "")} & {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
