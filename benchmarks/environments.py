"""Environments of their own for the peers, made under `.bench/` with `python -m venv` and pip.

One minor version of Python serves every side when there is one that all of them support; the peers' pins are here.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

Minor: TypeAlias = tuple[int, int]

ROOT = Path(__file__).resolve().parent.parent
BENCH = ROOT / ".bench"
LOGS = BENCH / "logs"
PREFERRED_MINORS: tuple[Minor, ...] = ((3, 12), (3, 13), (3, 14))
_INSTALL_LIMIT_S = 600
_PROBE = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"


class EnvironmentUnavailableError(Exception):
    """A peer cannot be measured here; the message says what is missing and what would mend it."""


@dataclass(frozen=True, slots=True)
class Package:
    """What one side needs: its requirements, the oldest Python it supports, and the module that runs its workloads."""

    name: str
    requirements: tuple[str, ...]
    oldest: Minor
    module: str
    stores: frozenset[str] = frozenset({"sqlite", "postgresql"})


PEERS = {
    package.name: package
    for package in (
        Package("duroxide", ("duroxide==0.2.2",), (3, 9), "benchmarks.peers.duroxide_side"),
        Package(
            "dbos",
            # Its schema needs SQLite 3.42, newer than what many interpreters carry.
            ("dbos==3.4.0", "pysqlite3-binary==0.5.4.post2; sys_platform == 'linux' and platform_machine == 'x86_64'"),
            (3, 10),
            "benchmarks.peers.dbos_side",
        ),
        Package("satay", ("satay==0.2.0",), (3, 12), "benchmarks.peers.satay_side", frozenset({"sqlite"})),
        Package(
            "absurd",
            ("absurd-sdk==0.5.1", "absurdctl==0.5.1", "psycopg[binary]==3.3.9"),
            (3, 10),
            "benchmarks.peers.absurd_side",
            frozenset({"postgresql"}),
        ),
    )
}
PERDURE = Package("perdure", ("-e", f"{ROOT}[postgres]"), (3, 11), "benchmarks.perdure.side")


def choose_minor(packages: Iterable[Package]) -> Minor:
    """The minor version for every side: the running one if all support it, else the first usable one that they do."""
    oldest = max(package.oldest for package in packages)
    running = sys.version_info[:2]
    if running >= oldest:
        return running
    for minor in PREFERRED_MINORS:
        if minor >= oldest and find_interpreter(minor) is not None:
            return minor
    return running


def find_interpreter(minor: Minor) -> Path | None:
    """An interpreter of this minor version that can make virtual environments, or None."""
    return next((path for path in _candidates(minor) if _works(path, minor)), None)


def _candidates(minor: Minor) -> Iterator[Path]:
    name = f"python{minor[0]}.{minor[1]}"
    if minor == sys.version_info[:2]:
        yield Path(sys.executable)
    on_path = shutil.which(name)
    if on_path:
        yield Path(on_path)
    # Where pyenv and uv keep the versions that are installed but not active.
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(pyenv.glob(f"versions/{minor[0]}.{minor[1]}.*/bin/{name}"), reverse=True)
    yield from sorted(Path.home().glob(f".local/share/uv/python/*{minor[0]}.{minor[1]}*/bin/{name}"), reverse=True)


def _works(path: Path, minor: Minor) -> bool:
    if not path.exists():
        return False
    answer = subprocess.run([path, "-c", _PROBE], capture_output=True, text=True, check=False, timeout=30)
    return answer.returncode == 0 and answer.stdout.strip() == f"{minor[0]}.{minor[1]}"


def prepare(package: Package, minor: Minor) -> Path:
    """The interpreter of an environment that holds the package; made on the first call, found again on the next ones.

    Raises EnvironmentUnavailableError when there is no suitable interpreter or the packages cannot be installed.
    """
    if minor < package.oldest:
        wanted = f"{package.oldest[0]}.{package.oldest[1]}"
        raise EnvironmentUnavailableError(
            f"{package.name} needs Python {wanted}; none was found on PATH: install one, or leave it out with --peers"
        )
    folder = BENCH / f"{package.name}-{minor[0]}.{minor[1]}"
    python = folder / "bin" / "python"
    stamp = folder / "requirements.stamp"
    wanted_stamp = _stamp(package)
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted_stamp:
        _compile(python, package)
        return python
    base = find_interpreter(minor)
    if base is None:
        raise EnvironmentUnavailableError(f"no working python{minor[0]}.{minor[1]} was found on PATH")
    print(f"making {folder.relative_to(ROOT)} ({' '.join(package.requirements)})", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    _run([str(base), "-m", "venv", str(folder)], package)
    _run([str(python), "-m", "pip", "install", "--disable-pip-version-check", *package.requirements], package)
    stamp.write_text(wanted_stamp, encoding="utf-8")
    _compile(python, package)
    return python


def _compile(python: Path, package: Package) -> None:
    """Compile what is installed in place: pip has compiled the peers, and a cold start would compare that."""
    if "-e" in package.requirements:
        _run([str(python), "-m", "compileall", "-q", str(ROOT / "src")], package)


def _stamp(package: Package) -> str:
    """What the environment was made from; an editable install depends on the project file too."""
    project = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest() if "-e" in package.requirements else ""
    return "\n".join((*package.requirements, project))


def _run(command: list[str], package: Package) -> None:
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / f"{package.name}-install.log"
    with log.open("ab") as sink:
        try:
            code = subprocess.run(
                command, stdout=sink, stderr=subprocess.STDOUT, check=False, timeout=_INSTALL_LIMIT_S
            ).returncode
        except subprocess.TimeoutExpired:
            code = -1
    if code != 0:
        raise EnvironmentUnavailableError(
            f"{package.name} could not be installed: `{' '.join(command)}` failed; see {log.relative_to(ROOT)}"
        )
