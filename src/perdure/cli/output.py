"""Where text goes: drawn in colours on a terminal, plain and whole into a pipe, JSON when asked for."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import click

from perdure.cli.text import as_json, safe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rich.console import Console

F = TypeVar("F", bound="Callable[..., Any]")

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
    "moved": "dim",
}
"""How the statuses look."""

_GAP = "  "
_INDENT = 4
_REMARK_CELLS_MIN = 24


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


def write_table(columns: Sequence[str], rows: Sequence[Line], *, cut_last: bool = True) -> None:
    """A table on a terminal; in a pipe a line for each row, its cells separated by tabs, without headings.

    On a terminal the last cell gets the space that is left, or a line of its own where that is too little; with
    `cut_last` it is cut there. What may have to be typed again stands in the other cells, which are never cut.
    """
    if not is_drawn():
        for row in rows:
            click.echo("\t".join(text for text, _ in row))
        return
    from rich.cells import cell_len  # noqa: PLC0415 - only what is drawn needs it
    from rich.text import Text  # noqa: PLC0415 - the same

    console = _console()
    heading: Line = [(column, "bold") for column in columns]
    widths = [max(cell_len(row[at][0]) for row in [heading, *rows]) for at in range(len(columns) - 1)]
    taken = sum(width + len(_GAP) for width in widths)
    left = console.width - taken
    indent = "" if left >= _REMARK_CELLS_MIN else "\n" + " " * _INDENT
    for row in [heading, *rows]:
        *cells, last = (Text(text, style) for text, style in row)
        for cell, width in zip(cells, widths, strict=True):
            cell.pad_right(width - cell.cell_len)
        if cut_last:
            last.truncate(console.width - _INDENT if indent else left, overflow="ellipsis")
        line = Text(_GAP).join(cells)
        if last.plain and (row is not heading or not indent):
            line.append(indent or _GAP).append(last)
        line.rstrip()
        console.print(line)


def write_json(document: Any) -> None:
    """Write one JSON document."""
    click.echo(as_json(document))


def note(sentence: str) -> None:
    """Tell a person something that is no part of the result, on the error stream."""
    click.echo(safe(sentence), err=True)


def json_option(command: F) -> F:
    """The option --json, which gives the command its `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Write one JSON document to standard output.")(command)
