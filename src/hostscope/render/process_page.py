"""Everything about one process on one page."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from shlex import quote

from hostscope.model.detail import OpenFile, Thread
from hostscope.model.gap import Gap
from hostscope.model.inspection import ProcessInspection
from hostscope.model.process import Account, Executable, Io, Process, UnixIds
from hostscope.model.signature import WORST, Signature
from hostscope.render.columns import render_command
from hostscope.render.macos_facts import macos_facts
from hostscope.render.moment import now_ns
from hostscope.render.page import Fact, describe, facts, grid, missing, section
from hostscope.render.sanitise import sanitise
from hostscope.render.socket_columns import render_protocol
from hostscope.render.table import PLAIN, Style
from hostscope.render.units import render_bytes, render_duration, render_instant, render_ratio
from hostscope.render.windows_facts import windows_facts

MOST_ROWS = 40
"""Open files, sockets and threads that are shown of each."""


def render_process(inspection: ProcessInspection, style: Style = PLAIN) -> str:
    """The page: identity, why it runs, command, security, isolation, resources, what it holds, and what is missing."""
    process = inspection.process
    parts: list[Iterator[str]] = [
        section(f"Process {process.key.pid}", facts(_identity(process)), style),
        section("Why it runs", _why(inspection), style),
        section("Command", facts(_command(process)), style),
        section("Executable", facts(_executable(process)), style),
        section("Identity and powers", facts(_security(process)), style),
        section("Capabilities", facts(_capabilities(process)), style),
        section("Namespaces", facts(_namespaces(process)), style),
        section("Windows", facts(windows_facts(process)), style),
        section("macOS", facts(macos_facts(process)), style),
        section("Container and service", facts(_isolation(inspection)), style),
        section("Resources", facts(_resources(process)), style),
        *(section(title, lines(inspection), style) for title, lines in HOLDINGS.items()),
        section("Could not be seen", _gaps(inspection), style),
    ]
    return "".join(text for part in parts for text in part).lstrip("\n")


def _identity(process: Process) -> Iterable[Fact]:
    gaps = process.gaps
    started = process.started_at_ns
    age = None if started is None else render_duration(max(0, now_ns() - started))
    yield "name", process.name
    namespace = f", PID namespace {process.key.pid_ns}" if process.key.pid_ns else ""
    yield "key", f"{process.key} (boot {process.key.boot_id}{namespace})"
    yield "parent", str(process.ppid) if process.ppid else "none"
    yield ("state", process.state) if process.state else missing(gaps, "state", "state")
    yield "started", None if started is None else f"{render_instant(started)} ({age} ago)"
    yield ("user", account(process.owner)) if process.owner else missing(gaps, "owner", "user")
    if process.session:
        yield "terminal", process.session.terminal
        group = f", process group {process.session.group}" if process.session.group is not None else ""
        yield "session", f"{process.session.session}{group}"
    yield "kernel thread", "yes" if process.kernel else None


def account(of: Account) -> str:
    """``root (0)``."""
    return f"{of.name} ({of.id})" if of.name else of.id


def _why(inspection: ProcessInspection) -> list[str]:
    chain = [inspection.process, *inspection.ancestors]
    lines = [("reason", reason) for reason in inspection.why]
    lines += [("ancestor", f"{process.key}  {render_command(process)}") for process in chain[1:]]
    return facts(lines)


def _command(process: Process) -> Iterable[Fact]:
    gaps = process.gaps
    yield ("arguments", " ".join(map(quote, process.argv))) if process.argv else missing(gaps, "argv", "arguments")
    yield from ((f"  {place}", argument) for place, argument in enumerate(process.argv or ()))
    yield ("directory", process.cwd) if process.cwd else missing(gaps, "cwd", "directory")
    yield ("root", process.root) if process.root else missing(gaps, "root", "root")


def _executable(process: Process) -> Iterable[Fact]:
    exe, digest, gaps = process.exe, process.digest, process.gaps
    yield ("path", exe.path) if exe else missing(gaps, "exe", "path")
    if exe:
        yield "warning", _image_warning(exe)
        yield "file", None if exe.inode is None else f"inode {exe.inode} of device {exe.device}"
    if found := process.signature:
        yield "signature", f"{found.status}{f' by {found.signer}' if found.signer else ''}: {found.reason}"
    if digest is None:
        yield missing(gaps, "digest", "SHA-256")
        return
    yield "SHA-256", digest.sha256
    yield "size", f"{digest.size_bytes} bytes"
    yield (
        ("package", _package(digest.package, digest.package_match))
        if digest.package
        else missing(gaps, "digest.package", "package")
    )
    yield "modes", ", ".join(name for name in ("setuid", "setgid") if getattr(digest, name)) or None
    yield "capabilities", ", ".join(digest.file_capabilities or ()) or None


def _image_warning(exe: Executable) -> str | None:
    if exe.memfd:
        return "runs from memory (memfd)"
    if exe.deleted and exe.replaced:
        return "the file was replaced since it was started"
    return "the file was deleted" if exe.deleted else None


def _package(name: str, match: bool | None) -> str:
    if match is None:
        return name
    return f"{name} (the file {'is the same' if match else 'DIFFERS'})"


def _security(process: Process) -> Iterable[Fact]:
    gaps, linux = process.gaps, process.linux
    yield ("users", _users(process.ids)) if process.ids else missing(gaps, "ids", "users")
    if process.ids:
        yield "groups", _group_ids(process.ids)
    if process.groups is not None:
        yield "supplementary" if process.ids else "groups", ", ".join(map(account, process.groups)) or "none"
    if linux:
        yield "no_new_privs", None if linux.no_new_privs is None else ("yes" if linux.no_new_privs else "no")
        yield ("seccomp", linux.seccomp) if linux.seccomp else missing(gaps, "linux.seccomp", "seccomp")
        yield ("LSM label", linux.lsm_label) if linux.lsm_label else missing(gaps, "linux.lsm_label", "LSM label")
        yield "login user id", "never logged in" if linux.login_uid is None else str(linux.login_uid)
        yield "dumpable", linux.dumpable
        yield "traced by", None if linux.tracer_pid is None else str(linux.tracer_pid)
    if process.security is None:
        yield missing(gaps, "security", "powers")
        return
    yield "confined by", ", ".join(process.security.confined_by) or "nothing"
    yield (
        "powers",
        "none beyond its user's" if all(power.granted is False for power in process.security.powers) else None,
    )
    for power in process.security.powers:
        if power.granted is not False:
            yield "may" if power.granted else "may perhaps", f"{power.name}: {'; '.join(power.because)}"


def _users(ids: UnixIds) -> str:
    fs_user = f", file system {account(ids.fs_user)}" if ids.fs_user else ""
    return (
        f"real {account(ids.user)}, effective {account(ids.effective_user)}, saved {account(ids.saved_user)}{fs_user}"
    )


def _group_ids(ids: UnixIds) -> str:
    return f"real {account(ids.group)}, effective {account(ids.effective_group)}, saved {account(ids.saved_group)}"


def _capabilities(process: Process) -> Iterable[Fact]:
    capabilities = process.linux.capabilities if process.linux else None
    if capabilities is None:
        yield missing(process.gaps, "linux.capabilities", "capabilities")
        return
    for kind in ("effective", "permitted", "inheritable", "ambient"):
        yield kind, ", ".join(getattr(capabilities, kind)) or "none"
    yield "bounding", f"{len(capabilities.bounding)} capabilities"


def _namespaces(process: Process) -> Iterable[Fact]:
    namespaces = process.linux.namespaces if process.linux else None
    if namespaces is None:
        yield missing(process.gaps, "linux.namespaces", "namespaces")
        return
    for kind in ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"):
        inode = getattr(namespaces, kind)
        foreign = "" if namespaces.foreign is None or kind not in namespaces.foreign else "  not the host's"
        yield kind, ("?" if inode is None else str(inode)) + foreign
    inner = process.linux.inner_pid if process.linux else None
    yield "pid inside", None if inner is None else str(inner)


def _isolation(inspection: ProcessInspection) -> Iterable[Fact]:
    process, unit = inspection.process, inspection.unit
    if container := process.container:
        yield (
            "container",
            f"{container.name or '(no name)'} {container.id} ({container.runtime}, by {container.source})",
        )
        yield "image", container.image
        yield "pod", container.pod
    if service := process.service:
        user = f", of user {service.user}" if service.user is not None else ""
        yield "unit", f"{service.name} ({service.manager}{user})"
        yield "slice", service.slice
    if unit:
        yield "unit state", " ".join(filter(None, (unit.state, unit.substate, unit.start_mode)))
        yield "unit file", unit.path
    else:
        yield missing(inspection.gaps, "unit", "unit state")
    yield "control group", process.linux.cgroup if process.linux else None


def _resources(process: Process) -> Iterable[Fact]:
    gaps = process.gaps
    if cpu := process.cpu:
        share = f", {render_ratio(cpu.ratio)} %" if cpu.ratio is not None else ""
        yield "processor", f"user {render_duration(cpu.user_ns)}, system {render_duration(cpu.system_ns)}{share}"
    if schedule := process.schedule:
        nice = f", nice {schedule.nice}" if schedule.nice is not None else ""
        yield "schedule", f"{schedule.policy}, priority {schedule.priority}{nice}"
    if memory := process.memory:
        named = {
            "resident": memory.resident_bytes, "virtual": memory.virtual_bytes, "shared": memory.shared_bytes,
            "swapped": memory.swap_bytes, "peak": memory.peak_resident_bytes,
            "proportional": memory.proportional_bytes, "unique": memory.unique_bytes,
        }  # fmt: skip
        yield "memory", ", ".join(f"{name} {render_bytes(size)}" for name, size in named.items() if size is not None)
    if io := process.io:
        yield from _io(io)
    else:
        yield missing(gaps, "io", "storage")
    if activity := process.activity:
        yield "page faults", f"{activity.minor_faults} minor, {activity.major_faults} major"
    yield "threads", None if process.threads is None else str(process.threads)
    held = "handles" if process.windows else "descriptors"
    yield (held, str(process.open_files)) if process.open_files is not None else missing(gaps, "open_files", held)
    if process.linux and process.linux.oom_score is not None:
        yield "OOM score", f"{process.linux.oom_score} (adjusted by {process.linux.oom_score_adj})"


def _io(io: Io) -> Iterator[Fact]:
    """What reached storage; where that is not counted, what calls read and wrote."""
    if io.read_bytes is not None and io.written_bytes is not None:
        sizes = {"read": io.read_bytes, "written": io.written_bytes}
        yield "storage", ", ".join(f"{name} {render_bytes(size)}" for name, size in sizes.items() if size is not None)
    elif io.read_call_bytes is not None and io.written_call_bytes is not None:
        yield "calls", f"read {render_bytes(io.read_call_bytes)}, wrote {render_bytes(io.written_call_bytes)}"


def _open_files(inspection: ProcessInspection) -> list[str]:
    files = inspection.detail.open_files or ()
    if inspection.process.windows:
        return _handles(files)
    return grid(("FD", "KIND", "MODE", "PATH"), _file_rows(files), MOST_ROWS)


def _handles(files: Iterable[OpenFile]) -> list[str]:
    """How many there are of each kind, and those with a name first: most have none."""
    kinds = Counter(file.kind for file in files)
    told = ", ".join(f"{count} {sanitise(kind)}" for kind, count in kinds.most_common())
    rows = _file_rows(sorted(files, key=lambda file: not file.path))
    return [told, *grid(("HANDLE", "KIND", "MODE", "PATH"), rows, MOST_ROWS)] if rows else []


def _file_rows(files: Iterable[OpenFile]) -> list[tuple[str, ...]]:
    return [(str(f.fd), f.kind, f.mode or "-", f.path + (" (deleted)" if f.deleted else "")) for f in files]


def _sockets(inspection: ProcessInspection) -> list[str]:
    sockets = inspection.detail.sockets or ()
    rows = [
        (
            str(socket.owners[0].fd) if socket.owners and socket.owners[0].fd is not None else "-",
            render_protocol(socket),
            socket.state or "-",
            str(socket.local or "-"),
            str(socket.remote or "-"),
            socket.direction or "-",
        )
        for socket in sockets
    ]
    return grid(("FD", "PROTOCOL", "STATE", "LOCAL", "REMOTE", "DIRECTION"), rows, MOST_ROWS)


def _maps(inspection: ProcessInspection) -> list[str]:
    """Memory by file, and what is both writable and executable by itself."""
    sizes: dict[str, tuple[int, int]] = {}
    for mapping in inspection.detail.maps or ():
        place = (mapping.path or "(anonymous)") + (" (deleted)" if mapping.deleted else "")
        count, size = sizes.get(place, (0, 0))
        sizes[place] = (count + 1, size + mapping.end - mapping.start)
    largest = sorted(sizes.items(), key=lambda entry: -entry[1][1])
    rows = [(render_bytes(size), str(count), place) for place, (count, size) in largest]
    risky = [m for m in inspection.detail.maps or () if "w" in m.permissions and "x" in m.permissions]
    warning = [f"{len(risky)} mappings are writable and executable, the first at {risky[0].start:#x}"] if risky else []
    return warning + grid(("SIZE", "MAPPINGS", "FILE"), rows, 15)


def _threads(inspection: ProcessInspection) -> list[str]:
    threads = inspection.detail.threads or ()
    rows = [(str(t.tid), t.state, render_duration(t.user_ns + t.system_ns), t.name) for t in threads]
    if not any(t.start_address for t in threads):
        return grid(("TID", "STATE", "CPU", "NAME"), rows, MOST_ROWS)
    begun = [(*row, _begun(thread)) for row, thread in zip(rows, threads, strict=True)]
    return grid(("TID", "STATE", "CPU", "NAME", "STARTED AT"), begun, MOST_ROWS)


def _begun(thread: Thread) -> str:
    if thread.start_address is None:
        return "-"
    return f"{thread.start_address:#x} {thread.start_module or '(in no module)'}"


def _modules(inspection: ProcessInspection) -> list[str]:
    modules = inspection.detail.modules or ()
    rows = [(f"{m.base:#x}", render_bytes(m.size_bytes), m.path + (" (deleted)" if m.deleted else "")) for m in modules]
    if not any(m.signature for m in modules):
        return grid(("BASE", "SIZE", "FILE"), rows, MOST_ROWS)
    judged = [(*row[:2], *_verdict(m.signature), row[2]) for row, m in zip(rows, modules, strict=True)]
    judged.sort(key=lambda row: WORST.index(row[2]) if row[2] in WORST else 0)
    return grid(("BASE", "SIZE", "SIGNATURE", "SIGNER", "FILE"), judged, MOST_ROWS)


def _verdict(signature: Signature | None) -> tuple[str, str]:
    """Status and signer."""
    return ("?", "?") if signature is None else (signature.status, signature.signer or "-")


def _windows(inspection: ProcessInspection) -> list[str]:
    windows = inspection.detail.windows or ()
    rows = [(f"{w.handle:#x}", "yes" if w.visible else "no", w.window_class, w.title) for w in windows]
    return grid(("WINDOW", "VISIBLE", "CLASS", "TITLE"), rows, MOST_ROWS)


def _environment(inspection: ProcessInspection) -> list[str]:
    return facts((variable.name, variable.value) for variable in inspection.detail.environment or ())


HOLDINGS: dict[str, Callable[[ProcessInspection], list[str]]] = {
    "Open files": _open_files,
    "Sockets": _sockets,
    "Memory maps": _maps,
    "Threads": _threads,
    "Modules": _modules,
    "Windows on the desktop": _windows,
    "Environment": _environment,
}
"""What the process holds, by heading."""


def _gaps(inspection: ProcessInspection) -> list[str]:
    gaps: tuple[Gap, ...] = (*inspection.process.gaps, *inspection.detail.gaps, *inspection.gaps)
    return facts((gap.field, describe(gap)) for gap in dict.fromkeys(gaps))
