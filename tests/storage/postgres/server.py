"""A PostgreSQL server of the tests' own, on a free port of this machine."""

import os
import shutil
import signal
import socket
import tempfile
from contextlib import suppress
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from examples.toygres.cluster.programs import Programs
from tests.folders import memory

TABLES = (
    "abilities", "dedup_keys", "entries", "gone", "history", "instances", "messages", "outbox", "received", "sessions",
    "shard", "starts", "tasks", "timers", "tokens", "workers",
)  # fmt: skip

_SETTINGS = (
    "listen_addresses = '127.0.0.1'",
    "unix_socket_directories = ''",
    "max_connections = 100",
    "shared_buffers = '64MB'",
    "autovacuum_naptime = '5s'",
    "deadlock_timeout = '100ms'",
    "max_prepared_transactions = 0",
    "log_min_messages = 'warning'",
)


class Server:
    """A cluster and the server that serves it; the user "perdure" may do everything and needs no password.

    Args:
        durable: Whether a commit is on the disk when it is acknowledged.
        of: The server whose standby it is, or of whose backup.
        follows: Whether it goes on to take in what the other one does.
        port: Where it listens, if not on a free port.
    """

    def __init__(
        self, *, durable: bool = False, of: "Server | None" = None, follows: bool = True, port: int = 0
    ) -> None:
        # Not pytest's own folder, which other users can't pass through, and for root PostgreSQL runs as one.
        place = None if durable else memory()
        self.folder = Path(tempfile.mkdtemp(prefix="perdure-pg-", dir=place)).resolve()
        self.folder.chmod(0o755)
        self._programs = Programs(self.folder, user_when_root="nobody")
        self._data = self.folder / "data"
        self._log = self.folder / "log"
        self._log.touch()
        self._data.mkdir(mode=0o700)
        for path in (self._log, self._data):
            self._programs.give(path)
        if of is None:
            self._programs.run(
                "initdb", "--pgdata", self._data, "--username=perdure", "--auth=trust", "--encoding=UTF8", "--locale=C",
                "--no-sync", "--no-instructions",
            )  # fmt: skip
        else:
            self._programs.run(
                "pg_basebackup", "--pgdata", self._data, "--dbname", of.url(), "--checkpoint=fast", "--no-sync",
                *(["--write-recovery-conf"] if follows else []),
            )  # fmt: skip
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            self.port = probe.getsockname()[1]
        lines = [*_SETTINGS, f"port = {self.port}", f"fsync = {'on' if durable else 'off'}"]
        with (self._data / "postgresql.conf").open("a") as settings:
            settings.write("\n".join(lines) + "\n")
        self._schemas = count(1)
        self._used: list[str] = []
        self.start()

    def url(self, database: str = "postgres", *, user: str = "perdure", port: int = 0, **options: str) -> str:
        """The URL of a database."""
        query = "&".join(f"{key}={value}" for key, value in options.items())
        return f"postgresql://{user}@127.0.0.1:{port or self.port}/{database}" + (f"?{query}" if query else "")

    def connect(self, database: str = "postgres", **options: Any) -> "psycopg.Connection[Any]":
        """A connection of the test's own, each statement for itself."""
        return psycopg.connect(self.url(database), autocommit=True, **options)

    def create_database(self, name: str) -> None:
        """Another database."""
        self._programs.run("createdb", "--host=127.0.0.1", f"--port={self.port}", "--username=perdure", name)

    def take_schema(self) -> str:
        """The name of a schema with nothing in it; perhaps one that was emptied, as making one takes a while."""
        if not self._used:
            return f"s{next(self._schemas)}"
        schema = self._used.pop()
        # None of them, where a test has opened no store after all.
        found = self._sweeper.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", [schema]).fetchall()
        there = {name for (name,) in found}.intersection(TABLES)
        emptied = sql.SQL("; ").join(sql.SQL("DELETE FROM {}").format(sql.Identifier(schema, name)) for name in there)
        self._sweeper.execute(emptied, prepare=False)
        return schema

    def give_schema_back(self, schema: str) -> None:
        """A schema whose tables are as they were made, or not made yet, may be used again."""
        self._used.append(schema)

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        self._programs.run("pg_ctl", "start", "--wait", "--pgdata", self._data, "--log", self._log)

    def restart_with_a_small_disk(self, megabytes: int) -> Path:
        """Give it a disk of its own that is so small, mounted where nobody else sees it; returns where.

        Raises:
            ClusterError: This machine does not let its users mount anything.
        """
        pid = (self._data / "postmaster.pid").read_text().splitlines()[0]
        pg_ctl = Path(f"/proc/{pid}/exe").readlink().with_name("pg_ctl")
        self.stop("fast")
        disk = self.folder / "disk"
        disk.mkdir()
        self._programs.give(disk)
        # Whoever mounts is root in a namespace of its own, and as root the server refuses to run.
        script = f'mount -t tmpfs -o size={megabytes}m,mode=777 tmpfs "$0" && exec unshare --user --map-user=1000 "$@"'
        self._programs.run(
            "/usr/bin/unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, disk,
            pg_ctl, "start", "--wait", "--pgdata", self._data, "--log", self._log,
        )  # fmt: skip
        return disk

    def stop(self, mode: str = "immediate") -> None:
        """Stop it: "fast" is in order, "immediate" is a crash."""
        self._programs.run("pg_ctl", "stop", "--wait", "--pgdata", self._data, "--mode", mode)

    def promote(self) -> None:
        """Let a standby take writes, and wait until it does."""
        self._programs.run("pg_ctl", "promote", "--wait", "--pgdata", self._data)

    def replicate_synchronously(self) -> None:
        """Acknowledge a commit only when a standby has it, too; waits for the standby."""
        with self.connect() as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            connection.execute("SELECT pg_reload_conf()")
            while not connection.execute("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'").fetchall():
                pass

    def catch_up_with(self, primary: "Server") -> None:
        """Wait until a standby has all that its primary has now."""
        with primary.connect() as connection:
            [(reached,)] = connection.execute("SELECT pg_current_wal_flush_lsn()::text").fetchall()
        with self.connect() as connection:
            there = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
            while not connection.execute(there, [reached]).fetchall()[0][0]:
                pass

    def stop_receiving(self) -> None:
        """Let a standby hear no more of its primary."""
        with self.connect() as connection:
            connection.execute("ALTER SYSTEM SET primary_conninfo = ''")
            connection.execute("SELECT pg_reload_conf()")
            while connection.execute("SELECT 1 FROM pg_stat_wal_receiver").fetchall():
                pass

    def reload(self) -> None:
        """Let it read its settings again."""
        self._programs.run("pg_ctl", "reload", "--pgdata", self._data)

    def write(self, name: str, text: str) -> None:
        """Replace one of its files of settings."""
        (self._data / name).write_text(text)

    @property
    def log(self) -> str:
        """What it has logged."""
        return self._log.read_text(errors="replace")

    @cached_property
    def _sweeper(self) -> "psycopg.Connection[Any]":
        """Empties schemas: whoever is new has to learn the catalogue first, which takes longer than the rest."""
        return self.connect()

    def remove(self) -> None:
        """Stop it if it runs, and leave nothing."""
        if "_sweeper" in vars(self):
            self._sweeper.close()
        pid_file = self._data / "postmaster.pid"
        if pid_file.exists():
            with suppress(ProcessLookupError):
                os.kill(int(pid_file.read_text().splitlines()[0]), signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)
