"""A TCP proxy between a store and its server that cuts or falls silent where a test says so."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

_COMMIT = b"\x00commit\x00"
"""How a prepared COMMIT is named on the wire, when it is to be run."""

LENT_COMMIT = b"\x00COMMIT\x00"
"""The same over a connection that was lent, in whose session nothing is prepared."""


class Proxy:
    """Forwards connections to a port of this machine, until `mode` says otherwise.

    "cut before": the connection on which a COMMIT comes is closed, and the server never sees it. "cut after": the
    server does, and what it answers is not passed on. "silent": nothing is passed on any more, and nothing is closed.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.mode = ""
        self.commit = _COMMIT
        """By which bytes the COMMIT is known that is meant."""
        self.cuts = 0
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Close all of it."""
        self._listener.close()
        self.cut_all()

    def cut_all(self) -> None:
        """Close all connections that there are."""
        for each in self._open:
            _shut(each)
        self._open.clear()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                # As the server itself would, that is not there for a while.
                _shut(client)
                continue
            self._open += [client, server]
            _Link(self, client, server)

    def swallows(self) -> bool:
        """Whether nothing passes."""
        return self.mode == "silent"


class _Link:
    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._doomed = False
        for pump in (self._forth, self._back):
            threading.Thread(target=pump, daemon=True).start()

    def _forth(self) -> None:
        self._pump(self._client, self._on_request)

    def _back(self) -> None:
        self._pump(self._server, self._on_answer)

    def _pump(self, source: socket.socket, pass_on: Callable[[bytes], bool]) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 20):
                if not self._proxy.swallows() and not pass_on(data):
                    break
        if not self._proxy.swallows():
            _shut(self._client)
            _shut(self._server)

    def _on_request(self, data: bytes) -> bool:
        mode = self._proxy.mode
        if mode and self._proxy.commit in data:
            self._proxy.mode = ""
            self._proxy.cuts += 1
            if mode == "cut before":
                return False
            self._doomed = True
        self._server.sendall(data)
        return True

    def _on_answer(self, data: bytes) -> bool:
        if self._doomed:
            return False
        self._client.sendall(data)
        return True


def _shut(each: socket.socket) -> None:
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
