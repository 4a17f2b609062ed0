"""System calls by number and name, for x86-64 and arm64, and the groups that people ask for."""

import platform
from functools import cache

from hostscope.errors import UsageError
from hostscope.model.syscall import TraceRequest
from hostscope.platforms.linux.syscall_table import ARGUMENTS, NUMBERS

EBPF, PTRACE = "ebpf", "ptrace"
METHODS = (EBPF, PTRACE)

GROUPS: dict[str, str] = {
    "memory": """mmap mprotect munmap mremap brk madvise process_madvise pkey_mprotect pkey_alloc pkey_free mlock
        mlock2 munlock mlockall munlockall msync mincore remap_file_pages memfd_create memfd_secret
        process_vm_readv process_vm_writev shmget shmat shmdt shmctl userfaultfd mseal map_shadow_stack""",
    "process": """fork vfork clone clone3 execve execveat exit exit_group wait4 waitid kill tkill tgkill
        rt_sigqueueinfo rt_tgsigqueueinfo pidfd_open pidfd_send_signal pidfd_getfd ptrace prctl arch_prctl
        setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid setgroups setsid setpgid
        capset unshare setns seccomp prlimit64 setrlimit personality kcmp bpf perf_event_open init_module
        finit_module delete_module""",
    "file": """open openat openat2 creat close close_range read write pread64 pwrite64 readv writev preadv pwritev
        preadv2 pwritev2 lseek stat lstat fstat newfstatat statx access faccessat faccessat2 rename renameat
        renameat2 link linkat symlink symlinkat readlink readlinkat unlink unlinkat mkdir mkdirat rmdir
        mknod mknodat chmod fchmod fchmodat fchmodat2 chown lchown fchown fchownat truncate ftruncate
        fallocate fsync fdatasync dup dup2 dup3 fcntl ioctl getdents64 getcwd chdir fchdir chroot pivot_root
        mount umount2 utimensat sendfile splice tee copy_file_range flock setxattr getxattr listxattr
        removexattr statfs fstatfs open_by_handle_at name_to_handle_at inotify_add_watch open_tree
        move_mount fsopen fsmount""",
    "network": """socket socketpair bind listen accept accept4 connect getsockname getpeername sendto recvfrom sendmsg
        recvmsg sendmmsg recvmmsg shutdown setsockopt getsockopt""",
}  # fmt: skip


@cache
def numbers(machine: str) -> dict[str, int]:
    """Numbers by name.

    Raises:
        UsageError: there is no table for that machine.
    """
    if machine not in NUMBERS:
        raise UsageError(f"there is no table of system calls for {machine}", f"there are: {', '.join(NUMBERS)}")
    pairs = (pair.partition("=") for pair in NUMBERS[machine].split())
    return {name: int(number) for name, _, number in pairs}


@cache
def names(machine: str) -> dict[int, str]:
    """Names by number."""
    return {number: name for name, number in numbers(machine).items()}


def check(request: TraceRequest) -> None:
    """Raises `UsageError` for calls of this machine, and methods of this system, that there are not."""
    if request.method is not None and request.method not in METHODS:
        raise UsageError(f"there is no method {request.method!r}", f"methods here: {', '.join(METHODS)}")
    if not request.keys:
        raise UsageError("nothing is named to trace")
    choose(request.calls, platform.machine())


def choose(wanted: tuple[str, ...], machine: str) -> frozenset[int]:
    """The numbers of calls that are named, alone or as a group.

    Raises:
        UsageError: one is no call of this machine, and no group.
    """
    known = numbers(machine)
    chosen: set[int] = set()
    for name in wanted:
        if name == "all":
            chosen |= set(known.values())
        elif name in GROUPS:
            chosen |= {known[member] for member in GROUPS[name].split() if member in known}
        elif name in known:
            chosen.add(known[name])
        else:
            raise UsageError(f"there is no system call {name!r}", f"groups: {', '.join(GROUPS)}, all")
    if not chosen:
        raise UsageError("no system calls are named", f"groups: {', '.join(GROUPS)}, all")
    return frozenset(chosen)


def arguments(name: str, machine: str) -> tuple[tuple[str, str], ...]:
    """Names and kinds of a call's arguments: ``f`` descriptor, ``s`` path or other text, ``p`` pointer, ``a`` the
    address of a socket, whose length is the next argument; of 64 bits ``l`` signed, ``u`` unsigned; of 32, whatever
    stands in the register's others, ``d`` signed, ``w`` unsigned, ``o`` a file's mode, ``i`` a user or group.

    All six as unsigned numbers, for a call that is not described.
    """
    text = ARGUMENTS.get(name)
    if text is None:
        return tuple((f"a{n}", "u") for n in range(6))
    described = [(argument, kind) for argument, _, kind in (pair.partition(":") for pair in text.split())]
    if name == "clone" and machine == "aarch64":  # CONFIG_CLONE_BACKWARDS
        described[3], described[4] = described[4], described[3]
    return tuple(described)


def paths(name: str, machine: str) -> tuple[int, ...]:
    """Which arguments are paths; two at most."""
    return tuple(n for n, (_, kind) in enumerate(arguments(name, machine)) if kind == "s")[:2]


def address(name: str, machine: str) -> int | None:
    """Which argument is the address of a socket; such a call has no paths."""
    return next((n for n, (_, kind) in enumerate(arguments(name, machine)) if kind == "a"), None)
