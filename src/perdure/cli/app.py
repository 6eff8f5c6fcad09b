"""The command itself: its group, and how every ending becomes a number and a sentence."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from io import TextIOWrapper
from typing import TYPE_CHECKING

import click

from perdure import PerdureError, UsageError, __version__
from perdure.cli.exits import DONE, FAILED, INTERRUPTED, MISUSED, Refusal
from perdure.cli.output import note

if TYPE_CHECKING:
    from collections.abc import Sequence

_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


# What each command is for, and where it is; in the order in which one meets them.
COMMANDS = {
    "new": ("project:new", "Make a project that runs, in a new folder."),
    "worker": ("working:worker", "Run a worker until Ctrl-C."),
    "start": ("steering:start", "Start an orchestration."),
    "wait": ("steering:wait", "Wait for an instance's end; its result."),
    "list": ("listing:list_", "List instances, the newest first."),
    "show": ("showing:show", "Where an instance stands, and what happened."),
    "history": ("showing:history", "The events of an instance as they are stored."),
    "tree": ("overview:tree", "An instance and everything below it."),
    "executions": ("overview:executions", "The executions of an instance."),
    "count": ("overview:count", "How many instances there are, by status."),
    "queues": ("overview:queues", "What waits, and for how long."),
    "limits": ("overview:limits", "The limits by key that are in use, and by whom."),
    "workers": ("listing:workers", "List the workers and what they can run."),
    "raise": ("steering:raise_", "Raise an external event in an instance."),
    "cancel": ("steering:cancel", "Ask instances to cancel."),
    "terminate": ("steering:terminate", "End instances at once."),
    "suspend": ("mending:suspend", "Set instances aside until they are resumed."),
    "resume": ("mending:resume", "Let suspended or held instances go on."),
    "held": ("mending:held", "List what is held, and why."),
    "retry": ("mending:retry", "Try again what is held."),
    "resolve": ("mending:resolve", "Say what came of a held activity."),
    "discard": ("mending:discard", "Give up what is held."),
    "rewind": ("mending:rewind", "Let failed instances go on from before they failed."),
    "reset": ("going_back:reset", "Let an instance go on from an earlier event."),
    "fork": ("going_back:fork", "Make an instance with the past of another one."),
    "delete": ("steering:delete", "Delete instances that have ended."),
    "purge": ("removing:purge", "Delete all instances that match."),
    "prune": ("removing:prune", "Delete past executions of instances."),
    "export": ("moving:export", "Write instances to a file."),
    "import": ("moving:import_", "Take in instances from a file."),
    "move": ("moving:move", "Move instances to another store."),
    "schedule": ("schedules:schedule", "Start orchestrations by the calendar: make, list and steer schedules."),
}


# What a newcomer writes who knows other tools, and the command that does it here.
_MEANT = {
    **dict.fromkeys(("status", "describe", "get", "info", "explain", "inspect"), "show ID"),
    **dict.fromkeys(("logs", "events", "log"), "history ID"),
    **dict.fromkeys(("ls", "ps", "instances"), "list"),
    **dict.fromkeys(("signal", "event", "send", "approve"), "raise ID EVENT JSON"),
    **dict.fromkeys(("kill", "stop", "abort"), "cancel ID, or terminate ID to end it at once"),
    **dict.fromkeys(("run", "exec"), "start ORCHESTRATION, or worker MODULE to run a worker"),
    **dict.fromkeys(("serve", "work"), "worker MODULE"),
    **dict.fromkeys(("rm", "remove"), "delete ID"),
    **dict.fromkeys(("init", "create"), "new NAME"),
    "help": "--help",
}


class _Commands(click.Group):
    """A group that imports a command when it is called: most need little of what the others do."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name."""
        del ctx
        # Near names are looked for among the commands that are there.
        for name in [cmd_name] if cmd_name in COMMANDS else COMMANDS:
            if name not in self.commands:
                module, _, attribute = COMMANDS[name][0].partition(":")
                self.add_command(getattr(import_module(f"perdure.cli.{module}"), attribute), name)
        return self.commands.get(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is given, with a word for those that other tools have."""
        if args[0] in _MEANT:
            ctx.fail(f"No such command {args[0]!r}: write perdure {_MEANT[args[0]]}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in the help, for which no command is imported."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, what) for name, (_, what) in COMMANDS.items()])


@click.group(
    cls=_Commands,
    context_settings=_SETTINGS,
    invoke_without_command=True,
    epilog="Every command has --help. The store is --url, else PERDURE_URL, else sqlite:///perdure.db.",
)
@click.version_option(__version__, message=f"%(prog)s %(version)s on Python {sys.version.split()[0]}")
@click.pass_context
def cli(context: click.Context) -> int:
    """Durable orchestrations in plain asyncio Python, on one SQLite file."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
    return DONE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: What is given to it; those of the process by default.

    Returns:
        The exit status: 0 done, 1 it can't be done, 2 wrongly called, 3 `--wait`: ended without a result, 4 `--wait`:
        held, or not ended in time, 130 interrupted.
    """
    for stream in (sys.stdout, sys.stderr):
        # A terminal that is not in UTF-8 shows the rest as codes; a test's stream may be none of Python's own.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        status = cli.main(None if arguments is None else list(arguments), prog_name="perdure", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has heard enough; Python would complain at its exit when it flushes once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (KeyboardInterrupt, click.Abort):
        note("perdure: interrupted")
        return INTERRUPTED
    except click.UsageError as error:
        return _misused(error)
    except Refusal as error:
        note(f"perdure: {error.message}")
        return error.status
    except PerdureError as error:
        note(f"perdure: {error}")
        return MISUSED if isinstance(error, UsageError) else FAILED
    return status if isinstance(status, int) else DONE


def _misused(error: click.UsageError) -> int:
    message = error.format_message()
    if isinstance(error, click.NoSuchOption) and error.option_name.lstrip("-")[:1].isdigit():
        message = f"{message.rstrip('.')}; negative numbers come after --"
    path = error.ctx.command_path if error.ctx is not None else "perdure"
    note(f"perdure: {message if message.endswith('?') else message.rstrip('.') + '.'} See `{path} --help`")
    return MISUSED
