"""Sessions of event tracing, on a scripted Windows that calls us back with EVENT_RECORDs."""

import ctypes
import os
import struct
import threading
from collections.abc import Iterator
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.errors import Denied, NativeError, Unavailable, Unsupported
from hostscope.platforms.tally import Tally
from hostscope.platforms.windows import etw as module
from hostscope.platforms.windows.etw import EtwLost, Provider, open_session, stop_orphans
from hostscope.platforms.windows.native import etw, handles
from hostscope.platforms.windows.native.library import set_last_error
from hostscope.platforms.windows.parse_etw import (
    DNS_CLIENT,
    KERNEL_NETWORK,
    NETWORK_EVENTS,
    RECORD_BYTES,
    DnsEvent,
    EtwRecord,
    Fields,
    parse_dns,
    parse_head,
    parse_network,
    result_addresses,
    result_alias,
)
from tests.unit.platforms.windows.scripted import script
from tests.unit.platforms.windows.scripted_etw import (
    SAMPLES,
    STAMP,
    Tracing,
    dns_answer,
    event,
    network,
    plain,
    wide,
)

OURS = f"hostscope-{os.getpid()}-1"
HERE, THERE = (bytes([192, 0, 2, 1]), 49152), (bytes([198, 51, 100, 7]), 443)
PROVIDERS = [Provider(KERNEL_NETWORK, 0x30), Provider(DNS_CLIENT, events=frozenset({3008}))]


@pytest.fixture
def tracing(monkeypatch: pytest.MonkeyPatch) -> Tracing:
    made = Tracing()
    script(monkeypatch, etw.advapi32, **made.functions())
    return made


