"""Check what depends on the interpreter (core, codec, API, typing, tasks) on one more version of Python.

`python -m tools.interpreters 3.12` finds that interpreter, makes the virtual environment .venv-3.12 when
pyproject.toml has changed since the last time, and runs the tests in it. An interpreter that is missing is a failure
where CI=true, and a printed line elsewhere.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tools import environments

ROOT = Path(__file__).resolve().parent.parent
ROOMS = (
    "activities",
    "api",
    "codec",
    "context",
    "core",
    "definitions",
    "events",
    "registry",
    "retry",
    "types",
    "typing",
    # The codec's, but kept from where coverage is taken: drawing values takes long, and there three times as long.
    "fuzz/test_round_trips.py",
)
NOTHING_COLLECTED = 5


def candidates(version: str, environment: dict[str, str]) -> Iterator[Path]:
    """Where an interpreter may be: on the PATH, then among pyenv's.

    Args:
        version: Major and minor, as in "3.12".
        environment: The environment to look in, as `os.environ`.

    Yields:
        Files that may or may not exist or work; a pyenv shim on the PATH often exists and only prints an error.
    """
    for folder in environment.get("PATH", "").split(os.pathsep):
        if folder:
            yield Path(folder) / f"python{version}"
    root = environment.get("PYENV_ROOT") or Path(environment.get("HOME", "/")) / ".pyenv"
    yield from sorted(Path(root).glob(f"versions/{version}.*/bin/python"))


def works(python: Path, version: str) -> bool:
    """Whether a file is an interpreter of this version that starts and can make virtual environments."""
    question = "import sys, venv; print('%d.%d' % sys.version_info[:2])"
    try:
        answer = subprocess.run([python, "-c", question], capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0 and answer.stdout.strip() == version


def find(version: str, environment: dict[str, str]) -> Path | None:
    """The first working interpreter of a version, or None."""
    return next((python for python in candidates(version, environment) if works(python, version)), None)


def prepared(version: str, python: Path) -> Path:
    """The interpreter of an up-to-date virtual environment for this version, made when there is none.

    Raises:
        subprocess.CalledProcessError: The project could not be installed.
    """
    venv = ROOT / f".venv-{version}"
    inside, stamp, project = venv / "bin" / "python", venv / ".stamp", ROOT / "pyproject.toml"
    # One without its stamp was broken off while it was made, and may lack anything.
    if not stamp.exists() or not works(inside, version):
        shutil.rmtree(venv, ignore_errors=True)
    if not stamp.exists() or stamp.stat().st_mtime < project.stat().st_mtime:
        environments.made(venv, python, "tests")
        stamp.touch()
    return inside


def checked(version: str, python: Path) -> int:
    """Run the tests on one version; those of tests/typing run the type checkers on it, too.

    Returns:
        pytest's exit status.
    """
    folders = [f"tests/{room}" for room in ROOMS if (ROOT / "tests" / room).exists()]
    # Of a failure this tells the line, not the values, and costs a quarter less.
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--assert=plain", *folders]
    status = subprocess.run(command, check=False, cwd=ROOT).returncode
    if status == NOTHING_COLLECTED:
        print(f"python{version}: no test was found in {', '.join(folders)}", flush=True)
    return status


def main() -> int:
    """Run the tests on the version given on the command line.

    Returns:
        0 when everything passes, or when the interpreter is missing outside CI; something else otherwise.
    """
    version = sys.argv[1]
    python = find(version, dict(os.environ))
    if python is None:
        demanded = os.environ.get("CI") == "true"
        verdict = "which CI must have: install it" if demanded else "so its tests did not run"
        print(f"python{version} is missing (neither on the PATH nor under ~/.pyenv/versions), {verdict}", flush=True)
        return int(demanded)
    return checked(version, prepared(version, python))


if __name__ == "__main__":
    sys.exit(main())
