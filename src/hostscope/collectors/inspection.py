"""Everything about one process, and everything about the host that looks."""

from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from hostscope.collectors.digests import Digests, is_host_path
from hostscope.collectors.errors import attempt
from hostscope.collectors.lineage import ancestors, ancestry, find_parents
from hostscope.collectors.targets import find_one
from hostscope.model.detail import Module, ProcessDetail
from hostscope.model.gap import Gap, Reason
from hostscope.model.inspection import HostInspection, ProcessInspection
from hostscope.model.key import ProcessKey
from hostscope.model.process import Process
from hostscope.model.request import ENHANCED, ProcessRequest
from hostscope.model.service import ServiceState
from hostscope.model.signature import Signature
from hostscope.platforms.base import Host
from hostscope.platforms.tally import Tally

PARTS = frozenset({"open_files", "maps", "threads", "sockets", "environment", "modules", "windows"})
DELETED = "a module's file was deleted or replaced, and what is called so now is another one"
_LINEAGE = frozenset({"state", "exe", "argv", "owner"})


def inspect(host: Host, target: str, method: str | None = None, signatures: bool = False) -> ProcessInspection:
    """One process, everything about it, and why it runs.

    Args:
        signatures: who vouches for its program and each of its modules, too: reads all of these files.

    Raises:
        UsageError: no target, or several processes are called so.
        Gone, Denied, Mismatch
    """
    gaps: list[Gap] = []
    process = Digests(host).fill(find_one(host, target, ProcessRequest(fields=ENHANCED, method=method)))
    chain = attempt("ancestors", gaps, lambda: _chain(host, process)) or ()
    process = replace(process, ancestry=ancestry(process, _links(process, chain)))
    detail = attempt("detail", gaps, lambda: host.processes.detail(process.key, PARTS)) or ProcessDetail()
    unit = attempt("unit", gaps, lambda: _unit(host, process))
    if signatures:
        process, detail = _signed(host, process, detail)
    why = tuple(_reasons(process, chain, unit))
    return ProcessInspection(process, detail, chain, unit, why, tuple(gaps))


def _signed(host: Host, process: Process, detail: ProcessDetail) -> tuple[Process, ProcessDetail]:
    from hostscope.collectors.signatures import Signatures  # brings cryptography along

    signatures, gaps = Signatures(host), list[Gap]()
    process = signatures.fill(process)
    if detail.modules is None:
        return process, detail
    if not is_host_path(process):
        gap = Gap("modules.signature", Reason.UNSUPPORTED, "the paths are of another root file system")
        return process, replace(detail, gaps=(*detail.gaps, gap))
    known = {
        path: attempt("modules.signature", gaps, lambda path=path: signatures.of_host(path))  # type: ignore[misc]
        for path in dict.fromkeys(module.path for module in detail.modules if not module.deleted)
    }
    if any(module.deleted for module in detail.modules):
        gaps.append(Gap("modules.signature", Reason.UNSUPPORTED, DELETED))
    modules = tuple(_judged(module, known) for module in detail.modules)
    return process, replace(detail, modules=modules, gaps=(*detail.gaps, *dict.fromkeys(gaps)))


def _judged(module: Module, known: Mapping[str, Signature | None]) -> Module:
    return module if module.deleted else replace(module, signature=known[module.path])


def inspect_host(host: Host) -> HostInspection:
    """What this host is and what can be seen of it from here."""
    gaps: list[Gap] = []
    security = attempt("security", gaps, host.security.state)
    held = attempt("privileges", gaps, host.privileges.held) or ()
    abilities = attempt("abilities", gaps, host.privileges.abilities) or ()
    return HostInspection(host.system.info(), security, held, abilities, (*host.gaps, *gaps))


def _chain(host: Host, process: Process) -> tuple[Process, ...]:
    rows = list(host.processes.sweep(ProcessRequest(fields=_LINEAGE), Tally()))
    return ancestors(process, find_parents([row for row in rows if row.key.pid != process.key.pid] + [process]))


def _links(process: Process, chain: tuple[Process, ...]) -> dict[ProcessKey, Process | None]:
    return {child.key: parent for child, parent in zip((process, *chain), (*chain, None), strict=True)}


def _unit(host: Host, process: Process) -> ServiceState | None:
    # A user's manager is not the one that `host.services` asks.
    if process.service is None or process.service.user is not None:
        return None
    return host.services.service(process.service.name)


def _reasons(process: Process, chain: tuple[Process, ...], unit: ServiceState | None) -> Iterator[str]:
    if process.kernel:
        yield "it is a thread of the kernel"
    if process.container:
        yield _container_reason(process)
    if process.service:
        yield _service_reason(process, unit)
    if process.session and process.session.terminal:
        yield f"it runs on terminal {process.session.terminal}"
    login = process.linux.login_uid if process.linux else None
    if login is not None:
        yield f"it belongs to a login of user id {login}"
    if chain:
        yield f"its parent is {chain[0].name} ({chain[0].key})"
    elif not process.kernel and process.key.pid != 1:
        yield "its parent has ended or cannot be seen"


def _container_reason(process: Process) -> str:
    container = process.container
    if container is None:
        return ""
    named = container.name or container.id[:12]
    image = f" from image {container.image}" if container.image else ""
    return f"it belongs to the {container.runtime} container {named}{image}"


def _service_reason(process: Process, unit: ServiceState | None) -> str:
    service = process.service
    if service is None:
        return ""
    started = f", start mode {unit.start_mode}" if unit and unit.start_mode else ""
    main = ", as its main process" if unit and unit.main_pid == process.key.pid else ""
    return f"{service.manager} runs it as {service.name}{started}{main}"
