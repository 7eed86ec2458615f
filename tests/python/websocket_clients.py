"""websockets and websocket-client against a keyward in front of a WebSocket origin: what their users do, with plain assertions.

The addresses (PLAIN, SECURE), the root certificate (ROOT) and a key (SECRET) come from the environment.
"""

import os
import ssl

import websocket
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

ADDRESSES = [os.environ["PLAIN"], os.environ["SECURE"]]
ROOT = os.environ["ROOT"]
TOKEN = {"Authorization": f"Bearer {os.environ['SECRET']}"}
LARGE = os.urandom(3 << 20)


def with_websockets():
    for base in ADDRESSES:
        trust = ssl.create_default_context(cafile=ROOT) if base.startswith("wss") else None
        options = {"additional_headers": TOKEN, "ssl": trust, "proxy": None, "max_size": None}
        with connect(f"{base}/echo", subprotocols=["chat"], **options) as socket:
            assert socket.subprotocol == "chat"
            assert socket.response.headers["X-Request-Id"]
            for message in ("text", "ä" * 70_000, b"", LARGE):
                socket.send(message)
                assert socket.recv() == message
            socket.send(iter(["in ", "three ", "parts"]))
            assert socket.recv() == "in three parts"
            assert socket.ping().wait(60)
        with connect(f"{base}/close", **options) as socket:
            socket.send("close")
            try:
                socket.recv()
                raise AssertionError("no close")
            except ConnectionClosed as closed:
                assert (closed.rcvd.code, closed.rcvd.reason) == (4001, "as it was told"), closed
        try:
            connect(f"{base}/echo", ssl=trust, proxy=None)
            raise AssertionError("no key, and no refusal")
        except InvalidStatus as refused:
            assert refused.response.status_code == 401, refused
    print("websockets ok")


def with_websocket_client():
    for base in ADDRESSES:
        socket = websocket.create_connection(
            f"{base}/echo", header=TOKEN, sslopt={"ca_certs": ROOT}, timeout=60, http_no_proxy=["*"]
        )
        for message in (b"bytes", LARGE):
            socket.send_binary(message)
            assert socket.recv() == message
        socket.close()
    print("websocket-client ok")


with_websockets()
with_websocket_client()
