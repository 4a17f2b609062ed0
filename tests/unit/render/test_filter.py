"""Filter expressions select rows, and nothing but what the list allows is evaluated."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hostscope.errors import QueryError
from hostscope.model.container import Container
from hostscope.model.linux import Capabilities, LinuxContext
from hostscope.model.process import Process
from hostscope.render.filter import MAX_LENGTH, parse_filter
from hostscope.render.layouts import LAYOUTS, PROCESSES
from tests.fake import ALICE, process

CAPS = LinuxContext(capabilities=Capabilities((), ("net_raw",), ("net_raw", "sys_admin"), (), ()), seccomp="filter")
ROWS = [
    process(1, "init", 0),
    process(20, "web", user=ALICE, container=Container("docker", "c0ffee", name="shop", image="nginx:1"), linux=CAPS),
    process(3000, "db", argv=("db", "--data", "/srv"), exe=None),
]


def kept(expression: str) -> list[int]:
    keep = parse_filter(expression, PROCESSES).keep
    return [row.key.pid for row in ROWS if keep(row)]


@pytest.mark.parametrize(
    ("expression", "pids"),
    [
        ("pid == 1", [1]),
        ("pid != 1", [20, 3000]),
        ("1 < pid <= 3000", [20, 3000]),
        ("rss > 1*MB", [3000]),
        ("rss >= 2*4*KB and rss < 100 * KB", [20]),
        ("cpu > 1*S", [3000]),
        ("cpu >= 20*MS", [20, 3000]),
        ('user == "alice"', [20]),
        ('not user == "alice"', [1, 3000]),
        ('user in ("root", "bob")', [1, 3000]),
        ('user not in ["root"]', [20]),
        ("pid in {1, 3000}", [1, 3000]),
        ('startswith(exe, "/usr/bin/w")', [20]),
        ('endswith(name, "b")', [20, 3000]),
        ('contains(argv, "--data")', [3000]),
        ('"--data" in argv', [3000]),
        ('matches(name, "^(db|web)$")', [20, 3000]),
        ('"sys_admin" in caps', [20]),
        ('contains(caps, "admin")', [20]),
        ("exe == None", [3000]),
        ("exe is not None", [1, 20]),
        ("None != container", [20]),
        ('container.name == "shop"', [20]),
        ('container.runtime == "docker" or pid == 1', [1, 20]),
        ('linux.seccomp == "filter"', [20]),
        ("container", [20]),
        ("kernel == False", [1, 20, 3000]),
        ("not kernel", [1, 20, 3000]),
        ("key.pid == 20", [20]),
        ("pid == 1 or (pid == 20 and rss > 0)", [1, 20]),
        ("nice < 10", []),
        ("nice >= -20 or pid == 1", [1]),
        ("True", [1, 20, 3000]),
        (" pid == 1\n", [1]),
        ("comm == 'web'", [20]),
    ],
)
def test_selects(expression: str, pids: list[int]) -> None:
    assert kept(expression) == pids


def test_a_missing_value_fails_every_comparison() -> None:
    for expression in (
        'exe == "x"',
        'exe != "x"',
        'exe < "x"',
        'exe in ("x",)',
        'exe not in ("x",)',
        'contains(exe, "")',
    ):
        assert 3000 not in kept(expression), expression


@pytest.mark.parametrize(
    ("expression", "message", "hint"),
    [
        ("rsss > 1", "filter 1:1: there is no 'rsss'", "rss"),
        ("name == sshd", "there is no 'sshd'", 'a text stands in quotes: "sshd"'),
        ("pid == 1 and rsss > 1", "filter 1:14: there is no 'rsss'", "rss"),
        ('container.nam == "x"', "there is no 'nam' in container", "name"),
        ("container.name.x == 1", "there is no 'x' in container.name", None),
        ("pid >", "filter 1:6: invalid syntax", "example"),
        ("", "filter 1:1", "example"),
        ('pid == "x"', "a number cannot be compared with a text", None),
        ("user > 5", "a text cannot be compared with a number", None),
        ("kernel == 1", "a bool cannot be compared with a number", None),
        ("pid", None, None),
        ("1 + 1", "no condition", "conditions"),
        ("__import__('os')", "there is no such function", "startswith"),
        ("argv.__class__ == 1", "there is no '__class__' in argv", None),
        ("().__class__", "fields look like", None),
        ("open('/etc/passwd')", "there is no such function", None),
        ("user.startswith('r')", "there is no such function", None),
        ("(lambda: 1)()", "there is no such function", None),
        ("[x for x in pid]", "no condition", None),
        ("pid if pid else pid", "no condition", None),
        ("(pid := 1)", "no condition", None),
        ("f'{pid}' == '1'", "not allowed", None),
        ("argv[0] == 'x'", "not allowed", None),
        ("pid == 2 ** 2", "must be a text or a number", None),
        ("pid == 'a' * 1000000000", "must be a number", None),
        ("pid == 10*GB*GB*GB*GB*GB", "too large", None),
        ("contains(argv)", "takes a column and a text", None),
        ("contains(argv, 5)", "must be a text in quotes", None),
        ("contains(pid, 'x')", "needs a text", None),
        ("matches(argv, '(')", "not a regular expression", None),
        ('"cap_sys_admin" in caps', "without CAP_", "sys_admin"),
        ('contains(caps, "CAP_BPF")', "without CAP_", "bpf"),
        ('"CAP_BPF" not in linux.capabilities.permitted', "without CAP_", "bpf"),
        ("'x' in pid", "nothing can be in a number", None),
        ("5 in user", "nothing can be in a text", None),
        ("pid is 5", "compare with", None),
        ("pid < linux", "a number cannot be compared with a record", None),
        ("linux < linux", "of a record none comes before another", "one of its fields"),
        ("linux.capabilities.permitted >= (1, 2)", "of a list none comes before another", None),
        ("'x' in linux", "nothing can be in a record", None),
        ("pid < None", "None can only be compared", None),
        ("pid == 1; pid", "invalid syntax", None),
        ("pid == b'x'", "not allowed", None),
        ("pid == " + "(" * 300 + "1" + ")" * 300, "nested", None),
        ("not " * 60 + "pid", "levels deep", None),
        ("pid == " + "-" * 100 + "1", "levels deep", None),
        ("1" * (MAX_LENGTH + 1), "longer than", None),
        ("pid == \x00", "null bytes", None),
    ],
)
def test_refuses(expression: str, message: str | None, hint: str | None) -> None:
    if message is None:
        assert kept(expression) == [1, 20, 3000]
        return
    with pytest.raises(QueryError) as refused:
        parse_filter(expression, PROCESSES)
    assert message in str(refused.value)
    assert hint is None or hint in (refused.value.hint or "")
    assert "\n" not in str(refused.value)


def test_names_what_it_needs_and_reads() -> None:
    parsed = parse_filter('container.name == "x" and rss > 1 and linux.oom_score > 5 and pid == 1', PROCESSES)
    assert parsed.fields == {"cgroup", "memory", "oom"}
    assert parsed.paths == {"container.name", "memory.resident_bytes", "linux.oom_score", "key.pid"}
    assert parsed.touches(("container",))
    assert parsed.touches(("memory",))
    assert not parsed.touches(("exe", "io"))


@pytest.mark.parametrize("table", sorted(LAYOUTS))
def test_every_column_of_every_table_can_be_filtered(table: str) -> None:
    for column in LAYOUTS[table].columns:
        parse_filter(f"{column.name} == None", LAYOUTS[table])


@given(st.text(max_size=200))
@example("pid == 1 " * 10)
def test_any_text_is_a_filter_or_a_query_error(text: str) -> None:
    try:
        keep = parse_filter(text, PROCESSES).keep
    except QueryError:
        return
    assert isinstance(keep(ROWS[0]), bool)


PIECES = st.sampled_from(
    [
        "pid",
        "rss",
        "exe",
        "argv",
        "caps",
        "container.name",
        "==",
        "<",
        "in",
        "not",
        "and",
        "or",
        "(",
        ")",
        "1",
        "'x'",
        "*",
        "MB",
        "None",
        ",",
        "contains",
        "matches",
        "-",
        "[",
        "]",
        "True",
        "linux",
    ]
)


@given(st.lists(PIECES, max_size=12).map(" ".join))
def test_what_parses_also_runs(text: str) -> None:
    try:
        keep = parse_filter(text, PROCESSES).keep
    except QueryError:
        return
    for row in [*ROWS, Process(ROWS[0].key, None, "bare")]:
        assert isinstance(keep(row), bool)
