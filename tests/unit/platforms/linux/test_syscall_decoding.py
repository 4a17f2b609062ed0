"""System calls: numbers and names as the kernel's headers have them, arguments as strace writes them."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.errors import UsageError
from hostscope.model.syscall import TraceRequest
from hostscope.platforms.linux import syscall_names
from hostscope.platforms.linux.syscall_arguments import Decoder
from hostscope.platforms.linux.syscall_record import HEAD, Call, Mark, parse_call, parse_head
from hostscope.platforms.linux.syscall_ring import constants
from hostscope.platforms.linux.syscall_text import quote, socket_address
from hostscope.platforms.windows.trace_calls import FUNCTIONS
from hostscope.render.call_columns import ARGUMENTS
from hostscope.render.syscalls import render_call

DECODER = Decoder("x86_64")


def shown(name: str, result: int | None, *arguments: int, machine: str = "x86_64", **more: object) -> str:
    number = syscall_names.numbers(machine)[name]
    values = (*arguments, *[0] * (6 - len(arguments)))
    return render_call(Decoder(machine).decode(Call(number, result, values, **more), 1))  # type: ignore[arg-type]


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_numbers_are_those_of_the_headers(machine: str) -> None:
    pytest.importorskip("ziglang")
    from tests.unit.platforms.linux.syscall_table import read_numbers

    assert syscall_names.numbers(machine) == read_numbers(machine)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_groups(machine: str) -> None:
    number = syscall_names.numbers(machine)
    assert syscall_names.choose(("mmap",), machine) == {number["mmap"]}
    assert number["openat"] in syscall_names.choose(("file",), machine)
    assert syscall_names.choose(("all",), machine) == set(number.values())
    for wrong in (("nosuch",), ()):
        with pytest.raises(UsageError):
            syscall_names.choose(wrong, machine)
    with pytest.raises(UsageError):
        syscall_names.numbers("vax")


def test_every_member_of_a_group_is_a_call() -> None:
    known = set(syscall_names.numbers("x86_64")) | set(syscall_names.numbers("aarch64"))
    for group, members in syscall_names.GROUPS.items():
        assert set(members.split()) <= known, group


@pytest.mark.parametrize(
    ("name", "result", "arguments", "text"),
    [
        ("mmap", 0x7F00_0000_0000, (0, 8192, 3, 0x22, 0xFFFF_FFFF, 0),
         "mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f0000000000"),
        ("mprotect", 0, (0x1000, 4096, 5), "mprotect(0x1000, 4096, PROT_READ|PROT_EXEC) = 0"),
        ("munmap", -22, (1, 2), "munmap(0x1, 2) = -1 EINVAL"),
        ("exit_group", None, (3,), "exit_group(3) = ?"),
        ("lseek", 0, (3, (1 << 64) - 5, 2), "lseek(3, -5, SEEK_END) = 0"),
        ("socket", 3, (2, 0x80001, 6), "socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, 6) = 3"),
        ("pread64", 5, (3, 0x1000, 5, 0x1_0000_0005), "pread64(3, 0x1000, 5, 4294967301) = 5"),
        ("fallocate", -22, (3, 0, (1 << 64) - 1, 5), "fallocate(3, 0, -1, 5) = -1 EINVAL"),
        ("lseek", 1 << 33, (3, 1 << 33, 0), "lseek(3, 8589934592, SEEK_SET) = 8589934592"),
        ("brk", 0x1000, (0,), "brk(NULL) = 0x1000"),
        ("wait4", -10, ((1 << 64) - 1, 0, 0xFFFF_FFFF_8000_0001, 0),
         "wait4(-1, NULL, WNOHANG|__WCLONE, NULL) = -1 ECHILD"),
        ("setresuid", 0, (0xFFFF_FFFF, 1000, 1 << 40 | 5), "setresuid(-1, 1000, 5) = 0"),
        ("chmod", 0, (0, 0o4755), "chmod(NULL, 04755) = 0"),
        ("chmod", 0, (0, 0), "chmod(NULL, 000) = 0"),
        ("mknod", 0, (0, 0o010600, 0), "mknod(NULL, S_IFIFO|0600, 0) = 0"),
        ("faccessat2", 0, (0xFFFF_FF9C, 0, 4, 0x200), "faccessat2(AT_FDCWD, NULL, R_OK, AT_EACCESS) = 0"),
        ("unlinkat", 0, (0xFFFF_FF9C, 0, 0x200), "unlinkat(AT_FDCWD, NULL, AT_REMOVEDIR) = 0"),
        ("tgkill", 0, (5, 5, 40), "tgkill(5, 5, SIGRT_8) = 0"),
        ("kill", 0, (5, 17), "kill(5, SIGCHLD) = 0"),
        ("mount", 0, (0, 0, 0, 0x1021, 0), "mount(NULL, NULL, NULL, MS_RDONLY|MS_REMOUNT|MS_BIND, NULL) = 0"),
        ("read", -512, (0, 0, 1), "read(0, NULL, 1) = ? ERESTARTSYS"),
        ("clone", 9, (0x1200011, 0, 0, 0, 0),
         "clone(CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD, NULL, NULL, NULL, 0) = 9"),
    ],
)  # fmt: skip
def test_arguments_by_name(name: str, result: int | None, arguments: tuple[int, ...], text: str) -> None:
    assert shown(name, result, *arguments) == text


def test_paths_are_quoted_and_modes_belong_to_creation() -> None:
    at_cwd = (1 << 32) - 100
    opened = shown("openat", 3, at_cwd, 0x1000, 0x80000, 0o777, texts=(b'/a"\n\x1b', b""))
    assert opened == 'openat(AT_FDCWD, "/a\\"\\n\x1b", O_RDONLY|O_CLOEXEC) = 3'
    created = shown("openat", 3, at_cwd, 0x1000, 0x241, 0o640, texts=(b"/a", b""))
    assert created == 'openat(AT_FDCWD, "/a", O_WRONLY|O_CREAT|O_TRUNC, 0640) = 3'
    assert quote(b"\\") == '"\\\\"'
    nameless = shown("openat", 4, at_cwd, 0x1000, 0x41_0002, 0o600, texts=(b"/tmp", b""))
    assert nameless == 'openat(AT_FDCWD, "/tmp", O_RDWR|O_TMPFILE, 0600) = 4'


def test_what_cannot_be_read_is_no_empty_path() -> None:
    renamed = shown("rename", -14, 0x1000, 0x2000, texts=(None, b""))
    assert renamed == 'rename(0x1000, "") = -1 EFAULT'
    cut = shown("rename", 0, 0x1000, 0x2000, texts=(b"a" * 255, b"b" * 255), cut=(1,))
    assert cut == f'rename("{"a" * 255}", "{"b" * 255}"...) = 0'


def test_arm64_has_numbers_of_its_own() -> None:
    assert syscall_names.numbers("aarch64")["mmap"] == 222
    assert shown("mprotect", 0, 0x1000, 1, 4, machine="aarch64") == "mprotect(0x1000, 1, PROT_EXEC) = 0"


def test_what_is_remarkable() -> None:
    assert shown("mprotect", 0, 0x1000, 1, 5, was_writable=True).endswith("[w-to-x]")
    assert shown("mmap", 1, 0, 1, 7, 0x22).endswith("[executable-anonymous, writable-executable]")
    assert "[" not in shown("mprotect", -13, 0x1000, 1, 5, was_writable=True)
    assert shown("mprotect", -12, 0x1000, 1, 5, was_writable=True).endswith("ENOMEM  [w-to-x]")
    assert "[" not in shown("mprotect", -12, 0x1000, 1, 5)
    assert shown("mprotect", 0, 0x1000, 1, 5, was_writable=None).endswith("[maybe-w-to-x]")
    assert "[" not in shown("mprotect", -12, 0x1000, 1, 5, was_writable=None)


@pytest.mark.parametrize(
    ("flags", "texts", "cut", "writable"),
    [
        (Mark.HAS_TEXTS, (b"first", b"second"), (), False),
        (Mark.HAS_TEXTS | Mark.TEXT_UNREAD, (None, b"second"), (), False),
        (Mark.HAS_TEXTS | Mark.SECOND_UNREAD | Mark.TEXT_CUT, (b"first", None), (0,), False),
        (Mark.HAS_TEXTS | Mark.SECOND_CUT, (b"first", b"second"), (1,), False),
        (Mark.HAS_TEXTS | Mark.IS_ADDRESS | Mark.TEXT_UNREAD, (None,), (), False),
        (Mark.WAS_WRITABLE, (), (), True),
        (Mark.WRITABLE_UNSEEN, (), (), None),
    ],
)  # fmt: skip
def test_what_the_programs_say_of_a_call(flags: Mark, texts: object, cut: object, writable: bool | None) -> None:
    raw = HEAD.pack(1, flags, 7, 8, 82, 0, 0, 0) + bytes(64) + b"first".ljust(256, b"\0") + b"second".ljust(256, b"\0")
    call = parse_call(raw, parse_head(raw))
    assert (call.texts, call.cut, call.was_writable) == (texts, cut, writable)


def test_filters_know_every_argument() -> None:
    machines = ("x86_64", "aarch64")
    pairs = ((name, machine) for machine in machines for name in syscall_names.numbers(machine))
    linux = {argument for pair in pairs for argument, _ in syscall_names.arguments(*pair)}
    windows = {parameter.name for function in FUNCTIONS for parameter in function.parameters}
    assert set(ARGUMENTS) == (linux | windows) - {"pid", "result"}


def test_every_kind_of_argument_is_known() -> None:
    kinds = {kind for name in syscall_names.numbers("x86_64") for _, kind in syscall_names.arguments(name, "x86_64")}
    assert kinds == set("fspadlwuoi")


@given(st.integers(0, 600), st.lists(st.integers(0, (1 << 64) - 1), min_size=6, max_size=6), st.integers(-5000, 5000))
def test_any_numbers_can_be_shown(number: int, values: list[int], result: int) -> None:
    assert render_call(DECODER.decode(Call(number, result, tuple(values)), 1))


@given(st.binary(max_size=700))
def test_arbitrary_records_are_parsed_or_refused(raw: bytes) -> None:
    with suppress(ValueError):
        parse_call(raw, parse_head(raw))


def test_only_what_is_needed_is_looked_at_as_it_begins() -> None:
    number = syscall_names.numbers("x86_64")
    given_ = constants(frozenset({number["mmap"], number["exit_group"]}), TraceRequest(), "x86_64")
    assert given_["entered"] == given_["endless"] != given_["wanted"]
    timed = constants(frozenset({number["mmap"]}), TraceRequest(durations=True), "x86_64")
    assert timed["entered"] == timed["wanted"] and HEAD.size == 40


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("02000009c0000201", '{sa_family=AF_INET, sin_port=htons(9), sin_addr=inet_addr("192.0.2.1")}'),
        ("0a0001bb00000000" + "00" * 15 + "01" + "02000000",
         '{sa_family=AF_INET6, sin6_port=htons(443), sin6_flowinfo=htonl(0), inet_pton(AF_INET6, "::1", &sin6_addr), '
         "sin6_scope_id=2}"),
        ("0100" + b"/run/x\0rest".hex(), '{sa_family=AF_UNIX, sun_path="/run/x"}'),
        ("0100" + b"\0name".hex(), '{sa_family=AF_UNIX, sun_path=@"name"}'),
        ("0100", "{sa_family=AF_UNIX}"),
        ("1000000007000000" + "01000000", "{sa_family=AF_NETLINK, nl_pid=7, nl_groups=00000001}"),
        ("020000", "{sa_family=AF_INET, sa_data=00}"),
        ("6300aabb", "{sa_family=0x63, sa_data=aabb}"),
        ("02", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_addresses_of_sockets(raw: str, text: str) -> None:
    assert socket_address(bytes.fromhex(raw)) == text


@given(st.binary(max_size=200))
def test_any_bytes_are_an_address(raw: bytes) -> None:
    found = socket_address(raw)
    assert found.startswith("{sa_family=") if len(raw) >= 2 else not found


def test_an_address_ends_where_the_call_says() -> None:
    raw = bytes.fromhex("02000009c0000201") + bytes(8) + b"left over from another call"
    text = '{sa_family=AF_INET, sin_port=htons(9), sin_addr=inet_addr("192.0.2.1")}'
    assert shown("connect", 0, 5, 0x1000, 16, texts=(raw,)) == f"connect(5, {text}, 16) = 0"
    assert shown("connect", 0, 5, 0x1000, 1 << 32 | 16, texts=(raw,)) == f"connect(5, {text}, 16) = 0"
    assert shown("sendto", 3, 5, 0x2000, 3, 0, 0x1000, 16, texts=(raw,)) == f"sendto(5, 0x2000, 3, 0, {text}, 16) = 3"
    assert shown("connect", -14, 5, 0x1000, 16) == "connect(5, 0x1000, 16) = -1 EFAULT"
    assert shown("sendto", 3, 5, 0x2000, 3) == "sendto(5, 0x2000, 3, 0, NULL, 0) = 3"
