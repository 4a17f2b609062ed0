"""Real packets, captured by the command and read by tshark."""

import json
import os
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from hostscope.errors import Gone, Unavailable, UsageError
from hostscope.model.capture import CaptureRequest
from hostscope.model.text import decode
from hostscope.platforms.linux import capture
from hostscope.platforms.linux.capture import Capture
from hostscope.platforms.linux.native import pcap
from hostscope.platforms.tally import Tally
from hostscope.wire.batch import PacketBatch
from tests.system.commands import need
from tests.system.links import Pair, ip, pair

pytestmark = [pytest.mark.system, pytest.mark.root]

HOSTSCOPE = shutil.which("hostscope", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}") or "hostscope"
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def cable() -> Iterator[Pair]:
    with pair("hc", "10.213.9") as made:
        yield made


class Running:
    """A capture of the command, from when its packet sockets are there."""

    def __init__(self, *arguments: str, stdout: int | None = None) -> None:
        pipe = subprocess.PIPE
        self.child = subprocess.Popen([HOSTSCOPE, "capture", *arguments], stdout=stdout or pipe, stderr=pipe, text=True)
        until(self.captures, self.child)
        output = Path(arguments[arguments.index("--output") + 1])
        if str(output) != "-" and "--last" not in arguments:
            until(lambda: size(output) > 0, self.child)

    def captures(self) -> bool:
        """Whether it has a packet socket that is connected to an interface."""
        with open("/proc/net/packet") as table:
            live = {line.split()[8] for line in table.readlines()[1:] if line.split()[5] == "1"}
        with open("/proc/self/net/packet"):
            held = set()
            for fd in os.scandir(f"/proc/{self.child.pid}/fd"):
                try:
                    held.add(os.readlink(fd.path))
                except OSError:
                    continue
        return any(f"socket:[{inode}]" in held for inode in live)

    def end(self, number: signal.Signals = signal.SIGINT) -> tuple[int, str]:
        """Its exit code and what it said."""
        self.child.send_signal(number)
        out, err = self.child.communicate(timeout=PATIENCE_S)
        return self.child.returncode, (out or "") + err


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def until(done: object, child: subprocess.Popen[str]) -> None:
    """Polls until it is so; fails when the child ends first."""
    deadline, tick = monotonic() + PATIENCE_S, threading.Event()
    while not done():  # type: ignore[operator]
        assert child.poll() is None, child.communicate()
        assert monotonic() < deadline
        tick.wait(0.02)


def tshark(path: Path | str, *fields: str, display: str = "") -> list[list[str]]:
    """Fields of each packet."""
    need("tshark", "tshark")
    options = [option for field in fields for option in ("-e", field)]
    command = ["tshark", "-r", str(path), "-T", "fields", "-E", "aggregator=|", *options]
    done = subprocess.run([*command, *(["-Y", display] if display else [])], capture_output=True, text=True, check=True)
    return [line.split("\t") for line in done.stdout.splitlines()]


def send(address: str, port: int, count: int, size: int = 10) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        for number in range(count):
            out.sendto(number.to_bytes(4, "big") + bytes(size), (address, port))


@contextmanager
def opened(request: CaptureRequest) -> Iterator[tuple[Iterator[PacketBatch], threading.Event, Tally]]:
    stop, tally = threading.Event(), Tally()
    with Capture().open(request, tally) as source:
        yield source.batches(stop), stop, tally


