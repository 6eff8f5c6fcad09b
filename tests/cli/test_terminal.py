"""On a terminal there are colours and headings, unless NO_COLOR says otherwise; in a pipe there are neither."""

import os
import pty
import re
import subprocess

import pytest

from tests.cli.conftest import until
from tests.cli.processes import PATIENCE_S, PERDURE, environment, perdure


def on_a_terminal(*arguments: str, folder, **more: str) -> str:
    """What a command writes to a terminal of 100 columns."""
    ours, theirs = pty.openpty()
    settings = environment(TERM="xterm-256color", **{"COLUMNS": "100", **more})
    process = subprocess.Popen([*PERDURE, *arguments], cwd=folder, env=settings, stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = b""
    try:
        while chunk := os.read(ours, 65536):
            said += chunk
    except OSError:
        pass  # Linux ends a terminal that nobody holds any more so
    finally:
        os.close(ours)
    assert process.wait(PATIENCE_S) == 0
    return said.decode().replace("\r\n", "\n")


@pytest.fixture
def store(folder, worker, request):
    """A store with one that waits and one that failed."""
    command = request.getfixturevalue("perdure")
    command("start", "approval", "--id", "waiting")
    command("start", "payment", "--id", "failing", "--wait", "--", "-1")
    until("waiting", lambda status: status.version is not None)
    return folder


def test_a_terminal_gets_headings_and_colours(store):
    said = on_a_terminal("list", folder=store)

    assert "ORCHESTRATION" in said
    assert "\x1b[1;31mfailed" in said
    assert "\x1b[36mrunning" in said
    assert "  approval  " in said


@pytest.mark.parametrize(("columns", "lines"), [("100", 3), ("60", 5)])
def test_a_table_leaves_ids_whole_and_cuts_remarks_to_the_width(store, request, columns, lines):
    said = on_a_terminal("list", folder=store, COLUMNS=columns)
    said = re.sub(r"\x1b\[[\d;]*m", "", said).splitlines()

    assert len(said) == lines
    assert max(map(len, said)) <= int(columns)
    assert [line.split()[0] for line in said if line.startswith(("failing", "waiting"))] == ["failing", "waiting"]


def test_no_color_is_obeyed(store):
    for command in (("list",), ("show", "failing"), ("history", "failing"), ("workers",)):
        said = on_a_terminal(*command, folder=store, NO_COLOR="1")

        assert "\x1b[3" not in said
        assert "\x1b[9" not in said


def test_the_page_of_an_instance_is_coloured_too(store):
    said = on_a_terminal("show", "failing", folder=store)

    assert "\x1b[1;31mfailed" in said
    assert "Timeline" in said


def test_a_pipe_gets_no_colours_unless_they_are_forced(store):
    plain = perdure("show", "failing", folder=store).stdout
    forced = perdure("show", "failing", folder=store, FORCE_COLOR="1").stdout

    assert "\x1b" not in plain
    assert "\x1b[1;31mfailed" in forced


def test_data_is_neither_markup_nor_commands_on_a_terminal(store, request):
    request.getfixturevalue("perdure")(
        "start", "echo", r'"[bold]x[/bold] :smile: \u001b[2J\u009b2J"', "--id", "evil", "--wait"
    )

    for command in (("list",), ("show", "evil"), ("history", "evil", "--full"), ("show", "evil", "--json")):
        said = on_a_terminal(*command, folder=store).replace("\n", "")
        assert "\x1b[2J" not in said
        assert "\x9b" not in said
        assert "[bold]x[/bold] :smile:" in said or command == ("list",)


def test_whoever_reads_only_the_beginning_is_no_error(store, request):
    request.getfixturevalue("perdure")("start", "echo", '"' + "x" * 500_000 + '"', "--id", "long", "--wait")
    process = subprocess.Popen(
        [*PERDURE, "history", "long", "--full"],
        cwd=store,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(10)
    process.stdout.close()

    assert process.stderr.read() == b""
    assert process.wait(PATIENCE_S) == 1
    process.stderr.close()


def test_ctrl_c_while_waiting_is_no_traceback(store):
    process = subprocess.Popen(
        [*PERDURE, "start", "approval", "--id", "new", "--wait"],
        cwd=store,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until_it_is_there(store)
    process.send_signal(2)
    out, err = process.communicate(timeout=PATIENCE_S)

    assert (process.returncode, out, err) == (130, "", "\nperdure: interrupted\n")


def until_it_is_there(folder) -> None:
    """Wait until another process has started the instance "new"."""
    while perdure("show", "new", folder=folder).returncode != 0:
        pass


def test_a_terminal_without_utf_8_shows_codes_instead_of_failing(store, request):
    request.getfixturevalue("perdure")("start", "echo", '"漢字"', "--id", "far", "--wait")

    said = perdure("show", "far", folder=store, PYTHONIOENCODING="latin-1")

    assert said.returncode == 0
    assert "\\u6f22\\u5b57" in said.stdout
