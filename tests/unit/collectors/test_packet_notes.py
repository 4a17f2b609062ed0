"""What stands beside packets: comments by flow, names from DNS answers, batches that wait for them."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from hostscope.collectors import packet_notes
from hostscope.collectors.attribution import FlowOwners, Owner, Owners, Party, People, Question
from hostscope.collectors.held_batches import HeldBatches, copied
from hostscope.collectors.packet_notes import PacketNotes, describe
from hostscope.model.socket import SocketOwner
from hostscope.platforms.tally import Tally
from hostscope.wire.batch import PacketBatch, empty_batch
from hostscope.wire.pcapng_write import Notes
from tests.fake import host, key, process
from tests.unit.wire import frames

CURL = Owner(key(5), "curl", "curl https://example.com", "web")
HOLDER = SocketOwner(key(5), "curl")
OTHER_HOST, SENT = Party(), Party((HOLDER,))
GONE = FlowOwners(Party((), "gone", firm=False), OTHER_HOST)
FOUND = FlowOwners(SENT, OTHER_HOST)
S = 1_000_000_000


class Clock:
    """Goes when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(packet_notes, "monotonic", made)
    return made


class Told(Owners):
    """Gives its answers in turn, the last one again and again, and counts."""

    def __init__(self, *answers: FlowOwners) -> None:
        self.answers, self.asked, self.lasts = list(answers), list[Question](), list[bool]()

    counted = True

    def hurry(self) -> None:
        self.hurried = True

    def has_counted(self, at_ns: int) -> bool:
        return self.counted

    def of(self, questions: Sequence[Question], last: bool = False) -> list[FlowOwners]:
        self.asked += questions
        self.lasts += [last] * len(questions)
        return [self.answers.pop(0) if len(self.answers) > 1 else self.answers[0] for _ in questions]


class Known(People):
    """Everybody is curl."""

    def __init__(self) -> None:
        pass

    def describe(self, holder: SocketOwner) -> Owner:
        return CURL


def noting(*answers: FlowOwners) -> tuple[PacketNotes, Told]:
    owners = Told(*answers)
    return PacketNotes(owners, Known()), owners


def noted(notes: PacketNotes, batch: PacketBatch) -> list[bytes]:
    """The options of each packet, with what is known at once."""
    return texts(notes.of(notes.mark(batch)))


def waited(notes: PacketNotes, clock: Clock, batch: PacketBatch) -> list[bytes]:
    """The same after the time that packets wait."""
    marked = notes.mark(batch)
    clock.now += packet_notes.PATIENCE_S
    notes.settle()
    assert not notes.waits(marked)
    return texts(notes.of(marked))


def texts(notes: Notes) -> list[bytes]:
    """The options of each packet."""
    return [notes.options[place] for place in notes.index.tolist()]


def one_packet(port: int = 1000) -> bytes:
    return frames.udp(("10.0.0.1", port), ("192.0.2.1", 443), b"payload")


def test_every_packet_of_a_flow_has_the_comment_and_the_flow_is_asked_once() -> None:
    notes, owners = noting(FOUND)
    back = frames.udp(("192.0.2.1", 443), ("10.0.0.1", 1000), b"reply")
    for _ in range(3):
        found = noted(notes, frames.batch(one_packet(), back, one_packet()))
        assert all(b"10.0.0.1:1000 = curl[5] in web: curl https://example.com" in one for one in found)
    assert len(owners.asked) == 1
    assert (notes.named, notes.unnamed.total(), list(notes.lines())) == (9, 0, [])
    assert list(notes.people) == ["curl[5] in web: curl https://example.com"]


def test_packets_wait_longer_while_the_counters_could_not_be_read(clock: Clock) -> None:
    """A busy host: what nobody has looked for yet is not gone."""
    notes, owners = noting(GONE, GONE, GONE, FOUND)
    owners.counted = False
    marked = notes.mark(frames.batch(one_packet()))
    clock.now += packet_notes.PATIENCE_S
    notes.settle()
    assert notes.waits(marked), "asked in vain, with both the first and the last question"
    clock.now += packet_notes.PATIENCE_S
    notes.settle()
    assert b"= curl[5]" in texts(notes.of(marked))[0]


def test_packets_do_not_wait_for_ever(clock: Clock) -> None:
    notes, owners = noting(GONE)
    owners.counted = False
    marked = notes.mark(frames.batch(one_packet()))
    clock.now += packet_notes.LONGEST_S
    notes.settle()
    assert not notes.waits(marked) and notes.unnamed.total() == 0
    assert b"gone" in texts(notes.of(marked))[0]


