"""Tokens, from the bytes that Windows writes to records; and no call that refuses costs more than its field."""

import ctypes
import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.model.gap import Reason
from hostscope.platforms.windows import parse_token as parse
from hostscope.platforms.windows.accounts import Accounts
from hostscope.platforms.windows.native import token as native
from hostscope.platforms.windows.security_context import SecurityContexts
from hostscope.platforms.windows.tokens import FIELDS, SECURITY_CLASSES
from tests.unit.platforms.windows.scripted_security import ADMINISTRATORS, ALICE, ENABLED, Kernel, sids_answer

EVERYTHING = frozenset({"owner", "groups", "security", "cgroup"})
PID = 4711
SIDS = st.builds(
    lambda authority, parts: struct.pack(f">BBHI{4 * len(parts)}s", 1, len(parts), *divmod(authority, 1 << 32),
                                         struct.pack(f"<{len(parts)}I", *parts)),
    st.integers(0, (1 << 48) - 1),
    st.lists(st.integers(0, (1 << 32) - 1), max_size=15),
)  # fmt: skip


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


@given(SIDS)
def test_sids_survive_being_text(sid: bytes) -> None:
    assert parse.sid_bytes(parse.sid_text(sid)) == sid


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("010100000000000512000000", "S-1-5-18"),
        ("01020000000000052000000020020000", "S-1-5-32-544"),
        ("010000000000000c", "S-1-12"),
        ("01010123456789ab2a000000", "S-1-0x0123456789AB-42"),
    ],
)
def test_sids_as_people_write_them(raw: str, text: str) -> None:
    assert parse.sid_text(bytes.fromhex(raw)) == text


@pytest.mark.parametrize("text", ["", "S", "S-1", "X-1-5", "S-1-5-x", "S-1-5-4294967296", "S-999-5-18", "S-1-5-١"])
def test_what_is_no_sid(text: str) -> None:
    with pytest.raises(ValueError, match=r"no SID|too large|bytes must be"):
        parse.sid_bytes(text)


@given(st.binary(max_size=300), st.integers(0, (1 << 64) - 1) | st.just(0))
def test_any_bytes_are_records_or_value_errors(raw: bytes, base: int) -> None:
    pure = (parse.parse_privileges, parse.parse_statistics, parse.parse_number, parse.sid_text)
    located = (parse.parse_user, parse.parse_groups, parse.parse_integrity, parse.parse_app_container)
    for parser in (*pure, *(lambda told, p=parser: p(told, base) for parser in located)):
        try:
            parser(raw)  # type: ignore[operator]
        except ValueError:
            continue


@given(st.binary(min_size=24, max_size=64), st.integers(0, 80))
def test_pointers_stay_inside(tail: bytes, offset: int) -> None:
    raw = struct.pack("<QI4x", 0x1000 + offset, 0) + tail
    try:
        sid = parse.parse_user(raw, 0x1000)
    except ValueError:
        return
    assert raw[offset : offset + len(sid)] == sid


def test_parsers_read_where_the_structures_have_it() -> None:
    assert ctypes.sizeof(native.SID_AND_ATTRIBUTES) == parse.ENTRY.size
    assert native.TOKEN_GROUPS.Groups.offset == parse.GROUPS_OFFSET
    assert ctypes.sizeof(native.LUID_AND_ATTRIBUTES) == parse.PRIVILEGE.size
    assert native.TOKEN_PRIVILEGES.Privileges.offset == parse.PRIVILEGES_OFFSET
    assert ctypes.sizeof(native.TOKEN_STATISTICS) == parse.STATISTICS.size
    made = native.TOKEN_STATISTICS(TokenType=2, AuthenticationId=native.LUID(0x3E7, 1))
    assert parse.parse_statistics(bytes(made)) == ("1:3e7", parse.IMPERSONATION)


