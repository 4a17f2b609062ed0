"""The audit trail: chain, tampering, torn lines, sharing, refusals."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope import audit
from hostscope.audit import AuditTrail, Entry, Who, default_path
from hostscope.chain import BROKEN, CHANGED, CUT, GENESIS, TEXT_LIMIT, TORN, Check, canonical, check, hash_of, linked
from hostscope.errors import Unavailable
from hostscope.model.text import decode, encode
from tests.privacy import is_private, link


@pytest.fixture
def trail(tmp_path: Path) -> AuditTrail:
    return AuditTrail(tmp_path / "state" / "audit.jsonl", Who(uid=0, login_uid=1000, pid=7, tty="/dev/pts/3"))


def lines(trail: AuditTrail) -> list[dict[str, object]]:
    return [json.loads(line) for line in trail.path.read_bytes().splitlines()]


def fill(trail: AuditTrail, count: int = 5) -> None:
    for number in range(count):
        trail.append("privilege.raise", what=f"cap_{number}", why="test", before="", after="bpf")


def test_a_line_holds_what_was_recorded(trail: AuditTrail) -> None:
    trail.append("kill", what="42@99", why="it hangs", before="running", after="gone", outcome="failed: no")
    (line,) = lines(trail)
    assert line["who"] == {"uid": 0, "login_uid": 1000, "pid": 7, "tty": "/dev/pts/3"}
    assert (line["seq"], line["previous"]) == (0, GENESIS)
    expected = ("kill", "42@99", "it hangs", "running", "gone", "failed: no")
    assert tuple(line[name] for name in ("action", "what", "why", "before", "after", "outcome")) == expected


def test_the_hash_can_be_recomputed_with_other_tools(trail: AuditTrail) -> None:
    fill(trail, 3)
    previous = GENESIS
    for line in lines(trail):
        assert line["previous"] == previous
        previous = str(line.pop("hash"))
        canonical = json.dumps(line, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        assert hashlib.sha256(canonical).hexdigest() == previous


def test_the_chain_goes_on_over_restarts(trail: AuditTrail) -> None:
    fill(trail)
    fill(AuditTrail(trail.path))
    assert [line["seq"] for line in lines(trail)] == list(range(10))
    assert trail.verify() is None


def test_the_file_is_private(trail: AuditTrail) -> None:
    fill(trail, 1)
    assert is_private(trail.path)
    assert is_private(trail.path.parent)


def test_an_empty_trail_verifies_and_a_missing_one_does_not(trail: AuditTrail) -> None:
    with pytest.raises(Unavailable):
        trail.verify()
    trail.path.parent.mkdir()
    trail.path.touch()
    assert trail.verify() is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"cap_2"', b'"cap_9"'),
        (b'"seq":2', b'"seq":7'),
        (b'"why":"test"', b'"why":"test","why":"test"'),
        (b'"uid":0', b'"uid":null'),
        (b'"uid":0', b'"uid" :0'),
    ],
)
def test_a_changed_line_is_named(trail: AuditTrail, old: bytes, new: bytes) -> None:
    fill(trail)
    written = trail.path.read_bytes().splitlines(keepends=True)
    assert old in written[2]
    written[2] = written[2].replace(old, new)
    trail.path.write_bytes(b"".join(written))
    fault = trail.verify()
    assert fault is not None and fault.line == 3


def test_a_line_with_a_new_hash_breaks_the_next_one(trail: AuditTrail) -> None:
    fill(trail)
    changed = lines(trail)
    changed[2]["what"] = "other"
    changed[2]["hash"] = hash_of(changed[2])
    trail.path.write_bytes(b"".join(canonical(line) + b"\n" for line in changed))
    fault = trail.verify()
    assert fault is not None and (fault.line, fault.problem) == (4, "does not follow from the line before")


@pytest.mark.parametrize(("order", "named"), [((0, 1, 3, 4), 3), ((0, 2, 1, 3), 2), ((1, 2), 1), ((0, 0, 1), 2)])
def test_removed_moved_and_repeated_lines_are_named(trail: AuditTrail, order: tuple[int, ...], named: int) -> None:
    fill(trail)
    written = trail.path.read_bytes().splitlines(keepends=True)
    trail.path.write_bytes(b"".join(written[place] for place in order))
    fault = trail.verify()
    assert fault is not None and fault.line == named


def cut(trail: AuditTrail, kept: int) -> None:
    trail.path.write_bytes(b"".join(trail.path.read_bytes().splitlines(keepends=True)[:kept]))


def test_a_cut_at_the_end_is_noticed_by_the_mark(trail: AuditTrail) -> None:
    fill(trail)
    cut(trail, 3)
    found = trail.check()
    assert found.fault is None
    assert found.missing == ("2 lines are missing at the end: 4 was the last, here it is 2",)
    assert trail.verify() is not None


def test_a_cut_stays_known_when_lines_are_added(trail: AuditTrail) -> None:
    fill(trail)
    last = str(lines(trail)[4]["hash"])
    cut(trail, 3)
    fill(trail, 2)
    added = lines(trail)[3]
    assert (added["action"], added["seq"], added["what"]) == (CUT, 3, f"line 4 {last} was the last")
    found = trail.check()
    assert (found.fault, len(found.missing), found.last_seq) == (None, 1, 5)


def test_without_its_mark_a_cut_is_not_noticed(trail: AuditTrail) -> None:
    """Documented: whoever may write both files can cut the chain."""
    fill(trail)
    cut(trail, 3)
    assert trail.check().marked
    mark(trail).unlink()
    assert trail.verify() is None
    assert not trail.check().marked


@pytest.mark.root
@pytest.mark.posix("owners of files")
def test_root_notices_a_cut_in_the_trail_of_somebody_else(trail: AuditTrail) -> None:
    fill(trail)
    for file in (trail.path, mark(trail)):
        os.chown(file, 65534, 65534)
    assert trail.verify() is None
    cut(trail, 3)
    fault = trail.verify()
    assert fault is not None and fault.problem.startswith("2 lines are missing at the end")
    os.chown(mark(trail), 65533, 65533)
    assert not trail.check().marked


def mark(trail: AuditTrail) -> Path:
    return trail.path.with_name(trail.path.name + ".head")


def test_a_last_line_that_was_written_anew_is_named(trail: AuditTrail) -> None:
    fill(trail)
    changed = lines(trail)
    changed[4]["what"] = "other"
    changed[4]["hash"] = hash_of(changed[4])
    trail.path.write_bytes(b"".join(canonical(line) + b"\n" for line in changed))
    fault = trail.verify()
    assert fault is not None and (fault.line, fault.problem) == (5, "is not the line that was written last")
    fill(trail, 1)
    assert lines(trail)[5]["action"] == CHANGED
    fault = trail.verify()
    assert fault is not None and fault.line == 5


def test_a_renamed_trail_goes_on_in_the_next_file(trail: AuditTrail) -> None:
    fill(trail)
    old = AuditTrail(trail.path.rename(trail.path.with_suffix(".old")))
    fill(trail, 2)
    assert old.verify() is None
    found = trail.check()
    assert (found.first_seq, found.first_previous, found.fault, found.missing) == (5, lines(old)[4]["hash"], None, ())


def test_a_removed_trail_is_missing(trail: AuditTrail) -> None:
    fill(trail)
    trail.path.write_bytes(b"")
    assert trail.check().missing == ("all lines are missing: 4 was the last",)


@given(junk=st.binary(max_size=200))
def test_a_mark_may_be_anything(tmp_path_factory: pytest.TempPathFactory, junk: bytes) -> None:
    trail = AuditTrail(tmp_path_factory.mktemp("mark") / "audit.jsonl")
    fill(trail, 1)
    mark(trail).write_bytes(junk)
    fill(trail, 1)
    trail.check()
    assert is_private(mark(trail))


@pytest.mark.parametrize("kept", [1, 40, 200])
def test_a_torn_line_is_reported_and_then_explained(trail: AuditTrail, kept: int) -> None:
    fill(trail, 3)
    whole = trail.path.read_bytes()
    torn = whole.splitlines(keepends=True)[2][:kept]
    trail.path.write_bytes(b"".join(whole.splitlines(keepends=True)[:2]) + torn)
    fault = trail.verify()
    assert fault is not None and fault.line == 3
    fill(trail, 1)
    assert trail.verify() is None
    explained = json.loads(trail.path.read_bytes().splitlines()[3])
    assert (explained["action"], explained["what"]) == (TORN, hashlib.sha256(torn).hexdigest())
    assert explained["seq"] == 2


def test_a_line_that_lacks_only_its_newline_is_kept(trail: AuditTrail) -> None:
    fill(trail, 2)
    trail.path.write_bytes(trail.path.read_bytes().rstrip(b"\n"))
    fault = trail.verify()
    assert fault is not None and fault.line == 2
    fill(trail, 1)
    assert trail.verify() is None
    assert len(lines(trail)) == 3


def test_a_torn_first_line(trail: AuditTrail) -> None:
    trail.path.parent.mkdir()
    trail.path.write_bytes(b'{"acti')
    trail.path.chmod(0o600)
    fill(trail, 1)
    assert trail.verify() is None


def test_a_broken_last_line_is_recorded_and_stays_a_fault(trail: AuditTrail) -> None:
    fill(trail, 3)
    trail.path.write_bytes(trail.path.read_bytes().replace(b"cap_2", b"cap_8"))
    fill(trail, 1)
    assert [line["action"] for line in lines(trail)][3] == BROKEN
    fault = trail.verify()
    assert fault is not None and fault.line == 3


def test_a_torn_line_explained_by_a_foreign_one_is_a_fault(trail: AuditTrail) -> None:
    fill(trail, 2)
    written = trail.path.read_bytes().splitlines(keepends=True)
    trail.path.write_bytes(written[0] + b"torn\n" + written[1])
    fault = trail.verify()
    assert fault is not None and fault.line == 2


def test_only_the_line_that_names_a_torn_one_explains_it(trail: AuditTrail) -> None:
    fill(trail, 2)
    whole = trail.path.read_bytes().splitlines(keepends=True)
    trail.path.write_bytes(whole[0] + whole[1][:40])
    fill(trail, 1)
    repaired = trail.path.read_bytes().splitlines(keepends=True)
    assert trail.verify() is None
    trail.path.write_bytes(repaired[0] + b"another" + b"".join(repaired[1:]))
    fault = trail.verify()
    assert fault is not None and fault.line == 2


@given(st.binary(max_size=400))
def test_verify_survives_any_bytes(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    trail = AuditTrail(tmp_path_factory.mktemp("noise") / "audit.jsonl")
    trail.append("first")
    with trail.path.open("ab") as file:
        file.write(noise)
    fault = trail.verify()
    assert (fault is None) == (noise == b"")
    trail.append("next")
    assert lines_that_decode(trail)[-1]["action"] == "next"


def lines_that_decode(trail: AuditTrail) -> list[dict[str, object]]:
    return [json.loads(line) for line in trail.path.read_bytes().split(b"\n") if line.startswith(b'{"action"')]


@given(st.text(alphabet=st.characters(), max_size=100))
def test_any_text_can_be_recorded(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    trail = AuditTrail(tmp_path_factory.mktemp("text") / "audit.jsonl")
    trail.append("text", why=os.fsdecode(text.encode("utf-8", "surrogatepass")), what="\udcff\x00")
    assert trail.verify() is None


def test_what_was_decoded_already_stays_as_it_is(trail: AuditTrail) -> None:
    name = decode(b"x\xff\xc3\xa9")
    typed = b"x\xff\xc3\xa9".decode("utf-8", "surrogateescape")
    entry = trail.append("said", what=name, why=typed)
    assert entry.what == entry.why == name and encode(name) == b"x\xff\xc3\xa9"


def test_lines_that_are_added_while_it_is_checked_are_not_missing(
    trail: AuditTrail, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(trail, 2)

    def busy(path: str, lines: Iterable[bytes]) -> Check:
        found = check(path, lines)
        fill(trail, 1)
        return found

    monkeypatch.setattr(audit, "check", busy)
    assert trail.verify() is None


def test_lines_longer_than_the_first_look_are_followed_all_the_same(trail: AuditTrail) -> None:
    for text in ("\x00" * 10_000, "short", "\x00" * 10_000, "\x00" * 10_000, "short"):
        trail.append("said", what=text)
    assert trail.verify() is None
    assert [entry.seq for entry in trail.entries()] == [0, 1, 2, 3, 4]
    trail.path.write_bytes(trail.path.read_bytes() + b"x" * (2 * audit.USUAL_LINES))
    trail.append("after a torn line")
    assert [line["action"] for line in lines_that_decode(trail)][-2:] == [TORN, "after a torn line"]


def test_long_texts_are_cut_visibly(trail: AuditTrail) -> None:
    entry = trail.append("long", what="\x00" * 10_000, why="\U0010ffff" * 10_000)
    assert entry.what is not None and len(entry.what) == TEXT_LIMIT and entry.what.endswith("…")
    assert trail.path.stat().st_size < audit.LINE_LIMIT
    fill(trail, 1)
    assert trail.verify() is None


def test_processes_share_a_trail(trail: AuditTrail) -> None:
    code = (
        "import sys; from pathlib import Path; from hostscope.audit import AuditTrail\n"
        "for n in range(20): AuditTrail(Path(sys.argv[1])).append('shared', what=str(n))"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(trail.path)]) for _ in range(4)]
    assert [writer.wait(60) for writer in writers] == [0] * 4
    assert len(lines(trail)) == 80
    assert trail.verify() is None


@pytest.mark.posix("what is open is not renamed")
def test_a_trail_that_is_renamed_while_it_is_written_goes_on_in_the_next_file(
    trail: AuditTrail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever comes then waits until the line and its number are written down."""
    fill(trail, 1)
    old, extend = trail.path.with_name("old.jsonl"), AuditTrail._extend
    code = "import sys; from pathlib import Path; from hostscope.audit import AuditTrail\n"
    code += "print(flush=True); AuditTrail(Path(sys.argv[1])).append('by somebody else')"
    others = []

    def rotated(self: AuditTrail, fd: int, *given: Any) -> Entry:
        trail.path.rename(old)
        other = subprocess.Popen([sys.executable, "-c", code, str(trail.path)], stdout=subprocess.PIPE)
        others.append(other)
        assert other.stdout and other.stdout.readline()
        with suppress(subprocess.TimeoutExpired):
            other.wait(0.5)
        return extend(self, fd, *given)

    monkeypatch.setattr(AuditTrail, "_extend", rotated)
    trail.append("renamed below it")
    with others[0] as other:
        assert other.wait(60) == 0
    parts = linked((AuditTrail(old).check(), trail.check()))
    assert (parts.fault, parts.missing) == (None, ())
    assert [entry.seq for entry in trail.entries()] == [2]


