"""Finding the other interpreters: a shim that exists is not yet an interpreter, and CI takes no excuse."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.scripts import script
from tools import interpreters

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def shim(tmp_path: Path) -> Path:
    """What pyenv leaves on the PATH for a version that is installed but not selected."""
    return script(tmp_path / "shims" / f"python{HERE}", f"echo 'python{HERE}: command not found' >&2; exit 127")


@pytest.fixture
def pyenv(tmp_path: Path) -> Path:
    return script(
        tmp_path / "home" / ".pyenv" / "versions" / f"{HERE}.0" / "bin" / "python", f'exec {sys.executable} "$@"'
    )


def test_an_interpreter_behind_a_broken_shim_is_found_among_pyenvs_versions(shim: Path, pyenv: Path) -> None:
    environment = {"PATH": str(shim.parent), "HOME": str(pyenv.parents[4])}

    assert interpreters.find(HERE, environment) == pyenv


def test_an_interpreter_on_the_path_comes_first(tmp_path: Path, pyenv: Path) -> None:
    on_path = script(tmp_path / "bin" / f"python{HERE}", f'exec {sys.executable} "$@"')
    environment = {"PATH": str(on_path.parent), "HOME": str(pyenv.parents[4])}

    assert interpreters.find(HERE, environment) == on_path


def test_an_interpreter_of_another_version_does_not_count(tmp_path: Path) -> None:
    impostor = script(tmp_path / "bin" / "python3.99", f'exec {sys.executable} "$@"')

    assert interpreters.find("3.99", {"PATH": str(impostor.parent), "HOME": str(tmp_path)}) is None


@pytest.mark.parametrize(
    ("ci", "status", "words"),
    [
        pytest.param("true", 1, "CI must have", id="a failure in CI"),
        pytest.param("", 0, "its tests did not run", id="a printed line at home"),
    ],
)
def test_a_missing_interpreter_is(tmp_path: Path, ci: str, status: int, words: str) -> None:
    command = [sys.executable, "-m", "tools.interpreters", "3.99"]
    environment = {"PATH": str(tmp_path), "HOME": str(tmp_path), "CI": ci}

    ended = subprocess.run(command, cwd=interpreters.ROOT, env=environment, capture_output=True, text=True, check=False)

    assert ended.returncode == status
    assert "python3.99 is missing" in ended.stdout
    assert words in ended.stdout


def test_an_environment_that_was_broken_off_while_it_was_made_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given: an environment that has a Python and half of a package, as a kill while it was filled leaves it
    monkeypatch.setattr(interpreters, "ROOT", tmp_path)
    monkeypatch.setattr(interpreters.environments, "HOME", tmp_path / ".venv")
    (tmp_path / "pyproject.toml").touch()
    script(tmp_path / ".venv" / "bin" / "uv", "")
    half = script(tmp_path / f".venv-{HERE}" / "lib" / "half.py", "")
    script(tmp_path / f".venv-{HERE}" / "bin" / "python", f'exec {sys.executable} "$@"')

    # when
    inside = interpreters.prepared(HERE, Path(sys.executable))

    # then
    assert interpreters.works(inside, HERE)
    assert not half.exists()
    assert (inside.parents[1] / ".stamp").exists()
