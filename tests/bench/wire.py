"""Packets to flows: capture files beside tshark, dpkt and scapy, and the path behind a ring, all in one run.

``python -m tests.bench.wire`` prints the report; with a contestant's name, a file and repeats it prints that one's
packets a second, of processor time and of the clock, as JSON. Ratios are of processor time: none of the contestants
waits for anything but the processor, and what else the machine does falls upon the clock.
"""

import json
import resource
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from tests.bench.measure import show, stating_disturbance

FLOWS = 2048
PACKETS = {"hostscope": 1_000_000, "hostscope_pcapng": 1_000_000, "tshark": 200_000, "dpkt": 100_000, "scapy": 5_000}
"""Each gets as many packets of the same mix as take it about a second."""
PEERS = {"tshark": 40, "dpkt": 40, "scapy": 500}
"""How much faster we want to be."""
IMIX = ((74, 7), (594, 4), (1514, 1))
LIVE = 100_000


def mixed(count: int) -> Iterator[tuple[int, bytes]]:
    """Nanoseconds and bytes of packets of `FLOWS` flows, both directions: IPv4 and IPv6, TCP and UDP, sizes as on the
    Internet ("simple IMIX", its small packets as long as TCP over IPv6 needs), random payload."""
    chance = np.random.default_rng(1)
    sizes = chance.choice([size for size, _ in IMIX], count, p=[share / 12 for _, share in IMIX]).tolist()
    flows, ways = chance.integers(0, FLOWS, count).tolist(), chance.integers(0, 2, count).tolist()
    noise = chance.bytes(1 << 20)
    for number, (size, flow, way) in enumerate(zip(sizes, flows, ways, strict=True)):
        head = _head(flow, way, size)
        begin = number * 977 % (len(noise) - 2000)
        yield 1_760_000_000_000_000_000 + number * 50_000, head + noise[begin : begin + size - len(head)]


def _head(flow: int, way: int, size: int) -> bytes:
    """Ethernet, IP and transport headers of one packet."""
    ends = [struct.pack(">I", 0x0A010000 + flow), struct.pack(">I", 0x0A020001)]
    ports = [10_000 + flow, 443]
    protocol = 17 if flow % 3 == 0 else 6
    room = size - 34
    if flow % 4 == 3:
        ends, room = [b"\xfd" + bytes(11) + end for end in ends], size - 54
    one, two = ends[way], ends[1 - way]
    if len(one) == 4:
        head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + room, 0, 0, 64, protocol, 0)
    else:
        head = struct.pack(">IHBB", 6 << 28, room, protocol, 64)
    body = struct.pack(">HHHH", ports[way], ports[1 - way], room, 0)
    if protocol == 6:
        body = struct.pack(">HHIIBBHHH", ports[way], ports[1 - way], 1, 1, 0x50, 0x18, 1024, 0, 0)
    return bytes(12) + (b"\x08\0" if len(one) == 4 else b"\x86\xdd") + head + one + two + body