def test_a_link_is_refused(trail: AuditTrail, tmp_path: Path) -> None:
    trail.path.parent.mkdir()
    (tmp_path / "elsewhere").touch(mode=0o600)
    link(trail.path, tmp_path / "elsewhere")
    with pytest.raises(Unavailable):
        trail.append("x")
    assert (tmp_path / "elsewhere").read_bytes() == b""


@pytest.mark.posix("access lists are not read")
def test_a_file_that_others_may_open_is_refused(trail: AuditTrail) -> None:
    fill(trail, 1)
    trail.path.chmod(0o644)
    with pytest.raises(Unavailable, match="others may open it"):
        trail.append("x")


@pytest.mark.posix("pipes with a name in a folder")
def test_a_fifo_is_refused_and_does_not_block(trail: AuditTrail) -> None:
    trail.path.parent.mkdir()
    os.mkfifo(trail.path, 0o600)
    with pytest.raises(Unavailable, match="not a regular file"):
        trail.append("x")


def test_a_held_lock_is_given_up_on(trail: AuditTrail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "LOCK_WAIT_S", 0.02)
    fill(trail, 1)
    with trail.path.open("r+b") as holder:
        assert audit._try_lock(holder.fileno())
        with pytest.raises(Unavailable, match="locked"):
            trail.append("x")


