"""Windows Management Instrumentation, by the virtual tables of its COM interfaces (ole32, oleaut32).

Numbers of methods are those of the interfaces' declarations in wbemcli.h, IUnknown's three first.
"""

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from uuid import UUID

from hostscope.platforms.windows.native.guid import GUID, guid_of
from hostscope.platforms.windows.native.library import Library, SystemRefused
from hostscope.platforms.windows.native.types import (
    DWORD,
    HRESULT,
    LONG,
    LPCWSTR,
    POINTER,
    PVOID,
    UINT,
    ULONG,
    ULONGLONG,
    USHORT,
)

CLSCTX_INPROC_SERVER = 0x1
RPC_C_AUTHN_WINNT = 10
RPC_C_AUTHN_LEVEL_CALL = 3
RPC_C_IMP_LEVEL_IMPERSONATE = 3
COINIT_MULTITHREADED = 0x0
WBEM_FLAG_FORWARD_ONLY = 0x20
WBEM_FLAG_RETURN_IMMEDIATELY = 0x10
WBEM_S_FALSE = 1
VT_EMPTY = 0
VT_NULL = 1
VT_I2 = 2
VT_I4 = 3
VT_BSTR = 8
VT_BOOL = 11
VT_UI1 = 17

_LOCATOR_CLASS = UUID("4590f811-1d3a-11d0-891f-00aa004b2e24")
_LOCATOR = UUID("dc12a687-737f-11cf-884d-00aa004b2e24")
_RELEASE, _CONNECT_SERVER, _EXEC_QUERY, _NEXT, _GET = 2, 3, 20, 4, 4
_RPC_E_CHANGED_MODE = 0x80010106
_TIMEOUT_MS = 10_000
_MOST_ROWS = 10_000
_METHOD: Any = getattr(ctypes, "WINFUNCTYPE", ctypes.CFUNCTYPE)

Value = str | int | bool | None


class VARIANT(ctypes.Structure):
    """`value` is the beginning of the union: a number, or a pointer to the text of a BSTR."""

    _fields_ = [
        ("vt", USHORT),
        ("wReserved1", USHORT),
        ("wReserved2", USHORT),
        ("wReserved3", USHORT),
        ("ullVal", ULONGLONG),
        ("_record", ULONGLONG),
    ]


NOT_IN_HEADERS = {"VARIANT._record": "the second word of the union's largest member, __tagBRECORD"}
SIGNATURES = {
    "CoInitializeEx": (HRESULT, (PVOID, DWORD)),
    "CoUninitialize": (None, ()),
    "CoCreateInstance": (HRESULT, (POINTER(GUID), PVOID, DWORD, POINTER(GUID), POINTER(PVOID))),
    "CoSetProxyBlanket": (HRESULT, (PVOID, DWORD, DWORD, PVOID, DWORD, DWORD, PVOID, DWORD)),
}
ole32 = Library("ole32", SIGNATURES)
_STRING_SIGNATURES = {
    "SysAllocString": (PVOID, (LPCWSTR,)),
    "SysFreeString": (None, (PVOID,)),
    "SysStringLen": (UINT, (PVOID,)),
    "VariantClear": (HRESULT, (POINTER(VARIANT),)),
}
oleaut32 = Library("oleaut32", _STRING_SIGNATURES)


def query(namespace: str, wql: str, properties: Sequence[str]) -> list[dict[str, Value]]:
    """Rows of a WQL query, with these properties; of other types than texts and whole numbers they are None.

    Raises:
        SystemRefused: with the HRESULT, such as 0x8004100E: there is no such namespace.
        Unsupported: there is no COM here.
    """
    with ExitStack() as closing:
        closing.enter_context(_com())
        locator = closing.enter_context(_created())
        services = closing.enter_context(_connected(locator, namespace))
        found = closing.enter_context(_asked(services, wql))
        return [_row(item, properties) for item in _items(found)]


@contextmanager
def _com() -> Iterator[None]:
    """COM in this thread; one that was set up in another way serves as well."""
    code = ole32.CoInitializeEx(None, COINIT_MULTITHREADED) & 0xFFFFFFFF
    if code & 0x80000000 and code != _RPC_E_CHANGED_MODE:
        raise _refused("CoInitializeEx", code)
    try:
        yield
    finally:
        if not code & 0x80000000:
            ole32.CoUninitialize()


