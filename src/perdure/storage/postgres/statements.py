"""The statements of `queries.sql`, by name, for a schema of the user's choice.

Laws kept here: SQL is read from files that came with this package; the one thing that is put into it is the name of the
schema, which is checked and quoted here; values are always bound.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from perdure.errors import UsageError

SCHEMA = "perdure"
"""The schema of a store whose URL names none."""

_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_QUALIFIER = re.compile(r"\bperdure\.")
_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_COMMENT = re.compile(r"^\s*--.*\n", re.MULTILINE)
_PART = re.compile(r"\{\{(\w+)\}\}")
_QUERIES = Path(__file__).with_name("queries.sql").read_text(encoding="utf-8")


def checked_schema(name: str) -> str:
    """The name, if a schema may have it.

    Raises:
        UsageError: It may not.
    """
    if not _SCHEMA.fullmatch(name) or name.startswith("pg_"):
        raise UsageError(
            f"the schema is {name!r}: use 1 to 63 lower-case letters, digits and underscores, not beginning with a "
            'digit or with "pg_"'
        )
    return name


def qualified(sql: str, schema: str) -> str:
    """The SQL of a file of this package with all its names in the schema."""
    return _QUALIFIER.sub(f'"{checked_schema(schema)}".', sql)


def read_statements(schema: str) -> Mapping[str, str]:
    """All statements of the storage; in the file, "-- name: x" and a line of purpose stand above each.

    One whose name begins with "part_" is what later statements have in common: it stands where they say {{part_x}}.

    Raises:
        ValueError: A name occurs twice, or a statement has no line of purpose.
        KeyError: A part is used above its own place.
    """
    statements: dict[str, str] = {}
    pieces = _NAME.split(_QUERIES)[1:]
    for name, body in zip(pieces[::2], pieces[1::2], strict=True):
        if name in statements:
            raise ValueError(f"two statements are called {name!r}")
        if not body.startswith("\n-- "):
            raise ValueError(f"the statement {name!r} has no line of purpose under its name")
        text = _PART.sub(lambda part: statements[part[1]], _COMMENT.sub("", body))
        statements[name] = qualified(text.strip().removesuffix(";"), schema)
    return {name: text for name, text in statements.items() if not name.startswith("part_")}
