"""The installed command says which version it is."""

import subprocess
import sys
from importlib.metadata import version


def test_the_command_says_its_version_and_where_to_read_on() -> None:
    said = subprocess.run([sys.executable, "-m", "perdure"], capture_output=True, text=True, check=True).stdout

    assert said.startswith(f"perdure {version('perdure')} ")
    assert "README.md" in said
