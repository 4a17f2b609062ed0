"""What systemd says about its units over D-Bus. Pure: replies in, records out.

Source: org.freedesktop.systemd1(5).
"""

import re
from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from hostscope.model.gap import Gap, Reason
from hostscope.model.service import ServiceState
from hostscope.model.text import decode

UNIT_PATH = "/org/freedesktop/systemd1/unit/"
UNITS_SIGNATURE = "a(ssssssouso)"
FILES_SIGNATURE = "a(ss)"

ONE_BY_ONE = (
    Gap("main_pid", Reason.NOT_ASKED, "asked for one unit at a time"),
    Gap("slice", Reason.NOT_ASKED, "asked for one unit at a time"),
)
"""What a listing leaves out: it would take a call for each unit."""
INSTANCE = Gap("start_mode", Reason.NOT_ASKED, "an instance of a template: asked for one unit at a time")
GROUP_ONLY = tuple(
    Gap(field, Reason.UNAVAILABLE, "told by control groups only")
    for field in ("description", "load", "main_pid", "path", "start_mode", "substate")
)

_ESCAPED = re.compile(rb"_([0-9a-f]{2})")
_UNIT = re.compile(r"[A-Za-z0-9:_.\\@-]{1,245}\.[a-z]{1,9}")

UnitFiles = Mapping[str, tuple[str, str]]
"""Unit -> (path of its file, start mode)."""


def is_unit_name(name: str) -> bool:
    """Whether a unit can have that name."""
    return bool(_UNIT.fullmatch(name))


def parse_unit_path(path: str) -> str | None:
    """The unit of a D-Bus object: letters and digits stand for themselves, ``_2d`` for a byte, ``_`` for nothing."""
    if not path.startswith(UNIT_PATH):
        return None
    label = path.removeprefix(UNIT_PATH)
    if not re.fullmatch(r"(?:[A-Za-z0-9]|_[0-9a-f]{2})+", label):
        return "" if label == "_" else None
    return decode(_ESCAPED.sub(lambda match: bytes([int(match[1], 16)]), label.encode()))


def format_unit_path(name: str) -> str:
    """The D-Bus object of a unit; the reverse of `parse_unit_path`. A leading digit is escaped as well."""
    label = "".join(
        chr(byte) if chr(byte).isalnum() and byte < 128 and (index or not chr(byte).isdigit()) else f"_{byte:02x}"
        for index, byte in enumerate(name.encode())
    )
    return UNIT_PATH + (label or "_")


def parse_unit_files(entries: list[tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """``ListUnitFiles``: (path, start mode) of every unit file, by the unit's name."""
    return {path.rpartition("/")[2]: (_text(path), _text(mode)) for path, mode in entries}


def parse_unit(entry: tuple[Any, ...], files: UnitFiles) -> ServiceState:
    """One entry of ``ListUnits``, with what the unit files tell."""
    name, description, load, active, sub = (_text(value) for value in entry[:5])
    path, start_mode = files.get(name) or (None, None)
    gaps: tuple[Gap, ...] = ONE_BY_ONE
    if path is None and "@" in name:
        path, _ = files.get(template(name)) or (None, None)
        gaps = (*ONE_BY_ONE, INSTANCE)
    return ServiceState(
        name, "systemd", unit_type(name), description or None, active or None, sub or None, start_mode,
        None, path, None, load or None, gaps=gaps,
    )  # fmt: skip


def parse_listed(name: str, unit: Mapping[str, Any]) -> ServiceState:
    """One unit by the properties of every unit, as complete as in a listing."""
    return replace(parse_properties(name, unit, {}), gaps=ONE_BY_ONE)


def parse_properties(name: str, unit: Mapping[str, Any], own: Mapping[str, Any]) -> ServiceState:
    """One unit by its properties (variants): those of every unit, and `own` of its type's interface."""
    pid = _value(own, "MainPID")
    return ServiceState(
        _string(unit, "Id") or name, "systemd", unit_type(name), _string(unit, "Description"),
        _string(unit, "ActiveState"), _string(unit, "SubState"), _string(unit, "UnitFileState"),
        pid if isinstance(pid, int) and pid > 0 else None, _string(unit, "FragmentPath"), _string(own, "Slice"),
        _string(unit, "LoadState"),
    )  # fmt: skip


def apply_change(state: ServiceState, changed: Mapping[str, Any]) -> ServiceState:
    """A unit after a ``PropertiesChanged`` of its own or its type's interface."""
    pid = _value(changed, "MainPID")
    known = replace(
        state,
        state=_string(changed, "ActiveState") or state.state,
        substate=_string(changed, "SubState") or state.substate,
        load=_string(changed, "LoadState") or state.load,
        start_mode=_string(changed, "UnitFileState") or state.start_mode,
    )
    if not isinstance(pid, int):
        return known
    gaps = tuple(gap for gap in state.gaps if gap.field != "main_pid")
    return replace(known, main_pid=pid if pid > 0 else None, gaps=gaps)


def differs(before: ServiceState | None, after: ServiceState | None) -> bool:
    """Whether a unit's state is another one: what events are about."""
    return _mark(before) != _mark(after)


def of_group(name: str, slice_: str | None) -> ServiceState:
    """A service that only its control group shows: it has processes, so it is active."""
    return ServiceState(name, "systemd", unit_type(name), state="active", slice=slice_, gaps=GROUP_ONLY)


def without_group(state: ServiceState) -> ServiceState:
    """The same service when the group is gone."""
    gone = Gap("state", Reason.UNAVAILABLE, "its control group is gone: inactive or failed")
    return replace(state, state=None, gaps=(*GROUP_ONLY, gone))


def template(name: str) -> str:
    """``getty@.service`` for ``getty@tty1.service``."""
    return name.partition("@")[0] + "@." + name.rpartition(".")[2]


def unit_type(name: str) -> str:
    """``service`` for ``ssh.service``."""
    return name.rpartition(".")[2]


def _mark(state: ServiceState | None) -> tuple[str | None, ...] | None:
    return None if state is None else (state.load, state.state, state.substate)


def _value(properties: Mapping[str, Any], name: str) -> object:
    """The value of a variant, which is (signature, value)."""
    variant = properties.get(name)
    return variant[1] if isinstance(variant, tuple) and len(variant) == 2 else None


def _string(properties: Mapping[str, Any], name: str) -> str | None:
    value = _value(properties, name)
    return _text(value) or None if isinstance(value, str) else None


def _text(value: str) -> str:
    return decode(value.encode())
