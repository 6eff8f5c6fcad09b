"""The statements of `queries.sql`, by name.

Laws kept here: SQL is read from files that came with this package and never put together from values.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec import json

_FOLDER = os.path.dirname(__file__)
_ROWS = "VALUES ("

_TEXT_MAX = 16_000
"""apsw prepares a longer statement anew at each call."""

_ROWS_MAX = 128
"""To prepare a row costs four to eight times as much as to bind one, and a short-lived process never gets back what it
paid for long texts. A step more for so many rows is not noticed."""


def read_script(path: str, folder: str = _FOLDER) -> str:
    """The text of a file of SQL, by default of one that came with this package."""
    with open(os.path.join(folder, path), encoding="utf-8") as file:
        return file.read()


def parse_statements(text: str) -> Mapping[str, str]:
    """The statements of a file in which "-- name: x" and a line of purpose stand above each.

    One whose name begins with "part_" is what later statements have in common: it stands where they say {{part_x}}.

    Raises:
        ValueError: A name occurs twice, or a statement has no line of purpose.
        KeyError: A part is used above its own place.
    """
    statements: dict[str, str] = {}
    for piece in f"\n{text}".split("\n-- name: ")[1:]:
        name, *lines = piece.split("\n")
        if name in statements:
            raise ValueError(f"two statements are called {name!r}")
        if not lines or not lines[0].startswith("-- "):
            raise ValueError(f"the statement {name!r} has no line of purpose under its name")
        # In one line: apsw looks at every character each time to find the statement that it has prepared.
        code = " ".join(" ".join(line for line in lines if not line.lstrip().startswith("--")).split())
        # Without regular expressions, here and below: to compile them takes longer than to use them.
        before, *parts = code.split("{{")
        for part in parts:
            named, _, behind = part.partition("}}")
            before += statements[named] + behind
        statements[name] = before.removesuffix(";")
    return {name: text for name, text in statements.items() if not name.startswith("part_")}


STATEMENTS = parse_statements(read_script("queries.sql"))
"""All statements of the storage."""


class RowStatement:
    """A statement over rows that are bound one after the other, behind what is bound for all of them.

    How many rows a text has is a power of two, so that few texts serve all batches; rows that are missing are null.
    """

    __slots__ = ("_constants", "_head", "_rows_max", "_tail", "_texts", "columns")

    def __init__(self, name: str) -> None:
        text = STATEMENTS[name]
        head, rows, rest = text.partition(_ROWS)
        row, _, tail = rest.partition(")")
        if not head.endswith(("(", "( ")) or not tail.startswith((")", " )")):
            raise ValueError(f"the statement {name!r} has no row of VALUES")
        numbers = [int(each.lstrip(" ?")) for each in row.split(",")]
        self.columns, self._constants = len(numbers), numbers[0] - 1
        self._head, self._tail = f"{head}{rows}{row})", tail
        room = (_TEXT_MAX - len(text)) // len(self._another_row())
        self._rows_max = min(_ROWS_MAX, 1 << (room.bit_length() - 1))
        self._texts: dict[int, str] = {}

    def write(self, execute: Callable[..., Any], values: list[Any]) -> None:
        """Run it for all rows. `values` are those for all rows, then those of row after row; the list is used up."""
        for text, part in self._parts(values):
            execute(text, part)

    def ask(self, execute: Callable[..., Any], values: list[Any]) -> list[Any]:
        """The same for one that answers with a list in JSON."""
        return [each for text, part in self._parts(values) for each in json.decode(execute(text, part).get)]

    def _parts(self, values: list[Any]) -> Iterator[tuple[str, list[Any]]]:
        columns, constants, most = self.columns, self._constants, self._rows_max
        count = (len(values) - constants) // columns
        while count > most:
            end = constants + most * columns
            yield self._text(most), values[:end]
            del values[constants:end]
            count -= most
        if count:
            size = 1 << (count - 1).bit_length()
            values += [None] * ((size - count) * columns)
            yield self._text(size), values

    def _text(self, size: int) -> str:
        text = self._texts.get(size)
        if text is None:
            text = self._texts[size] = self._head + self._another_row() * (size - 1) + self._tail
        return text

    def _another_row(self) -> str:
        return f",({','.join('?' * self.columns)})"
