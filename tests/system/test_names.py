"""Names on the wire: what curl and a browser's library really send, captured on loopback."""

import http.server
import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hostscope.collectors.traffic import watch
from hostscope.model.capture import CaptureRequest
from hostscope.model.dns import Name
from hostscope.model.traffic import TrafficRequest
from hostscope.platforms import open_host
from hostscope.platforms.linux.capture import Capture
from hostscope.platforms.tally import Tally
from hostscope.wire.decode import decode
from hostscope.wire.hello import Hellos
from tests.system.commands import need

pytestmark = [pytest.mark.system, pytest.mark.root]


class Silent(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@contextmanager
def served(certified: Path | None) -> Iterator[int]:
    """The port of a server that runs meanwhile; with TLS, by the certificate in that folder."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Silent) as server:
        if certified:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certified / "cert.pem", certified / "key.pem")
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate and its key."""
    folder: Path = tmp_path_factory.mktemp("certificate")
    made = ("-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    files = ("-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=shop.example")
    command = [need("openssl", "openssl"), "req", *made, *files]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=60)
    return folder


def curl(scheme: str, name: str, port: int) -> None:
    command = [need("curl", "curl"), "--silent", "--insecure", "--noproxy", "*", "--max-time", "10", "--resolve",
               f"{name}:{port}:127.0.0.1", f"{scheme}://{name}:{port}/"]  # fmt: skip
    subprocess.run(command, check=True, timeout=60)


def learnt(port: int, act: object) -> list[Name]:
    """Names that are learnt from the packets of one port while something is done."""
    hellos, found, stop = Hellos(), list[Name](), threading.Event()
    with Capture().open(CaptureRequest(("lo",), f"tcp port {port}", ring_bytes=1 << 20), Tally()) as source:
        act()  # type: ignore[operator]
        stop.set()
        for batch in source.batches(stop):
            decoded = decode(batch)
            for index in range(len(batch)):
                start, size = int(decoded.payload_offset[index]), int(decoded.payload_captured[index])
                if size and decoded.destination_port[index] == port:
                    header = int(decoded.transport_offset[index])
                    sequence = int.from_bytes(batch.data[header + 4 : header + 8].tobytes(), "big")
                    payload = batch.data[start : start + size].tobytes()
                    name = hellos.feed(int(decoded.source_port[index]), "tcp", payload, sequence)
                    found += [name] if name else []
    return found


def test_curl_over_tls(certified: Path) -> None:
    with served(certified) as port:
        found = learnt(port, lambda: curl("https", "shop.example", port))
    assert [(name.domain, name.source) for name in found] == [("shop.example", "tls")]
    assert "http/1.1" in found[0].alpn


def test_a_quic_connection_has_its_name_and_process(certified: Path) -> None:
    """By aioquic: a real handshake, whose hello is encrypted with keys that anybody can derive."""
    pytest.importorskip("aioquic", reason="aioquic is missing")
    talk = [sys.executable, str(Path(__file__).parent / "quic_talk.py"), str(certified), "quic.example", "50000"]
    with watch(open_host(), TrafficRequest(method="capture", interfaces=("lo",))) as watching:
        told = json.loads(subprocess.run(talk, check=True, capture_output=True, timeout=60).stdout)
        flows = [flow for flow in watching.look().flows if flow.protocol == "quic"]
    (client,) = [flow for flow in flows if flow.remote and flow.remote.port == told["port"]]
    assert (client.domain, client.domain_source) == ("quic.example", "quic")
    assert client.key is not None and client.key.pid == told["pid"]
    assert client.wire and min(client.wire.sent_bytes, client.wire.received_bytes) > told["back"] == 50_000


def test_curl_without_tls() -> None:
    with served(None) as port:
        found = learnt(port, lambda: curl("http", "plain.example", port))
    assert found == [Name("plain.example", "http")]
