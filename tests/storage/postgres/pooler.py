"""A pooler that shares sessions as PgBouncer does in its mode "transaction": each transaction on another one."""

import socket
import struct
import threading
from collections import deque
from contextlib import suppress

_SSL, _GSS = 80877103, 80877104
_LENGTH = struct.Struct(">I")


class Pooler:
    """Takes clients, and gives each transaction the session that has been idle for longest.

    Args:
        port: The server's.
        user: As whom the sessions are opened; no password is asked for.
        sessions: How many there are.
    """

    def __init__(self, port: int, *, user: str, database: str, sessions: int = 4) -> None:
        self._free = deque(_Session(port, user, database) for _ in range(sessions))
        self._all = list(self._free)
        self._changed = threading.Condition()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._clients: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Close all of it."""
        self._listener.close()
        for each in [*self._clients, *(session.socket for session in self._all)]:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._clients.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError, EOFError):
            self._greet(client)
            while True:
                first = _message(client)
                if first[:1] == b"X":
                    return
                self._transaction(client, first)
        client.close()

    def _greet(self, client: socket.socket) -> None:
        while True:
            (size,) = _LENGTH.unpack(_exactly(client, 4))
            (kind,) = _LENGTH.unpack(_exactly(client, size - 4)[:4])
            if kind not in (_SSL, _GSS):
                break
            client.sendall(b"N")
        key = b"K" + struct.pack(">III", 12, 4_000_000, 7)
        client.sendall(b"R" + struct.pack(">II", 8, 0) + self._all[0].parameters + key + b"Z\x00\x00\x00\x05I")

    def _transaction(self, client: socket.socket, message: bytes) -> None:
        """Pass on from the first message until the server says that no transaction is open."""
        with self._changed:
            while not self._free:
                self._changed.wait()
            session = self._free.popleft()
        try:
            while True:
                session.socket.sendall(message)
                if message[:1] in (b"S", b"Q") and session.answer(client) == b"I":
                    return
                message = _message(client)
        finally:
            with self._changed:
                self._free.append(session)
                self._changed.notify()


class _Session:
    """A connection to the server that is always the same one."""

    def __init__(self, port: int, user: str, database: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        words = ("user", user, "database", database, "application_name", "pooler", "client_encoding", "UTF8")
        body = struct.pack(">I", 3 << 16) + b"".join(word.encode() + b"\0" for word in words) + b"\0"
        self.socket.sendall(_LENGTH.pack(len(body) + 4) + body)
        self.parameters = b""
        while (message := _message(self.socket))[:1] != b"Z":
            if message[:1] == b"S":
                self.parameters += message

    def answer(self, client: socket.socket) -> bytes:
        """Pass on what the server says, up to where it is ready again; returns how it is."""
        while True:
            message = _message(self.socket)
            client.sendall(message)
            if message[:1] == b"Z":
                return message[-1:]


def _message(source: socket.socket) -> bytes:
    head = _exactly(source, 5)
    (size,) = _LENGTH.unpack(head[1:])
    return head + _exactly(source, size - 4)


def _exactly(source: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = source.recv(size - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data