def test_words_of_attributes() -> None:
    assert parse.group_words(0xC0000007) == ("mandatory", "default", "enabled", "logon-id")
    assert parse.group_words(0x40000000) == ()
    assert [parse.privilege_state(bits) for bits in (0, 1, 2, 3, 4, 6)] == [
        "disabled", "disabled", "enabled", "enabled", "removed", "removed",
    ]  # fmt: skip
    words = dict(parse.GROUP_ATTRIBUTES)
    assert words["deny-only"] == native.SE_GROUP_USE_FOR_DENY_ONLY
    assert words["logon-id"] == native.SE_GROUP_LOGON_ID
    assert words["resource"] == native.SE_GROUP_RESOURCE


@pytest.mark.parametrize(
    ("level", "name"),
    [(0, "untrusted"), (0x1000, "low"), (0x1FFF, "low"), (0x2000, "medium"), (0x2100, "medium-plus"), (0x3000, "high"),
     (0x4000, "system"), (0x5000, "protected"), (0xFFFFFFFF, "protected")],
)  # fmt: skip
def test_integrity_levels(level: int, name: str) -> None:
    assert parse.parse_integrity(sids_answer([(f"S-1-16-{level}", 0x60)], b"", 0x1000), 0x1000) == name


def test_an_ordinary_process(kernel: Kernel) -> None:
    found = SecurityContexts().of(PID, None, EVERYTHING)
    assert found.owner and (found.owner.id, found.owner.name) == (ALICE, "HOST\\alice")
    assert [group.id for group in found.groups or ()] == ["S-1-1-0", ADMINISTRATORS]
    token = found.token
    assert token and (token.user_sid, token.user_name) == (ALICE, "HOST\\alice")
    assert token.groups and token.groups[1].attributes == ("mandatory", "default", "enabled", "owner")
    assert token.groups[0].name is None  # nothing knows it here
    assert [(held.name, held.state, held.by_default) for held in token.privileges or ()] == [
        ("SeChangeNotifyPrivilege", "enabled", True)
    ]
    assert (token.elevation, token.elevated, token.linked, token.restricted) == ("default", False, False, False)
    assert (token.logon_session, token.logon_type) == ("0:3e7", "interactive")
    assert (token.virtualised, token.ui_access, token.app_container) == (False, False, None)
    assert found.integrity == "medium"
    assert found.gaps == ()
    assert kernel.opened == 0


def test_a_split_logon(kernel: Kernel) -> None:
    kernel.token.elevation, kernel.token.linked, kernel.token.integrity = (3, 0), True, 0x2000
    kernel.token.groups = [(ADMINISTRATORS, native.SE_GROUP_USE_FOR_DENY_ONLY)]
    found = SecurityContexts().of(PID, 9, EVERYTHING)
    assert found.token and (found.token.elevation, found.token.linked) == ("limited", True)
    assert found.groups == ()  # a group that can only deny is no membership
    assert found.security and "limited token" in found.security.confined_by
    assert kernel.opened == 0  # the linked token's handle too


def test_an_app_container(kernel: Kernel) -> None:
    kernel.token.app_container, kernel.token.integrity = "S-1-15-2-1-2-3-4-5-6-7", 0x1000
    kernel.token.capabilities = [("S-1-15-3-1", 4)]
    found = SecurityContexts().of(PID, 9, EVERYTHING)
    assert found.token and found.token.app_container == "S-1-15-2-1-2-3-4-5-6-7"
    assert found.token.app_capabilities == ("S-1-15-3-1",)
    assert found.security and found.security.confined_by == ("appcontainer", "low integrity")


def test_a_restricted_token(kernel: Kernel) -> None:
    kernel.token.restricting = [("S-1-5-12", 7)]
    found = SecurityContexts().of(PID, 9, EVERYTHING)
    assert found.token and found.token.restricted
    assert found.security and "restricted token" in found.security.confined_by


def test_more_groups_than_usual_take_a_larger_buffer(kernel: Kernel) -> None:
    kernel.token.groups = [(f"S-1-5-21-1-2-3-{number}", ENABLED | 4) for number in range(900)]
    found = SecurityContexts().of(PID, 9, EVERYTHING)
    assert found.groups and len(found.groups) == 900 and found.gaps == ()


