"""A pooler that shares sessions as PgBouncer does in its mode "transaction": each transaction on another one."""

import select
import socket
import struct
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import NoReturn

_SSL, _GSS = 80877103, 80877104
_LENGTH = struct.Struct(">I")


class Pooler:
    """Takes clients, and gives each transaction the session that has been idle for longest.

    Args:
        port: The server's.
        user: As whom the sessions are opened; no password is asked for.
        sessions: How many there are.
        has_transactions: Whether a client keeps a session for a whole transaction; without, it is sent away for
            beginning one, as PgBouncer does in its mode "statement".
    """

    def __init__(
        self, port: int, *, user: str, database: str, sessions: int = 4, has_transactions: bool = True
    ) -> None:
        self._make = partial(_Session, port, user, database)
        self._has_transactions = has_transactions
        self.refusal = ""
        """With which words new clients are sent away, if they are."""
        self.farewell = ""
        """With which words a client is sent away that has waited in vain for a session, if they all do."""
        self._free: deque[_Session | None] = deque([None] * sessions)
        self._changed = threading.Condition()
        self._open: set[socket.socket] = set()
        self.port = 0
        self.start()

    def start(self) -> None:
        """Listen, where it has listened before."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def close(self) -> None:
        """Close all of it, in whatever it is; `start` begins again."""
        for each in [self._listener, *self._open]:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                self._open.add(_prompt(client))
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError, EOFError):
            self._greet(client)
            while True:
                first = _message(client)
                if first[:1] == b"X":
                    break
                self._transaction(client, first)
        self._open.discard(client)
        client.close()

    def _greet(self, client: socket.socket) -> None:
        while True:
            (size,) = _LENGTH.unpack(_exactly(client, 4))
            (kind,) = _LENGTH.unpack(_exactly(client, size - 4)[:4])
            if kind not in (_SSL, _GSS):
                break
            client.sendall(b"N")
        if self.refusal:
            _send_away(client, self.refusal)
        with self._session(client) as session:
            parameters = session.parameters
        key = b"K" + struct.pack(">III", 12, 4_000_000, 7)
        client.sendall(b"R" + struct.pack(">II", 8, 0) + parameters + key + b"Z\x00\x00\x00\x05I")

    def _transaction(self, client: socket.socket, message: bytes) -> None:
        """Pass on from the first message until the server says that no transaction is open."""
        if self.farewell:
            _send_away(client, self.farewell)
        with self._session(client) as session:
            while True:
                session.socket.sendall(message)
                if message[:1] in (b"S", b"Q"):
                    answer = session.answer()
                    is_over = answer[-1:] == b"I"
                    if not is_over and not self._has_transactions:
                        _send_away(client, "transaction blocks not allowed in statement pooling mode")
                    client.sendall(answer)
                    if is_over:
                        return
                message = _message(client)

    @contextmanager
    def _session(self, client: socket.socket) -> Iterator["_Session"]:
        """The session that has been idle for longest; one that is left in whatever state is not used again."""
        with self._changed:
            while not self._free:
                self._changed.wait()
            session = self._free.popleft()
        kept = None
        try:
            if session is None or session.is_gone():
                session = self._begin(client)
            yield session
            kept = session
        finally:
            if kept is None and session is not None:
                self._open.discard(session.socket)
                session.socket.close()
            with self._changed:
                self._free.append(kept)
                self._changed.notify()

    def _begin(self, client: socket.socket) -> "_Session":
        try:
            session = self._make()
        except (OSError, EOFError):
            _send_away(client, "server login has been failing, try again later (server_login_retry)")
        self._open.add(session.socket)
        return session


def _send_away(client: socket.socket, words: str) -> NoReturn:
    fields = b"SFATAL\0C08P01\0M" + words.encode() + b"\0\0"
    client.sendall(b"E" + _LENGTH.pack(len(fields) + 4) + fields)
    raise EOFError


class _Session:
    """A connection to the server that is always the same one."""

    def __init__(self, port: int, user: str, database: str) -> None:
        self.socket = _prompt(socket.create_connection(("127.0.0.1", port)))
        words = ("user", user, "database", database, "application_name", "pooler", "client_encoding", "UTF8")
        body = struct.pack(">I", 3 << 16) + b"".join(word.encode() + b"\0" for word in words) + b"\0"
        self.parameters = b""
        with ExitStack() as stack:
            stack.callback(self.socket.close)
            self.socket.sendall(_LENGTH.pack(len(body) + 4) + body)
            while (message := _message(self.socket))[:1] != b"Z":
                if message[:1] == b"E":
                    raise EOFError
                if message[:1] == b"S":
                    self.parameters += message
            stack.pop_all()

    def is_gone(self) -> bool:
        """Whether the server has closed it, or we have."""
        return self.socket.fileno() < 0 or bool(select.select([self.socket], [], [], 0)[0])

    def answer(self) -> bytes:
        """What the server says, up to where it is ready again; the last byte says how it is."""
        said = b""
        while True:
            message = _message(self.socket)
            said += message
            if message[:1] == b"Z":
                return said


def _prompt(connection: socket.socket) -> socket.socket:
    # Message by message, the kernel would wait for more to send at once.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


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
