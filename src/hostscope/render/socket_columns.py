"""Every column of a table of sockets."""

from hostscope.model.socket import SOCKET_SCHEMA, Endpoint, Socket
from hostscope.render.column import Column, Value, column_at
from hostscope.render.layout import Layout


def _end(end: Endpoint | None, socket: Socket) -> str | None:
    if end is not None:
        return str(end)
    return "*" if socket.family in ("inet", "inet6") else None


def _local(socket: Socket) -> Value:
    return _end(socket.local, socket)


def _remote(socket: Socket) -> Value:
    """The name where one is known, and the address in any case."""
    end = _end(socket.remote, socket)
    return f"{end} ({socket.domain})" if end and socket.domain else end


def _pid(socket: Socket) -> Value:
    return socket.owners[0].key.pid if socket.owners else None


def _process(socket: Socket) -> Value:
    """The first owner's name, and how many more there are."""
    if not socket.owners:
        return None
    more = len(socket.owners) - 1
    return f"{socket.owners[0].name} +{more}" if more else socket.owners[0].name


def _owners(socket: Socket) -> Value:
    if socket.owners is None:
        return None
    return tuple(f"{owner.name}[{owner.key.pid}]" for owner in socket.owners)


def _keys(socket: Socket) -> Value:
    return None if socket.owners is None else tuple(str(owner.key) for owner in socket.owners)


def _fds(socket: Socket) -> Value:
    if socket.owners is None:
        return None
    return tuple("?" if owner.fd is None else str(owner.fd) for owner in socket.owners)


def render_protocol(socket: Socket) -> str:
    """As people write it: ``tcp``, ``tcp6``, ``unix-stream``, ``raw:icmp``."""
    if socket.family in ("unix", "packet"):
        return f"{socket.family}-{socket.kind}" if socket.kind else socket.family
    if socket.family == "netlink":
        return f"netlink:{socket.protocol}"
    six = "6" if socket.family == "inet6" and not (socket.protocol or "").endswith("6") else ""
    return f"raw{six}:{socket.protocol}" if socket.kind == "raw" else f"{socket.protocol or socket.family}{six}"


def _services(socket: Socket) -> Value:
    if socket.owners is None:
        return None
    return tuple(owner.service for owner in socket.owners if owner.service)


def _port(end: Endpoint | None) -> Value:
    return end.port if end else None


SOCKETS = Layout(
    "sockets",
    SOCKET_SCHEMA,
    Socket,
    (
        Column("proto", "PROTO", "text", "protocol", None, "protocol; 6 at the end for IPv6", render_protocol),
        Column("state", "STATE", "text", "state", None, "listen, established, unconnected, ...", lambda s: s.state),
        Column("local", "LOCAL", "text", "local", None, "our end", _local),
        Column("remote", "REMOTE", "text", "remote", None, "the other end, with its name where known", _remote),
        Column("direction", "DIRECTION", "text", "direction", None,
               "listening, inbound or outbound; who began is a heuristic", lambda s: s.direction),
        Column("pid", "PID", "int", "owners", None, "the process that holds it, the lowest of several", _pid),
        Column("process", "PROCESS", "text", "owners", None, "its name; +2 when two more hold it", _process),
        Column("owners", "OWNERS", "list", "owners", None, "all processes that hold it", _owners),
        Column("service", "SERVICE", "list", "owners", None, "services inside the owners that it is of (Windows)",
               _services),
        Column("user", "USER", "text", "user", None, "who made it",
               lambda s: (s.user.name or s.user.id) if s.user else None),
        Column("container", "CONTAINER", "text", "container", None, "name of the container, or the start of its id",
               lambda s: (s.container.name or s.container.id[:12]) if s.container else None),
        Column("family", "FAMILY", "text", "family", None, "inet, inet6, unix, packet", lambda s: s.family),
        Column("kind", "KIND", "text", "kind", None, "stream, dgram, raw, seqpacket", lambda s: s.kind),
        Column("protocol", "PROTOCOL", "text", "protocol", None, "protocol alone", lambda s: s.protocol),
        column_at("local_address", "LOCAL ADDRESS", "text", "local.address", None, "address of our end"),
        Column("local_port", "LOCAL PORT", "int", "local.port", None, "port of our end", lambda s: _port(s.local)),
        column_at("remote_address", "REMOTE ADDRESS", "text", "remote.address", None, "address of the other end"),
        Column("remote_port", "REMOTE PORT", "int", "remote.port", None, "port of the other end",
               lambda s: _port(s.remote)),
        Column("domain", "DOMAIN", "text", "domain", None, "name of the other end", lambda s: s.domain),
        Column("fd", "FD", "list", "owners", None, "lowest descriptor of each owner", _fds),
        Column("key", "KEY", "list", "owners", None, "identity of each owner", _keys),
        Column("uid", "UID", "int", "user", None, "number of who made it",
               lambda s: int(s.user.id) if s.user and s.user.id.isdecimal() else None),
        column_at("rtt", "RTT", "latency", "tcp.rtt_ns", "tcp", "smoothed round-trip time"),
        column_at("retransmits", "RETRANS", "int", "tcp.retransmits", "tcp", "segments sent again"),
        column_at("sent", "SENT", "bytes", "tcp.sent_bytes", "tcp", "payload sent, retransmissions included"),
        column_at("acked", "ACKED", "bytes", "tcp.acked_bytes", "tcp", "payload acknowledged"),
        column_at("received", "RECEIVED", "bytes", "tcp.received_bytes", "tcp", "payload received"),
        column_at("cwnd", "CWND", "int", "tcp.congestion_window", "tcp", "congestion window, segments"),
        Column("recvq", "RECV-Q", "bytes", "receive_queue_bytes", None, "received and not read yet",
               lambda s: s.receive_queue_bytes),
        Column("sendq", "SEND-Q", "bytes", "send_queue_bytes", None, "sent and not acknowledged or not passed on yet",
               lambda s: s.send_queue_bytes),
        Column("backlog", "BACKLOG", "int", "backlog", None, "connections waiting to be accepted", lambda s: s.backlog),
        Column("limit", "LIMIT", "int", "backlog_limit", None, "as many may wait", lambda s: s.backlog_limit),
        Column("interface", "INTERFACE", "text", "interface", None, "device it is bound to", lambda s: s.interface),
        Column("netns", "NETNS", "int", "net_ns", None, "network namespace", lambda s: s.net_ns),
        Column("inode", "INODE", "int", "inode", None, "inode", lambda s: s.inode),
        Column("peer", "PEER", "int", "peer_inode", None, "inode of the other end (UNIX)", lambda s: s.peer_inode),
        Column("cookie", "COOKIE", "int", "cookie", None, "the kernel's number for it", lambda s: s.cookie),
        Column("age", "AGE", "duration", "age_ns", "age", "since it was made", lambda s: s.age_ns),
        Column("gaps", "GAPS", "list", "gaps", None, "fields that could not be read, and why",
               lambda s: tuple(f"{gap.field}:{gap.reason}" for gap in s.gaps)),
    ),
    ("proto", "state", "local", "remote", "direction", "pid", "process", "user", "container"),
)  # fmt: skip