def test_tshark_reads_what_was_sent_and_the_process_that_sent_it(cable: Pair, tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    running = Running("--interface", cable.near, "--bpf", "udp dst port 5005", "--output", str(path))
    script = f"""
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("{cable.near_address}", 5006))
for n in range(50): s.sendto(b"x" * 20, ("{cable.far_address}", 5005))
print("sent", flush=True); sys.stdin.read()"""
    sender = subprocess.Popen(
        [sys.executable, "-c", script, "--password=hunter2"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert sender.stdout is not None
    assert sender.stdout.readline() == b"sent\n"
    until(lambda: size(path) > 2000, running.child)
    code, said = running.end()
    sender.communicate()
    assert code == 130
    assert "50 packets written" in said
    rows = tshark(
        path, "frame.comment", "udp.dstport", "frame.len", "frame.packet_flags_direction", "frame.interface_name"
    )
    assert len(rows) == 50
    comments, ports, lengths, ways, names = zip(*rows, strict=True)
    assert set(ports) == {"5005"}
    assert set(lengths) == {"62"}
    assert set(ways) == {"0x00000002"}, "outbound"
    assert set(names) == {cable.near}
    assert all(f"{cable.near_address}:5006 = " in one and f"[{sender.pid}]" in one for one in comments)
    assert b"hunter2" not in path.read_bytes()
    assert b"--password=***" in path.read_bytes()


def test_the_same_packets_as_tcpdump(cable: Pair, tmp_path: Path) -> None:
    tcpdump = need("tcpdump", "tcpdump")
    ours, theirs, expression = tmp_path / "ours.pcapng", tmp_path / "theirs.pcap", "udp port 6006 and greater 100"
    running = Running("--interface", cable.near, "--bpf", expression, "--output", str(ours))
    options = ["-i", cable.near, "-U", "-w", str(theirs), "-Z", "root", expression]
    peer = subprocess.Popen([tcpdump, *options], stderr=subprocess.PIPE, text=True)
    assert peer.stderr is not None
    assert "listening" in peer.stderr.readline()
    for size in range(200):
        send(cable.far_address, 6006, 2, size * 7)
    until(lambda: len(tshark(theirs, "frame.number")) >= 2 * 200 - 18, peer)
    peer.send_signal(signal.SIGINT)
    peer.communicate(timeout=PATIENCE_S)
    assert running.end()[0] == 130
    fields = ("frame.len", "ip.id", "udp.checksum", "data.data")
    assert tshark(ours, *fields) == tshark(theirs, *fields)


def tagged(kind: int, tag: int, port: int, size: int) -> bytes:
    body = struct.pack("!HHHH", 1, port, 8 + size, 0) + bytes(size)
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28 + size, 0, 0, 9, 17, 0, b"\n\0\0\1", b"\n\0\0\2")
    return b"\xff" * 6 + b"\2" + bytes(5) + struct.pack("!HHH", kind, tag, 0x0800) + header + body


@pytest.mark.parametrize(("kind", "tag"), [(0x8100, 0x2A07), (0x88A8, 0x0FFE)])
def test_vlan_tags_that_the_kernel_took_out_are_put_back(cable: Pair, kind: int, tag: int) -> None:
    frames = [tagged(kind, tag, 7007, size) for size in range(20, 40)]
    expression = f"vlan {tag & 0xFFF} and udp dst port 7007"
    with opened(CaptureRequest((cable.near,), expression)) as (batches, stop, _):
        script = (
            "import socket, sys; s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)\n"
            f"s.bind(({cable.far!r}, 0))\nfor line in sys.stdin: s.send(bytes.fromhex(line))"
        )
        lines = "\n".join(frame.hex() for frame in frames)
        subprocess.run(cable.beyond(sys.executable, "-c", script), input=lines, text=True, check=True)
        seen = collect(batches, stop, lambda raw: raw[6:12] == b"\2" + bytes(5), len(frames))
    assert seen == frames


def collect(batches: Iterator[PacketBatch], stop: threading.Event, wanted: object, count: int) -> list[bytes]:
    """The first `count` packets of those wanted."""
    found: list[bytes] = []
    deadline = monotonic() + PATIENCE_S
    for batch in batches:
        found += [raw for raw in map(batch.packet, range(len(batch))) if wanted(raw)]  # type: ignore[operator]
        if len(found) >= count or monotonic() > deadline:
            stop.set()
    return found


def test_no_packet_slips_in_before_the_filter(cable: Pair) -> None:
    quiet = threading.Event()

    def chatter() -> None:
        while not quiet.is_set():
            send(cable.far_address, 8008, 50)

    talker = threading.Thread(target=chatter)
    talker.start()
    try:
        for names in [(cable.near,), ("any",), (cable.near, "lo")] * 5:
            with opened(CaptureRequest(names, "udp dst port 9009")) as (batches, stop, _):
                stop.set()
                assert [len(batch) for batch in batches if len(batch)] == []
    finally:
        quiet.set()
        talker.join()


def test_loopback_packets_come_once_also_from_any() -> None:
    for names in (("lo",), ("any",)):
        with opened(CaptureRequest(names, "udp dst port 4004")) as (batches, stop, _):
            send("127.0.0.1", 4004, 30)
            seen = collect(batches, stop, lambda raw: True, 30)
        assert [raw[-10 - 4 : -10] for raw in seen] == [number.to_bytes(4, "big") for number in range(30)], names


def test_any_is_cooked_and_says_through_which_interface(cable: Pair, tmp_path: Path) -> None:
    path = tmp_path / "any.pcapng"
    running = Running("--interface", "any", "--bpf", "udp dst port 3003 or arp", "--output", str(path), "--count", "12")
    send(cable.far_address, 3003, 6)
    send("127.0.0.1", 3003, 6)
    running.child.communicate(timeout=PATIENCE_S)
    assert running.child.returncode == 0
    rows = tshark(path, "sll.ifindex", "sll.pkttype", "sll.etype", "udp.dstport", display="udp")
    near, lo = str(socket.if_nametoindex(cable.near)), str(socket.if_nametoindex("lo"))
    assert {tuple(row) for row in rows} >= {(lo, "0", "0x0800", "3003")}
    assert all(row[0] in (near, lo) for row in rows)
    assert all(row[1] == ("4" if row[0] == near else "0") for row in rows), "outgoing, and to us"


def test_snap_length_cuts_packets_and_keeps_their_length(cable: Pair, tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    options = ("--snap-length", "64", "--count", "5", "--bpf", "udp port 2002")
    running = Running("--interface", cable.near, *options, "--output", str(path))
    send(cable.far_address, 2002, 5, 500)
    running.child.communicate(timeout=PATIENCE_S)
    assert {tuple(row) for row in tshark(path, "frame.cap_len", "frame.len")} == {("64", "546")}


def test_promiscuous_mode_lasts_as_long_as_the_capture_and_is_named(cable: Pair) -> None:
    def promiscuity() -> int:
        return int(json.loads(ip("-d", "-j", "link", "show", cable.near))[0]["promiscuity"])

    before = promiscuity()
    with opened(CaptureRequest((cable.near,), promiscuous=True)) as (_, _, tally):
        assert promiscuity() == before + 1
        assert f"promiscuous mode on {cable.near}" in tally.effects
    assert promiscuity() == before
    with opened(CaptureRequest((cable.near,))):
        assert promiscuity() == before


def test_what_finds_no_room_is_counted_and_written_into_the_file(cable: Pair, tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    options = ("--bpf", "udp dst port 1001", "--ring-bytes", str(1 << 20), "--no-processes", "--format", "json")
    running = Running("--interface", cable.near, *options, "--output", str(path))
    running.child.send_signal(signal.SIGSTOP)
    send(cable.far_address, 1001, 3000, 1000)
    running.child.send_signal(signal.SIGCONT)
    until(lambda: size(path) > 500_000, running.child)
    sent, before = 3000, size(path)

    def another_arrives() -> bool:
        nonlocal sent
        sent += 1
        send(cable.far_address, 1001, 1)
        return size(path) > before

    until(another_arrives, running.child)
    code, said = running.end()
    assert code == 130
    document = json.loads(said)
    (summary,) = document["rows"]
    (counts,) = summary["counts"]
    assert counts["received"] == sent
    assert counts["dropped"] > 1000
    assert summary["packets"] + counts["dropped"] == sent
    assert document["coverage"]["lost"] == counts["dropped"]
    rows = tshark(path, "frame.drop_count", display="frame.drop_count")
    assert sum(int(row[0]) for row in rows) == counts["dropped"]
    assert len(tshark(path, "frame.number")) == summary["packets"]
    done = subprocess.run([need("capinfos", "wireshark-common"), str(path)], capture_output=True, text=True, check=True)
    assert "Number of stat entries = 1" in done.stdout


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_with_a_whole_file_and_totals(
    cable: Pair, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    path = tmp_path / "a.pcapng"
    running = Running("--interface", cable.near, "--bpf", "udp dst port 1002", "--output", str(path))
    send(cable.far_address, 1002, 20)
    ended, said = running.end(number)
    assert ended == code
    assert f"{cable.near}: 20 passed the filter, 0 dropped" in said
    assert len(tshark(path, "frame.number")) == 20, "what had arrived before the signal is in the file"


def test_a_killed_capture_leaves_a_file_that_can_be_read(cable: Pair, tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    running = Running("--interface", cable.near, "--bpf", "udp dst port 1003", "--output", str(path))
    send(cable.far_address, 1003, 40)
    until(lambda: size(path) > 40 * 60, running.child)
    running.child.kill()
    running.child.communicate()
    assert len(tshark(path, "frame.number")) == 40


def test_the_last_seconds_are_written_when_told(cable: Pair, tmp_path: Path) -> None:
    options = ("--bpf", "udp dst port 1004", "--last", "30", "--output", str(tmp_path / "a.pcapng"))
    running = Running("--interface", cable.near, *options)
    send(cable.far_address, 1004, 7)
    assert list(tmp_path.iterdir()) == []
    written: list[Path] = []

    def told() -> bool:
        written[:] = [path for path in tmp_path.iterdir() if len(tshark(path, "frame.number")) == 7]
        if not list(tmp_path.iterdir()):
            running.child.send_signal(signal.SIGUSR1)
        return bool(list(tmp_path.iterdir()))

    until(told, running.child)
    assert running.end()[0] == 130
    files = sorted(tmp_path.iterdir())
    assert sum(len(tshark(path, "frame.number")) for path in files) == 7


def test_a_pipe_carries_packets_to_another_program(cable: Pair) -> None:
    need("tshark", "tshark")
    reader = subprocess.Popen(
        ["tshark", "-r", "-", "-T", "fields", "-e", "udp.dstport"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert reader.stdin is not None
    options = ("--interface", cable.near, "--bpf", "udp dst port 1005", "--output", "-", "--count", "9")
    running = Running(*options, stdout=reader.stdin.fileno())
    reader.stdin.close()
    send(cable.far_address, 1005, 9)
    assert running.child.wait(PATIENCE_S) == 0
    assert reader.stdout is not None
    assert reader.stdout.read().split() == ["1005"] * 9
    reader.wait()
    assert running.child.stderr is not None
    running.child.stderr.close()
    reader.stdout.close()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--interface", "nosuch0"), 2, "there is no interface 'nosuch0'\nhint: interfaces: lo"),
        (("--interface", "lo", "--bpf", "tcp prot 80"), 2, "bad filter 'tcp prot 80'"),
        (("--interface", "lo", "--output", "/nosuch/a.pcapng"), 2, "cannot write /nosuch/a.pcapng"),
        (("--interface", "lo", "--keep", "2"), 2, "--keep is about several files"),
        (("--output", "-", "--last", "5"), 2, "standard output is one file"),
        (("--interface", "lo", "--ring-bytes", "9" * 14), 6, "no memory for the ring of lo"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    arguments: tuple[str, ...], code: int, said: str, tmp_path: Path
) -> None:
    done = subprocess.run([HOSTSCOPE, "capture", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert done.stderr.startswith(f"hostscope: {said}")
    assert list(tmp_path.iterdir()) == []


def test_without_the_privilege_it_says_which_and_writes_nothing(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    command = [*nobody, HOSTSCOPE, "capture", "--interface", "lo", "--output", "a.pcapng"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert done.stderr.startswith("hostscope: may not capture packets of lo\nhint: needs root or CAP_NET_RAW")
    assert list(tmp_path.iterdir()) == []


def test_an_interface_that_is_down_is_refused() -> None:
    with pair("hd", "10.213.10") as cable:
        ip("link", "set", cable.near, "down")
        with pytest.raises(UsageError, match="is down"), opened(CaptureRequest((cable.near,))):
            pass


def test_an_interface_that_goes_before_its_ring_starts_is_left_out_unless_it_was_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    links = capture._links()
    gone = replace(links[0], name="hcgone", index=(1 << 31) - 1)
    monkeypatch.setattr(capture, "_links", lambda: [*links, gone])
    tally = Tally()
    with Capture().open(CaptureRequest(), tally) as source:
        assert "lo" in {interface.name for interface in source.interfaces}
        assert "hcgone" not in {interface.name for interface in source.interfaces}
    assert tally.coverage().notes == ("interface hcgone has gone or is down: left out",)
    with (
        pytest.raises(UsageError, match="hcgone has gone"),
        Capture().open(CaptureRequest(interfaces=("lo", "hcgone")), Tally()),
    ):
        pass


def test_a_capture_survives_an_interface_that_goes_down_and_ends_when_it_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    with pair("hg", "10.213.12") as cable:
        running = Running("--interface", cable.near, "--bpf", "udp dst port 1007", "--output", str(path))
        ip("link", "set", cable.near, "down")
        ip("link", "set", cable.near, "up")
        send(cable.far_address, 1007, 3)
        until(lambda: size(path) > 300, running.child)
        ip("link", "del", cable.near)
        _, said = running.child.communicate(timeout=PATIENCE_S)
    assert running.child.returncode == 0
    assert f"interface {cable.near} went down while packets were captured" in said
    assert len(tshark(path, "frame.number")) == 3


def test_without_libpcap_a_filter_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pcap, "NAMES", ("libnosuch.so.1",))
    with pytest.raises(Unavailable, match="libpcap") as raised, opened(CaptureRequest(("lo",), "tcp")):
        pass
    assert raised.value.hint is not None
    assert "apt-get install libpcap0.8" in raised.value.hint


def test_the_interfaces_of_another_namespace_by_name_and_by_process(cable: Pair) -> None:
    inhabitant = subprocess.Popen(
        cable.beyond("sh", "-c", "echo in; exec cat"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert inhabitant.stdout is not None
    assert inhabitant.stdout.readline() == b"in\n"
    try:
        for named in (cable.namespace, str(inhabitant.pid)):
            with opened(CaptureRequest((cable.far,), "udp dst port 1006", namespace=named)) as (batches, stop, _):
                send(cable.far_address, 1006, 5)
                assert len(collect(batches, stop, lambda raw: True, 5)) == 5
    finally:
        inhabitant.communicate()
    with pytest.raises(UsageError, match="no network namespace 'nosuch'"), opened(CaptureRequest(namespace="nosuch")):
        pass
    with pytest.raises(Gone), opened(CaptureRequest(namespace=str(inhabitant.pid))):
        pass


def test_an_interface_whose_name_is_no_text() -> None:
    """Its owner names it, perhaps in a container, and must not keep us from hearing it."""
    with pair("od", "10.213.14") as cable:
        odd, run = b"v\xff\x9b" + cable.far.encode()[-8:], ["ip", "-n", cable.namespace, "link", "set"]
        for words in ((cable.far, "down"), (cable.far, "name", odd), (odd, "up")):
            subprocess.run([*run, *words], check=True)
        for wanted in ((), (decode(odd),)):
            request = CaptureRequest(wanted, "udp dst port 1008", namespace=cable.namespace)
            with opened(request) as (batches, stop, tally):
                send(cable.far_address, 1008, 5)
                assert len(collect(batches, stop, lambda raw: True, 5)) == 5
            assert tally.coverage().notes == ()


def test_captures_leave_no_descriptor_behind() -> None:
    limit, before = resource.getrlimit(resource.RLIMIT_NOFILE)[0], len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with opened(CaptureRequest(("lo",))) as (batches, stop, _):
            stop.set()
            list(batches)
    assert len(os.listdir("/proc/self/fd")) <= before + 1 < limit


@given(st.text(st.characters(exclude_characters="\0"), max_size=60))
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
def test_any_expression_is_a_program_or_libpcaps_own_message(expression: str) -> None:
    # Words of letters are names, which libpcap would ask the resolver for.
    asked = "".join(character for character in expression if not character.isalpha())
    try:
        assert pcap.compile_filter(asked, 1, 96)
    except UsageError as refused:
        assert refused.message.startswith("bad filter")
