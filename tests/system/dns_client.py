"""Asks one question, and ends at once: ``dns_client.py SERVER NAME TYPE udp|tcp SECONDS [TIMES]``.

Prints its pid, and for how many nanoseconds it waited in the end.
"""

import contextlib
import os
import sys
import time

import dns.exception
import dns.message
import dns.query

if __name__ == "__main__":
    server, name, kind, transport, seconds, times = [*sys.argv[1:], "1"][:6]
    query = dns.message.make_query(name, kind)
    print(os.getpid(), flush=True)
    began = time.monotonic_ns()
    for _ in range(int(times)):
        with contextlib.suppress(dns.exception.Timeout):
            ask = dns.query.tcp if transport == "tcp" else dns.query.udp
            ask(query, server, timeout=float(seconds))
    print(time.monotonic_ns() - began)
