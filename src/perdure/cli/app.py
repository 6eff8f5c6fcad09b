"""The command itself: its group, and how every ending becomes a number and a sentence."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from typing import TYPE_CHECKING

import click

from perdure import PerdureError, UsageError, __version__
from perdure.cli.exits import DONE, FAILED, INTERRUPTED, MISUSED, Refusal
from perdure.cli.looking import history, list_, show, workers
from perdure.cli.output import note
from perdure.cli.project import new
from perdure.cli.steering import cancel, delete, raise_, start, terminate, wait
from perdure.cli.working import worker

if TYPE_CHECKING:
    from collections.abc import Sequence

_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class _InOrder(click.Group):
    """A group that shows its commands in the order in which one meets them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, as they were added."""
        del ctx
        return list(self.commands)


@click.group(
    cls=_InOrder,
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


for _command in (new, worker, start, wait, list_, show, history, workers, raise_, cancel, terminate, delete):
    cli.add_command(_command)


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
