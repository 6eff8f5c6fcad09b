"""Durable names and versions: what history knows a definition by.

Only the top package and the function's name count, so a function may move inside its package.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from perdure.errors import RegistrationError

if TYPE_CHECKING:
    from collections.abc import Callable

VERSION_LENGTH_MAX = 128
"""The longest version, in characters."""

_NUMBERS = 3
_LETTERS = frozenset("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-")


def default_name(fn: Callable[..., Any], kind: str) -> str:
    """`{package}::{kind}::{function}`, or `{package}::{kind}::{class}-{method}`, with dashes for underscores."""
    _, _, path = fn.__qualname__.rpartition("<locals>.")
    return f"{package_of(fn.__module__)}::{kind}::{path.replace('.', '-')}".replace("_", "-")


def package_of(module: str | None) -> str:
    """The top package of a module.

    A script counts as the module that it would be if it were imported, so that an instance which `python shop.py`
    started is known to `perdure worker shop:registry`. What was typed into a REPL or a notebook is in `main`.
    """
    if module in ("__main__", "__mp_main__"):
        module = _main_module(sys.modules.get(module))
    return (module or "main").partition(".")[0]


def _main_module(main: object) -> str:
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name != "__main__":
        return str(spec.name)
    file = getattr(main, "__file__", None)
    if not file or file.startswith("<"):
        return "main"
    # pathlib's rules for parts and stems, without its import, which would be a good part of perdure's own.
    tail = os.path.splitdrive(file)[1].replace(os.altsep or os.sep, os.sep)
    folder, name = ["", "", *(part for part in tail.split(os.sep) if part not in {"", "."})][-2:]
    # `python shop` and `python shop.pyz` run shop/__main__.py.
    return _stem(folder) if _stem(name) == "__main__" else _stem(name)


def _stem(name: str) -> str:
    dot = name.rfind(".")
    return name[:dot] if 0 < dot < len(name) - 1 else name


def version_key(version: object) -> tuple[Any, ...]:
    """The place of a version in semantic-version order; equal precedence is ordered by the text.

    Raises:
        RegistrationError: The version is no semantic version.
    """
    parts = _parts(version) if isinstance(version, str) and len(version) <= VERSION_LENGTH_MAX else None
    if parts is None:
        raise RegistrationError(
            f"version is {version!r}: it must be a semantic version such as '1.0.0' or '2.1.0-rc.1', "
            f"at most {VERSION_LENGTH_MAX} characters"
        )
    numbers, pre = parts
    # A pre-release comes before its release; in it, numbers come before words.
    identifiers = ((0, int(each), "") if each.isdigit() else (1, 0, each) for each in pre)
    return (*map(int, numbers), not pre, tuple(identifiers), version)


def _parts(version: str) -> tuple[list[str], list[str]] | None:
    """The numbers of a semantic version and the identifiers of its pre-release; None if it is none.

    Without a regular expression, which took longer to compile than any other line of `import perdure`.
    """
    release, plus, build = version.partition("+")
    core, dash, pre = release.partition("-")
    numbers, identifiers = core.split("."), pre.split(".") if dash else []
    fits = (
        len(numbers) == _NUMBERS
        and all(map(_is_number, numbers))
        and all(_is_identifier(each) and (not each.isdigit() or _is_number(each)) for each in identifiers)
        and (not plus or all(map(_is_identifier, build.split("."))))
    )
    return (numbers, identifiers) if fits else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and (text == "0" or text[0] != "0")


def _is_identifier(text: str) -> bool:
    return bool(text) and _LETTERS.issuperset(text)
