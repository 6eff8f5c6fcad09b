"""Where orchestration code asked for something: "package/file.py:41", relative to its package, never compared."""

import asyncio
import sys

_SKIPPED = (asyncio.__file__.removesuffix("__init__.py"), __file__.removesuffix("callsite.py").removesuffix("_core/"))
_shown: dict[str, str | None] = {}


def where_asked() -> str | None:
    """The innermost line that is neither asyncio's nor ours."""
    frame = sys._getframe(2)
    while frame is not None:
        file = frame.f_code.co_filename
        try:
            shown = _shown[file]
        except KeyError:
            shown = _shown[file] = _relative(file, frame.f_globals.get("__name__", ""))
        if shown is not None:
            return f"{shown}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]  # None ends the walk
    return None


def _relative(file: str, module: str) -> str | None:
    if file.startswith(_SKIPPED) or file.startswith("<frozen"):
        return None
    base = file.replace("\\", "/").rpartition("/")[2]
    folders = module.split(".") if base == "__init__.py" else module.split(".")[:-1]
    return "/".join([*folders, base])
