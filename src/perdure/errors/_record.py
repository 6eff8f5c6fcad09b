"""How an exception becomes plain data: bounded, printable, and without running into what the exception does."""

import contextlib
import os
import sys
import traceback
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

ERROR_MESSAGE_BYTES_MAX = 8 * 1024
ERROR_TRACEBACK_BYTES_MAX = 32 * 1024
ERROR_DETAILS_BYTES_MAX = 8 * 1024
ERROR_TYPES_MAX = 64
TRACEBACK_FRAMES_MAX = 100
GROUP_MEMBERS_SHOWN_MAX = 5
DELAY_S_MAX = 253_402_300_799
"""The longest delay that can be asked for: that of `DURATION_US_MAX`, which is above this room."""
_VALUE_CHARS_SHOWN_MAX = 80


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """What is recorded of a failure: plain data, the same in every process, without the exception object.

    `type` is the qualified name of the exception's class ("shop.payments.CardDeclined", "builtins.ValueError").
    `message` is at most 8 KiB of UTF-8, `traceback` at most 32 KiB; what was cut says so. `attempts` counts from 1.
    `types` are the qualified names along the class's method resolution order, without `object` and `BaseException`:
    `OutcomeError.caused_by` looks there. `details` is JSON data (from the exception's `details` attribute) or None.
    `retryable` is False when another attempt can't help.
    """

    type: str
    message: str
    traceback: str | None = None
    attempts: int = 1
    types: tuple[str, ...] = ()
    details: Any = None
    retryable: bool = True

    @property
    def summary(self) -> str:
        """The type and the message as the last line of a traceback shows them: "ValueError: no such card"."""
        shown = self.type.removeprefix("builtins.")
        return f"{shown}: {self.message}" if self.message else shown


_LEAVES = "it asks the whole process to end, and a worker doesn't do that for what it runs"
_LEAVING: tuple[tuple[type[BaseException], str], ...] = (
    (SystemExit, _LEAVES),
    (KeyboardInterrupt, _LEAVES),
    (GeneratorExit, "Python raises it to end a coroutine that nobody wants any more"),
)
"""What exceptions mean that stand for something else than a failure, which their text doesn't say."""


def qualified_name(cls: type) -> str:
    """The name under which an exception class is recorded and matched: "module.QualName".

    A class of the script that runs is named as if its file had been imported ("shop.CardDeclined" for
    `python shop.py`), so that a worker that imports the module finds the same name.
    """
    module = cls.__module__
    return f"{_main_module() if module == '__main__' else module}.{cls.__qualname__}"


def record(exc: BaseException, *, types: tuple[str, ...], attempts: int, retryable: bool) -> ErrorInfo:
    """The exception as data; `types` are the names that it answers to, most special first."""
    return ErrorInfo(
        type=qualified_name(type(exc)),
        message=_cut(_clean(_message(exc)), ERROR_MESSAGE_BYTES_MAX),
        traceback=_traceback(exc),
        attempts=attempts,
        types=types[:ERROR_TYPES_MAX],
        details=_details(exc),
        retryable=retryable,
    )


def _main_module() -> str:
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name)
    file = getattr(main, "__file__", None)
    return os.path.basename(file).partition(".")[0] if file else "main"


def _message(exc: BaseException) -> str:
    text = _text(exc)
    if not isinstance(exc, BaseExceptionGroup):
        meaning = next((words for type_, words in _LEAVING if isinstance(exc, type_)), None)
        return text if meaning is None else ": ".join(filter(None, [text, f"{meaning}: return, or raise an Exception"]))
    # "unhandled errors in a TaskGroup (2 sub-exceptions)" alone helps nobody.
    members = [f"{type(member).__name__}: {_text(member)}" for member in exc.exceptions[:GROUP_MEMBERS_SHOWN_MAX]]
    more = ["..."] if len(exc.exceptions) > len(members) else []
    return f"{text}: {'; '.join(members + more)}"


def _text(exc: BaseException) -> str:
    try:
        return str.__str__(str(exc))
    except BaseException as failure:  # noqa: BLE001 -- a __str__ of user code may raise anything, SystemExit too
        return f"<no message: str() of the exception raised {type(failure).__name__}>"


def _traceback(exc: BaseException) -> str | None:
    if exc.__traceback__ is None or not TRACEBACK_FRAMES_MAX:
        return None
    try:
        # A negative limit keeps the innermost frames, those of user code. Causes may form a cycle: traceback knows.
        formatted = traceback.TracebackException.from_exception(exc, limit=-TRACEBACK_FRAMES_MAX, compact=True)
        text = "".join(formatted.format())
    except BaseException as failure:  # noqa: BLE001 -- notes, __cause__ and the like are user code too
        text = f"<no traceback: formatting it raised {type(failure).__name__}>"
    return _cut(_clean(text), ERROR_TRACEBACK_BYTES_MAX, keep_tail=True)


def _details(exc: BaseException) -> Any:
    with contextlib.suppress(Exception):
        details = getattr(exc, "details", None)
        if details is not None:
            import msgspec.json  # noqa: PLC0415 -- slow to import, and hardly any exception has details

            encoded = msgspec.json.encode(details)
            if len(encoded) <= ERROR_DETAILS_BYTES_MAX and b"\\u0000" not in encoded:
                return msgspec.json.decode(encoded)
    return None


def _clean(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        # Halves of a pair that stand side by side become their character, others U+FFFD.
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text.replace("\0", "\ufffd")


def _cut(text: str, limit_bytes: int, *, keep_tail: bool = False) -> str:
    encoded = text.encode()
    if len(encoded) <= limit_bytes:
        return text
    mark = f" ... [cut, {len(encoded)} bytes in all]" + (" ... " if keep_tail else "")
    kept_bytes = limit_bytes - len(mark)
    tail_bytes = kept_bytes // 2 if keep_tail else 0
    head = encoded[: kept_bytes - tail_bytes].decode(errors="ignore")
    return head + mark + encoded[len(encoded) - tail_bytes :].decode(errors="ignore")


def shown(value: object) -> str:
    """A value of whatever kind in the words of an error."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 -- the repr of user code may raise anything, and the type says enough
        return "an integer of very many digits" if isinstance(value, int) else f"a {type(value).__name__}"
    return text if len(text) <= _VALUE_CHARS_SHOWN_MAX else f"{text[:_VALUE_CHARS_SHOWN_MAX]}..."


def seconds_of(delay: object) -> float | None:
    """The seconds of a delay, of a timedelta the whole ones; None if it is none."""
    seconds = delay.days * 86_400 + delay.seconds if isinstance(delay, timedelta) else delay
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < float("inf"):
        return None
    return seconds


def with_reason(text: str, reason: str) -> str:
    """The text, and the reason if there is one."""
    return f"{text}: {reason}" if reason else text


def action(described: str | None, at: str | None) -> str:
    """What was asked for, and where."""
    return (described or "nothing") + (f" ({at})" if at else "")
