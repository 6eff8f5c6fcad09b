"""Programs that tests put in the place of others."""

from pathlib import Path


def script(path: Path, body: str) -> Path:
    """A shell script at this place, which can be run; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return path
