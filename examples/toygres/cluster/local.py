"""A cluster that is a folder of this machine: data folders, ports of the loopback interface, and real processes.

    ports/15432 -> orders-3f2a     whose port it is
    servers/orders-3f2a/           lock, data, pgpass (the password), log
    images/nightly-77b0/           lock, data, pgpass, log

Servers belong to nobody: they go on when the control plane ends or is killed, and the next one finds them.
"""

import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from psycopg import pq

from examples.toygres.activity_types import BackupStatus, Endpoint, JobState, Readiness, ServerState
from examples.toygres.cluster.errors import (
    BusyError,
    ClusterError,
    NoImageError,
    NoVolumeError,
    UnusableClusterError,
)
from examples.toygres.cluster.holds import LOCK, hold, is_held
from examples.toygres.cluster.ports import HOST, Ports
from examples.toygres.cluster.programs import Programs

PORTS = range(15432, 16432)
"""Below those that systems give to outgoing connections."""

USER = "postgres"

_LOG_SHOWN_LINES = 5
_STOP_S = 20

_ID = re.compile(r"[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?")
_SETTING = re.compile(r"[a-z_][a-z0-9_.]*")
_IMAGE_COMPLETE = "backup_manifest"  # pg_basebackup writes it last


class LocalCluster:
    """Servers and images of this machine, in one folder; any number of processes may use it at once.

    Args:
        folder: Where everything is; made if need be.
        ports: The ports that servers may get.
        durable: Whether the servers sync what they commit to the disk.
        user_when_root: Who runs PostgreSQL where Toygres runs as root.

    Raises:
        UnusableClusterError: Servers can't run here.
    """

    def __init__(
        self, folder: Path, *, ports: range = PORTS, durable: bool = True, user_when_root: str = "nobody"
    ) -> None:
        self.folder = folder.resolve()
        self._servers = self.folder / "servers"
        self._images = self.folder / "images"
        self._durable = durable
        for each in (self._servers, self._images, self.folder / "ports"):
            each.mkdir(parents=True, exist_ok=True)
        self._ports = Ports(self.folder / "ports", ports)
        self._programs = Programs(self.folder, user_when_root=user_when_root)
        self._programs.check(self._servers)

    def prepare_volume(self, server_id: str, image_id: str | None) -> None:
        """See `Cluster.prepare_volume`."""
        folder = self._server(server_id)
        self._make(folder)
        if (folder / "data").exists():
            return
        with hold(folder) as lock:
            unfinished = folder / "data.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            if image_id is None:
                self._initialise(folder, unfinished, lock)
            else:
                self._copy_image(self._image(image_id), folder, unfinished, lock)
            unfinished.rename(folder / "data")

    def start(self, server_id: str, settings: Mapping[str, str]) -> None:
        """See `Cluster.start`."""
        folder = self._server(server_id)
        options = _options(settings)
        if not (folder / "data").exists():
            raise NoVolumeError(f"server {server_id!r} has no data")
        with _unless_gone(server_id):
            if is_held(folder):
                return
            with hold(folder) as lock:
                # Of a server that was killed; that nothing of it is alive is what the lock has just proved.
                (folder / "data" / "postmaster.pid").unlink(missing_ok=True)
                port = self._ports.reserve(server_id)
                options += _options({
                    "port": str(port),
                    "listen_addresses": HOST,
                    "unix_socket_directories": "",
                    "fsync": "on" if self._durable else "off",
                })  # fmt: skip
                self._programs.launch(
                    "postgres", "-D", folder / "data", *options, log=folder / "log", lock=lock
                )  # fmt: skip

    def readiness(self, server_id: str) -> Readiness:
        """See `Cluster.readiness`."""
        folder = self._server(server_id)
        try:
            alive = is_held(folder)
        except FileNotFoundError:
            return Readiness(ServerState.ABSENT, "it has no folder")
        port = self._ports.find(server_id)
        if not alive or port is None:
            return Readiness(ServerState.DEAD, _end_of(folder / "log"))
        answer = pq.Ping(pq.PGconn.ping(f"host={HOST} port={port} connect_timeout=5".encode()))
        if answer is pq.Ping.OK:
            return Readiness(ServerState.READY)
        return Readiness(ServerState.STARTING, f"PQping says {answer.name}")

    def endpoint(self, server_id: str) -> Endpoint:
        """See `Cluster.endpoint`."""
        port = self._ports.find(server_id)
        if port is None:
            raise NoVolumeError(f"server {server_id!r} has no port")
        return Endpoint(HOST, port, USER, "postgres", str(self._server(server_id) / "pgpass"))

    def remove(self, server_id: str, *, urgently: bool = False) -> None:
        """See `Cluster.remove`."""
        folder = self._server(server_id)
        try:
            with hold(folder) as lock:
                self._free_memory(folder / "data", lock)
                _remove_folder(folder)
        except BusyError:
            self._stop(folder / "data", "immediate" if urgently else "fast")
            raise
        except FileNotFoundError:
            # Removed, or as good as: who removed the lock did so while nothing was alive here.
            _remove_folder(folder)
        self._ports.release(server_id)

    def start_backup(self, server_id: str, image_id: str) -> None:
        """See `Cluster.start_backup`."""
        endpoint = self.endpoint(server_id)
        folder = self._image(image_id)
        self._make(folder)
        if (folder / "data" / _IMAGE_COMPLETE).exists() or is_held(folder):
            return
        with hold(folder) as lock:
            shutil.rmtree(folder / "data", ignore_errors=True)
            self._copy_secret(self._server(server_id), folder)
            self._programs.launch(
                "pg_basebackup", "--pgdata", folder / "data", "--wal-method=stream", "--checkpoint=fast",
                "--host", endpoint.host, "--port", str(endpoint.port), "--username", endpoint.user, "--no-password",
                "--sync-method=fsync" if self._durable else "--no-sync",
                log=folder / "log", lock=lock, environment={"PGPASSFILE": str(folder / "pgpass")},
            )  # fmt: skip

    def backup(self, image_id: str) -> BackupStatus:
        """See `Cluster.backup`."""
        folder = self._image(image_id)
        try:
            running = is_held(folder)
        except FileNotFoundError:
            return BackupStatus(JobState.FAILED, detail="it was never begun, or is removed")
        if running:
            return BackupStatus(JobState.RUNNING)
        if not (folder / "data" / _IMAGE_COMPLETE).exists():
            return BackupStatus(JobState.FAILED, detail=_end_of(folder / "log"))
        return BackupStatus(JobState.DONE, sum(each.lstat().st_size for each in (folder / "data").rglob("*")))

    def remove_image(self, image_id: str) -> None:
        """See `Cluster.remove_image`."""
        folder = self._image(image_id)
        try:
            with hold(folder):
                _remove_folder(folder)
        except FileNotFoundError:
            _remove_folder(folder)

    def _server(self, server_id: str) -> Path:
        return self._servers / _checked("server", server_id)

    def _image(self, image_id: str) -> Path:
        return self._images / _checked("image", image_id)

    def _make(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / LOCK).touch(mode=0o600)
        self._programs.give(folder)

    def _initialise(self, folder: Path, data: Path, lock: int) -> None:
        password = secrets.token_urlsafe(24)
        for name, text in (("pgpass", f"{HOST}:*:*:{USER}:{password}\n"), ("password", password)):
            (folder / name).unlink(missing_ok=True)
            (folder / name).touch(mode=0o600)
            (folder / name).write_text(text, encoding="utf-8")
            self._programs.give(folder / name)
        self._programs.run(
            "initdb", "--pgdata", data, "--username", USER, "--pwfile", folder / "password",
            "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            # Kept in the data folder, so that a server which is killed leaves nothing in the system's.
            "--set=dynamic_shared_memory_type=mmap",
            *(() if self._durable else ("--no-sync", "--wal-segsize=1")),
            lock=lock,
        )  # fmt: skip
        (folder / "password").unlink()

    def _copy_image(self, image: Path, folder: Path, data: Path, lock: int) -> None:
        if not (image / "data" / _IMAGE_COMPLETE).exists():
            raise NoImageError(f"there is no image {image.name!r}, or it is not complete")
        self._copy_secret(image, folder)
        # A program rather than shutil: it runs as the one who owns the data, and holds the lock when this worker dies.
        self._programs.run("/bin/cp", "-Rp", image / "data", data, lock=lock)

    def _copy_secret(self, source: Path, target: Path) -> None:
        (target / "pgpass").unlink(missing_ok=True)
        (target / "pgpass").touch(mode=0o600)
        (target / "pgpass").write_bytes((source / "pgpass").read_bytes())
        self._programs.give(target / "pgpass")

    def _stop(self, data: Path, how: str) -> None:
        if (data / "postmaster.pid").exists():
            self._programs.run("pg_ctl", "stop", "--pgdata", data, "--mode", how, "--timeout", str(_STOP_S))

    def _free_memory(self, data: Path, lock: int) -> None:
        """Let PostgreSQL free the shared memory of a server that was killed: the system keeps a piece of it."""
        pid_file = data / "postmaster.pid"
        if not pid_file.exists():
            return
        pid_file.unlink()
        try:
            self._programs.run("postgres", "--single", "-D", data, "template1", lock=lock)
        except ClusterError:
            # Data that can't be opened any more have to go all the same.
            return


@contextmanager
def _unless_gone(server_id: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NoVolumeError(f"server {server_id!r} was removed meanwhile") from error


def _checked(what: str, given: str) -> str:
    # It becomes the name of a folder, so nothing that leads elsewhere may pass.
    if not _ID.fullmatch(given):
        raise UnusableClusterError(f"{given!r} is no id of a {what}: use up to 64 small letters, digits and dashes")
    return given


def _options(settings: Mapping[str, str]) -> list[str]:
    for name in settings:
        if not _SETTING.fullmatch(name):
            raise UnusableClusterError(f"{name!r} is no name of a PostgreSQL setting")
    return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]


def _end_of(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return "it has left no log"
    return "\n".join(lines[-_LOG_SHOWN_LINES:])


def _remove_folder(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
