"""The installed command: its version, its help, and one sentence where its libraries are missing."""

import subprocess
import sys

import pytest

import perdure


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)


def test_the_command_says_its_version():
    said = run("-m", "perdure", "--version")

    assert said.stdout == f"perdure {perdure.__version__} on Python {sys.version.split()[0]}\n"


def test_the_command_alone_shows_its_help():
    alone, asked = run("-m", "perdure"), run("-m", "perdure", "--help")

    assert (alone.returncode, alone.stderr) == (0, "")
    assert alone.stdout == asked.stdout
    assert "Run a worker until Ctrl-C." in alone.stdout


@pytest.mark.parametrize("library", ["click", "rich"])
def test_without_the_extra_one_sentence_names_it(library):
    code = f"import sys; sys.modules[{library!r}] = None; from perdure.__main__ import main; sys.exit(main())"

    said = run("-c", code, "list")

    assert (said.returncode, said.stdout) == (1, "")
    assert said.stderr == "perdure: the command line needs the extra `cli`: pip install 'perdure[cli]'\n"


def test_the_library_is_imported_without_the_command_s_libraries():
    code = "import sys, perdure.testing; print([name for name in ('click', 'rich') if name in sys.modules])"

    assert run("-c", code).stdout == "[]\n"


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["lst"], ["list"]])
def test_only_what_a_command_needs_is_imported(arguments):
    code = f"import sys; from perdure.cli.app import main; main({arguments}); print('perdure._runtime' in sys.modules)"

    assert run("-c", code).stdout.endswith(f"{arguments == ['lst']}\n")


def test_what_is_drawn_for_nobody_needs_no_drawing():
    code = "import sys; from perdure.cli.app import main; main(['--version']); print('rich' in sys.modules)"

    assert run("-c", code).stdout.endswith("False\n")
