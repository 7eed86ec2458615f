"""A client that listens until its connection ends, and says how it did: `closed 1008 the reason`, or `broken` without a close.

URL and SECRET come from the environment; CLIENT is `websockets` or `websocket-client`; for wss, ROOT.
"""

import os
import ssl

URL, CLIENT = os.environ["URL"], os.environ.get("CLIENT", "websockets")
TOKEN = {"Authorization": f"Bearer {os.environ['SECRET']}"}


def with_websockets():
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    trust = ssl.create_default_context(cafile=os.environ["ROOT"]) if URL.startswith("wss") else None
    with connect(URL, additional_headers=TOKEN, ssl=trust, proxy=None, max_size=None) as socket:
        socket.send("hello")
        socket.recv()
        print("open", flush=True)
        try:
            while True:
                socket.recv()
        except ConnectionClosed as closed:
            return closed.rcvd and f"closed {closed.rcvd.code} {closed.rcvd.reason}"


def with_websocket_client():
    import websocket

    options = {"ca_certs": os.environ.get("ROOT")}
    socket = websocket.create_connection(URL, header=TOKEN, sslopt=options, timeout=60, http_no_proxy=["*"])
    socket.send("hello")
    socket.recv()
    print("open", flush=True)
    while True:
        try:
            opcode, data = socket.recv_data()
        except websocket.WebSocketConnectionClosedException:
            return None
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            return f"closed {int.from_bytes(data[:2])} {data[2:].decode()}"


print((with_websockets if CLIENT == "websockets" else with_websocket_client)() or "broken", flush=True)
