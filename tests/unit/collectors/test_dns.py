"""What is asked, from packets of a made-up capture, and whose sockets they are."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from msgspec.structs import replace as replace_

from hostscope.collectors import dns
from hostscope.collectors.attribution import Owners
from hostscope.collectors.file_askers import FROM_COMMENTS
from hostscope.errors import Denied, Unavailable, UsageError
from hostscope.model.capture import CaptureCounts, CaptureInterface, CaptureRequest
from hostscope.model.coverage import Coverage
from hostscope.model.dns import DnsQuery, DnsRequest, Resolver
from hostscope.model.gap import Gap, Reason
from hostscope.model.interface import Interface, InterfaceAddress
from hostscope.model.socket import Endpoint, Socket, SocketOwner
from hostscope.model.traffic import Flow, Reading
from hostscope.platforms.base import Host
from hostscope.platforms.base_network import PacketSource
from hostscope.platforms.tally import Tally
from hostscope.wire.batch import Link, PacketBatch
from hostscope.wire.scores import ScoreBoard
from tests.fake import Answers, FakeMeter, host, key
from tests.unit.wire.captures import Blocks
from tests.unit.wire.frames import AT, CLIENT, MS, SERVER, answer, batch, pcap, question, udp

ASKED, TOLD = (0, udp(CLIENT, SERVER, question())), (7 * MS, udp(SERVER, CLIENT, answer()))
LOOPBACK = Interface("lo", 1, "loopback", (), "up", addresses=(InterfaceAddress("inet", "127.0.0.1", 8),), net_ns=1)
OURS = Interface("eth0", 2, "ethernet", (), "up", addresses=(InterfaceAddress("inet", CLIENT[0], 24),), net_ns=1)
CURL = SocketOwner(key(7), "curl")


@dataclass
class Packets:
    """A capture of packets that are there already; it ends with them, or with an error."""

    given: list[PacketBatch]
    fails: Exception | None = None
    dropped: int = 0
    requests: list[CaptureRequest] = field(default_factory=list)
    interfaces: tuple[CaptureInterface, ...] = ()

    @contextmanager
    def open(self, request: CaptureRequest, tally: Tally) -> Iterator[PacketSource]:
        self.requests.append(request)
        tally.method = "made-up"
        yield self

    def batches(self, stop: threading.Event) -> Iterator[PacketBatch]:
        yield from self.given
        if self.fails:
            raise self.fails

    def counts(self) -> tuple[CaptureCounts, ...]:
        return (CaptureCounts("lo", 2, self.dropped),)


def box(*batches: PacketBatch, fails: Exception | None = None, dropped: int = 0, **answers: object) -> Host:
    given = Answers(interfaces=[[LOOPBACK, OURS]], **answers)  # type: ignore[arg-type]
    return replace(host(answers=given), capture=Packets(list(batches), fails, dropped))


def flow(name: str | None = "curl", owner: int | None = 7, remote: Endpoint | None = None, late: int = 0) -> Flow:
    found = key(owner) if owner else None
    ends = Endpoint(*CLIENT), Endpoint(*SERVER) if remote is None else remote
    return Flow("udp", *ends, found, name, None if owner else "gone", first_at_ns=AT + late, last_at_ns=AT + late)


def reading(*flows: Flow) -> Reading:
    return Reading(AT, 0, flows, None)


def socket(port: int = CLIENT[1], owners: tuple[SocketOwner, ...] | None = (CURL,), **fields: object) -> Socket:
    given: dict[str, object] = {"local": Endpoint("0.0.0.0", port), "remote": None, "inode": 5, "net_ns": 1}
    return Socket("inet", "dgram", "udp", None, owners=owners, **(given | fields))  # type: ignore[arg-type]


def observed(asked: Host, request: DnsRequest | None = None) -> tuple[list[DnsQuery], ScoreBoard, object]:
    board = ScoreBoard()
    answer = dns.observe(asked, request or DnsRequest(), threading.Event(), board)
    return list(answer), board, answer.coverage


def test_the_process_of_a_socket_that_has_closed() -> None:
    rows, board, coverage = observed(box(batch(ASKED, TOLD), readings=[reading(flow())]))
    assert [(row.process, row.key, row.latency_ns) for row in rows] == [("curl", key(7), 7 * MS)]
    assert [score.answered for score in board.rows()] == [1]
    assert coverage.method == "made-up" and coverage.rows == 1  # type: ignore[attr-defined]


def test_the_process_of_an_open_socket() -> None:
    """The counters do not know it, because it is not bound to one peer."""
    rows, _, _ = observed(box(batch(ASKED, TOLD), readings=[reading()], sockets=[socket()]))
    assert [(row.process, row.gaps) for row in rows] == [("curl", ())]


def test_a_process_that_is_not_known_is_a_gap() -> None:
    rows, _, coverage = observed(box(batch(ASKED, TOLD), readings=[reading()]))
    assert rows[0].key is None and [gap.reason for gap in rows[0].gaps] == [Reason.GONE]
    assert [(gap.field, gap.rows) for gap in coverage.gaps] == [("key", 1)]  # type: ignore[attr-defined]


def test_the_question_of_another_host_has_no_process_and_no_gap() -> None:
    other = ("198.51.100.7", 9)
    frames = (0, udp(other, (CLIENT[0], 53), question())), (MS, udp((CLIENT[0], 53), other, answer()))
    rows, _, _ = observed(box(batch(*frames), readings=[reading(flow())]))
    assert rows[0].key is None and rows[0].gaps == ()


def test_what_waits_at_the_end_is_a_row() -> None:
    rows, _, _ = observed(box(batch(ASKED), readings=[reading(flow())]))
    assert [(row.rcode, row.timed_out) for row in rows] in ([(None, False)], [(None, True)])


def test_questions_time_out_while_no_packet_comes() -> None:
    """The made-up packets are years old; rows come without another packet."""
    going = threading.Event()

    class Quiet(Packets):
        def batches(self, stop: threading.Event) -> Iterator[PacketBatch]:
            yield from self.given
            going.wait(60)

    asked = replace(box(readings=[reading()]), capture=Quiet([batch(ASKED)]))
    rows = iter(dns.observe(asked, DnsRequest(timeout_s=0.05), threading.Event(), ScoreBoard()))
    assert next(rows).timed_out
    going.set()
    assert list(rows) == []


def test_dropping_the_rows_ends_the_reading() -> None:
    source = Packets([batch(ASKED, TOLD)] * 2000)
    stop = threading.Event()
    answer = dns.observe(replace(box(readings=[reading()]), capture=source), DnsRequest(), stop, ScoreBoard())
    rows = iter(answer)
    next(rows)
    rows.close()  # type: ignore[attr-defined]
    assert stop.is_set()
    assert not any(thread.name == "dns-packets" for thread in threading.enumerate())


def test_an_error_of_the_capture_is_raised_where_rows_are_read() -> None:
    with pytest.raises(Unavailable, match="unplugged"):
        observed(box(batch(ASKED), fails=Unavailable("unplugged"), readings=[reading()]))
    with pytest.raises(ZeroDivisionError):
        observed(box(fails=ZeroDivisionError(), readings=[reading()]))


def test_lost_packets_and_oddities_are_said() -> None:
    _, _, coverage = observed(box(batch(TOLD, (0, udp(CLIENT, SERVER, b"junk"))), dropped=3, readings=[reading()]))
    assert coverage.lost == 3 and not coverage.complete  # type: ignore[attr-defined]
    text = " ".join(coverage.notes)  # type: ignore[attr-defined]
    assert "nothing that was seen being asked: 1" in text and "readable message: 1" in text and "encrypted" in text


def test_the_kernels_filter() -> None:
    source = Packets([])
    asked = replace(box(readings=[reading()]), capture=source)
    observed(asked, DnsRequest(interfaces=("eth0",), ports=(53, 5300)))
    observed(asked, DnsRequest(multicast=False))
    assert [(request.interfaces, request.bpf) for request in source.requests] == [
        (("eth0",), "port 53 or port 5300 or port 5353 or port 5355"),
        ((), "port 53"),
    ]


def test_without_counting_it_is_said_what_that_loses() -> None:
    class Uncounted:
        def open(self, request: object, tally: object) -> object:
            raise Denied("counting needs CAP_BPF")

    asked = replace(box(batch(ASKED, TOLD), sockets=[socket()]), traffic=Uncounted())  # type: ignore[arg-type]
    rows, _, coverage = observed(asked)
    assert rows[0].process == "curl"
    assert any("are listed are not known: counting needs CAP_BPF" in note for note in coverage.notes)  # type: ignore[attr-defined]


def test_a_hook_from_outside_is_asked_first() -> None:
    board = ScoreBoard()
    asked = box(batch(ASKED, TOLD), readings=[reading()])
    rows = list(dns.observe(asked, DnsRequest(), threading.Event(), board, lambda *given: SocketOwner(key(9), "hook")))
    assert rows[0].process == "hook"


def test_a_resolver_that_tells_is_believed_before_packets() -> None:
    told = DnsQuery(AT, "www.example", "A", Endpoint("", None), Endpoint("", None), "resolver", "NOERROR", 5)
    for request, transports in (
        (DnsRequest(), {"resolver"}), (DnsRequest(packets=True), {"udp"}), (DnsRequest(("lo",)), {"udp"}),
    ):  # fmt: skip
        board = ScoreBoard()
        found = dns.observe(box(batch(ASKED, TOLD), queries=[told]), request, threading.Event(), board)
        assert {row.transport for row in found} == transports and found.coverage.rows == 1
        assert bool(list(board.rows())) == (transports == {"udp"})


def test_why_a_resolver_does_not_tell_us_is_said() -> None:
    class Refusing:
        def queries(self, stop: threading.Event, tally: Tally) -> Iterator[DnsQuery]:
            raise Denied("tracing of events: access denied")

    for resolvers, reason in ((None, None), (Refusing(), "tracing of events: access denied")):
        asked = box(batch(ASKED, TOLD))
        asked = replace(asked, resolvers=resolvers) if resolvers else asked  # type: ignore[arg-type]
        found = dns.observe(asked, DnsRequest(), threading.Event(), ScoreBoard())
        assert len(list(found)) == 1 and found.coverage.method_reason == reason


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "some.pcap"
    path.write_bytes(pcap(ASKED, TOLD, (9 * MS, udp(CLIENT, SERVER, question("b.example", number=8))))[:-3])
    board = ScoreBoard()
    answer = dns.read(str(path), DnsRequest(), board)
    assert [(row.name, row.rcode, row.key, row.gaps) for row in answer] == [("www.example.com", "NOERROR", None, ())]
    assert answer.coverage.failed == 1 and "bytes at the end" in answer.coverage.notes[0]
    with pytest.raises(UsageError, match="No such file"):
        list(dns.read(str(tmp_path / "none"), DnsRequest(), board))


STUB_END, STUB_CLIENT, STUB_OUT = ("127.0.0.53", 53), ("127.0.0.1", 41_000), (CLIENT[0], 5353 + 1)
CURL_ASKS = "127.0.0.1:41000 = curl[12]: curl https://a.test", "127.0.0.53:53 = resolved[2]: resolved"


def noted(folder: Path, *packets: tuple[int, bytes, tuple[str, ...]]) -> tuple[list[DnsQuery], Coverage]:
    """What a pcapng file is read as whose packets have such comments."""
    blocks = Blocks("<")
    written = [
        blocks.packet((AT + late) // 1000, frame, 0, *((1, text.encode()) for text in texts))
        for late, frame, texts in packets
    ]
    path = folder / "file.pcapng"
    path.write_bytes(blocks.section() + blocks.interface(Link.RAW) + b"".join(written))
    found = dns.read(str(path), DnsRequest(), ScoreBoard())
    return list(found), found.coverage


def test_a_file_names_who_asked(tmp_path: Path) -> None:
    rows, coverage = noted(tmp_path, (*ASKED, ("10.0.0.5:40000 = curl[12]: curl https://a.test",)), (*TOLD, ()))
    assert [(row.process, row.key, row.gaps, row.latency_ns) for row in rows] == [("curl[12]", None, (), 7 * MS)]
    assert FROM_COMMENTS in coverage.notes


def test_what_stands_beside_the_answer_counts_too(tmp_path: Path) -> None:
    rows, _ = noted(tmp_path, (*ASKED, ()), (*TOLD, ("10.0.0.5:40000 = curl[12]",)))
    assert [row.process for row in rows] == ["curl[12]"]


@pytest.mark.parametrize(
    ("said", "reason"), [("gone", Reason.GONE), ("denied", Reason.DENIED), ("not-asked", Reason.UNAVAILABLE)]
)
def test_why_a_file_names_nobody(tmp_path: Path, said: str, reason: Reason) -> None:
    rows, coverage = noted(tmp_path, (*ASKED, (f"process unknown: {said}",)), (*TOLD, ()))
    assert [(row.process, [gap.reason for gap in row.gaps]) for row in rows] == [(None, [reason])]
    assert coverage.notes == ()


def test_a_file_names_who_asked_the_stub(tmp_path: Path) -> None:
    rows, _ = noted(
        tmp_path,
        (0, udp(STUB_CLIENT, STUB_END, question()), CURL_ASKS),
        (MS, udp(STUB_OUT, SERVER, question(number=9)), (f"{CLIENT[0]}:5354 = resolved[2]: resolved",)),
        (2 * MS, udp(SERVER, STUB_OUT, answer(number=9)), ()),
        (3 * MS, udp(STUB_END, STUB_CLIENT, answer()), ()),
    )
    assert {(row.server.address, row.process, row.via_stub) for row in rows} == {
        ("127.0.0.53", "curl[12]", False),
        (SERVER[0], "curl[12]", True),
    }
    assert [gap.field for row in rows for gap in row.gaps] == ["stub"]


def test_the_configuration_names_who_listens_at_a_stub() -> None:
    servers = [Resolver("127.0.0.53", 53, "resolv.conf", stub=True), Resolver("192.0.2.1", 53, "resolv.conf")]
    listener = socket(53, (SocketOwner(key(2), "resolved"),), local=Endpoint("127.0.0.53%lo", 53))
    stub, plain = dns.collect(host(answers=Answers(resolvers=servers, sockets=[listener]))).rows()
    assert (stub.process, stub.key) == ("resolved", key(2)) and plain == servers[1]
    (alone,) = dns.collect(host(answers=Answers(resolvers=servers[:1]))).rows()
    assert alone.process is None and alone.gaps[0].reason is Reason.GONE


def owner(asked: Host, at_ns: int | None = None, local: tuple[str, int] = CLIENT) -> SocketOwner | Gap | None:
    found = Owners(asked, Tally())
    return found.owner_of("udp", Endpoint(*local), Endpoint(*SERVER), time.time_ns() if at_ns is None else at_ns)


def test_the_socket_that_fits_best() -> None:
    connected = socket(
        local=Endpoint(*CLIENT), owners=(SocketOwner(key(1), "connected"),), remote=Endpoint(*SERVER), inode=1
    )
    elsewhere = socket(
        local=Endpoint(*CLIENT), owners=(SocketOwner(key(2), "elsewhere"),), remote=Endpoint("192.0.2.9", 53), inode=2
    )
    mapped = socket(owners=(SocketOwner(key(3), "mapped"),), local=Endpoint(f"::ffff:{CLIENT[0]}", CLIENT[1]), inode=3)
    anywhere = socket(owners=(SocketOwner(key(4), "anywhere"),), inode=4)
    foreign = socket(owners=(SocketOwner(key(5), "foreign"),), net_ns=9, inode=5)

    def name(*sockets: Socket) -> str:
        found = owner(box(sockets=list(sockets)))
        return found.name if isinstance(found, SocketOwner) else str(found)

    assert name(anywhere, connected, elsewhere, mapped, foreign) == "connected"
    assert name(anywhere, mapped, elsewhere, foreign) == "mapped"
    assert name(anywhere, elsewhere, foreign) == "anywhere"
    assert "gone" in name(elsewhere, foreign)


def test_owners_that_cannot_be_told() -> None:
    two = [socket(inode=1), socket(owners=(SocketOwner(key(8), "wget"),), inode=2)]
    ambiguous, closing = owner(box(sockets=two)), owner(box(sockets=[socket(owners=(), inode=None)]))
    denied = owner(box(sockets=[socket(owners=None, gaps=(Gap("owners", Reason.DENIED, "needs root"),))]))
    assert isinstance(ambiguous, Gap) and ambiguous.reason is Reason.UNAVAILABLE
    assert isinstance(closing, Gap) and closing.reason is Reason.GONE
    assert isinstance(denied, Gap) and denied.reason is Reason.DENIED
    assert owner(box(sockets=[socket()]), local=("198.51.100.1", 5)) is None, "no address of ours"


def test_sockets_are_listed_as_often_as_needed_and_no_more() -> None:
    asked = box(sockets=[socket()])
    looks: list[int] = []
    sweep = asked.sockets.sweep
    asked.sockets.sweep = lambda request, tally: looks.append(1) or sweep(request, tally)  # type: ignore[method-assign]
    owners, before = Owners(asked, Tally()), time.time_ns()
    for _ in range(3):
        owners.owner_of("udp", Endpoint(*CLIENT), Endpoint(*SERVER), before)
    assert len(looks) == 1, "one list answers for what was before it"


def test_the_socket_of_a_server_is_believed_for_a_while() -> None:
    server = socket(53, (SocketOwner(key(2), "dnsmasq"),))
    asked = box(sockets=[server])
    looks: list[int] = []
    sweep = asked.sockets.sweep
    asked.sockets.sweep = lambda request, tally: looks.append(1) or sweep(request, tally)  # type: ignore[method-assign]
    owners, now = Owners(asked, Tally()), time.time_ns()
    for late in (0, 10**9, 5 * 10**9):
        found = owners.listener("udp", Endpoint(CLIENT[0], 53), Endpoint(*CLIENT), now + late)
        assert isinstance(found, SocketOwner) and found.name == "dnsmasq"
    assert len(looks) == 1


def test_a_loopback_address_is_another_one_in_each_namespace() -> None:
    def at(name: str, owner: int, net_ns: int) -> Socket:
        return socket(4, (SocketOwner(key(owner), name),), net_ns=net_ns, inode=net_ns)

    asked = box(sockets=[at("ours", 1, 1), at("theirs", 2, 2)])
    lo, stub = Endpoint("127.0.0.1", 4), Endpoint("127.0.0.53", 53)
    for net_ns, name in ((1, "ours"), (2, "theirs")):
        found = Owners(asked, Tally(), net_ns).owner_of("udp", lo, stub, time.time_ns())
        assert isinstance(found, SocketOwner) and found.name == name
    flows = [replace_(flow(name, pid), local=lo, remote=stub, net_ns=pid) for name, pid in (("ours", 1), ("theirs", 2))]
    counted = Owners(asked, Tally(), 2, FakeMeter([reading(*flows)])).owner_of("udp", lo, stub, AT)
    assert counted == SocketOwner(key(2), "theirs")


def test_other_namespaces_are_said() -> None:
    inside = Interface("eth0", 2, "veth", (), "up", addresses=(InterfaceAddress("inet", "172.17.0.2", 16),), net_ns=2)
    asked = box(readings=[reading()])
    asked.interfaces.answers.interfaces[0].append(inside)  # type: ignore[attr-defined]
    _, _, coverage = observed(asked)
    assert any(note.startswith("1 more network namespaces") for note in coverage.notes)  # type: ignore[attr-defined]


def counted(*flows: Flow, at: int = AT) -> SocketOwner | Gap | None:
    owners = Owners(box(), Tally(), meter=FakeMeter([reading(*flows)]))
    return owners.owner_of("udp", Endpoint(*CLIENT), Endpoint(*SERVER), at)


def test_counted_sockets() -> None:
    assert counted(flow()) == CURL
    assert isinstance(counted(flow(), at=AT + 10**10), Gap), "another time, perhaps another process"
    assert counted(flow("early", 1), flow("near", 2, late=400 * MS), at=AT + 390 * MS) == SocketOwner(key(2), "near")
    assert counted(flow("any", 3, Endpoint("0.0.0.0", 0)), flow()) == CURL
    assert counted(flow("any", 3, Endpoint("0.0.0.0", 0))) == SocketOwner(key(3), "any")
    assert isinstance(counted(flow(remote=Endpoint("192.0.2.99", 53))), Gap)
    two = counted(flow("a", 1), flow("b", 2))
    assert isinstance(two, Gap) and two.reason is Reason.UNAVAILABLE
    gone = counted(flow(None, None))
    assert isinstance(gone, Gap) and gone.reason is Reason.GONE
