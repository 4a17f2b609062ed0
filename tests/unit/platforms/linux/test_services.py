"""Units: what is parsed, systemd without a bus, and control groups when it cannot be asked."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jeepney import HeaderFields, MessageType, new_method_return
from jeepney.low_level import Message, Parser

from hostscope.errors import Denied, Unavailable
from hostscope.model.event import CoverageChange, Event, ServiceChange
from hostscope.model.gap import Reason
from hostscope.model.service import ServiceState
from hostscope.platforms.linux.privileges import Privileges
from hostscope.platforms.linux.service_changes import read_groups
from hostscope.platforms.linux.services import Services
from hostscope.platforms.linux.units import (
    apply_change,
    differs,
    format_unit_path,
    is_unit_name,
    parse_properties,
    parse_unit,
    parse_unit_files,
    parse_unit_path,
)

PREFIX = "/org/freedesktop/systemd1/unit/"


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("ssh_2eservice", "ssh.service"),
        ("_2d_2eslice", "-.slice"),
        ("getty_40tty1_2eservice", "getty@tty1.service"),
        ("dev_2dsda_5cx2d1_2edevice", r"dev-sda\x2d1.device"),
        ("_31st_2eservice", "1st.service"),
        ("a_5fb_2eservice", "a_b.service"),
        ("_", ""),
    ],
)
def test_unit_path(label: str, name: str) -> None:
    assert parse_unit_path(PREFIX + label) == name
    assert format_unit_path(name) == PREFIX + label


@pytest.mark.parametrize("path", ["", "/", PREFIX, "/org/freedesktop/systemd1", PREFIX + "a/b", PREFIX + "a_zz"])
def test_no_unit_path(path: str) -> None:
    assert parse_unit_path(path) is None


@given(st.text(max_size=60))
def test_any_name_comes_back(name: str) -> None:
    assert parse_unit_path(format_unit_path(name)) is not None or "\U0010ee80" <= max(name) <= "\U0010eeff"
    if name.isascii():
        assert parse_unit_path(format_unit_path(name)) == name


@given(st.text(max_size=60))
def test_any_path(path: str) -> None:
    parse_unit_path(path)
    parse_unit_path(PREFIX + path)
    is_unit_name(path)


VARIANTS = st.tuples(st.sampled_from("sub"), st.text(max_size=9) | st.integers() | st.booleans() | st.lists(st.none()))
PROPERTIES = st.dictionaries(
    st.sampled_from(["Id", "ActiveState", "SubState", "LoadState", "UnitFileState", "MainPID", "Slice"]),
    VARIANTS | st.none(),
)


@given(PROPERTIES, PROPERTIES)
def test_any_properties(unit: dict[str, object], own: dict[str, object]) -> None:
    state = parse_properties("a.service", unit, own)
    assert apply_change(state, unit).manager == "systemd"
    assert state.main_pid is None or state.main_pid > 0


def test_states_differ_by_what_people_call_state() -> None:
    active = ServiceState("a.service", "systemd", state="active", substate="running", main_pid=1)
    assert not differs(active, ServiceState("a.service", "systemd", state="active", substate="running", main_pid=2))
    assert differs(active, ServiceState("a.service", "systemd", state="active", substate="exited"))
    assert differs(active, None)
    assert differs(None, active)
    assert not differs(None, None)


def test_unit_files_and_masked_units() -> None:
    files = parse_unit_files([("/etc/systemd/system/x.service", "masked")])
    unit = parse_unit(("x.service", "x", "masked", "inactive", "dead", "", "/", 0, "", "/"), files)
    assert (unit.load, unit.start_mode, unit.description) == ("masked", "masked", "x")
    scope = parse_unit(("s.scope", "", "loaded", "active", "running", "", "/", 0, "", "/"), files)
    assert (scope.start_mode, scope.path, scope.description) == (None, None, None)
    assert "start_mode" not in {gap.field for gap in scope.gaps}, "a scope has none"


def test_no_systemd(tmp_path: Path) -> None:
    services = Services(str(tmp_path))
    for ask in (services.services, lambda: services.changes(threading.Event(), 1)):
        with pytest.raises(Unavailable, match="not the init"):
            list(ask())
    with pytest.raises(Unavailable, match="not the init"):
        services.service("ssh.service")


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A host that systemd started, whose bus does not answer."""
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    group = tmp_path / "sys/fs/cgroup"
    for path in (
        "system.slice/ssh.service/inner.service",
        "system.slice/system-getty.slice/getty@tty1.service",
        "user.slice/user-1000.slice/user@1000.service/app.slice/mine.service",
        "system.slice/docker-" + "4f1c" * 16 + ".scope/system.slice/inside.service",
        "lxc.payload.web/system.slice/inside.service",
        "system.slice/mnt.mount",
    ):
        (group / path).mkdir(parents=True)
    (group / "cgroup.controllers").touch()
    return tmp_path