def test_packets_wait_until_their_process_is_known(clock: Clock) -> None:
    notes, owners = noting(GONE, GONE, FOUND)
    marked = notes.mark(frames.batch(one_packet()))
    assert notes.waits(marked)
    for _ in range(2):
        clock.now += 0.06
        notes.settle()
    assert not notes.waits(marked)
    assert b"= curl[5]" in texts(notes.of(marked))[0]
    assert owners.lasts == [False] * 3


def test_waiting_ends_with_a_last_question_and_a_reason_that_is_counted(clock: Clock) -> None:
    notes, owners = noting(GONE)
    found = waited(notes, clock, frames.batch(one_packet(), one_packet()))
    assert all(b"process unknown: gone" in one for one in found)
    assert owners.lasts == [False, True]
    assert (notes.named, dict(notes.unnamed)) == (0, {"gone": 2})
    assert list(notes.lines()) == ["packets without a process: 2 of 1 flows, gone"]


def test_a_process_that_is_found_late_is_named_from_then_on(clock: Clock) -> None:
    notes, owners = noting(GONE, GONE, FOUND)
    assert b"unknown" in waited(notes, clock, frames.batch(one_packet()))[0]
    assert b"unknown" in noted(notes, frames.batch(one_packet()))[0]
    clock.now += 1.1
    marked = notes.mark(frames.batch(one_packet()))
    assert b"10.0.0.1:1000 = curl[5]" in texts(notes.of(marked))[0]
    assert len(owners.asked) == 3


def test_a_flow_is_asked_about_a_few_times_only(clock: Clock) -> None:
    notes, owners = noting(GONE)
    for _ in range(12):
        waited(notes, clock, frames.batch(one_packet()))
        clock.now += 2
    assert owners.lasts.count(True) == 4
    assert dict(notes.unnamed) == {"gone": 12}
    assert list(notes.lines()) == ["packets without a process: 12 of 1 flows, gone"]


def test_one_missing_process_of_two_is_said_and_counted(clock: Clock) -> None:
    notes, _ = noting(FlowOwners(SENT, Party((), "gone", firm=False)))
    found = waited(notes, clock, frames.batch(one_packet()))[0]
    assert b"10.0.0.1:1000 = curl[5]" in found and b"192.0.2.1:443 = process unknown: gone" in found
    assert notes.named == 1
    assert list(notes.lines()) == ["packets with one of two processes of this host: 1 of 1 flows; the other: gone"]


def test_what_the_kernel_answers_lacks_nothing() -> None:
    notes, _ = noting(FlowOwners(SENT, Party((), "kernel")))
    assert b"192.0.2.1:443 = the kernel" in noted(notes, frames.batch(one_packet()))[0]
    assert list(notes.lines()) == []


def test_one_of_several_sockets_and_many_holders_are_said() -> None:
    notes, _ = noting(FlowOwners(Party((HOLDER,) * 5, sockets=2), OTHER_HOST))
    found = noted(notes, frames.batch(one_packet()))[0]
    assert b"= one of 2 sockets: curl[5]" in found and b"= 2 more processes" in found


def test_what_passes_through_is_not_asked_again() -> None:
    notes, owners = noting(FlowOwners(OTHER_HOST, OTHER_HOST, passes=True))
    for _ in range(3):
        assert b"process unknown: forwarded" in noted(notes, frames.batch(one_packet()))[0]
    assert len(owners.asked) == 1


def test_ends_that_were_silent_for_long_may_be_anothers() -> None:
    notes, owners = noting(FOUND)
    for at_s, questions in ((0, 1), (4, 1), (8, 1), (20, 2)):
        batch = frames.batch(one_packet())
        noted(notes, replace(batch, at_ns=batch.at_ns + at_s * S))
        assert len(owners.asked) == questions, at_s


def test_a_connection_that_begins_anew_may_be_anothers() -> None:
    notes, owners = noting(FOUND)
    data = frames.tcp(("10.0.0.1", 1000), ("192.0.2.1", 80), b"x", 1)
    begin = frames.tcp(("10.0.0.1", 1000), ("192.0.2.1", 80), b"", 0, flags=0x02)
    for packet, questions in ((begin, 1), (data, 1), (begin, 2), (data, 2)):
        noted(notes, frames.batch(packet))
        assert len(owners.asked) == questions


def test_packets_without_a_flow_are_counted() -> None:
    notes, _ = noting(FOUND)
    assert [bool(one) for one in noted(notes, frames.batch(b"\xf0 no ip", one_packet()))] == [False, True]
    assert list(notes.lines()) == ["packets without a process: 1, no IP"]


