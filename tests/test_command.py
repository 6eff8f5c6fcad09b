"""The installed command says which version it is."""

import subprocess
import sys

import perdure


def test_the_command_says_its_version_and_where_to_read_on() -> None:
    said = subprocess.run([sys.executable, "-m", "perdure"], capture_output=True, text=True, check=True).stdout

    assert said.startswith(f"perdure {perdure.__version__} ")
    assert "README.md" in said
