"""The pages for people: everything that is known, nothing invented, what is missing named."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from hostscope.model.container import Container
from hostscope.model.detail import MemoryMap, OpenFile, ProcessDetail, Thread, Variable
from hostscope.model.gap import Gap, Reason
from hostscope.model.host import Ability, DiskCounters, HostInfo, Pressure
from hostscope.model.inspection import HostInspection, ProcessInspection
from hostscope.model.linux import Capabilities, LinuxContext, Namespaces
from hostscope.model.process import Activity, Digest, Executable, Io, Process, Schedule, Session
from hostscope.model.security import HostSecurity, Power, Security
from hostscope.model.service import Service, ServiceState
from hostscope.model.socket import Endpoint, Socket, SocketOwner
from hostscope.model.windows import WindowsContext
from hostscope.render.host_page import render_ability, render_counters, render_host
from hostscope.render.page import facts, grid
from hostscope.render.process_page import render_process
from hostscope.render.table import Style
from tests.fake import ALICE, BOOT, BOOTED_AT_NS, COUNTERS, key, process, with_gaps

FULL = process(
    20,
    "web",
    user=ALICE,
    argv=("web", "--listen", "a b"),
    exe=Executable("/srv/web", 1, 99, deleted=True, replaced=True),
    digest=Digest("ab" * 32, 512, "web 1.2", False, True, False, ("net_raw",)),
    cwd="/srv",
    root="/",
    groups=(ALICE,),
    session=Session(20, 20, "pts/3"),
    schedule=Schedule("other", 20, 0, None),
    io=Io(1024, 2048, 0, 0),
    activity=Activity(5, 6, 7, 8),
    open_files=2,
    security=Security((Power("raw_network", True, ("net_raw effective",)), Power("reboot", False, ())), ("seccomp",)),
    container=Container("docker", "c0ffee", "shop", "nginx:1", source="state"),
    service=Service("docker.service", "systemd", "system.slice"),
    linux=LinuxContext(
        capabilities=Capabilities((), ("net_raw",), ("net_raw",), ("net_raw", "chown"), ()),
        no_new_privs=True,
        seccomp="filter",
        namespaces=Namespaces(1, 2, 3, 4, 5, None, 7, 8, ("net",)),
        cgroup="/system.slice/docker.service",
        oom_score=600,
        oom_score_adj=0,
    ),
)
DETAIL = ProcessDetail(
    open_files=(
        OpenFile(0, "file", "/var/log/x\n", "w", 0, 5, deleted=True),
        OpenFile(1, "socket", "socket:[7]", None, None, 7),
    ),
    maps=(MemoryMap(4096, 8192, "rwxp", 0, "00:00", 0, None), MemoryMap(8192, 16384, "r-xp", 0, "8:1", 3, "/srv/web")),
    threads=(Thread(20, "web", "sleeping", 10**9, 0, BOOTED_AT_NS, 0),),
    sockets=(
        Socket(
            "inet",
            "stream",
            "tcp",
            "listen",
            Endpoint("0.0.0.0", 80),
            None,
            7,
            1,
            owners=(SocketOwner(key(20), "web", 1),),
            direction="listening",
        ),
    ),
    environment=(Variable("TOKEN", "***"),),
)
INSPECTION = ProcessInspection(
    FULL,
    DETAIL,
    (process(1, "init", 0),),
    ServiceState("docker.service", "systemd", state="active", substate="running", start_mode="enabled", path="/lib/u"),
    ("it belongs to the docker container shop",),
)


def test_the_page_of_a_process_has_everything() -> None:
    page = render_process(INSPECTION)
    for expected in (
        "Process 20\n",
        "20@20 (boot b00t, PID namespace 4026531836)",
        "alice (1000)",
        "terminal  ",
        "reason    it belongs to the docker container shop",
        "ancestor  1@1  init 1",
        "arguments  web --listen 'a b'",
        "the file was replaced since it was started",
        "web 1.2 (the file DIFFERS)",
        "setuid",
        "raw_network: net_raw effective",
        "confined by",
        "bounding     2 capabilities",
        "4  not the host's",
        "time    ?",
        "nginx:1",
        "active running enabled",
        "/var/log/x\\x0a (deleted)",
        "0.0.0.0:80",
        "1 mappings are writable and executable, the first at 0x1000",
        "8.0K  1         /srv/web",
        "TOKEN  ***",
    ):
        assert expected in page, expected
    assert "reboot" not in page
    assert "Could not be seen" not in page
    assert "\x1b" not in page


def test_headings_are_bold_only_in_colour() -> None:
    assert "\x1b[1mProcess 20\x1b[0m" in render_process(INSPECTION, Style(colour=True))


def test_gaps_are_named_where_the_value_would_stand_and_at_the_end() -> None:
    gaps = (Gap("exe", Reason.DENIED, "needs ptrace access"), Gap("digest", Reason.DENIED), Gap("io", Reason.DENIED))
    bare = with_gaps(process(9), *gaps, exe=None)
    detail = ProcessDetail(gaps=(Gap("maps", Reason.DENIED),))
    page = render_process(ProcessInspection(bare, detail, (), None, (), (Gap("unit", Reason.UNAVAILABLE),)))
    assert "path     ? denied (needs ptrace access)" in page
    assert "SHA-256  ? denied" in page
    assert "unit state  ? unavailable" in page
    ending = page[page.index("Could not be seen") :]
    assert [line.split()[0] for line in ending.splitlines()[1:]] == ["exe", "digest", "io", "maps", "unit"]


def test_a_bare_process_has_a_page() -> None:
    page = render_process(ProcessInspection(Process(key(3), 0, "x"), ProcessDetail(), (), None, ()))
    assert page.startswith("Process 3\n")
    assert "None" not in page


def test_long_lists_are_counted() -> None:
    files = tuple(OpenFile(fd, "file", f"/f{fd}", "r", 0, fd) for fd in range(100))
    page = render_process(replace(INSPECTION, detail=ProcessDetail(open_files=files)))
    assert "and 60 more (--format json shows all)" in page


@given(st.text(), st.text())
def test_nothing_on_the_page_obeys_the_process(name: str, value: str) -> None:
    hostile = process(5, name, argv=(value,), cwd=value, exe=Executable(value))
    page = render_process(
        ProcessInspection(hostile, ProcessDetail(environment=(Variable(name, value),)), (), None, (value,))
    )
    assert "\x1b" not in page
    assert "\r" not in page


def test_the_page_of_the_host() -> None:
    info = HostInfo("box", "linux", None, "6.1", "x86_64", None, BOOTED_AT_NS, 2, 1 << 30, 1)
    abilities = (Ability("iterator", False, "needs CAP_BPF", "run as root"), Ability("proc", True, "always"))
    inspection = HostInspection(
        info, HostSecurity(2, "integrity", ("selinux",)), (), abilities, (Gap("x", Reason.DENIED),)
    )
    page = render_host(inspection)
    assert "Privileges held\n  none\n" in page
    assert "  iterator    no    needs CAP_BPF\n" in page
    assert "  proc        yes   always\n" in page
    assert "\nTo enable iterator\n  run as root\n" in page
    assert "Live commands" not in page
    assert "Yama ptrace_scope  2" in page
    assert page.endswith("Could not be seen\n  x  denied\n")
    assert "boot " + BOOT not in page


def test_abilities_are_broken_to_the_width_with_what_goes_without_them() -> None:
    info = HostInfo("box", "linux", None, "6.1", "x86_64", None, BOOTED_AT_NS, 2, 1 << 30, 1)
    lacking = Ability(
        "capture", False, "packets: not permitted CAP_NET_RAW", "run a", "no packets at all", ("net_raw",)
    )
    alike = replace(lacking, name="dns", enable="run b")
    page = render_host(HostInspection(info, None, (), (lacking, alike), ()), Style(width=58))
    assert (
        "  capture     no    packets: not permitted CAP_NET_RAW\n                    without it: no packets at all\n"
        in page
    )
    assert "\nTo enable capture, dns\n  run a\n" in page and "run b" not in page
    narrow = render_host(HostInspection(info, None, (), (replace(lacking, lost="word " * 30),), ()), Style(width=60))
    assert max(map(len, narrow.splitlines())) <= 60


def test_what_live_commands_keep_is_shown() -> None:
    info = HostInfo("box", "linux", None, "6.1", "x86_64", None, BOOTED_AT_NS, 2, 1 << 30, 1)
    abilities = Ability("a", True, "", needs=("bpf",), keeps=("kill",)), Ability("b", True, "", keeps=())
    page = render_host(HostInspection(info, None, (), (*abilities, Ability("c", True, "")), ()))
    shown = page.partition("Live commands")[2].splitlines()[2:]
    assert [line.split() for line in shown] == [["a", "bpf", "kill"], ["b", "nothing", "nothing"]]


def test_the_page_of_one_ability() -> None:
    found = Ability("x", False, "why\x1b", "sudo y", "z", ("bpf",), (), "[Unit]\nA=1")
    assert render_ability(found).splitlines() == [
        "Capability x", "  available         no", "  what and why      why\\x1b", "  without it        z",
        "  takes             bpf", "  keeps afterwards  nothing", "", "To enable it", "  sudo y", "", "As a service",
        "  [Unit]", "  A=1",
    ]  # fmt: skip


def test_the_page_of_counters() -> None:
    pressure = Pressure(0.1, 0.2, 0.3, None, None, None)
    counters = replace(COUNTERS, pressure_cpu=pressure, disks=(DiskCounters("sda", 1, 2048, 0, 3, 4096, 0, 10**9),))
    page = render_counters(counters)
    assert "cpu  10.0 / -  20.0 / -  30.0 / -" in page
    assert "sda   1      2.0K  3       4.0K     1.00s" in page


def test_a_way_of_several_lines_is_shown_once_in_lines_of_its_own() -> None:
    info = HostInfo("box", "linux", None, "6.1", "x86_64", None, BOOTED_AT_NS, 2, 1 << 30, 1)
    ways = ("one", "two"), "sudo \x1b[31mx\n[Service]"
    abilities = tuple(Ability(name, False, "no", ways[1]) for name in ways[0])
    page = render_host(HostInspection(info, None, (), abilities, ()))
    assert "\nTo enable one, two\n  sudo \\x1b[31mx\n  [Service]\n" in page
    assert page.count("[Service]") == 1


def test_powers_that_nobody_can_tell_are_not_none() -> None:
    told = replace(process(3), security=Security((Power("reboot", None, ("user namespace unknown",)),), ()))
    page = render_process(ProcessInspection(told, ProcessDetail(), (), None, ()))
    assert "may perhaps" in page and "none beyond" not in page
    powerless = replace(told, security=Security((Power("reboot", False, ()),), ()))
    assert "none beyond" in render_process(ProcessInspection(powerless, ProcessDetail(), (), None, ()))


def test_handles_are_counted_by_kind_and_named_ones_come_first() -> None:
    files = (
        OpenFile(4, "event", "", None, None, None),
        OpenFile(8, "key", "\\REGISTRY\\Machine", None, None, None),
        OpenFile(12, "event", "", None, None, None),
    )
    windows = Process(key(3), 0, "x", windows=WindowsContext())
    lines = render_process(ProcessInspection(windows, ProcessDetail(open_files=files), (), None, ())).splitlines()
    start = lines.index("Open files")
    assert [line.split() for line in lines[start + 1 : start + 5]] == [
        ["2", "event,", "1", "key"],
        ["HANDLE", "KIND", "MODE", "PATH"],
        ["8", "key", "-", "\\REGISTRY\\Machine"],
        ["4", "event", "-"],
    ]


def test_a_variable_with_a_very_long_name_makes_only_its_own_line_long() -> None:
    few = [Variable("X", str(number)) for number in range(1000)]
    variables = (Variable("N" * 100_000, "value"), *few)
    shown = "\n".join(facts((variable.name, variable.value) for variable in variables))
    assert "N" * 100_000 + "  value" in shown and len(shown) < 500_000
    assert len("\n".join(grid(("A", "B"), [(variable.name, variable.value) for variable in variables]))) < 500_000