def write_pcap(path: Path, count: int) -> None:
    """The mix as a pcap file."""
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1))
        for at_ns, raw in mixed(count):
            seconds, rest = divmod(at_ns, 1_000_000_000)
            file.write(struct.pack("<4I", seconds, rest // 1000, len(raw), len(raw)) + raw)


def write_pcapng(path: Path, count: int) -> None:
    """The same as a pcapng file."""
    with path.open("wb") as file:
        file.write(struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28))
        file.write(struct.pack("<IIHHII", 1, 20, 1, 0, 262_144, 20))
        for at_ns, raw in mixed(count):
            ticks, padded = at_ns // 1000, raw + bytes(-len(raw) % 4)
            size = len(padded) + 32
            head = struct.pack("<7I", 6, size, 0, ticks >> 32, ticks & 0xFFFFFFFF, len(raw), len(raw))
            file.write(head + padded + struct.pack("<I", size))


def hostscope_flows(path: str) -> int:
    """A file to a table of flows and to records."""
    from hostscope.wire.capture_file import open_capture
    from hostscope.wire.decode import decode
    from hostscope.wire.flow_records import records
    from hostscope.wire.flows import FlowTable
    from hostscope.wire.fragments import FragmentTable

    table, fragments = FlowTable(), FragmentTable()
    with open_capture(path) as file:
        for batch in file.batches():
            table.update(batch, decode(batch, fragments))
    if len(list(records(table))) < FLOWS * 0.9:
        raise SystemExit(f"only {len(table)} flows in {path}")
    return table.totals().packets


def tshark_flows(path: str) -> int:
    """tshark's conversation statistics; their text is thrown away. `main` leaves out its start."""
    command = ["tshark", "-n", "-q", "-z", "conv,tcp", "-z", "conv,udp", "-r", path]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return PACKETS["tshark"]


def tshark_start_s() -> tuple[float, float]:
    """Processor time and time that tshark takes before it reads packets: for one it sets up as much."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "one.pcap")
        write_pcap(path, 1)
        tshark_flows(str(path))
        began, cpu = time.perf_counter(), _cpu_s()
        tshark_flows(str(path))
        return _cpu_s() - cpu, time.perf_counter() - began


def dpkt_flows(path: str) -> int:
    """The usual loop with dpkt."""
    import dpkt

    flows: dict[tuple[object, ...], list[int]] = {}
    networks, transports = (dpkt.ip.IP, dpkt.ip6.IP6), (dpkt.tcp.TCP, dpkt.udp.UDP)
    count = 0
    with open(path, "rb") as file:
        for _, raw in dpkt.pcap.Reader(file):
            count += 1
            packet = dpkt.ethernet.Ethernet(raw).data
            if isinstance(packet, networks) and isinstance(packet.data, transports):
                ends = sorted([(packet.src, packet.data.sport), (packet.dst, packet.data.dport)])
                flow = flows.setdefault((packet.data.__class__, *ends), [0, 0])
                flow[0] += 1
                flow[1] += len(raw)
    return count


def scapy_flows(path: str) -> int:
    """The same with scapy."""
    from scapy.layers.inet import IP, TCP, UDP
    from scapy.layers.inet6 import IPv6
    from scapy.utils import PcapReader

    flows: dict[tuple[object, ...], list[int]] = {}
    count = 0
    with PcapReader(path) as reader:
        for packet in reader:
            count += 1
            network = packet.getlayer(IP) or packet.getlayer(IPv6)
            transport = packet.getlayer(TCP) or packet.getlayer(UDP)
            if network is not None and transport is not None:
                ends = sorted([(network.src, transport.sport), (network.dst, transport.dport)])
                flow = flows.setdefault((transport.__class__, *ends), [0, 0])
                flow[0] += 1
                flow[1] += packet.wirelen  # `len(packet)` would build it anew
    return count


def ring_flows(size: str) -> int:
    """Decoding and counting frames of `size` bytes that stand in a ring."""
    from hostscope.wire.batch import PacketBatch
    from hostscope.wire.decode import decode
    from hostscope.wire.flows import FlowTable

    frames = np.zeros((1 << 16, 66 + 128 + 62), np.uint8)
    chance = np.random.default_rng(2).integers(0, 2, len(frames)).tolist()
    for place, way in enumerate(chance):
        head = _head(place % 1024, way, int(size))
        frames[place, 66 : 66 + len(head)] = np.frombuffer(head, np.uint8)
    sizes = np.full(len(frames), int(size), np.uint32)
    ring = PacketBatch.of_frames(
        frames, 66, sizes, sizes, np.arange(len(frames), dtype=np.int64), np.zeros(len(frames), np.uint16)
    )
    table, count = FlowTable(), 0
    for _ in range(8):
        for start in range(0, len(ring), 16_384):
            part = ring.part(start, start + 16_384)
            table.update(part, decode(part))
            count += len(part)
    return count


def live_flows(_: str) -> int:
    """A table of `LIVE` flows, for its memory."""
    from hostscope.wire.batch import PacketBatch
    from hostscope.wire.decode import decode
    from hostscope.wire.flow_records import records
    from hostscope.wire.flows import FlowTable

    table, step = FlowTable(), 10_000
    frame = np.frombuffer(_head(0, 0, 74) + bytes(32), np.uint8)
    for _ in range(3):
        for start in range(0, LIVE, step):
            frames = np.tile(frame, (step, 1))
            frames[:, 26:30] = (0x0B000000 + start + np.arange(step)).astype(">u4").view(np.uint8).reshape(-1, 4)
            sizes = np.full(step, frames.shape[1], np.uint32)
            batch = PacketBatch.of_frames(frames, 0, sizes, sizes, np.zeros(step, np.int64), np.zeros(step, np.uint16))
            table.update(batch, decode(batch))
    if sum(1 for _ in records(table)) != LIVE:
        raise SystemExit(f"{len(table)} flows live")
    return LIVE * 3


CONTESTANTS: dict[str, Callable[[str], int]] = {
    "hostscope": hostscope_flows,
    "hostscope_pcapng": hostscope_flows,
    "tshark": tshark_flows,
    "dpkt": dpkt_flows,
    "scapy": scapy_flows,
    "ring": ring_flows,
    "live": live_flows,
}


def contest(name: str, argument: str, repeats: int = 3) -> dict[str, float]:
    """One contestant in a fresh interpreter."""
    command = [sys.executable, "-m", "tests.bench.wire", name, argument, str(repeats)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return found


def report(rounds: int = 3) -> None:
    """All rows; contestants take turns, so that a slow moment of the machine meets each."""
    taken: dict[str, list[dict[str, float]]] = {}
    with stating_disturbance(), tempfile.TemporaryDirectory() as folder:
        files = {count: Path(folder, f"{count}.pcap") for count in set(PACKETS.values())}
        for count, path in files.items():
            write_pcap(path, count)
        ng = Path(folder, "some.pcapng")
        write_pcapng(ng, PACKETS["hostscope_pcapng"])
        names = [name for name in PACKETS if name not in PEERS or _is_there(name)]
        for _ in range(rounds):
            for name in names:
                path = ng if name == "hostscope_pcapng" else files[PACKETS[name]]
                taken.setdefault(name, []).append(contest(name, str(path)))
            for size in ("74", "128"):
                taken.setdefault(f"ring {size}", []).append(contest("ring", size))
        rates, walls = (
            {name: statistics.median(one[kind] for one in found) for name, found in taken.items()}
            for kind in ("rate", "wall_rate")
        )
        report_rates(rates, walls)
        peak = contest("live", "", 1)["peak_mib"]
        show(f"resident memory with {LIVE:,} live flows", f"{peak:.0f} MiB", "< 200 MB", peak * 1.048576 < 200)


def _is_there(peer: str) -> bool:
    return bool(shutil.which(peer) if peer == "tshark" else find_spec(peer))


def report_rates(rates: dict[str, float], walls: dict[str, float]) -> None:
    """Rates of processor time, and those of the clock behind them; ratios."""
    ours = rates["hostscope"]
    for name, what, least in (("hostscope", "pcap", 3e6), ("hostscope_pcapng", "pcapng", None)):
        figure = f"{rates[name]:,.0f}/s per core ({walls[name]:,.0f}/s)"
        show(f"{what} file to flows, mixed sizes", figure, f">= {least:,.0f}/s" if least else "",
             rates[name] >= least if least else None)  # fmt: skip
    for peer, least in PEERS.items():
        if peer in rates:
            ratio = ours / rates[peer]
            figure = (
                f"{ratio:.0f} x {peer} ({rates[peer]:,.0f}/s; {walls['hostscope'] / walls[peer]:.0f} x by the clock)"
            )
            show("pcap file to flows", figure, f">= {least} x", ratio >= least)
        else:
            show("pcap file to flows", f"{peer} is not installed", f">= {least} x", None)
    for size in (74, 128):
        rate = rates[f"ring {size}"]
        show(f"ring to flows, {size} bytes", f"{rate:,.0f} packets/s per core", ">= 1,000,000/s", rate >= 1e6)


def _cpu_s() -> float:
    """Processor time of this process and of its ended children: what others do on the machine hardly counts."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def main() -> None:
    """The report, or one contestant."""
    if len(sys.argv) < 2:
        report()
        return
    work, packets = CONTESTANTS[sys.argv[1]], 0
    times: list[tuple[float, float]] = []
    if int(sys.argv[3]) > 1:
        work(sys.argv[2])
    for _ in range(int(sys.argv[3])):
        began, cpu = time.perf_counter(), _cpu_s()
        packets = work(sys.argv[2])
        times.append((_cpu_s() - cpu, time.perf_counter() - began))
    cpu_s, wall_s = (statistics.median(column) for column in zip(*times, strict=True))
    if sys.argv[1] == "tshark":
        started = tshark_start_s()
        cpu_s, wall_s = cpu_s - started[0], wall_s - started[1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rate": packets / cpu_s, "wall_rate": packets / wall_s, "peak_mib": peak}))


if __name__ == "__main__":
    main()
