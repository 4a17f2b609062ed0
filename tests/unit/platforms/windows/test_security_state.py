"""The host's security state, by a registry and a kernel made up for it; and changes of it while it is watched."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.errors import Denied, UsageError
from hostscope.model.event import CoverageChange, Event, EventRequest, SecurityChange
from hostscope.model.gap import Reason
from hostscope.model.security import Antivirus, HostSecurity
from hostscope.platforms.tally import Tally
from hostscope.platforms.windows import antivirus, registry, security
from hostscope.platforms.windows.events import Events
from hostscope.platforms.windows.native import handles, waiting, wscapi
from hostscope.platforms.windows.native import registry as native
from hostscope.platforms.windows.native.library import SystemRefused
from hostscope.platforms.windows.parse_registry import parse_value
from hostscope.platforms.windows.security import CI_ENABLED, CI_TEST_SIGNING, LSA, UAC, Security
from hostscope.render.events import render_event
from tests.unit.platforms.windows.scripted import script
from tests.unit.platforms.windows.scripted_security import CodeIntegrity, Registry

DEFENDER, POLICIES = antivirus.DEFENDER, antivirus.POLICIES
KEYS: dict[str, dict[str, int | str | bytes]] = {
    UAC: {"EnableLUA": 1, "ConsentPromptBehaviorAdmin": 5, "PromptOnSecureDesktop": 1},
    LSA: {"RunAsPPL": 1, "LsaCfgFlags": 2},
    DEFENDER: {"InstallLocation": "C:\\ProgramData\\Microsoft\\Windows Defender\\Platform\\4.18"},
    f"{DEFENDER}\\Features": {"TamperProtection": 5},
    f"{DEFENDER}\\Signature Updates": {
        "AVSignatureVersion": "1.419.1.0", "SignaturesLastUpdated": (133_700_000_000_000_000).to_bytes(8, "little"),
    },
    f"{DEFENDER}\\Exclusions\\Paths": {"C:\\Temp": 0},
    f"{DEFENDER}\\Exclusions\\Processes": {"evil.exe": 0},
    f"{antivirus.SERVICES}\\WinDefend": {"LaunchProtected": 3},
    f"{antivirus.SERVICES}\\Sense": {"LaunchProtected": 0},
    f"{antivirus.PROVIDERS}\\Av\\{{GUID}}": {"DISPLAYNAME": "Windows Defender", "STATE": 0x61100,
                                            "PRODUCTEXE": "windowsdefender://"},
    f"{antivirus.PROVIDERS}\\Av\\{{OTHER}}": {"DISPLAYNAME": "Other", "STATE": 0x40010},
    f"{antivirus.PROVIDERS}\\Fw\\{{NAMELESS}}": {"STATE": 1},
}  # fmt: skip


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    made = Registry(monkeypatch, KEYS)
    CodeIntegrity(monkeypatch)
    health(monkeypatch, 0)
    yield made
    assert made.opened == 0


def health(monkeypatch: pytest.MonkeyPatch, found: int, result: int = 0) -> None:
    def answer(provider: int, into: Any) -> int:
        into._obj.value = found
        return result

    script(monkeypatch, wscapi.wscapi, WscGetSecurityProviderHealth=answer)


def test_a_host_that_is_well_kept(keys: Registry) -> None:
    found = Security().state()
    assert (found.uac, found.lsa_protection, found.credential_guard) == ("default", "locked", "on")
    assert (found.virtualization_based, found.protected_code, found.secure_boot) == (True, True, True)
    assert (found.code_integrity, found.driver_signatures) == (("enabled",), "enforced")
    assert found.antivirus_health == "good"
    assert found.antivirus == (
        Antivirus("Windows Defender", "antivirus", True, True, "windowsdefender://", "registry"),
        Antivirus("Other", "antivirus", False, False, None, "registry"),
    )
    defender = found.defender
    assert defender and (defender.real_time, defender.tamper_protection, defender.signatures) == (
        True, True, "1.419.1.0",
    )  # fmt: skip
    assert defender.signatures_at_ns == 1_725_526_400_000_000_000
    assert defender.protected_services == ("WinDefend",) and defender.exclusions == ("C:\\Temp", "evil.exe")
    assert (found.yama, found.gaps) == (None, ())


def test_a_policy_is_stronger_than_the_setting(keys: Registry) -> None:
    keys.keys[f"{DEFENDER}\\Real-Time Protection"] = {"DisableRealtimeMonitoring": 0}
    keys.keys[f"{POLICIES}\\Real-Time Protection"] = {"DisableRealtimeMonitoring": 1}
    defender = Security().state().defender
    assert defender and defender.real_time is False


def test_a_host_without_any_of_it(keys: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing configured means Windows' defaults; no Defender and no products are answers, not gaps."""
    keys.keys.clear()
    found = Security().state()
    assert (found.uac, found.lsa_protection, found.defender, found.antivirus) == ("default", "off", None, ())
    health(monkeypatch, 0, result=1)  # its service does not run
    assert (Security().state().antivirus_health, Security().state().gaps) == (None, ())


