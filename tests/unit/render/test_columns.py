"""The registry of columns agrees with the record and with the field groups."""

import pytest
from msgspec.structs import fields

from hostscope.errors import UsageError
from hostscope.model.gap import Gap, Reason
from hostscope.model.macos import CodeSigning, Entitlement, Fact, MacosContext
from hostscope.model.process import Executable, Process, Session
from hostscope.model.request import FIELDS
from hostscope.model.service import ScmEntry, ServiceState
from hostscope.model.windows import Charges, Job, Mitigation, Token, TokenPrivilege, WindowsContext
from hostscope.platforms.replay.select import GROUPS
from hostscope.render.column import RENDERERS, gap_of
from hostscope.render.columns import ALIASES, COLUMNS, DEFAULT_COLUMNS, group_of
from hostscope.render.filter import parse_filter
from hostscope.render.interface_columns import INTERFACES
from hostscope.render.layout import field_groups
from hostscope.render.layouts import LAYOUTS
from hostscope.render.process_layout import PROCESSES
from hostscope.render.service_columns import SERVICES
from hostscope.render.socket_columns import SOCKETS
from hostscope.render.table import cells_of
from hostscope.render.traffic_columns import FLOWS, PROCESS_TRAFFIC
from tests.fake import key, process


@pytest.mark.parametrize("table", sorted(LAYOUTS))
def test_names_are_unique_and_documented(table: str) -> None:
    layout = LAYOUTS[table]
    assert len(set(layout.names())) == len(layout.columns)
    for column in layout.columns:
        assert column.doc and column.title == column.title.upper(), column.name
        assert column.kind in RENDERERS
        assert column.name.isidentifier()
    assert set(layout.default) <= set(layout.names())


@pytest.mark.parametrize("table", sorted(LAYOUTS))
def test_every_path_is_a_field_of_the_record(table: str) -> None:
    for column in LAYOUTS[table].columns:
        for path in column.paths:
            parse_filter(f"{path} == None", LAYOUTS[table])


def test_every_field_group_has_a_column_and_the_other_way_round() -> None:
    groups = field_groups(COLUMNS)
    assert groups == set(FIELDS)
    for column in COLUMNS:
        assert group_of(column.path) in (column.field, "memory"), column.name


def test_every_field_of_the_record_belongs_to_a_group() -> None:
    always = {"key", "ppid", "name", "started_at_ns", "gaps", "linux", "windows", "macos"}
    for field in fields(Process):
        assert field.name in always or group_of(field.name) in FIELDS, field.name


def test_fields_of_one_system_are_collected_with_the_group_that_fills_them() -> None:
    for group, names in GROUPS.items():
        assert {name: group_of(name) for name in names} == dict.fromkeys(names, group)


def test_columns_of_macos() -> None:
    macos = MacosContext(
        CodeSigning(("valid", "hardened-runtime"), "ab12", "TEAM", "com.example"), (Entitlement("box", "true"),),
        sandboxed=True, translated=False, bundle=None, sip_protected=Fact("restricted", "kernel"), debuggable=False,
        footprint_bytes=2048, launchd_job="job",
    )  # fmt: skip
    row = Process(key(7), None, "bare", macos=macos)
    cells = {column.name: column.cell()(row) for column in COLUMNS}
    assert [cells[name] for name in ("team", "signing_id", "csflags", "entitlements", "sandboxed", "rosetta")] == [
        "TEAM", "com.example", "valid,hardened-runtime", "box", "yes", "no",
    ]  # fmt: skip
    assert [cells[name] for name in ("sip", "debuggable", "daemon", "footprint", "launchd_job", "bundle")] == [
        "restricted", "no", "-", "2.0K", "job", "-",
    ]  # fmt: skip
    assert parse_filter('team == "X" or footprint > 1', PROCESSES).fields >= {"security", "memory"}


def test_columns_of_windows() -> None:
    token = Token(
        elevation="full", privileges=(TokenPrivilege("SeDebugPrivilege", "enabled"), TokenPrivilege("B", "disabled"))
    )
    job = Job(None, True, "x", ("memory",))
    windows = WindowsContext(integrity="high", token=token, job=job, memory=Charges(7), wow64=True,
                             mitigations=(Mitigation("dep", ("on",)), Mitigation("cfg", ())))  # fmt: skip
    row = Process(key(7), None, "bare", session=Session(2, None, None), windows=windows)
    cells = dict(zip(PROCESSES.names(), cells_of(COLUMNS)(row), strict=True))
    shown = ("integrity", "elevation", "privileges", "job", "mitigations", "private", "wow64", "tty", "logon")
    assert [cells[name] for name in shown] == [
        "high", "full", "SeDebugPrivilege", "server-silo,memory", "dep", "7", "yes", "session 2", "-",
    ]  # fmt: skip
    assert parse_filter('integrity == "high" and windows.wow64', PROCESSES).fields >= {"security", "exe"}