def test_groups_of_services(host: Path) -> None:
    found = read_groups(str(host / "sys/fs/cgroup"))
    assert sorted(found) == ["getty@tty1.service", "ssh.service", "user@1000.service"]
    assert found["getty@tty1.service"].slice == "system-getty.slice"
    assert {gap.reason for gap in found["ssh.service"].gaps} == {Reason.UNAVAILABLE}


def test_groups_of_v1_hosts(tmp_path: Path) -> None:
    (tmp_path / "systemd/system.slice/ssh.service").mkdir(parents=True)
    (tmp_path / "unified").mkdir()
    assert sorted(read_groups(str(tmp_path))) == ["ssh.service"]


def change(event: Event) -> tuple[str | None, str | None]:
    assert isinstance(event.body, ServiceChange)
    assert event.source == "polling"
    before, after = event.body.before, event.body.after
    return before and before.state, after and after.state


def test_polling_of_groups(host: Path) -> None:
    stop = threading.Event()
    events = Services(str(host)).changes(stop, 0.01)
    first = next(events)
    assert isinstance(first.body, CoverageChange)
    coverage = first.body.coverage
    assert (first.source, coverage.method, coverage.seen) == ("polling", "control groups", 3)
    assert coverage.method_reason is not None
    assert "system_bus_socket" in coverage.method_reason
    group = host / "sys/fs/cgroup/system.slice"
    (group / "new.service").mkdir()
    assert change(next(events)) == (None, "active")
    (group / "new.service").rmdir()
    gone = next(events)
    assert change(gone) == ("active", None)
    assert isinstance(gone.body, ServiceChange)
    assert gone.body.after is not None
    assert "inactive or failed" in str(gone.body.after.gaps)
    (group / "new.service").mkdir()
    assert change(next(events)) == (None, "active")
    stop.set()
    assert list(events) == []


UNITS = [("ssh.service", "", "loaded", "active", "running", "", PREFIX + "ssh_2eservice", 0, "", "/")]


def answer(message: Message) -> Message:
    if message.header.fields[HeaderFields.member] == "ListUnits":
        return new_method_return(message, "a(ssssssouso)", (UNITS,))
    return new_method_return(message, "a(ss)", ([],))


@contextmanager
def private_socket(path: Path, greeting: bytes = b"OK 0123456789abcdef\r\n", junk: bytes = b"") -> Iterator[str]:
    """systemd's own end of a private connection: the handshake, then answers (or junk) without any bus."""
    server = socket.socket(socket.AF_UNIX)
    path.parent.mkdir(parents=True, exist_ok=True)
    server.bind(str(path))
    server.listen()

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            handshake = b""
            while b"AUTH" not in handshake or not handshake.endswith(b"\r\n"):
                handshake += connection.recv(1024)
            connection.sendall(greeting)
            parser = Parser()
            rest = b""
            while b"BEGIN\r\n" not in rest and (raw := connection.recv(4096)):
                rest += raw
            parser.add_data(rest.partition(b"BEGIN\r\n")[2])
            while True:
                message = parser.get_next_message()
                if message is not None:
                    assert message.header.message_type is MessageType.method_call
                    connection.sendall(junk or answer(message).serialise(serial=1))
                elif raw := connection.recv(4096):
                    parser.add_data(raw)
                else:
                    return

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"unix:path={path}"
    finally:
        thread.join(60)
        server.close()


def test_systemd_without_a_bus(host: Path) -> None:
    with private_socket(host / "run/systemd/private"):
        units = list(Services(str(host)).services())
    assert [(unit.name, unit.state) for unit in units] == [("ssh.service", "active")]


