"""Tracing and raw sockets of a live Windows; Wine has neither, and must be found out."""

import ctypes
import socket
import threading
from contextlib import closing

import pytest

from hostscope.errors import Denied, Unsupported
from hostscope.model.capture import CaptureRequest
from hostscope.model.traffic import TrafficRequest
from hostscope.platforms.tally import Tally
from hostscope.platforms.windows.capture import Capture
from hostscope.platforms.windows.clock import read_boot
from hostscope.platforms.windows.etw import Provider, open_session
from hostscope.platforms.windows.interfaces import Interfaces
from hostscope.platforms.windows.native import etw
from hostscope.platforms.windows.parse_etw import KERNEL_PROCESS
from hostscope.platforms.windows.parse_etw_process import KEYWORD_PROCESS
from hostscope.platforms.windows.traffic import Traffic
from tests.windows.missing import unless_missing

LISTEN = "raw sockets that hear everything: 10043 (WSAEPROTONOSUPPORT) or 10045 (WSAEOPNOTSUPP)"


def test_a_session_runs_and_ends() -> None:
    stop = threading.Event()
    with unless_missing():
        try:
            with open_session([Provider(KERNEL_PROCESS, KEYWORD_PROCESS)], stop) as session:
                assert session.name in etw.session_names()
        except Denied as refused:
            pytest.skip(f"tracing needs an administrator: {refused}")
    assert session.name not in etw.session_names()


def test_a_handle_that_is_no_session_is_found_out(wine_version: str | None) -> None:
    if wine_version is None:
        pytest.skip("a real Windows does not pretend")
    with pytest.raises(Unsupported, match="there is no session"), open_session([], threading.Event()):
        pass


def test_the_callback_is_called_with_records_of_this_system() -> None:
    """The structure is as wide as Windows' own C would make it, and a callback may be made of a method."""
    told: list[int] = []
    callback = etw.event_record_callback(told.append)
    record = etw.EVENT_RECORD()
    callback(ctypes.addressof(record))
    assert told == [ctypes.addressof(record)] and ctypes.sizeof(record) == 112


def test_traffic_by_events() -> None:
    with unless_missing():
        try:
            with Traffic(read_boot(), Interfaces()).open(TrafficRequest(), Tally()) as meter:
                assert meter.read().ledger is not None
        except Denied as refused:
            pytest.skip(f"tracing needs an administrator: {refused}")


def test_raw_sockets() -> None:
    with unless_missing(), closing(socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_IP)) as raw:
        raw.bind(("127.0.0.1", 0))
        raw.ioctl(socket.SIO_RCVALL, socket.RCVALL_OFF)


def test_capturing() -> None:
    stop = threading.Event()
    stop.set()
    with unless_missing():
        try:
            with Capture().open(CaptureRequest(), Tally()) as source:
                assert source.interfaces and list(source.batches(stop)) is not None
        except Denied as refused:
            pytest.skip(f"{LISTEN}: {refused}")