@pytest.mark.parametrize("word", ["architecture", "arch"])
def test_the_architecture_has_one_name_on_every_system(word: str) -> None:
    column = PROCESSES.column(word)
    asked = Gap("macos.architecture", Reason.UNAVAILABLE)
    rows = (
        Process(key(7), None, "bare", windows=WindowsContext(architecture="x64")),
        Process(key(7), None, "bare", macos=MacosContext(architecture="arm64e")),
        Process(key(7), None, "bare", macos=MacosContext(), gaps=(asked,)),
        Process(key(7), None, "bare"),
    )
    assert [column.cell()(row) for row in rows] == ["x64", "arm64e", "?", "-"]
    compiled = parse_filter(f'{word} == "arm64e"', PROCESSES)
    assert [compiled.keep(row) for row in rows] == [False, True, False, False]
    assert compiled.touches((asked.field,)) and compiled.touches(("windows.architecture",))


def test_a_bare_record_has_a_cell_in_every_column() -> None:
    cells = cells_of(COLUMNS)(Process(key(7), None, "bare"))
    assert len(cells) == len(COLUMNS)
    assert dict(zip(PROCESSES.names(), cells, strict=True))["exe"] == "-"


def test_aliases_lead_to_columns() -> None:
    assert all(PROCESSES.find(alias) or SOCKETS.find(alias) for alias in ALIASES)
    assert INTERFACES.column("net_ns").name == "netns" and PROCESSES.column("name").name == "name"
    assert PROCESSES.column("%CPU").name == "pcpu"


WORDS = (
    "pid name process user container domain netns remote_port raddr local_address protocol direction interface cookie"
)


@pytest.mark.parametrize("name", WORDS.split())
def test_sockets_and_their_traffic_are_asked_for_in_the_same_words(name: str) -> None:
    assert SOCKETS.column(name).name == FLOWS.column(name).name
    if name in ("pid", "name", "process", "user", "container"):
        assert PROCESS_TRAFFIC.column(name).kind == FLOWS.column(name).kind


def test_choosing() -> None:
    assert [c.name for c in PROCESSES.choose(None)] == list(DEFAULT_COLUMNS)
    assert [c.name for c in PROCESSES.choose("name, PID,name")] == ["name", "pid"]
    assert [c.name for c in PROCESSES.choose("+exe")] == [*DEFAULT_COLUMNS[:-1], "exe", "command"]
    assert PROCESSES.choose("all") == COLUMNS
    with pytest.raises(UsageError, match="no column 'pidd'") as refused:
        PROCESSES.choose("pid,pidd")
    assert "pid" in (refused.value.hint or "")


def test_flags_of_the_executable() -> None:
    get = PROCESSES.column("exe_flags").get
    assert get(process(1, exe=Executable("/x", deleted=True, replaced=True))) == ("deleted", "replaced")
    assert get(process(1, exe=Executable("/x", memfd=True))) == ("memfd",)
    assert get(process(1)) == ()
    assert get(process(1, exe=None)) is None


def test_a_gap_covers_what_is_inside_it() -> None:
    gaps = (Gap("linux.namespaces", Reason.DENIED), Gap("argv", Reason.TRUNCATED))
    assert gap_of(gaps, "linux.namespaces.net") == gaps[0]
    assert gap_of(gaps, "linux") is None
    assert gap_of(gaps, "linux.namespaces_other") is None
    assert gap_of(gaps, "argv") is None


@pytest.mark.parametrize(
    ("service", "shown"),
    [
        (ServiceState("a.service", "systemd"), "-"),
        (ServiceState("a.service", "systemd --user", user=1000), "1000"),
        (ServiceState("Spooler", "scm", scm=ScmEntry("own-process", account="LocalSystem")), "LocalSystem"),
        (ServiceState("http", "scm", scm=ScmEntry("kernel-driver")), "-"),
        (ServiceState("x", "scm", scm=ScmEntry("own-process"), gaps=(Gap("scm", Reason.DENIED),)), "?"),
    ],
)
def test_whose_a_service_is_stands_in_one_column(service: ServiceState, shown: str) -> None:
    assert "user" in SERVICES.default
    assert SERVICES.column("user").cell()(service) == shown