def test_products_of_the_security_center_come_first(keys: Registry) -> None:
    told = (Antivirus("Asked", "antivirus", True, True, None, "security-center"),)
    assert Security(products=lambda: told).state().antivirus == told


def test_the_registry_stands_in_for_a_security_center_that_refuses(keys: Registry) -> None:
    def refused() -> tuple[Antivirus, ...]:
        raise SystemRefused("IWbemServices.ExecQuery", 5)

    assert [one.name for one in Security(products=refused).state().antivirus or ()] == ["Windows Defender", "Other"]
    keys.keys.clear()
    found = Security(products=refused).state()
    assert [(gap.field, gap.reason) for gap in found.gaps] == [("antivirus", Reason.DENIED)]


@pytest.mark.parametrize(
    ("key", "field"),
    [(UAC, "uac"), (LSA, "lsa_protection"), (DEFENDER, "defender"), (f"{DEFENDER}\\Features", "defender"),
     (f"{antivirus.PROVIDERS}\\Av", "antivirus")],
)  # fmt: skip
def test_a_key_that_is_closed_is_a_gap_of_its_field(keys: Registry, key: str, field: str) -> None:
    keys.refusals[key] = 5
    found = Security().state()
    assert (field, Reason.DENIED) in {(gap.field, gap.reason) for gap in found.gaps}
    assert getattr(found, field) is None and found.driver_signatures == "enforced"


@pytest.mark.parametrize(
    ("kind", "fields"),
    [(103, {"code_integrity", "driver_signatures"}), (145, {"secure_boot"}),
     (165, {"virtualization_based", "protected_code"})],
)  # fmt: skip
def test_a_class_that_is_lacking_is_a_gap(keys: Registry, monkeypatch: Any, kind: int, fields: set[str]) -> None:
    CodeIntegrity(monkeypatch).refusals[kind] = 0xC0000003
    found = Security().state()
    assert {gap.field for gap in found.gaps} == fields
    assert all(getattr(found, field) is None for field in fields)


