"""A hash of what a function does, the same on every Python version: it tells whether a frozen version was edited."""

from __future__ import annotations

import ast
import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_DIGEST_BYTES = 16
_FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef


def fingerprint_of(fn: Callable[..., Any]) -> str | None:
    """A hash of the function's signature and body, without comments, docstrings, layout and decorators.

    None if the source can't be had, as for functions made in a REPL or by a template.
    """
    try:
        source = inspect.getsource(fn)
        # Inside a class or a function the source is indented; dedenting it would change its multi-line strings.
        tree = ast.parse(f"if 1:\n{source}" if source[0].isspace() else source)
    except (OSError, TypeError, SyntaxError):
        return None
    functions = (node for node in ast.walk(tree) if isinstance(node, _FUNCTION) and node.name == fn.__name__)
    function = next(functions, None)
    if function is None:
        return None
    from hashlib import blake2b  # noqa: PLC0415 - OpenSSL comes with it, and not every program asks for fingerprints

    function.decorator_list = []
    digest = blake2b(digest_size=_DIGEST_BYTES)
    for piece in _pieces(function):
        digest.update(piece.encode())
    return digest.hexdigest()


def _pieces(node: Any) -> Iterator[str]:
    """The tree as text: `ast.dump` without the fields that come and go with Python's versions."""
    if isinstance(node, ast.AST):
        yield f"({type(node).__name__}"
        for field in node._fields:
            value = _field(node, field)
            if value is not None and value != [] and field not in ("kind", "type_comment"):
                yield f" {field}="
                yield from _pieces(value)
        yield ")"
    elif isinstance(node, list):
        for each in node:
            yield from _pieces(each)
            yield ","
    else:
        yield repr(node)


def _field(node: ast.AST, field: str) -> Any:
    value = getattr(node, field, None)
    if field == "body" and isinstance(node, _FUNCTION | ast.ClassDef) and ast.get_docstring(node, clean=False):
        return node.body[1:]
    return _joined(node.values) if isinstance(node, ast.JoinedStr) and field == "values" else value


def _joined(values: list[ast.expr]) -> list[ast.expr | str]:
    """The parts of an f-string; some releases of Python cut its texts into several, or put empty ones in between."""
    joined: list[ast.expr | str] = []
    for value in values:
        match value, joined:
            case ast.Constant(value=""), _:
                pass
            case ast.Constant(value=str(text)), [*_, str(before)]:
                joined[-1] = before + text
            case ast.Constant(value=str(text)), _:
                joined.append(text)
            case _:
                joined.append(value)
    return joined
