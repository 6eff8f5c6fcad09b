"""Making the virtual environments: uv does it, and where uv can't, pip."""

import sys
from pathlib import Path

import pytest

from tests.scripts import script
from tools import environments


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the environment's own Python was asked to do: as it has no pip, another's is run in it."""
    monkeypatch.setattr(environments, "HOME", tmp_path / ".venv")
    script(tmp_path / "other" / "bin" / "python", f'echo "$@" >> {tmp_path}/told')
    return tmp_path / "told"


def test_uv_installs(tmp_path: Path, told: Path) -> None:
    script(tmp_path / ".venv" / "bin" / "uv", f'echo "uv $@" >> {told}')

    inside = environments.made(tmp_path / "other", sys.executable, "tests")

    assert told.read_text().splitlines() == [f"uv pip install --quiet --python {inside} -e {environments.ROOT}[tests]"]


def test_pip_installs_what_uv_cannot(tmp_path: Path, told: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script(tmp_path / ".venv" / "bin" / "uv", "exit 2")

    inside = environments.made(tmp_path / "other", sys.executable, "tests")

    assert f"--no-compile -e {environments.ROOT}[tests]" in told.read_text()
    assert f"uv could not install tests for {inside}; pip does" in capsys.readouterr().out


def test_uv_is_installed_where_it_is_missing(tmp_path: Path, told: Path) -> None:
    # given: a .venv whose pip leaves a uv there
    uv = tmp_path / ".venv" / "bin" / "uv"
    script(uv.with_name("python"), f'echo "pip $@" >> {told}; cp {script(tmp_path / "uv", "")} {uv}')

    environments.made(tmp_path / "other", sys.executable, "tests")

    assert told.read_text().rstrip().endswith("--no-compile uv pip")


def test_an_environment_that_is_there_is_kept(tmp_path: Path, told: Path) -> None:
    script(tmp_path / ".venv" / "bin" / "uv", "")
    kept = script(tmp_path / "other" / "kept", "")

    environments.made(tmp_path / "other", "/no/such/python", "tests")

    assert kept.exists()
