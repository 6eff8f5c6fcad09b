"""The ports of a cluster: each that is taken is a symbolic link from its number to the id of the server that has it.

A link is made whole or not at all, and not a second time: what reserves a port and what says whose it is are one step.
"""

import socket
import zlib
from pathlib import Path

from examples.toygres.cluster.errors import NoPortError

HOST = "127.0.0.1"


class Ports:
    """The reservations in one folder. Whoever asks for a server's port holds that server's lock."""

    def __init__(self, folder: Path, ports: range) -> None:
        self._folder = folder
        self._ports = ports

    def reserve(self, server_id: str) -> int:
        """The server's port, reserved if it has none; another one if somebody else has come to listen there.

        Raises:
            NoPortError: None is free.
        """
        mine = self.find(server_id)
        if mine is not None and _is_free(mine):
            return mine
        self.release(server_id)
        count = len(self._ports)
        # Each server begins to look elsewhere, so that those which look at once seldom meet.
        begin = zlib.crc32(server_id.encode()) % count
        for index in range(count):
            port = self._ports[(begin + index) % count]
            if _is_free(port) and self._claim(port, server_id):
                return port
        raise NoPortError(f"the {count} ports from {self._ports.start} to {self._ports.stop - 1} are all taken")

    def find(self, server_id: str) -> int | None:
        """The port that the server has."""
        return next((int(link.name) for link in self._folder.iterdir() if link.readlink() == Path(server_id)), None)

    def release(self, server_id: str) -> None:
        """Free what the server has."""
        while (port := self.find(server_id)) is not None:
            self._link(port).unlink(missing_ok=True)

    def _claim(self, port: int, server_id: str) -> bool:
        try:
            self._link(port).symlink_to(server_id)
        except FileExistsError:
            return False
        return True

    def _link(self, port: int) -> Path:
        return self._folder / str(port)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As PostgreSQL does it: connections that have just ended don't count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