def test_a_flood_of_flows_is_asked_about_bit_by_bit(clock: Clock) -> None:
    notes, owners = noting(GONE)
    flood = frames.batch(*(one_packet(port) for port in range(1, 3001)))
    marked = notes.mark(flood)
    assert (len(owners.asked), notes.unasked) == (500, 0)
    for _ in range(2):
        assert notes.waits(marked)
        clock.now += packet_notes.PATIENCE_S
        notes.settle()
    assert not notes.waits(marked)
    assert owners.lasts.count(True) == 3000
    notes.of(marked)
    assert dict(notes.unnamed) == {"gone": 3000}


def test_flows_that_find_no_room_to_wait_are_said_not_to_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packet_notes, "_MOST_PENDING", 10)
    notes, owners = noting(GONE)
    marked = notes.mark(frames.batch(*(one_packet(port) for port in range(1, 31))))
    assert (len(owners.asked), notes.unasked) == (10, 20)
    notes.finish()
    notes.of(marked)
    assert dict(notes.unnamed) == {"gone": 10, "not-asked": 20}


def test_dns_answers_name_addresses() -> None:
    notes, _ = noting(FOUND)
    reply = frames.udp(frames.SERVER, frames.CLIENT, frames.answer())
    lying = frames.udp(frames.SERVER, ("10.0.0.9", 1), b"\xff" * 30)
    asked = frames.udp(frames.CLIENT, frames.SERVER, frames.question())
    noted(notes, frames.batch(asked, reply, lying))
    assert notes.names == {"192.0.2.80": ["www.example.com"]}


def given(notes: Iterable[tuple[PacketBatch, Notes]]) -> list[bytes]:
    """The packets that came out, each with the end of its comment."""
    return [
        batch.packet(place) + b"|" + note[-12:]
        for batch, found in notes
        for place, note in enumerate(texts(found))
    ]  # fmt: skip


def test_batches_come_in_order_when_the_first_one_waits(clock: Clock) -> None:
    notes, _ = noting(GONE, GONE, FOUND)
    held = HeldBatches(notes)
    first, second = frames.batch(one_packet(1)), frames.batch(one_packet(2))
    assert given(held.take(first)) == []
    assert given(held.take(second)) == [], "its process is known, but it is not its turn"
    clock.now += packet_notes.PATIENCE_S
    out = given(held.take(empty_batch()))
    assert [one.split(b"|")[0] for one in out] == [one_packet(1), one_packet(2)]


def test_what_need_not_wait_is_not_copied() -> None:
    notes, _ = noting(FOUND)
    batch = frames.batch(one_packet())
    ((same, _),) = HeldBatches(notes).take(batch)
    assert same is batch


def test_what_waits_has_memory_of_its_own(clock: Clock) -> None:
    notes, owners = noting(GONE)
    held, batch = HeldBatches(notes), frames.batch(one_packet(7))
    memory = batch.data.copy()
    list(held.take(replace(batch, data=memory)))
    memory[:] = 0
    assert given(held.flush())[0].startswith(one_packet(7))
    assert given(held.flush()) == []
    assert owners.hurried


def test_too_much_to_hold_is_given_early_and_counted(clock: Clock) -> None:
    notes, owners = noting(GONE)
    held = HeldBatches(notes, most_bytes=100)
    assert len(given(held.take(frames.batch(one_packet(1), one_packet(2))))) == (2 if held.hurried else 0)
    list(held.take(frames.batch(*(one_packet(port) for port in range(3, 20)))))
    assert held.hurried and True in owners.lasts
    assert not held._held


def test_copies_keep_every_column() -> None:
    batch = replace(
        frames.batch(one_packet(1), one_packet(2)), vlan=np.array([3, -1], np.int16), flags=np.array([1, 2], np.uint8)
    )
    part = copied(batch.part(1, 2))
    assert (part.packet(0), part.vlan.tolist(), part.flags.tolist()) == (one_packet(2), [-1], [2])  # type: ignore[union-attr]
    assert part.data.nbytes == len(one_packet(2))


def test_processes_are_described_by_the_host() -> None:
    people = People(host(process(5, "curl", argv=("curl", "-s"))), lambda process: process, Tally())
    notes = PacketNotes(Told(FOUND), people)
    assert b"10.0.0.1:1000 = curl[5]: curl -s" in noted(notes, frames.batch(one_packet()))[0]


def test_descriptions_are_harmless_and_cut() -> None:
    rude = Owner(key(5), "a\x1b[2J", "x" * 500 + "\n", None)
    assert describe(rude, 10) == r"a\x1b[2J[5]: " + "x" * 10 + "…"
    whole: Any = describe(rude)
    assert whole.endswith(r"x\x0a")