def test_looking_gets_a_line_instead_of_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    note = AuditTrail(tmp_path / "file" / "audit.jsonl").try_append("privilege.raise", what="bpf")
    assert note is not None and note.startswith("not recorded (privilege.raise): audit trail ")
    assert AuditTrail(tmp_path / "good").try_append("privilege.raise") is None


def test_a_host_without_user_numbers_has_local_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(audit, "_uid", lambda: None)
    assert default_path({"LOCALAPPDATA": str(tmp_path)}) == tmp_path / "hostscope" / "audit.jsonl"
    assert default_path({"LOCALAPPDATA": str(tmp_path), "HOSTSCOPE_AUDIT": "y"}) == Path("y")


@pytest.mark.posix("Windows has other folders")
def test_default_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "_uid", lambda: 1000)
    monkeypatch.setenv("HOME", "/home/u")
    assert default_path({"HOSTSCOPE_AUDIT": "/x/y"}) == Path("/x/y")
    assert default_path({"XDG_STATE_HOME": "/s"}) == Path("/s/hostscope/audit.jsonl")
    assert default_path({"XDG_STATE_HOME": "relative"}) == Path("/home/u/.local/state/hostscope/audit.jsonl")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])
    assert default_path({}) == Path("/var/log/hostscope/audit.jsonl"), "a user without a home"
    monkeypatch.setattr(audit, "_uid", lambda: 0)
    assert default_path({"XDG_STATE_HOME": "/s"}) == Path("/var/log/hostscope/audit.jsonl")
