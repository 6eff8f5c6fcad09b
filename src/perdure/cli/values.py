"""What is given on the command line: JSON, attributes, spans of time."""

from __future__ import annotations

import contextlib
import json
import math
import re
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import click

from perdure._types import DURATION_US_MAX
from perdure.cli.text import cut, safe

if TYPE_CHECKING:
    from collections.abc import Callable

_CHARS_SHOWN = 40
_SPAN = re.compile(r"(?P<number>\d{1,6})(?P<unit>s|min|h|d)")
_LONGEST_S = DURATION_US_MAX // 1_000_000
_UNITS_S = {"s": 1, "min": 60, "h": 3_600, "d": 86_400}


class Json(click.ParamType[Any]):
    """A JSON value: as it is, `@FILE` for what a file holds, or `-` for standard input."""

    name = "JSON"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the value."""
        text, where = _text_of(value, lambda message: self.fail(message, param, ctx))
        try:
            return parse(text)
        except (ValueError, RecursionError) as error:
            self.fail(f"{where or cut(text, limit=_CHARS_SHOWN)} is no JSON{_cure(text, error)}", param, ctx)


class Attribute(click.ParamType[tuple[str, Any]]):
    """`key=value`, the value being a JSON string, number or boolean, or else text."""

    name = "KEY=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Any]:
        """Read the attribute."""
        key, separator, text = value.partition("=")
        if not key or not separator:
            self.fail(f"{safe(value)} is no attribute: write key=value", param, ctx)
        try:
            read = parse(text)
        except (ValueError, RecursionError):
            read = text
        return key, read if isinstance(read, str | int | float) else text


class Seconds(click.ParamType[float]):
    """A span of time: seconds, or with a unit as in 90s, 30min, 12h, 7d."""

    name = "SECONDS"

    def __init__(self, least: float = 0) -> None:
        self._least = least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read the span."""
        seconds: float | None = span_s(value)
        if seconds is None:
            with contextlib.suppress(ValueError):
                seconds = float(value)
        if seconds is None or not math.isfinite(seconds):
            self.fail(f"{safe(value)} is no time: write seconds, or 90s, 30min, 12h, 7d", param, ctx)
        if seconds < self._least:
            self.fail(f"{safe(value)} is too short: at least {self._least:g} s", param, ctx)
        if seconds > _LONGEST_S:
            self.fail(f"{safe(value)} is too long: at most {_LONGEST_S} s, 8029 years", param, ctx)
        return seconds


def grace_option(command: Any) -> Any:
    """Add `--grace`, for a command that waits until activities have ended."""
    return click.option(
        "--grace", type=Seconds(), default="30", show_default=True, help="How long activities that run may take to end."
    )(command)


def span_s(text: str) -> int | None:
    """The seconds of a span with a unit; None if the text is something else."""
    span = _SPAN.fullmatch(text)
    return None if span is None else int(span["number"]) * _UNITS_S[span["unit"]]


def parse(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: It is none; NaN and Infinity, which Python would take, are none either.
        RecursionError: It is nested too deeply.
    """
    return json.loads(text, parse_constant=_refuse)


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"JSON has no {word}")


def _text_of(value: str, fail: Callable[[str], NoReturn]) -> tuple[str, str]:
    if value == "-":
        return sys.stdin.read(), "standard input"
    if not value.startswith("@"):
        return value, ""
    try:
        with open(value[1:], encoding="utf-8") as file:
            return file.read(), safe(value[1:])
    except OSError as error:
        fail(f"{safe(value[1:])} can't be read ({error.strerror}); {safe(value)} means the JSON in that file")
    except UnicodeDecodeError:
        fail(f"{safe(value[1:])} is no text in UTF-8, as JSON is")


def _cure(text: str, error: Exception) -> str:
    if text and text.replace("-", "").replace("_", "").isalnum() and not text[0].isdigit():
        return f": a text has double quotes of its own, '\"{text}\"'"
    hint = ": names and texts in it have double quotes, as in '{\"id\": 1}'" if text[:1] in {"{", "["} else ""
    return f" ({error}){hint}"
