"""The statements of `queries.sql`, by name.

Laws kept here: SQL is read from files that came with this package and never put together from values.
"""

import re
from collections.abc import Mapping
from pathlib import Path

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_COMMENT = re.compile(r"^\s*--.*\n", re.MULTILINE)


def parse_statements(text: str) -> Mapping[str, str]:
    """The statements of a file in which "-- name: x" and a line of purpose stand above each.

    Raises:
        ValueError: A name occurs twice, or a statement has no line of purpose.
    """
    statements: dict[str, str] = {}
    pieces = _NAME.split(text)[1:]
    for name, body in zip(pieces[::2], pieces[1::2], strict=True):
        if name in statements:
            raise ValueError(f"two statements are called {name!r}")
        if not body.startswith("\n-- "):
            raise ValueError(f"the statement {name!r} has no line of purpose under its name")
        statements[name] = _COMMENT.sub("", body).strip().removesuffix(";")
    return statements


STATEMENTS = parse_statements(Path(__file__).with_name("queries.sql").read_text(encoding="utf-8"))
"""All statements of the storage."""
