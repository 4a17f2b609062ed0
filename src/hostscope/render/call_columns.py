"""What filters can say about system calls: facts of the call, and every argument by its name, as it is shown."""

from collections.abc import Callable
from typing import Literal

from hostscope.model.event import Event, SystemCall
from hostscope.render.column import Column
from hostscope.render.layout import Layout

CALL_SCHEMA = "hostscope.syscall/1"
Kind = Literal["int", "text", "duration", "list"]
Value = int | str | tuple[str, ...] | None
_NAMES = """
    a0 a1 a2 a3 a4 a5
    _callout_info _description _fs_name _key _payload _type _value act addr addr_len addrlen advice arg arg1 arg2
    arg3 arg4 arg5 argp argsz argv at_flags attr attr_flags attr_uptr aux backlog behavior brk buf buff buffer
    bufsiz bufsize bytecount child_tidptr clockid clone_flags cmd count cpu cpu_id cpup created_timer_id cstat
    cstat_range ctx ctx_id ctxp data dataptr destringid dev dev_name dfd dir_name dirent egid egidp entries envp
    epfd error_code euid euidp event event_f_flags events exp family fanotify_fd fd fd_in fd_out fdin fdout fildes
    filename flag flags from from_dfd from_pathname fs_fd func gid gidsetsize group group_fd grouplist handle head
    head_ptr header home_node how id ids idx1 idx2 in_fd info infop init_val inp interval iocb iocbpp ioprio key len
    len_in len_ptr length level liovcnt list lvec magic1 magic2 mask max_fd maxevents maxnode min_complete min_nr
    mmsg mnt_id mnt_ids mode mountdirfd mqdes msg msg_len msg_prio msgflg msgp msgsz msgtyp msqid n name nbytes
    new_addr new_len new_nodes new_rlim new_root new_setting newdfd newfd newname newsp nfds niceval nmask nodep
    nodes nr nr_args nr_events nr_futexes nr_mnt_ids nr_pages nr_requeue nr_segs nr_wake nsems nset nsops num oact
    off off_in off_out offset oflag old_len old_nodes old_rlim old_setting olddfd oldfd oldname op opcode option
    options optlen optname optval oset otmr out_fd outp ovalue pages param params parent_tidptr path pathname
    personality pgid pgoff pid1 pid2 pidfd pkey plen policy pos pos_h pos_l prot protocol ptr put_old req request
    resource rgid rgidp ringid riovcnt rlim rmtp rqtp rseq rseq_len ru ruid ruidp rule_attr rule_type ruleset_fd
    rvec seconds semflg semid semnum setting sgid sgidp shmaddr shmflg shmid sig sigmask sigsetsize size sizemask
    special specialfile start stat_addr statbuf status suid suidp swap_flags tbuf tgid tidptr timeout timeout_msecs
    timer_event_spec timer_id times tloc tls to_dfd to_pathname to_submit tp tsops tsp turn_on tv tvp txc_p type tz
    u_abs_timeout u_attr u_mqstat u_msg_prio u_msg_ptr u_name u_notification u_omqstat uaddr uaddr2 uargs uattr ubuf
    ufattr ufd ufds uid uinfo uiov umyaddr uname unewset unshare_flags unused uoss upeer_addrlen upeer_sockaddr upid
    user user_mask user_mask_ptr uservaddr uset usig usize usockaddr usockaddr_len usockvec uss uthese utime utimes
    utmr uts utx val val3 value vec vlen waiters wd whence which which_clock who
    AllocationType Argument AttributeList BaseAddress Buffer CreateFlags DesiredAccess MaximumStackSize NewProtect
    NumberOfBytesToWrite NumberOfBytesWritten ObjectAttributes OldProtect ProcessHandle Protect RegionSize StackSize
    StartRoutine ThreadHandle ZeroBits dwCreationFlags dwSize dwStackSize flAllocationType flNewProtect flProtect
    hProcess lpAddress lpAttributeList lpBaseAddress lpBuffer lpNumberOfBytesWritten lpParameter lpStartAddress
    lpThreadAttributes lpThreadId lpflOldProtect nSize
"""
ARGUMENTS = tuple(_NAMES.split())
"""Of Linux' calls, those without a description first, and of Windows'. ``pid`` and ``result``, which some calls
take, are those of the caller."""


def _fact(name: str, heading: str, kind: Kind, get: Callable[[SystemCall], Value], help_text: str) -> Column[Event]:
    return Column(name, heading, kind, name, None, help_text, lambda event: _of(event, get))


def _of(event: Event, get: Callable[[SystemCall], Value]) -> Value:
    return get(event.body) if isinstance(event.body, SystemCall) else None


def _argument(name: str) -> Column[Event]:
    def get(call: SystemCall) -> str | None:
        return next((argument.text for argument in call.arguments if argument.name == name), None)

    return _fact(name, name.upper(), "text", get, f"argument {name}, as it is shown")


CALLS = Layout(
    "calls",
    CALL_SCHEMA,
    Event,
    (
        _fact("call", "CALL", "text", lambda call: call.call, "name of the call"),
        _fact("result", "RESULT", "int", lambda call: call.result, "as the kernel returned it"),
        _fact("error", "ERROR", "text", lambda call: call.error, "name of the error"),
        _fact("tid", "TID", "int", lambda call: call.tid, "thread"),
        Column("pid", "PID", "int", "key.pid", None, "process", lambda event: event.key.pid if event.key else None),
        _fact("duration", "TOOK", "duration", lambda call: call.duration_ns, "how long it took"),
        _fact("remarks", "REMARKS", "list", lambda call: call.flags, "w-to-x, executable-anonymous, ..."),
        *(_argument(name) for name in ARGUMENTS),
    ),
    ("tid", "call", "result"),
)
