"""A WebSocket origin that nobody here wrote: `websockets`, on a free port of 127.0.0.1, until its standard input ends.

`/echo` sends back what it gets; `/close` closes with 4001 once it is told anything; `/push` sends a thousand messages a second, of
PUSH bytes. With CHAIN and KEY it speaks TLS.
"""

import asyncio
import logging
import os
import ssl
import sys

from websockets.asyncio.server import serve

# That clients leave without a word is what these tests are about.
logging.getLogger("websockets").setLevel(logging.CRITICAL)

PUSH = int(os.environ.get("PUSH", "4000"))


async def handler(socket):
    path = socket.request.path
    if path.endswith("/push"):
        while True:
            await socket.send(b"p" * PUSH)
            # Others have their turn.
            await asyncio.sleep(0.001)
    if path.endswith("/close"):
        await socket.recv()
        await socket.close(4001, "as it was told")
        return
    async for message in socket:
        await socket.send(message)


async def main():
    trust = None
    if "CHAIN" in os.environ:
        trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trust.load_cert_chain(os.environ["CHAIN"], os.environ["KEY"])
    chosen = lambda _, offered: "chat" if "chat" in offered else None
    server = await serve(handler, "127.0.0.1", 0, ssl=trust, select_subprotocol=chosen, max_size=None)
    host, port = server.sockets[0].getsockname()[:2]
    print(f"listening on {host}:{port}", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
