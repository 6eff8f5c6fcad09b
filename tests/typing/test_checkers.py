"""What mypy and pyright make of the public surface: programs pass, mistakes are seen."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from perdure._registry import Registry

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# What users import and what they write.
PUBLIC = [str(ROOT / "src" / "perdure" / "__init__.py"), str(HERE)]
MISTAKE = re.compile(r"# type: ignore\[[\w, -]+\]  # pyright: ignore\[[\w, ]+\] - a mistake$", re.MULTILINE)


def checked(*command: str) -> str:
    """What the checker found; an empty string if nothing."""
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_mypy_passes_the_programs_and_sees_the_mistakes() -> None:
    assert not checked("mypy", "--strict", "--warn-unused-ignores", *PUBLIC)


def test_pyright_passes_the_programs_and_sees_the_mistakes(tmp_path: Path) -> None:
    config = tmp_path / "pyrightconfig.json"
    settings = {
        "include": PUBLIC,
        "extraPaths": [str(ROOT), str(ROOT / "src")],
        "typeCheckingMode": "standard",
        # The mistakes have an ignore comment for each checker; this one is to read its own only.
        "enableTypeIgnoreComments": False,
        "reportUnnecessaryTypeIgnoreComment": "error",
    }
    config.write_text(json.dumps(settings))
    assert not checked("basedpyright", "--project", str(config), "--pythonpath", sys.executable)


def test_there_are_mistakes_to_see() -> None:
    assert len(MISTAKE.findall((HERE / "mistakes.py").read_text())) >= 31


@pytest.mark.parametrize("program", ["saga", "approval", "actor", "cart", "fan_out", "web_app", "seed_layout.registry"])
def test_each_program_registers(program: str) -> None:
    module = importlib.import_module(f"tests.typing.{program}")
    registry = getattr(module, "registry", None) or Registry(module)
    assert registry.orchestrations


def test_the_seed_layout_has_its_names_and_versions() -> None:
    registry = importlib.import_module("tests.typing.seed_layout.registry").registry
    assert list(registry.activities) == ["toygres::activity::test-connection", "toygres::activity::deploy"]
    assert list(registry.orchestrations["toygres::orchestration::create-instance"]) == ["1.0.0", "1.0.1"]
    assert list(registry.orchestrations["toygres::orchestration::instance-actor"]) == ["1.0.0"]