def test_answers_that_are_no_dbus(host: Path) -> None:
    with private_socket(host / "run/systemd/private", junk=b"x" * 100), pytest.raises(Unavailable):
        list(Services(str(host), (f"unix:path={host}/run/systemd/private",)).services())


def test_handshake_that_is_refused(host: Path) -> None:
    with private_socket(host / "run/systemd/private", greeting=b"REJECTED\r\n"), pytest.raises(Denied):
        list(Services(str(host), (f"unix:path={host}/run/systemd/private",)).services())


@pytest.mark.parametrize("address", ["", "tcp:host=x", "unix:", "nonsense", "unix:path=/nowhere"])
def test_addresses_that_lead_nowhere(host: Path, address: str) -> None:
    with pytest.raises(Unavailable):
        list(Services(str(host), (address,)).services())


MANAGER = "run/systemd/private"


def test_units_of_users(host: Path) -> None:
    uid = os.geteuid()
    services = Services(str(host), (f"unix:path={host}/{MANAGER}",))
    with private_socket(host / MANAGER), private_socket(host / f"run/user/{uid}/systemd/private"):
        found = list(services.services())
    assert [(unit.name, unit.manager, unit.user) for unit in found] == [
        ("ssh.service", "systemd", None),
        ("ssh.service", "systemd --user", uid),
    ]
    assert not any(gap.field == "user_units" for unit in found for gap in unit.gaps)


def stale(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def linked(path: Path) -> None:
    path.symlink_to(path.parents[4] / MANAGER)


@pytest.mark.parametrize(
    ("make", "uid", "reason"),
    [(stale, os.geteuid(), "Connection refused"), (stale, 4242, "another user's"), (linked, os.geteuid(), "none"),
     (Path.touch, os.geteuid(), "none")],
    ids=["stale", "foreign", "link", "file"],
)  # fmt: skip
def test_users_whose_manager_cannot_be_asked(host: Path, make: Callable[[Path], None], uid: int, reason: str) -> None:
    place = host / f"run/user/{uid}/systemd/private"
    place.parent.mkdir(parents=True)
    make(place)
    with private_socket(host / MANAGER):
        found = list(Services(str(host), (f"unix:path={host}/{MANAGER}",)).services())
    assert [unit.name for unit in found] == ["ssh.service", f"user@{uid}.service"]
    (gap,) = found[1].gaps
    assert (gap.field, gap.reason) == ("user_units", Reason.UNAVAILABLE)
    assert f"user {uid} " in str(gap.detail) and reason in str(gap.detail)


def test_a_user_whose_manager_refuses_is_a_gap(host: Path) -> None:
    place = host / f"run/user/{os.geteuid()}/systemd/private"
    with private_socket(host / MANAGER), private_socket(place, b"REJECTED\r\n"):
        found = list(Services(str(host), (f"unix:path={host}/{MANAGER}",)).services())
    assert [(gap.field, gap.reason) for gap in found[1].gaps] == [("user_units", Reason.DENIED)]


def test_a_user_without_a_manager_is_no_gap(host: Path) -> None:
    (host / "run/user/4242").mkdir(parents=True)
    (host / "run/user/nobody").mkdir()
    with private_socket(host / MANAGER):
        assert len(list(Services(str(host), (f"unix:path={host}/{MANAGER}",)).services())) == 1


@pytest.mark.system
@pytest.mark.root
@pytest.mark.parametrize("raising", [True, False])
def test_units_of_another_user_take_a_privilege(host: Path, raising: bool) -> None:
    place = host / "run/user/65534/systemd/private"
    place.parent.mkdir(parents=True)

    def look() -> list[ServiceState]:
        privileges = Privileges()
        privileges.lower_all()  # of this thread
        return list(Services(str(host), (f"unix:path={system}",), privileges if raising else None).services())

    system = host / MANAGER
    with private_socket(system), private_socket(place) if raising else nullcontext(), ThreadPoolExecutor(1) as thread:
        if not raising:
            stale(place)
        for owned in (place, place.parent, place.parents[1]):
            os.chown(owned, 65534, 65534)
            owned.chmod(0o700)
        found = thread.submit(look).result()
    users = [unit.user for unit in found]
    gaps = [(gap.field, gap.reason) for gap in found[-1].gaps if gap.field == "user_units"]
    assert (users, gaps) == (([None, 65534], []) if raising else ([None, None], [("user_units", Reason.DENIED)]))
