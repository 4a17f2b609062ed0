"""What the TCP stack measures of one connection, where somebody has turned that on."""

from hostscope.errors import Unsupported
from hostscope.model.gap import Gap, Reason
from hostscope.model.socket import TcpState
from hostscope.platforms.windows import translate
from hostscope.platforms.windows.native import iphlpapi
from hostscope.platforms.windows.native.iphlpapi import TCP_ESTATS_DATA_ROD_v0, TCP_ESTATS_PATH_ROD_v0
from hostscope.platforms.windows.parse_network import Entry, connection

WITHOUT = frozenset({"listen", "closed", "time-wait"})
"""States without a connection that would be measured."""
NOT_COLLECTED = Gap(
    "tcp",
    Reason.UNSUPPORTED,
    "Windows collects statistics of a connection only once a program turns that on (SetPerTcpConnectionEStats), which "
    "looking does not",
)
_MS_NS = 1_000_000


class ConnectionStats:
    """Extended statistics (EStats) of connections; never turned on by us, for looking must not change the host."""

    def __init__(self) -> None:
        self._lacking: Gap | None = None

    def of(self, entry: Entry) -> TcpState | Gap | None:
        """None where there is nothing to measure. Needs: an administrator. Cost: two calls."""
        if entry.protocol != "tcp" or entry.state in WITHOUT:
            return None
        if self._lacking is not None:
            return self._lacking
        asked = connection(entry.row)
        try:
            data, path = iphlpapi.connection_data(asked), iphlpapi.connection_path(asked)
        except Unsupported as missing:
            self._lacking = Gap("tcp", Reason.UNSUPPORTED, missing.message)
            return self._lacking
        except OSError as failed:
            return _gap(failed)
        return _state(data, path) if data or path else NOT_COLLECTED


def _gap(failed: OSError) -> Gap:
    """Not found: it was closed since the table was made."""
    if getattr(failed, "winerror", None) == iphlpapi.ERROR_NOT_FOUND:
        return Gap("tcp", Reason.GONE)
    return translate.gap("tcp", failed)


def _state(data: TCP_ESTATS_DATA_ROD_v0 | None, path: TCP_ESTATS_PATH_ROD_v0 | None) -> TcpState:
    """Round trips are in milliseconds, and 0 until the first was measured."""
    return TcpState(
        rtt_ns=path.SmoothedRtt * _MS_NS if path and path.CountRtt else None,
        rtt_variation_ns=path.RttVar * _MS_NS if path and path.CountRtt else None,
        retransmits=path.PktsRetrans if path else None,
        sent_bytes=data.DataBytesOut if data else None,
        acked_bytes=data.ThruBytesAcked if data else None,
        received_bytes=data.ThruBytesReceived if data else None,
        mss_bytes=path.CurMss if path else None,
    )
