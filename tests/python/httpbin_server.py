"""httpbin behind gunicorn on a free port of 127.0.0.1: the real origin of the tests.

    $KEYWARD_TEST_PYTHON tests/python/httpbin_server.py

Its first line on stdout is `listening on 127.0.0.1:PORT`; the port is bound by then, so a connection made after that
line is never refused. gunicorn's own log goes to stderr. It ends on SIGTERM, and when stdin reaches its end: a test
that gives it a pipe and dies leaves no server behind.

One process with threads: /stream, /drip and slow uploads hold a thread each, and `workers = 1` keeps httpbin's answers
independent of which process took the request.
"""

import os
import signal
import socket
import sys
import threading

from gunicorn.app.base import BaseApplication
from httpbin import app as httpbin


class Server(BaseApplication):
    """gunicorn with its settings said here, instead of on a command line or in a file."""

    def __init__(self, listener):
        self.listener = listener
        super().__init__()

    def load_config(self):
        self.cfg.set("bind", f"fd://{self.listener.fileno()}")
        self.cfg.set("workers", 1)
        self.cfg.set("worker_class", "gthread")
        self.cfg.set("threads", 32)
        self.cfg.set("keepalive", 30)
        self.cfg.set("timeout", 300)
        self.cfg.set("graceful_timeout", 1)
        self.cfg.set("loglevel", "warning")
        self.cfg.set("control_socket_disable", True)

    def load(self):
        return httpbin


def end_with_stdin():
    """Asks this process to stop when whoever started it has closed the pipe."""
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


def main():
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    listener.set_inheritable(True)
    print("listening on 127.0.0.1:%d" % listener.getsockname()[1], flush=True)
    threading.Thread(target=end_with_stdin, daemon=True).start()
    Server(listener).run()


if __name__ == "__main__":
    main()
