"""The command line's page is complete: every command, every option, every field of the JSON, every exit status."""

import dataclasses
import re
from datetime import UTC, datetime

import click
import pytest

from perdure import (
    ActivityQueue,
    ErrorInfo,
    Event,
    ExecutionStatus,
    HeldActivity,
    InstanceCount,
    InstanceStatus,
    ScheduleStatus,
    WorkerStatus,
)
from perdure._events import Event as Stored
from perdure.cli import exits
from perdure.cli.app import COMMANDS, cli
from perdure.cli.timeline import Step, timeline_of
from tests.docs.pages import ROOT, Page

PAGE = Page(ROOT / "docs" / "reference" / "cli.md")
SECTION = re.compile(r"^### (?P<heading>[^\n]+)\n(?P<text>.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
SECTIONS = {match["heading"]: match["text"] for match in SECTION.finditer(PAGE.text)}


FILTERS = PAGE.text.partition("\n## Filters\n")[2].partition("\n## ")[0]


def options_in(text: str) -> set[str]:
    """Those that a table describes."""
    return set(re.findall(r"^\| `(--[\w-]+)` \|", text, re.MULTILINE))


def all_commands(names=COMMANDS) -> dict[str, click.Command]:
    """Those of groups too, by their full names."""
    found = {}
    for name in names:
        command = cli.get_command(click.Context(cli), name)
        if isinstance(command, click.Group):
            found |= {f"{name} {each}": member for each, member in command.commands.items()}
        else:
            found[name] = command
    return found


ALL = all_commands()
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
OF_ALL = {"--help", "--url", "--json"}


def options_of(command: click.Command) -> set[str]:
    return {name for each in command.params for name in each.opts if name.startswith("--")}


def test_every_command_has_a_section_and_there_are_no_others():
    assert {heading for heading in SECTIONS if heading.startswith("`")} == {f"`perdure {name}`" for name in ALL}


@pytest.mark.parametrize("name", list(ALL))
def test_every_option_of_a_command_is_described_and_no_other(name):
    section = SECTIONS[f"`perdure {name}`"]
    described = options_in(section) | (options_in(FILTERS) if "[filters](#filters)" in section else set())

    assert described - OF_ALL == options_of(ALL[name]) - OF_ALL


@pytest.mark.parametrize("name", list(ALL))
def test_the_command_s_arguments_are_shown_as_its_help_shows_them(name):
    command = ALL[name]
    arguments = [
        each.make_metavar(click.Context(command)) for each in command.params if isinstance(each, click.Argument)
    ]

    if arguments:
        assert f"`perdure {name} {' '.join(arguments)}`" in SECTIONS[f"`perdure {name}`"]


def test_every_command_on_a_store_takes_the_same_two_options():
    for name, command in ALL.items():
        assert "--json" in options_of(command), name
        assert ("--url" in options_of(command)) == (name != "new"), name


@pytest.mark.parametrize(
    ("heading", "cls", "more"),
    [
        ("Instance", InstanceStatus, {"is_closed"} | {field.name for field in dataclasses.fields(ErrorInfo)}),
        ("Event", Event, set()),
        ("Step", Step, {"duration_s"}),
        ("Worker", WorkerStatus, {"is_alive"}),
        ("Execution", ExecutionStatus, set()),
        ("Count", InstanceCount, set()),
        ("Queue", ActivityQueue, set()),
        ("Schedule", ScheduleStatus, set()),
        ("Held activity", HeldActivity, set()),
    ],
)
def test_every_field_is_listed(heading, cls, more):
    fields = {field.name for field in dataclasses.fields(cls)} | more
    listed = set(re.findall(r"`([a-z_]+)`", re.sub(r"\(`start`.*?`end`\)", "", SECTIONS[heading], flags=re.DOTALL)))

    assert listed - {"null"} == fields


def test_every_kind_of_step_is_listed():
    listed = re.search(r"`kind` \((.*?)\)", SECTIONS["Step"], re.DOTALL)
    events = [Event(1, cls.__name__, NOON, None, None, _Anything()) for cls in Stored.__args__]

    assert listed is not None
    assert set(re.findall(r"`(\w+)`", listed[1])) == {
        step.kind for event in events for step in timeline_of([event]).steps
    }


class _Anything(dict):
    """The data of any event."""

    def __missing__(self, key):
        return 0 if key == "fire_at" else "x"


def test_every_exit_status_is_listed():
    statuses = {value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}

    assert {int(found) for found in re.findall(r"^\| (\d+) \|", PAGE.text, re.MULTILINE)} == statuses


def test_the_page_is_in_the_list_of_pages():
    assert "(reference/cli.md)" in (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
