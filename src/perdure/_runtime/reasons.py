"""Why a turn's instance is held: what was raised, and for what says too little by itself, where."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePath
from traceback import walk_tb

from perdure.errors import ErrorInfo, error_info_from_exception

_PYTHON = PurePath(asyncio.__file__).parents[1]
_OURS = PurePath(__file__).parents[1]
_INSTALLED = "site-packages"


def why_held(error: BaseException) -> ErrorInfo:
    """What is recorded of whatever has kept a turn from ending.

    What asks the process to end comes from code that somebody has to change, so the line is told.
    """
    info = error_info_from_exception(error)
    if not isinstance(error, SystemExit | KeyboardInterrupt):
        return info
    where = list(_lines(error))
    return replace(info, message=f"{info.message}. It was raised at {where[-1]}") if where else info


def _lines(error: BaseException) -> Iterator[str]:
    """The lines that the error has passed, to the innermost one, of what is neither Python's own nor ours."""
    for frame, line in walk_tb(error.__traceback__):
        path = PurePath(frame.f_code.co_filename)
        of_python = path.is_relative_to(_PYTHON) and _INSTALLED not in path.parts
        if not (of_python or path.name.startswith("<frozen")) and (
            not path.is_relative_to(_OURS) or "simulation" in path.parts
        ):
            yield f"{path}:{line} ({frame.f_code.co_qualname})"
