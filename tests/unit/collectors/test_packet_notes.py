"""What stands beside packets: comments by flow, names from DNS answers."""

from collections.abc import Sequence
from typing import Any, cast

from hostscope.collectors.attribution import FlowOwners, Owner, Owners, Question
from hostscope.collectors.packet_notes import PacketNotes, describe
from hostscope.wire.batch import PacketBatch
from hostscope.wire.pcapng_write import Notes
from tests.fake import key
from tests.unit.wire import frames

CURL = Owner(key(5), "curl", "curl https://example.com", "web")


class Told(Owners):
    """Gives its answers in turn, the last one again and again, and counts."""

    def __init__(self, *answers: FlowOwners) -> None:
        self.answers, self.asked = list(answers), list[Question]()

    def of(self, questions: Sequence[Question]) -> list[FlowOwners]:
        self.asked += questions
        return [self.answers.pop(0) if len(self.answers) > 1 else self.answers[0] for _ in questions]


def texts(notes: Notes) -> list[bytes]:
    """The options of each packet."""
    return [notes.options[place] for place in notes.index.tolist()]


def one_packet(port: int = 1000) -> bytes:
    return frames.udp(("10.0.0.1", port), ("192.0.2.1", 443), b"payload")


def test_every_packet_of_a_flow_has_the_comment_and_the_flow_is_asked_once() -> None:
    owners = Told(FlowOwners(source=(CURL,)))
    notes = PacketNotes(owners)
    back = frames.udp(("192.0.2.1", 443), ("10.0.0.1", 1000), b"reply")
    for _ in range(3):
        found = texts(notes.of(frames.batch(one_packet(), back, one_packet())))
        assert all(b"10.0.0.1:1000 = curl[5] in web: curl https://example.com" in one for one in found)
    assert len(owners.asked) == 1
    assert notes.named == 9
    assert list(notes.people) == ["curl[5] in web: curl https://example.com"]


def test_a_flow_without_a_process_is_asked_again_and_then_said_to_be_unknown() -> None:
    owners = Told(FlowOwners(unknown="gone"))
    notes = PacketNotes(owners)
    found = [texts(notes.of(frames.batch(one_packet())))[0] for _ in range(6)]
    assert [bool(one) for one in found] == [False, False, False, True, True, True]
    assert b"process unknown: gone" in found[-1]
    assert len(owners.asked) == 4
    assert notes.named == 0


def test_a_process_that_is_found_late_is_named_from_then_on() -> None:
    notes = PacketNotes(Told(FlowOwners(unknown="gone"), FlowOwners(destination=(CURL,))))
    assert texts(notes.of(frames.batch(one_packet()))) == [b""]
    assert b"192.0.2.1:443 = curl[5]" in texts(notes.of(frames.batch(one_packet())))[0]


def test_what_passes_through_is_not_asked_again() -> None:
    owners = Told(FlowOwners(unknown="forwarded"))
    notes = PacketNotes(owners)
    for _ in range(3):
        assert b"process unknown: forwarded" in texts(notes.of(frames.batch(one_packet())))[0]
    assert len(owners.asked) == 1


def test_packets_without_a_flow_have_no_comment() -> None:
    owners = Told(FlowOwners(source=(CURL,)))
    found = PacketNotes(owners).of(frames.batch(b"\xf0 no ip", one_packet()))
    assert [bool(one) for one in texts(found)] == [False, True]


def test_a_flood_of_flows_costs_no_more_than_some_questions() -> None:
    owners = Told(FlowOwners(unknown="gone"))
    notes = PacketNotes(owners)
    flood = frames.batch(*(one_packet(port) for port in range(1, 3001)))
    assert len(notes.of(flood).index) == 3000
    assert (len(owners.asked), notes.unasked) == (500, 2500)


def test_dns_answers_name_addresses() -> None:
    notes = PacketNotes(Told(FlowOwners(source=(CURL,))))
    reply = frames.udp(frames.SERVER, frames.CLIENT, frames.answer())
    lying = frames.udp(frames.SERVER, ("10.0.0.9", 1), b"\xff" * 30)
    asked = frames.udp(frames.CLIENT, frames.SERVER, frames.question())
    notes.of(cast(PacketBatch, frames.batch(asked, reply, lying)))
    assert notes.names == {"192.0.2.80": ["www.example.com"]}


def test_descriptions_are_harmless_and_cut() -> None:
    rude = Owner(key(5), "a\x1b[2J", "x" * 500 + "\n", None)
    assert describe(rude, 10) == r"a\x1b[2J[5]: " + "x" * 10 + "…"
    whole: Any = describe(rude)
    assert whole.endswith(r"x\x0a")