@contextmanager
def _created() -> Iterator[int]:
    made = PVOID()
    klass, kind = guid_of(_LOCATOR_CLASS), guid_of(_LOCATOR)
    code = ole32.CoCreateInstance(
        ctypes.byref(klass), None, CLSCTX_INPROC_SERVER, ctypes.byref(kind), ctypes.byref(made)
    )
    with _released("CoCreateInstance", code, made) as locator:
        yield locator


@contextmanager
def _connected(locator: int, namespace: str) -> Iterator[int]:
    made, kinds = PVOID(), (PVOID, PVOID, PVOID, PVOID, LONG, PVOID, PVOID, PVOID)
    with _text(namespace) as name:
        code = _call(locator, _CONNECT_SERVER, kinds, name, None, None, None, 0, None, None, ctypes.byref(made))
    with _released("IWbemLocator::ConnectServer", code, made) as services:
        # Without it a service in another process answers "access denied"; where none is needed it is refused.
        ole32.CoSetProxyBlanket(
            services, RPC_C_AUTHN_WINNT, 0, None, RPC_C_AUTHN_LEVEL_CALL, RPC_C_IMP_LEVEL_IMPERSONATE, None, 0
        )
        yield services


@contextmanager
def _asked(services: int, wql: str) -> Iterator[int]:
    made, kinds = PVOID(), (PVOID, PVOID, LONG, PVOID, PVOID)
    flags = WBEM_FLAG_FORWARD_ONLY | WBEM_FLAG_RETURN_IMMEDIATELY
    with _text("WQL") as language, _text(wql) as text:
        code = _call(services, _EXEC_QUERY, kinds, language, text, flags, None, ctypes.byref(made))
    with _released("IWbemServices::ExecQuery", code, made) as found:
        yield found


def _items(found: int) -> Iterator[int]:
    """Each row, released before the next is asked for."""
    for _ in range(_MOST_ROWS):
        item, count = PVOID(), ULONG()
        code = _call(found, _NEXT, (LONG, ULONG, PVOID, PVOID), _TIMEOUT_MS, 1, ctypes.byref(item), ctypes.byref(count))
        if not count.value:
            if code not in (0, WBEM_S_FALSE):
                raise _refused("IEnumWbemClassObject::Next", code)
            return
        with _released("IEnumWbemClassObject::Next", code, item) as row:
            yield row


def _row(item: int, properties: Sequence[str]) -> dict[str, Value]:
    return {name: _property(item, name) for name in properties}


def _property(item: int, name: str) -> Value:
    value = VARIANT()
    code = _call(item, _GET, (LPCWSTR, LONG, PVOID, PVOID, PVOID), name, 0, ctypes.byref(value), None, None)
    if code:
        raise _refused(f"IWbemClassObject::Get({name})", code)
    try:
        return _value(value)
    finally:
        oleaut32.VariantClear(ctypes.byref(value))


def _value(value: VARIANT) -> Value:
    if value.vt == VT_BSTR:
        length = oleaut32.SysStringLen(value.ullVal) if value.ullVal else 0
        return ctypes.string_at(value.ullVal, 2 * length).decode("utf-16-le", "surrogatepass") if length else ""
    if value.vt == VT_BOOL:
        return bool(value.ullVal & 0xFFFF)
    if value.vt in (VT_I2, VT_I4, VT_UI1):
        size = {VT_I2: 2, VT_I4: 4, VT_UI1: 1}[value.vt]
        return int.from_bytes(value.ullVal.to_bytes(8, "little")[:size], "little", signed=value.vt != VT_UI1)
    return None


@contextmanager
def _released(call: str, code: int, made: Any) -> Iterator[int]:
    if code & 0x80000000 or not made.value:
        raise _refused(call, code)
    try:
        yield made.value
    finally:
        _call(made.value, _RELEASE, ())


@contextmanager
def _text(text: str) -> Iterator[int]:
    made = oleaut32.SysAllocString(text)
    try:
        yield made
    finally:
        oleaut32.SysFreeString(made)


def _call(interface: int, method: int, kinds: tuple[Any, ...], *arguments: Any) -> int:
    """Calls a method by its number in the interface's virtual table; its HRESULT, unsigned."""
    table = ctypes.c_void_p.from_address(interface).value or 0
    function = ctypes.c_void_p.from_address(table + method * ctypes.sizeof(PVOID)).value
    return int(_METHOD(HRESULT, PVOID, *kinds)(function)(interface, *arguments)) & 0xFFFFFFFF


def _refused(call: str, code: int) -> SystemRefused:
    return SystemRefused(call, code, f"{call} failed with HRESULT 0x{code:08X}")
