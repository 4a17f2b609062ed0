"""A real QUIC connection to itself: ``quic_talk.py FOLDER SERVER_NAME BYTES``, with ``cert.pem`` and ``key.pem`` there.

Prints, as JSON, its pid, the server's port, and how many bytes came back.
"""

import asyncio
import json
import os
import ssl
import sys
from asyncio import StreamReader, StreamWriter

from aioquic.asyncio import connect, serve
from aioquic.quic.configuration import QuicConfiguration


async def echo(reader: StreamReader, writer: StreamWriter) -> None:
    writer.write(await reader.read())
    writer.write_eof()


async def talk(folder: str, name: str, size: int) -> None:
    offered = QuicConfiguration(is_client=False, alpn_protocols=["h3"])
    offered.load_cert_chain(f"{folder}/cert.pem", f"{folder}/key.pem")
    echoes = set[asyncio.Task[None]]()
    server = await serve(
        "127.0.0.1", 0, configuration=offered,
        stream_handler=lambda reader, writer: echoes.add(asyncio.ensure_future(echo(reader, writer))),
    )  # fmt: skip
    port = server._transport.get_extra_info("sockname")[1]
    wanted = QuicConfiguration(alpn_protocols=["h3"], verify_mode=ssl.CERT_NONE, server_name=name)
    async with connect("127.0.0.1", port, configuration=wanted) as client:
        reader, writer = await client.create_stream()
        writer.write(b"x" * size)
        writer.write_eof()
        back = len(await reader.read())
    server.close()
    print(json.dumps({"pid": os.getpid(), "port": port, "back": back}))


if __name__ == "__main__":
    asyncio.run(talk(sys.argv[1], sys.argv[2], int(sys.argv[3])))