def test_secure_boot_by_what_the_loader_left(keys: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    CodeIntegrity(monkeypatch).refusals[145] = 0xC0000003
    keys.keys[security.SECURE_BOOT] = {"UEFISecureBootEnabled": 1}
    assert Security().state().secure_boot is True


def test_without_a_security_center(keys: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(vars(wscapi.wscapi), "WscGetSecurityProviderHealth")
    found = Security().state()
    assert [(gap.field, gap.reason) for gap in found.gaps] == [("antivirus_health", Reason.UNSUPPORTED)]


@pytest.mark.parametrize(
    ("values", "word"),
    [((0, 5, 1), "off"), ((1, 0, 0), "never-notify"), ((1, 2, 1), "always-notify"), ((1, 5, 1), "default"),
     ((1, 5, 0), "no-dimming"), ((1, 3, 1), "consent 3")],
)  # fmt: skip
def test_uac(values: tuple[int, int, int], word: str) -> None:
    assert security.uac_word(*values) == word


def test_test_signing(keys: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    CodeIntegrity(monkeypatch, options=CI_ENABLED | CI_TEST_SIGNING)
    found = Security().state()
    assert (found.code_integrity, found.driver_signatures) == (("enabled", "test-signing"), "test")
    CodeIntegrity(monkeypatch, options=0)
    assert Security().state().driver_signatures == "off"


@pytest.mark.parametrize(
    ("state", "told"), [(0x61100, (True, True)), (0x60110, (False, False)), (0x41010, (True, False))]
)
def test_states_of_products(state: int, told: tuple[bool, bool]) -> None:
    assert antivirus.state_of(state) == told


@given(st.integers(0, 20), st.binary(max_size=64))
def test_any_value_of_the_registry_is_one_or_a_value_error(kind: int, raw: bytes) -> None:
    try:
        value = parse_value(kind, raw)
    except ValueError:
        return
    assert isinstance(value, str | int | bytes | tuple)
    if isinstance(value, str):
        value.encode()  # no lone surrogates


def test_values() -> None:
    assert parse_value(7, "a\0b\0\0".encode("utf-16-le")) == ("a", "b")
    assert parse_value(1, "text\0rest".encode("utf-16-le")) == "text"
    assert parse_value(4, b"\5\0\0\0") == 5
    assert parse_value(3, b"\1\2") == b"\1\2"


def test_long_values_are_read_whole(keys: Registry) -> None:
    keys.keys["HKLM\\X"] = {"long": "x" * 10_000}
    assert registry.read_text("HKLM\\X", "long") == "x" * 10_000
    with pytest.raises(ValueError, match="is no number"):
        registry.read_number("HKLM\\X", "long")


class Notifier:
    """Events and their waits: `steps` are what happens before each of them returns."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, keys: Registry) -> None:
        self.steps: list[Callable[[], int]] = []
        self.asked: list[str] = []
        self._events = 0
        self._keys = keys
        script(monkeypatch, native.advapi32, RegNotifyChangeKeyValue=self._notify)
        script(monkeypatch, waiting.kernel32, CreateEventW=self._create, WaitForMultipleObjects=self._wait)
        script(monkeypatch, handles.kernel32, CloseHandle=self._close)

    def _notify(self, key: int, below: bool, wanted: int, event: int, later: bool) -> int:
        self.asked.append(self._keys._opened[key])
        return 0

    def _create(self, *arguments: object) -> int:
        self._events += 1
        return self._events

    def _wait(self, count: int, events: Any, every: bool, timeout: int) -> int:
        return self.steps.pop(0)()

    def _close(self, handle: int) -> int:
        self._events -= 1
        return 1


def test_changes_are_told_as_they_happen(keys: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    notifier, stop = Notifier(monkeypatch, keys), threading.Event()

    def switch_off() -> int:
        keys.keys[f"{POLICIES}\\Real-Time Protection"] = {"DisableRealtimeMonitoring": 1}
        return list(antivirus.WATCHED).index(f"{POLICIES}\\Real-Time Protection")

    def end() -> int:
        stop.set()
        return waiting.WAIT_TIMEOUT

    notifier.steps = [lambda: waiting.WAIT_TIMEOUT, switch_off, end]
    found = list(antivirus.watch_keys(stop))
    assert [(one.key, one.value, one.before, one.after) for one in found] == [
        (f"{POLICIES}\\Real-Time Protection", "DisableRealtimeMonitoring", None, "1")
    ]
    assert notifier._events == 0
    # The key was not there: it was watched through the one above it, and itself once it had been made.
    assert f"{POLICIES}\\Real-Time Protection" == notifier.asked[-1]
    assert f"{POLICIES}\\Real-Time Protection" not in notifier.asked[:-1]


def test_a_key_that_was_deleted_in_silence_is_noticed(keys: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    notifier, stop = Notifier(monkeypatch, keys), threading.Event()
    monkeypatch.setattr(registry, "LOOK_S", 0.0)

    def delete() -> int:
        del keys.keys[f"{DEFENDER}\\Features"]
        stop.set()
        return waiting.WAIT_TIMEOUT

    notifier.steps = [delete]
    (found,) = registry.watch_values({f"{DEFENDER}\\Features": ("TamperProtection",)}, stop)
    assert (found.before, found.after) == ("5", None)


def test_a_key_that_is_closed_ends_a_watch_with_an_error(keys: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    Notifier(monkeypatch, keys)
    keys.refusals[LSA] = 5
    with pytest.raises(OSError, match="error 5"):
        list(antivirus.watch_keys(threading.Event()))


def test_the_record_has_every_field_on_every_system() -> None:
    assert HostSecurity().gaps == ()


def watched(monkeypatch: pytest.MonkeyPatch, keys: Registry, change: Callable[[], object]) -> tuple[list[Event], Tally]:
    notifier, stop, tally = Notifier(monkeypatch, keys), threading.Event(), Tally()
    monkeypatch.setattr(registry, "LOOK_S", 0.0)

    def step() -> int:
        change()
        stop.set()
        return waiting.WAIT_TIMEOUT

    notifier.steps = [step]
    found = list(Events().watch(EventRequest(frozenset({"security"})), stop, tally))
    assert notifier._events == 0
    return found, tally


def test_changes_are_events(keys: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    def change() -> None:
        keys.keys[LSA]["RunAsPPL"] = 0
        keys.keys[f"{DEFENDER}\\Exclusions\\Paths"]["C:\\Users\\Public"] = 0
        del keys.keys[f"{DEFENDER}\\Exclusions\\Paths"]["C:\\Temp"]

    found, tally = watched(monkeypatch, keys, change)
    assert isinstance(found[0].body, CoverageChange) and {one.source for one in found} == {"registry"}
    assert [one.body for one in found[1:]] == [
        SecurityChange(LSA, "RunAsPPL", "1", "0"),
        SecurityChange(f"{DEFENDER}\\Exclusions\\Paths", "C:\\Temp", "0", None),
        SecurityChange(f"{DEFENDER}\\Exclusions\\Paths", "C:\\Users\\Public", None, "0"),
    ]
    assert (tally.method, tally.rows, tally.hidden) == ("registry", 3, None)
    assert render_event(found[1]).endswith(f"{LSA}\\RunAsPPL: 1 -> 0\n")


def test_keys_that_are_closed_leave_the_others(keys: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    keys.refusals[f"{DEFENDER}\\Exclusions\\Paths"] = 5

    def change() -> None:
        keys.refusals[UAC] = 5  # one more, while it is watched
        keys.keys[LSA]["RunAsPPL"] = 0

    found, tally = watched(monkeypatch, keys, change)
    assert [one.body for one in found[1:]] == [SecurityChange(LSA, "RunAsPPL", "1", "0")]
    assert tally.hidden and len(tally.notes) == 2 and "access denied" in tally.notes[0]
    keys.refusals.update(dict.fromkeys(antivirus.WATCHED, 5))
    with pytest.raises(Denied):
        watched(monkeypatch, keys, change)


def test_a_value_of_no_form_does_not_blind_the_watch(keys: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "read_value", lambda key, name: (4, b"\1") if name == "RunAsPPL" else None)
    found, _ = watched(monkeypatch, keys, lambda: monkeypatch.setattr(native, "read_value", lambda key, name: None))
    (change,) = (one.body for one in found[1:])
    assert isinstance(change, SecurityChange) and change.after is None and "malformed" in (change.before or "")


@pytest.mark.parametrize("request_", [
    EventRequest(frozenset({"security"}), method="etw"), EventRequest(frozenset({"start"}), method="registry"),
    EventRequest(frozenset({"start", "security"})),
])  # fmt: skip
def test_settings_have_a_method_of_their_own(request_: EventRequest) -> None:
    with pytest.raises(UsageError):
        Events().watch(request_, threading.Event(), Tally())
