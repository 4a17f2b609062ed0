"""What the host is: version, machine, boot."""

from hostscope.model.gap import Gap
from hostscope.model.host import HostInfo
from hostscope.model.text import decode_str
from hostscope.platforms.windows import translate
from hostscope.platforms.windows.attempts import attempt, value_of
from hostscope.platforms.windows.clock import read_boot
from hostscope.platforms.windows.native import event_log, performance
from hostscope.platforms.windows.registry import read_values

ARCHITECTURES = {
    performance.PROCESSOR_ARCHITECTURE_INTEL: "x86",
    performance.PROCESSOR_ARCHITECTURE_ARM: "arm",
    performance.PROCESSOR_ARCHITECTURE_AMD64: "x64",
    performance.PROCESSOR_ARCHITECTURE_ARM64: "arm64",
}
LOG_SOURCE, LOG_EVENT, MOST_TEXT = "hostscope", 1, 31_839
"""ReportEvent takes no longer texts."""
SEVERITIES = {
    "info": event_log.EVENTLOG_INFORMATION_TYPE,
    "warning": event_log.EVENTLOG_WARNING_TYPE,
    "error": event_log.EVENTLOG_ERROR_TYPE,
}
VERSION_KEY = "HKLM\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion"
BIOS_KEY = "HKLM\\HARDWARE\\DESCRIPTION\\System\\BIOS"
FIRST_OF_11 = 22_000
"""Build of the first Windows 11, which still calls itself 10 in the registry."""


class System:
    """Implements `hostscope.platforms.base.System`."""

    def info(self) -> HostInfo:
        """What does not change while the host runs.

        Raises:
            Denied, NativeError, Unavailable

        Source: RtlGetVersion, GetNativeSystemInfo, GlobalMemoryStatusEx, the registry.
        """
        gaps: list[Gap] = []
        try:
            version, machine, memory = performance.version(), performance.machine(), performance.memory_status()
            name = decode_str(performance.host_name())
        except OSError as failed:
            raise translate.error(getattr(failed, "call", "system information"), failed) from failed
        boot = read_boot()
        return HostInfo(
            hostname=name,
            system="windows",
            os_name=value_of(attempt("os_name", _os_name, version.dwBuildNumber), gaps),
            kernel=f"{version.dwMajorVersion}.{version.dwMinorVersion}.{version.dwBuildNumber}{_revision(gaps)}",
            architecture=ARCHITECTURES.get(machine.wProcessorArchitecture, str(machine.wProcessorArchitecture)),
            boot_id=boot.boot_id,
            booted_at_ns=boot.at_ns,
            cpus=performance.processors(),
            memory_bytes=memory.ullTotalPhys,
            pid_ns=0,
            vendor=value_of(attempt("vendor", _text, BIOS_KEY, "SystemManufacturer"), gaps),
            model=value_of(attempt("model", _text, BIOS_KEY, "SystemProductName"), gaps),
            gaps=tuple(gaps),
        )

    def report(self, severity: str, text: str) -> None:
        """Writes an entry to the application log, in the name of hostscope.

        Raises:
            Denied, NativeError
        """
        try:
            event_log.report(LOG_SOURCE, SEVERITIES[severity], LOG_EVENT, native_text(text))
        except OSError as failed:
            raise translate.error(getattr(failed, "call", "the event log"), failed) from failed


def native_text(text: str) -> str:
    """Without NUL, which would end it, and no longer than the log takes."""
    return text.replace("\0", "\ufffd")[:MOST_TEXT]


def _os_name(build: int) -> str | None:
    """Such as ``Windows 11 Pro 23H2``: the registry's name of the product, mended, and of the release."""
    product = _text(VERSION_KEY, "ProductName")
    if product is not None and build >= FIRST_OF_11:
        product = product.replace("Windows 10", "Windows 11")
    release = _text(VERSION_KEY, "DisplayVersion")
    return " ".join(part for part in (product, release) if part) or None


def _revision(gaps: list[Gap]) -> str:
    """Of the build (UBR), which updates count up."""
    found = value_of(attempt("kernel", read_values, VERSION_KEY, ("UBR",)), gaps) or {}
    revision = found.get("UBR")
    return f".{revision}" if isinstance(revision, int) else ""


def _text(key: str, name: str) -> str | None:
    found = read_values(key, (name,)).get(name)
    return found or None if isinstance(found, str) else None
