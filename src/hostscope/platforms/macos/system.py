"""What the host is. Source: sysctl kern.*, hw.*, machdep.cpu.*."""

from hostscope.model.gap import Gap
from hostscope.model.host import HostInfo
from hostscope.platforms.macos.clock import read_boot
from hostscope.platforms.macos.native import sysctls
from hostscope.platforms.macos.parse import parse_text
from hostscope.platforms.macos.translate import error, gap

NAME = "macOS"


SEVERITIES = {"info": "LOG_INFO", "warning": "LOG_WARNING", "error": "LOG_ERR"}


class System:
    """Implements `hostscope.platforms.base.System`."""

    def info(self) -> HostInfo:
        """What does not change while the host runs. Cost: a dozen calls.

        Raises:
            Denied, NativeError, Unavailable: the kernel does not tell what it is.
        """
        gaps: list[Gap] = []
        boot = read_boot()
        return HostInfo(
            hostname=_text("kern.hostname"),
            system="macos",
            os_name=_os_name(gaps),
            kernel=_text("kern.osrelease"),
            architecture=architecture(),
            boot_id=boot.boot_id,
            booted_at_ns=boot.at_ns,
            cpus=_number("hw.activecpu"),
            memory_bytes=_number("hw.memsize"),
            pid_ns=0,
            model=_optional("hw.model", "model", gaps),
            gaps=tuple(gaps),
        )

    def report(self, severity: str, text: str) -> None:
        """Writes a line to the host's log by syslog(3), which does not tell whether anybody took it."""
        import syslog  # not on Windows, where this file is imported by tests

        syslog.openlog("hostscope", syslog.LOG_PID, syslog.LOG_DAEMON)
        syslog.syslog(getattr(syslog, SEVERITIES[severity]), text.replace("\0", "\ufffd"))


def _os_name(gaps: list[Gap]) -> str | None:
    """Such as ``macOS 14.5 (23F79)``. Source: kern.osproductversion (10.13.4), kern.osversion."""
    version = _optional("kern.osproductversion", "os_name", gaps)
    build = _optional("kern.osversion", "os_name", gaps)
    return f"{NAME} {version} ({build})" if version and build else f"{NAME} {version}" if version else None


def architecture() -> str:
    """Of the processor: to a translated program (Rosetta) hw.machine says x86_64, hw.optional.arm64 the truth.

    Raises:
        Denied, NativeError
    """
    try:
        if any(sysctls.read_name("hw.optional.arm64")):
            return "arm64"
    except OSError:
        return _text("hw.machine")  # an Intel Mac has no such name
    return _text("hw.machine")


def _optional(name: str, field: str, gaps: list[Gap]) -> str | None:
    try:
        return parse_text(sysctls.read_name(name)) or None
    except OSError as failed:
        gaps.append(gap(field, failed))
        return None


def _text(name: str) -> str:
    try:
        return parse_text(sysctls.read_name(name))
    except OSError as failed:
        raise error(f"sysctl {name}", failed) from failed


def _number(name: str) -> int:
    try:
        return int.from_bytes(sysctls.read_name(name), "little")
    except OSError as failed:
        raise error(f"sysctl {name}", failed) from failed