@pytest.fixture
def living(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Pids that OpenProcess finds; the others are nobody's."""
    pids: set[int] = set()

    def open_process(access: int, inherit: bool, pid: int) -> int:
        set_last_error(87)
        return pid if pid in pids else 0

    script(monkeypatch, handles.kernel32, OpenProcess=open_process, CloseHandle=lambda _: 1)
    return pids


def test_events_arrive_and_the_session_ends_with_its_block(tracing: Tracing) -> None:
    stop, tally = threading.Event(), Tally()
    tracing.deliver(event(*sample) for sample in SAMPLES)
    with open_session(PROVIDERS, stop, tally) as session:
        assert session.name == OURS and OURS in tracing.sessions
        found: list[EtwRecord] = []
        for batch in session.batches():
            found += batch
            if len(found) == 2:
                stop.set()
    assert [(one.provider, one.id) for one in found] == [(KERNEL_NETWORK, 10), (DNS_CLIENT, 3008)]
    assert (found[0].pid, found[0].tid, found[0].filetime, found[0].opcode) == (4, 99, STAMP, 1)
    assert found[0].payload == SAMPLES[0][2] and found[0].pointer_bytes == 8
    assert tracing.enabled == [(KERNEL_NETWORK, 5, 0x30), (DNS_CLIENT, 5, 0)]
    assert not tracing.sessions and tracing.calls[-2:] == ["close", "control 1"]
    assert tally.effects == [f"tracing session {OURS}, stopped at the end"]


def test_what_was_delivered_before_the_stop_is_given(tracing: Tracing) -> None:
    stop = threading.Event()
    with open_session(PROVIDERS, stop) as session:
        for _ in range(5):
            record, _ = kept = event(*SAMPLES[0])
            session.on_event(ctypes.addressof(record))
            assert kept
        stop.set()
        assert len(list(session.records())) == 5


def test_idle_sessions_tick(tracing: Tracing) -> None:
    stop = threading.Event()
    with open_session(PROVIDERS, stop) as session:
        batches = session.batches(tick_s=0.001)
        assert next(batches) == [] and next(batches) == []
        stop.set()
        assert list(batches) == []


def test_an_exception_in_the_body_stops_the_session(tracing: Tracing) -> None:
    with pytest.raises(RuntimeError), open_session(PROVIDERS, threading.Event()):
        raise RuntimeError
    assert not tracing.sessions


def test_a_session_that_somebody_ends_is_an_error(tracing: Tracing) -> None:
    with open_session(PROVIDERS, threading.Event()) as session, pytest.raises(NativeError, match="somebody else"):
        tracing.events.put(1223)
        for _ in session.batches(tick_s=0.001):
            pass


def test_losses(tracing: Tracing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 2)
    stop = threading.Event()
    with open_session(PROVIDERS, stop) as session:
        kept = [event(*SAMPLES[0]) for _ in range(5)]
        for record, _ in kept:
            session.on_event(ctypes.addressof(record))
        tracing.lost = (7, 2, 1)
        assert session.lost() == EtwLost(7, 3, 3) and session.lost().total == 13
        stop.set()
        assert len(list(session.records())) == 2
    assert session.lost() == EtwLost(7, 3, 3)  # as it was told when it was stopped


def test_a_payload_that_cannot_be_read_is_counted(tracing: Tracing, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = threading.Event()
    with open_session(PROVIDERS, stop) as session:
        monkeypatch.setattr(module, "parse_head", lambda *_: 1 / 0)
        record, _ = kept = event(*SAMPLES[0])
        session.on_event(ctypes.addressof(record))
        assert kept and session.lost().waiting == 1


@pytest.mark.parametrize(("call", "code", "error"), [
    ("StartTraceW", 5, Denied), ("StartTraceW", 1450, Unavailable), ("StartTraceW", 87, NativeError),
    ("EnableTraceEx2", 5, Denied), ("OpenTraceW", 5, Denied),
])  # fmt: skip
def test_refusals_leave_no_session(tracing: Tracing, call: str, code: int, error: type[Exception]) -> None:
    tracing.refuse[call] = code
    set_last_error(code)
    with pytest.raises(error), open_session(PROVIDERS, threading.Event()):
        pass
    assert not tracing.sessions


def test_a_pretender_is_found_out(tracing: Tracing) -> None:
    tracing.pretends = True
    with pytest.raises(Unsupported, match="there is no session"), open_session(PROVIDERS, threading.Event()):
        pass


def test_names_that_are_taken(tracing: Tracing, living: set[int]) -> None:
    living.add(os.getpid())
    stop = threading.Event()
    with open_session(PROVIDERS, stop) as first, open_session(PROVIDERS, stop) as second:
        assert (first.name, second.name) == (OURS, OURS[:-1] + "2")


def test_sessions_of_dead_processes_are_stopped(tracing: Tracing, living: set[int]) -> None:
    living.add(500)
    for name in ("hostscope-400-1", "hostscope-500-1", "hostscope-400-1x", "NT Kernel Logger"):
        tracing.sessions[name] = {"handle": len(name), "name": name}
    assert set(etw.session_names()) == set(tracing.sessions)
    tally = Tally()
    with open_session(PROVIDERS, threading.Event(), tally):
        assert set(tracing.sessions) == {"hostscope-500-1", "hostscope-400-1x", "NT Kernel Logger", OURS}
    assert "hostscope-400-1" in tally.effects[0]
    assert stop_orphans() == []


def test_more_sessions_than_there_should_be(tracing: Tracing) -> None:
    for number in range(70):
        tracing.sessions[f"s{number}"] = {"handle": number, "name": f"s{number}"}
    assert len(etw.session_names()) == 64


# Bytes ----------------------------------------------------------------------------------------------------------------


def test_the_head_is_laid_out_as_the_structure_is() -> None:
    record, _ = kept = event(DNS_CLIENT, 3008, b"payload", pid=70, version=2, flags=0x20)
    head = parse_head(bytes(record), 8)
    assert ctypes.sizeof(record) == RECORD_BYTES[8] and kept
    assert (head.flags, head.pid, head.tid, head.filetime) == (0x20, 70, 99, STAMP)
    assert UUID(bytes_le=head.provider) == DNS_CLIENT
    assert (head.id, head.version, head.opcode, head.payload_bytes) == (3008, 2, 1, 7)
    assert ctypes.string_at(head.payload_at, head.payload_bytes) == b"payload"


@given(st.binary(min_size=112, max_size=112))
def test_any_bytes_are_a_head(raw: bytes) -> None:
    record = etw.EVENT_RECORD.from_buffer_copy(raw)
    head = parse_head(raw, 8)
    assert (head.id, head.payload_bytes, head.payload_at) == (
        record.EventHeader.EventDescriptor.Id, record.UserDataLength, record.UserData or 0,
    )  # fmt: skip
    assert head.provider == bytes(record.EventHeader.ProviderId)


@given(st.binary(max_size=300), st.integers(0, 70), st.integers(0, 5), st.sampled_from([4, 8]))
def test_any_payload_is_parsed_or_refused(payload: bytes, number: int, version: int, size: int) -> None:
    for parse, first in ((parse_network, 0), (parse_dns, 3000)):
        record = plain(KERNEL_NETWORK, first + number, payload, version=version)._replace(pointer_bytes=size)
        try:
            parse(record)
        except ValueError as cut:
            assert "ends at" in str(cut)


@pytest.mark.parametrize(("number", "meaning"), list(NETWORK_EVENTS.items()))
def test_network_events(number: int, meaning: tuple[str, str, int]) -> None:
    protocol, kind, width = meaning
    here, there = (b"\x20" * width, 49152), (b"\x30" * width, 443)
    found = parse_network(plain(KERNEL_NETWORK, number, network(70, 1000, here, there)))
    assert found == (protocol, kind, 70, 1000, here, there)


def test_other_network_events_are_none() -> None:
    for number in (16, 17, 18, 49):
        assert parse_network(plain(KERNEL_NETWORK, number, network(70, 1, HERE, THERE))) is None


def test_dns_events() -> None:
    answer = dns_answer("www.example", 28, "type: 5 alias.example;::ffff:192.0.2.1;2001:db8::1;")
    assert parse_dns(plain(DNS_CLIENT, 3008, answer)) == DnsEvent(
        "www.example", 28, 0, 0, ("type: 5 alias.example", "::ffff:192.0.2.1", "2001:db8::1")
    )
    question = wide("www.example") + struct.pack("<IQ", 1, 0x40) + wide("")
    assert parse_dns(plain(DNS_CLIENT, 3006, question)) == DnsEvent("www.example", 1, 0x40, None, ())
    assert parse_dns(plain(DNS_CLIENT, 3010, question)) is None


def test_results() -> None:
    results = ("type: 5 alias.example", "::ffff:192.0.2.1", "2001:db8::1", "nonsense")
    assert result_addresses(results) == ("192.0.2.1", "2001:db8::1")
    assert result_alias(results[0]) == (5, "alias.example")
    assert result_alias(results[1]) is None and result_alias("type: x y") is None


def test_fields_end_where_the_payload_does() -> None:
    fields = Fields(plain(DNS_CLIENT, 1, b"\x01\x02"))
    assert fields.number(2) == 0x201 and fields.text() == ""
    with pytest.raises(ValueError, match="ends at 2"):
        fields.take(1)


@pytest.fixture(autouse=True)
def no_unraisable(recwarn: pytest.WarningsRecorder) -> Iterator[None]:
    """An exception in a callback is printed, not raised: none may be."""
    yield
    assert not [one for one in recwarn if "ctypes callback" in str(one.message)]
