"""Where text goes: drawn in colours on a terminal, plain and whole into a pipe, JSON when asked for."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from perdure.cli.text import as_json, safe

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

Line: TypeAlias = "list[tuple[str, str]]"
"""One line of text in pieces, each with its style; the text is safe already."""

STYLES = {
    "pending": "dim",
    "running": "cyan",
    "held": "bold yellow",
    "suspended": "yellow",
    "completed": "green",
    "failed": "bold red",
    "cancelled": "magenta",
    "terminated": "magenta",
}
"""How the statuses look."""


def is_drawn() -> bool:
    """Whether a person looks at it, or FORCE_COLOR says so."""
    return sys.stdout.isatty() or bool(os.environ.get("FORCE_COLOR"))


def _console() -> Console:
    from rich.console import Console  # noqa: PLC0415 - only what is drawn needs it

    # No markup, emoji codes or highlighting: all text is data here. NO_COLOR and TERM=dumb are rich's to honour.
    return Console(markup=False, emoji=False, highlight=False, soft_wrap=True)


def write_lines(lines: Iterable[Line]) -> None:
    """Write lines; what is too long for a terminal goes on in its next line."""
    if not is_drawn():
        for line in lines:
            click.echo("".join(text for text, _ in line).rstrip())
        return
    from rich.text import Text  # noqa: PLC0415 - only what is drawn needs it

    console = _console()
    for line in lines:
        console.print(Text.assemble(*line))


def write_table(columns: Sequence[str], rows: Sequence[Line]) -> None:
    """A table on a terminal; in a pipe a line for each row, its cells separated by tabs, without headings."""
    if not is_drawn():
        for row in rows:
            click.echo("\t".join(text for text, _ in row))
        return
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - only what is drawn needs it
    from rich.table import Table  # noqa: PLC0415 - the same
    from rich.text import Text  # noqa: PLC0415 - the same

    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        # Whatever may have to be typed again is folded, never cut.
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(text, style) for text, style in row))
    _console().print(table, soft_wrap=False)


def write_json(document: Any) -> None:
    """Write one JSON document."""
    click.echo(as_json(document))


def note(sentence: str) -> None:
    """Tell a person something that is no part of the result, on the error stream."""
    click.echo(safe(sentence), err=True)
