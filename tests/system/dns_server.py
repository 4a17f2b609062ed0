"""DNS servers that no package has: one that delays, one that never answers, one that fails. Run as a child.

Usage: dns_server.py delay ADDRESS UPSTREAM SECONDS | silent ADDRESS | fail ADDRESS RCODE
"""

import selectors
import socket
import sys
import threading

import dns.message
import dns.rcode


def listen(address: str) -> socket.socket:
    found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    found.bind((address, 53))
    print("ready", flush=True)
    return found


def delay(address: str, upstream: str, seconds: str) -> None:
    """Passes questions on, and answers back after a while."""
    clients, servers = listen(address), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    servers.connect((upstream, 53))
    asked: dict[bytes, tuple[str, int]] = {}
    selector = selectors.DefaultSelector()
    selector.register(clients, selectors.EVENT_READ)
    selector.register(servers, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is clients:
                raw, client = clients.recvfrom(65_535)
                asked[raw[:2]] = client
                servers.send(raw)
            else:
                raw = servers.recv(65_535)
                threading.Timer(float(seconds), clients.sendto, (raw, asked.pop(raw[:2]))).start()


def silent(address: str) -> None:
    server = listen(address)
    while True:
        server.recv(65_535)


def fail(address: str, rcode: str) -> None:
    server = listen(address)
    while True:
        raw, client = server.recvfrom(65_535)
        answer = dns.message.make_response(dns.message.from_wire(raw))
        answer.set_rcode(dns.rcode.from_text(rcode))
        server.sendto(answer.to_wire(), client)


if __name__ == "__main__":
    {"delay": delay, "silent": silent, "fail": fail}[sys.argv[1]](*sys.argv[2:])