def test_equal_tokens_are_one_object_and_names_are_asked_once(kernel: Kernel) -> None:
    contexts = SecurityContexts()
    first, second = (contexts.of(pid, 9, EVERYTHING) for pid in (8, 12))
    assert first.token is second.token and first.security is second.security
    assert len(kernel.looked_up) == len(set(kernel.looked_up))
    kernel.token.integrity = 0x3000
    assert contexts.of(16, 9, EVERYTHING).integrity == "high"


def test_only_what_is_wanted_is_asked(kernel: Kernel) -> None:
    found = SecurityContexts().of(PID, 9, frozenset({"owner", "exe"}))
    assert found.owner and found.token is None and found.groups is None and found.security is None
    assert SecurityContexts().of(PID, 9, frozenset({"exe"})) == type(found)()


def test_the_idle_process_has_no_token_and_no_gap(kernel: Kernel) -> None:
    kernel.refusals["OpenProcess"] = 87
    assert SecurityContexts().of(0, None, EVERYTHING).gaps == ()


def test_a_closed_process_costs_its_fields_only(kernel: Kernel) -> None:
    kernel.refusals["OpenProcess"] = 5
    found = SecurityContexts().of(PID, None, EVERYTHING)
    assert {gap.field for gap in found.gaps} >= {"owner", "groups", "security", "windows.token"}
    assert {gap.reason for gap in found.gaps} == {Reason.DENIED}


def test_a_process_that_ended_is_gone(kernel: Kernel) -> None:
    kernel.refusals["OpenProcess"] = 87
    assert {gap.reason for gap in SecurityContexts().of(PID, None, EVERYTHING).gaps} == {Reason.GONE}


FOLLOWING = {
    native.TokenUser: {"owner", "windows.token.user_name"},
    native.TokenGroups: {"groups"},
    native.TokenStatistics: {"windows.token.logon_type"},
    native.TokenElevationType: {"windows.token.linked"},
}
"""What else each class tells."""


@pytest.mark.parametrize("kind", SECURITY_CLASSES)
def test_a_class_that_is_denied_is_a_gap_of_its_field(kernel: Kernel, kind: int) -> None:
    kernel.refusals[kind] = 5
    found = SecurityContexts().of(PID, 9, EVERYTHING)
    assert (FIELDS[kind], Reason.DENIED) in {(gap.field, gap.reason) for gap in found.gaps}
    assert found.token is not None and found.security is not None
    expected = {FIELDS[kind]}
    expected |= FOLLOWING.get(kind, set())
    assert {gap.field for gap in found.gaps} == expected


REFUSING = {
    "OpenProcessToken": {"owner", "groups", "security", "windows.token", "windows.integrity"},
    "LsaGetLogonSessionData": {"windows.token.logon_type"},
    "GetProcessMitigationPolicy": {"windows.mitigations"},
    "IsProcessCritical": {"windows.critical"},
    "IsProcessInJob": {"windows.job"},
    "NtQueryInformationProcess 61": {"windows.protection"},
    "NtQueryInformationProcess 0": {"windows.secure"},
    "LookupAccountSidW": {"owner.name", "windows.token.user_name"},
}


@pytest.mark.parametrize("call", REFUSING)
def test_a_call_that_is_denied_is_a_gap_of_its_fields(kernel: Kernel, call: str) -> None:
    """ACCESS_DENIED at each native call: the row survives, and everything else is in it."""
    kernel.refusals[call] = 0xC0000022 if call.startswith(("Nt", "Lsa")) else 5
    found = SecurityContexts().of(PID, 9, EVERYTHING)
    assert {gap.field: gap.reason for gap in found.gaps} == dict.fromkeys(REFUSING[call], Reason.DENIED)
    assert (found.owner is None) == (call == "OpenProcessToken")
    assert kernel.opened == 0


