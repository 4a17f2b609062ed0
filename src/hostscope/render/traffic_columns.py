"""Columns of traffic: by process, by connection, and the ledger. Payload and wire bytes are never in one column."""

from collections.abc import Sequence
from typing import Any

from hostscope.model import traffic
from hostscope.model.traffic import Counts, Flow, Ledger, LedgerLine, ProcessTraffic
from hostscope.render.column import Column, column_at, value_at
from hostscope.render.layout import Layout
from hostscope.render.units import render_bytes

_BARS = "▁▂▃▄▅▆▇█"


def sparkline(rates: Sequence[float]) -> str:
    """One bar for each rate, the highest one full; blanks where nothing moved."""
    top = max(rates, default=0.0)
    return "".join(_BARS[min(7, int(rate / top * 8))] if rate > 0 else " " for rate in rates).rstrip()


def _total(wire: Counts | None, payload: Counts | None) -> int:
    return (wire or payload or Counts()).total_bytes


_COUNTS: tuple[Column[Any], ...] = (
    column_at("payload_sent", "PAYLOAD SENT", "bytes", "payload.sent_bytes", None, "payload handed over"),
    column_at("payload_received", "PAYLOAD RECV", "bytes", "payload.received_bytes", None, "payload received"),
    Column("calls", "CALLS", "int", "payload", None, "calls that sent or received",
           value_at("payload.total_packets")),
    column_at("wire_sent", "WIRE SENT", "bytes", "wire.sent_bytes", None, "sent by interfaces, headers included"),
    column_at("wire_received", "WIRE RECV", "bytes", "wire.received_bytes", None,
              "received by interfaces, headers included"),
    Column("packets", "PACKETS", "int", "wire", None, "packets in both directions", value_at("wire.total_packets")),
)  # fmt: skip
"""Of processes and of connections."""

PROCESS_TRAFFIC = Layout(
    "processes",
    traffic.PROCESS_TRAFFIC_SCHEMA,
    ProcessTraffic,
    (
        column_at("pid", "PID", "int", "key.pid", None, "process id; none for what belongs to no process"),
        Column("name", "NAME", "text", "name", None, "process name, or in brackets why there is none",
               lambda t: t.name),
        Column("user", "USER", "text", "user", None, "user", lambda t: t.user),
        Column("connections", "CONNS", "int", "connections", None, "connections, ended ones included",
               lambda t: t.connections),
        Column("sent_rate", "SENT/S", "bytes", "sent_rate", None, "bytes sent a second since the last look",
               lambda t: int(t.sent_rate)),
        Column("received_rate", "RECV/S", "bytes", "received_rate", None, "bytes received a second since the last look",
               lambda t: int(t.received_rate)),
        *_COUNTS,
        Column("traffic", "TOTAL", "bytes", "payload", None, "both directions, of the quantity that was measured",
               lambda t: _total(t.wire, t.payload)),
        Column("recent", "LAST 20 S", "text", "recent", None, "bytes in each of the last seconds; of a live table",
               lambda t: sparkline(t.recent)),
        Column("ended", "ENDED", "bool", "ended", None, "whether the process has ended", lambda t: t.ended),
        Column("container", "CONTAINER", "text", "container", None, "container",
               lambda t: (t.container.name or t.container.id[:12]) if t.container else None),
        Column("unknown", "UNKNOWN", "text", "unknown", None, "why there is no process", lambda t: t.unknown),
        Column("domains", "DOMAINS", "list", "domains", None, "names of remote ends, busiest first",
               lambda t: t.domains),
        Column("addresses", "ADDRESSES", "list", "addresses", None, "remote addresses, busiest first",
               lambda t: t.addresses),
    ),
    ("pid", "name", "user", "connections", "sent_rate", "received_rate", "payload_sent", "payload_received",
     "addresses"),
)  # fmt: skip

