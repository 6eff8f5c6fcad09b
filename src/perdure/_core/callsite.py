"""Where orchestration code asked for something: "package/file.py:41", relative to its package, never compared."""

from __future__ import annotations

import asyncio
from sys import _getframe
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

_PACKAGE = __file__[: -len("_core/callsite.py")]

# Of asyncio and of this package: who asked stands above their frames.
_SKIPPED = (asyncio.__file__[: -len("__init__.py")], _PACKAGE)

# The simulation's programs are orchestrations like any other.
_PROGRAMS = f"{_PACKAGE}testing/simulation/"

# Callbacks are begun there. Above stands whoever runs the loop, who asks for nothing.
_BEGINNING = ("perdure._core.loop", "run_ready")

_lines: dict[str, dict[int, str] | None] = {}
"""What was shown for each line of each module so far; None for modules to skip. As large as the source at most."""


def where_asked() -> str | None:
    """The innermost line that is neither asyncio's nor ours; None if it was a callback of asyncio's own."""
    frame: FrameType | None = _getframe(2)
    while frame is not None:
        # Modules are told apart by name: Python audits whoever reads a frame's code, which costs far more.
        module = frame.f_globals.get("__name__", "")
        try:
            lines = _lines[module]
        except KeyError:
            lines = _lines_of(frame)
        if lines is not None:
            line = frame.f_lineno
            try:
                return lines[line]
            except KeyError:
                return _show(frame, line, lines)
        is_beginning = module == _BEGINNING[0] and frame.f_code.co_name == _BEGINNING[1]
        frame = None if is_beginning else frame.f_back
    return None


def _lines_of(frame: FrameType) -> dict[int, str] | None:
    """Where to look up the lines of a frame's module from now on."""
    module = frame.f_globals.get("__name__", "")
    file = frame.f_code.co_filename
    skipped = file.startswith("<frozen") or (file.startswith(_SKIPPED) and not file.startswith(_PROGRAMS))
    lines: dict[int, str] | None = None if skipped else {}
    return _lines.setdefault(module, lines)


def _show(frame: FrameType, line: int, lines: dict[int, str]) -> str:
    module = frame.f_globals.get("__name__", "")
    shown = lines[line] = f"{_relative(frame.f_code.co_filename, module)}:{line}"
    return shown


def _relative(file: str, module: str) -> str:
    base = file.replace("\\", "/").rpartition("/")[2]
    folders = module.split(".") if base == "__init__.py" else module.split(".")[:-1]
    return "/".join([*folders, base])
