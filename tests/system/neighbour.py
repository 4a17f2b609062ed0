"""A neighbour that answers multicast questions: ``neighbour.py GROUP PORT``; and with a name, one that asks for it.

Answers go to who asked (RFC 6762 6.7, RFC 4795 2.4), by dnspython. What asks prints its pid, and ends with the answer.
"""

import os
import socket
import struct
import sys

import dns.message
import dns.rrset

ADDRESS = "192.0.2.99"


def answer(group: str, port: int) -> None:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("", port))
    joined = struct.pack("4s4s", socket.inet_aton(group), socket.inet_aton("127.0.0.1"))
    server.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, joined)
    print("ready", flush=True)
    while True:
        raw, client = server.recvfrom(65_535)
        asked = dns.message.from_wire(raw)
        told = dns.message.make_response(asked)
        told.answer.append(dns.rrset.from_text(asked.question[0].name, 60, "IN", "A", ADDRESS))
        server.sendto(told.to_wire(), client)


def ask(group: str, port: int, name: str) -> None:
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
    client.settimeout(60)
    print(os.getpid(), flush=True)
    client.sendto(dns.message.make_query(name, "A").to_wire(), (group, port))
    assert ADDRESS in dns.message.from_wire(client.recv(65_535)).to_text()


if __name__ == "__main__":
    where, at, *names = sys.argv[1:]
    ask(where, int(at), names[0]) if names else answer(where, int(at))