FLOWS = Layout(
    "connections",
    traffic.FLOW_SCHEMA,
    Flow,
    (
        column_at("pid", "PID", "int", "key.pid", None, "process id"),
        Column("process", "PROCESS", "text", "name", None, "process name", lambda f: f.name),
        Column("user", "USER", "text", "user", None, "who made the socket",
               lambda f: (f.user.name or f.user.id) if f.user else None),
        Column("protocol", "PROTO", "text", "protocol", None, "tcp, udp, quic, icmp, ...", lambda f: f.protocol),
        Column("local", "LOCAL", "text", "local", None, "local end", lambda f: str(f.local)),
        Column("remote", "REMOTE", "text", "remote", None, "remote end; none for a socket without one",
               lambda f: str(f.remote) if f.remote else None),
        column_at("remote_address", "REMOTE ADDRESS", "text", "remote.address", None, "remote address"),
        column_at("remote_port", "REMOTE PORT", "int", "remote.port", None, "remote port"),
        Column("local_address", "LOCAL ADDRESS", "text", "local", None, "local address", lambda f: f.local.address),
        Column("local_port", "LOCAL PORT", "int", "local", None, "local port", lambda f: f.local.port),
        Column("domain", "DOMAIN", "text", "domain", None, "name of the remote end", lambda f: f.domain),
        Column("domain_source", "NAMED BY", "text", "domain_source", None, "dns, tls, quic, http, reverse or file",
               lambda f: f.domain_source),
        Column("direction", "DIRECTION", "text", "direction", None, "inbound or outbound", lambda f: f.direction),
        *_COUNTS,
        Column("traffic", "TOTAL", "bytes", "payload", None, "both directions, of the quantity that was measured",
               lambda f: _total(f.wire, f.payload)),
        Column("interface", "INTERFACE", "text", "interface", None, "interface", lambda f: f.interface),
        Column("netns", "NETNS", "int", "net_ns", None, "network namespace", lambda f: f.net_ns),
        Column("cookie", "COOKIE", "int", "cookie", None, "the kernel's number for the socket", lambda f: f.cookie),
        Column("first", "FIRST", "instant", "first_at_ns", None, "first used, UTC", lambda f: f.first_at_ns),
        Column("last", "LAST", "instant", "last_at_ns", None, "last used, UTC", lambda f: f.last_at_ns),
        Column("closed", "CLOSED", "bool", "closed", None, "whether it has ended; polling, capture and files tell",
               lambda f: f.closed),
        Column("unknown", "UNKNOWN", "text", "unknown", None, "why there is no process", lambda f: f.unknown),
        Column("container", "CONTAINER", "text", "container", None, "container",
               lambda f: (f.container.name or f.container.id[:12]) if f.container else None),
    ),
    ("pid", "process", "protocol", "local", "remote", "payload_sent", "payload_received", "domain"),
)  # fmt: skip

LEDGER = Layout(
    "lines",
    traffic.LEDGER_SCHEMA,
    Ledger,
    (
        Column("interfaces", "INTERFACES", "list", "interfaces", None, "which interfaces", lambda b: b.interfaces),
        Column("bytes", "COUNTED", "bytes", "interface_bytes", None, "what they counted, both directions",
               lambda b: b.interface_bytes),
        Column("remainder", "REMAINDER", "int", "remainder_bytes", None, "what no line accounts for",
               lambda b: b.remainder_bytes),
    ),
    ("interfaces", "bytes", "remainder"),
)  # fmt: skip


def for_quantity(layout: Layout[ProcessTraffic] | Layout[Flow], quantity: str, live: bool) -> tuple[str, ...]:
    """The columns that are shown by default where ``payload`` or ``wire`` was measured."""
    names = [name.replace("payload_", f"{quantity}_") for name in layout.default]
    if live and layout.record is ProcessTraffic:
        names.insert(-1, "recent")
    return tuple(names)


def render_ledger(ledger: Ledger) -> str:
    """The balance, a line for each part."""
    total = ledger.interface_bytes
    lines = [f"ledger of {', '.join(ledger.interfaces) or 'no interface'}: {_amount(total, ledger.interface_packets)}"]
    lines += [
        f"  {_share(line.bytes, total)} {_what(line, ledger)}" for line in ledger.lines if line.bytes or line.packets
    ]
    why = " (estimated: headers, acknowledgements, retransmissions, packets of no process)" if ledger.estimated else ""
    lines.append(f"  {_share(ledger.remainder_bytes, total)} remainder {ledger.remainder_bytes} bytes{why}")
    return "\n".join(lines)


def render_balance(ledger: Ledger) -> str:
    """The same in one line."""
    total = ledger.interface_bytes
    parts = [f"{line.reason} {_share(line.bytes, total).strip()}" for line in ledger.lines if line.bytes]
    rest = "remainder (headers and the like, estimated)" if ledger.estimated else "remainder"
    parts.append(f"{rest} {_share(ledger.remainder_bytes, total).strip()}")
    return f"ledger: interfaces counted {render_bytes(total)}; {', '.join(parts)}"


def _what(line: LedgerLine, ledger: Ledger) -> str:
    calls = f"{line.packets} calls" if ledger.estimated else f"{line.packets} packets"
    return f"{line.reason} {render_bytes(line.bytes)}, {calls}"


def _amount(count: int, packets: int) -> str:
    return f"{render_bytes(count)}, {packets} packets"


def _share(part: int, total: int) -> str:
    return f"{part / total:7.2%}" if total else "      -"