def test_privileges_without_names_keep_their_numbers(kernel: Kernel) -> None:
    kernel.refusals["LookupPrivilegeNameW"] = 5
    found = SecurityContexts().of(PID, 9, EVERYTHING)
    assert found.token and [held.name for held in found.token.privileges or ()] == ["privilege 0:17"]


def test_a_class_that_an_old_windows_lacks_is_unsupported(kernel: Kernel) -> None:
    kernel.refusals[native.TokenIsAppContainer] = 87  # Windows 7
    found = SecurityContexts().of(PID, 9, EVERYTHING)
    assert [(gap.field, gap.reason) for gap in found.gaps] == [("windows.token.app_container", Reason.UNSUPPORTED)]
    powers = {power.name: power.granted for power in found.security.powers} if found.security else {}
    assert powers["bind_low_ports"] is None


def test_nonsense_in_an_answer_is_a_gap(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel.token, "answer", lambda kind, base: b"\xff" * 16)
    found = SecurityContexts().of(PID, 9, EVERYTHING)
    assert {gap.reason for gap in found.gaps} == {Reason.UNAVAILABLE}
    assert "owner" in {gap.field for gap in found.gaps}


def test_names_are_not_asked_where_nobody_has_an_account(kernel: Kernel) -> None:
    accounts = Accounts()
    assert accounts.account(parse.sid_bytes("S-1-5-5-0-77")).name is None
    assert accounts.account(parse.sid_bytes(ALICE), named=False).name is None
    assert kernel.looked_up == []


def test_names_of_groups_can_be_left_out(kernel: Kernel) -> None:
    found = SecurityContexts().without_group_names().of(PID, 9, EVERYTHING)
    assert found.owner and found.owner.name == "HOST\\alice"
    assert found.groups and {group.name for group in found.groups} == {None}
    assert found.token and {group.name for group in found.token.groups or ()} == {None}
    assert kernel.looked_up == [ALICE]


def test_marks_of_a_process(kernel: Kernel) -> None:
    kernel.level, kernel.extended_flags, kernel.critical = 0x31, 1 << 7, True
    kernel.policies = {0: 1 | 1 << 32, 1: 0b101, 7: 1, 15: 0b10001, 2: 0}
    found = SecurityContexts().of(PID, 9, EVERYTHING)
    assert (found.protection, found.secure, found.subsystem, found.critical) == ("ppl-antimalware", True, False, True)
    assert {one.name: one.flags for one in found.mitigations or ()} == {
        "dep": ("enable", "permanent"),
        "aslr": ("enable-bottom-up-randomization", "enable-high-entropy"),
        "acg": (),
        "cfg": ("enable-control-flow-guard",),
        "cet": ("enable-user-shadow-stack", "enable-user-shadow-stack-strict-mode"),
    }
    assert found.job is None


def test_our_own_job_has_limits_and_others_have_not(kernel: Kernel) -> None:
    kernel.job_limits = 0x2008
    ours = SecurityContexts().of(os.getpid(), 9, EVERYTHING)
    assert ours.job and ours.job.limits == ("active-processes", "kill-on-close") and ours.gaps == ()
    theirs = SecurityContexts().of(PID, 9, EVERYTHING)
    assert theirs.job and theirs.job.limits == ()
    assert [(gap.field, gap.reason) for gap in theirs.gaps] == [("windows.job.limits", Reason.UNSUPPORTED)]
    assert theirs.security and "job" in theirs.security.confined_by


def test_an_old_windows_tells_less(kernel: Kernel) -> None:
    kernel.refusals |= {"NtQueryInformationProcess 61": 0xC0000003, "NtQueryInformationProcess 0": 0xC0000004}
    found = SecurityContexts().of(PID, 9, EVERYTHING)
    assert {gap.field: gap.reason for gap in found.gaps} == {
        "windows.protection": Reason.UNSUPPORTED,
        "windows.secure": Reason.UNSUPPORTED,
    }
