"""How a worker's log looks on the error stream."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

from perdure.cli.text import plain, safe, safe_lines

_RECORD_FIELDS = ("instance_id", "execution_id", "orchestration", "activity", "attempt", "fields")
_STACK = '\n  File "'
"""How a stack begins in a message."""


class Lines(logging.Formatter):
    """One line for a record, whatever is in it; its traceback, or a stack that it tells, below."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is logging's
        """The record's line, and below it the stack that it tells."""
        said, begins, stack = record.message.partition(_STACK)
        record.message = safe(said) + safe_lines(begins + stack.rstrip())
        instance_id = getattr(record, "instance_id", None)
        record.origin = record.name if instance_id is None else safe(f"{record.name} {instance_id}")
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the name is logging's
        """The traceback."""
        return safe_lines(super().formatException(ei))


class JsonLines(logging.Formatter):
    """A JSON object on one line for a record."""

    def format(self, record: logging.LogRecord) -> str:
        """The object."""
        document: dict[str, Any] = {
            "time": plain(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        document.update({name: getattr(record, name) for name in _RECORD_FIELDS if hasattr(record, name)})
        if record.exc_info:
            document["traceback"] = self.formatException(record.exc_info)
        return json.dumps(document, default=str)


def log_to_stderr(level: str, *, as_json: bool) -> None:
    """Have everything of this level and above written to the error stream."""
    if logging.root.handlers:
        return  # the user's own modules have set it up
    handler = logging.StreamHandler()
    handler.setFormatter(
        JsonLines() if as_json else Lines("%(asctime)s %(levelname)-7s %(origin)s: %(message)s", "%H:%M:%S")
    )
    logging.root.addHandler(handler)
    logging.root.setLevel(level.upper())
