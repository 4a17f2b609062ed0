"""Digests of running images, compared with sha256sum and setcap."""

import errno
import hashlib
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hostscope.errors import Denied, Gone, Unavailable
from hostscope.model.key import ProcessKey
from hostscope.model.package import FileOwner
from hostscope.model.process import Executable
from hostscope.platforms.linux.digest_cache import DigestCache
from hostscope.platforms.linux.files import Files
from tests.system.commands import need

pytestmark = pytest.mark.system

NOT_CACHED = DigestCache(None)


@contextmanager
def running(program: Path, **options: object) -> Iterator[ProcessKey]:
    """A process that runs a copy of cat and waits for its input's end."""
    child = subprocess.Popen([str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options)  # type: ignore[call-overload]
    try:
        child.stdin.write(b"x\n")
        child.stdin.flush()
        assert child.stdout.readline() == b"x\n"
        yield key_of(child.pid)
    finally:
        child.communicate(timeout=60)


def key_of(pid: int) -> ProcessKey:
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return ProcessKey("boot", 0, pid, int(fields[19]))


def executable(path: Path) -> Executable:
    found = path.stat()
    return Executable(str(path), found.st_dev, found.st_ino)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A copy of cat that may be changed."""
    copy = tmp_path / "program"
    shutil.copy("/bin/cat", copy)
    copy.chmod(0o755)
    return copy


def test_as_sha256sum_says() -> None:
    with running(Path("/bin/cat")) as key:
        digest = Files(cache=NOT_CACHED).digest(key, executable(Path("/usr/bin/cat")))
    expected = subprocess.run(["sha256sum", "/bin/cat"], capture_output=True, text=True, check=True).stdout.split()[0]
    assert digest.sha256 == expected
    assert digest.size_bytes == Path("/bin/cat").stat().st_size
    assert (digest.setuid, digest.setgid, digest.file_capabilities) == (False, False, ())
    assert (digest.package, digest.package_match) == (None, None)


def test_a_program_of_a_terabyte_of_nothing_holds_nobody_up(program: Path) -> None:
    os.truncate(program, 1 << 40)
    with (
        running(program) as key,
        pytest.raises(Unavailable, match="has 1,099,511,627,776 bytes"),
    ):
        Files(cache=NOT_CACHED).digest(key, executable(program))


def test_deleted_image(program: Path) -> None:
    expected = hashlib.sha256(program.read_bytes()).hexdigest()
    with running(program) as key:
        exe = executable(program)
        program.unlink()
        assert Files(cache=NOT_CACHED).digest(key, exe).sha256 == expected


def test_replaced_image(program: Path, tmp_path: Path) -> None:
    expected = hashlib.sha256(program.read_bytes()).hexdigest()
    with running(program) as key:
        exe = executable(program)
        (tmp_path / "other").write_bytes(b"another")
        (tmp_path / "other").rename(program)
        assert Files(cache=NOT_CACHED).digest(key, exe).sha256 == expected


def test_matches_compares_the_running_image(program: Path) -> None:
    md5 = hashlib.md5(program.read_bytes()).hexdigest()
    files = Files(cache=NOT_CACHED)
    with running(program) as key:
        exe = executable(program)
        program.unlink()
        assert files.matches(key, exe, FileOwner("cat", "1", "dpkg", "md5", md5)) is True
        assert files.matches(key, exe, FileOwner("cat", "1", "dpkg", "md5", "0" * 32)) is False
        assert files.matches(key, exe, FileOwner("cat", "1", "dpkg", None, None)) is None


def test_pid_of_another_process_now(program: Path) -> None:
    with running(program) as key:
        other = ProcessKey(key.boot_id, key.pid_ns, key.pid, key.start - 1)
        with pytest.raises(Gone):
            Files(cache=NOT_CACHED).digest(other, executable(program))


def test_ended_process(program: Path) -> None:
    with running(program) as key:
        pass
    with pytest.raises(Gone):
        Files(cache=NOT_CACHED).digest(key, executable(program))


def test_kernel_thread_has_no_executable() -> None:
    if Path("/proc/2/comm").read_text() != "kthreadd\n" if Path("/proc/2/comm").exists() else True:
        pytest.skip("no kernel threads here")
    with pytest.raises(Unavailable if os.geteuid() == 0 else Denied):
        Files(cache=NOT_CACHED).digest(key_of(2), Executable("kthreadd"))


@pytest.mark.root
def test_setuid_and_capabilities(program: Path) -> None:
    setcap = need("setcap", "libcap2-bin")
    program.chmod(0o6755)
    with running(program) as key:
        digest = Files(cache=NOT_CACHED).digest(key, executable(program))
        assert (digest.setuid, digest.setgid, digest.file_capabilities) == (True, True, ())
        subprocess.run([setcap, "cap_net_raw,cap_bpf=p cap_chown=i", str(program)], check=True)
        digest = Files(cache=NOT_CACHED).digest(key, executable(program))
    assert digest.file_capabilities == ("net_raw", "bpf", "chown")


def test_setgid_without_execute_is_mandatory_locking(program: Path) -> None:
    with running(program) as key:
        program.chmod(0o2745)
        assert Files(cache=NOT_CACHED).digest(key, executable(program)).setgid is False


def test_known_file_is_not_read_again(program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = str(tmp_path / "cache")
    with running(program) as key:
        exe = executable(program)
        first = Files(cache=DigestCache(folder), settled_ns=0).digest(key, exe)
        monkeypatch.setattr("hostscope.platforms.linux.files.hash_file", lambda *_: pytest.fail("read again"))
        assert Files(cache=DigestCache(folder), settled_ns=0).digest(key, exe) == first


def test_file_that_just_changed_is_not_remembered(program: Path, tmp_path: Path) -> None:
    with running(program) as key:
        Files(cache=DigestCache(str(tmp_path / "cache"))).digest(key, executable(program))
    assert not (tmp_path / "cache").exists()


def test_rewritten_file_is_read_again(program: Path) -> None:
    files = Files(cache=DigestCache(None), settled_ns=0)
    with running(program) as key:
        before = files.digest(key, executable(program)).sha256
    with program.open("ab") as file:
        file.write(b"\0")
    with running(program) as key:
        after = files.digest(key, executable(program)).sha256
    assert after == hashlib.sha256(program.read_bytes()).hexdigest() != before


@pytest.mark.root
def test_without_privilege_the_file_at_the_path_is_read(program: Path, tmp_path: Path) -> None:
    """Run by nobody: root's process may not be looked into, but the same file can be opened by its path."""
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(folder.stat().st_mode | 0o055)
    with running(program) as key:
        exe = executable(program)
        other = Executable(str(program), exe.device, exe.inode + 1 if exe.inode else 1)
        answers = as_nobody(lambda: Files(cache=DigestCache(None)).digest(key, exe).sha256)
        assert answers == hashlib.sha256(program.read_bytes()).hexdigest()
        assert as_nobody(lambda: Files(cache=DigestCache(None)).digest(key, other).sha256) == "Denied"


def as_nobody(ask: "object") -> str:
    """The answer of a child that has given up root."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            answer = ask()  # type: ignore[operator]
        except BaseException as failed:
            answer = type(failed).__name__
        os.write(writer, answer.encode())
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as file:
        answer = file.read().decode()
    os.waitpid(child, 0)
    return answer


@pytest.fixture
def on_disk(tmp_path: Path) -> Iterator[int]:
    """An open file on a disk."""
    fd = os.open(tmp_path / "large", os.O_RDWR | os.O_CREAT, 0o600)
    if not os.major(os.fstat(fd).st_dev):
        os.close(fd)
        pytest.skip("temporary files are on no block device here")
    yield fd
    os.close(fd)


def reserve(fd: int, offset: int, size: int) -> bool:
    found = Files(cache=NOT_CACHED).reserve(fd)
    assert found
    return found(offset, size)


def test_room_is_found_ahead_and_reads_as_a_hole(on_disk: int) -> None:
    if not reserve(on_disk, 1 << 20, 1 << 20):
        pytest.skip("this file system finds no room ahead")
    found = os.fstat(on_disk)
    assert found.st_size == 2 << 20 and 1 << 20 <= found.st_blocks * 512 < 2 << 20
    with pytest.raises(OSError) as nothing:
        os.lseek(on_disk, 0, os.SEEK_DATA)
    assert nothing.value.errno == errno.ENXIO
    assert os.pread(on_disk, 4096, 1 << 20) == bytes(4096)


def test_room_that_is_not_there_is_no_error(on_disk: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        assert not reserve(on_disk, 0, 2 << 20)
        assert os.fstat(on_disk).st_size == 0
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_memory_needs_no_room_ahead() -> None:
    fd = os.open("/dev/shm", os.O_RDWR | os.O_TMPFILE, 0o600)
    try:
        assert Files(cache=NOT_CACHED).reserve(fd) is None
    finally:
        os.close(fd)
