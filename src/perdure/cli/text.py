"""What people read: values and times as short text that can't do anything to a terminal."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from datetime import UTC, datetime, timedelta
from typing import Any

from perdure._ports import SystemClock

VALUE_CHARS_SHOWN = 100
_MINUTE_S = 60
_UNITS = ((86_400, "d", 3_600, "h"), (3_600, "h", _MINUTE_S, "min"), (_MINUTE_S, "min", 1, "s"))
_CLOCK = SystemClock()

# Controls, line and paragraph separators, what turns the direction of text around, and halves of characters.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def safe(text: str) -> str:
    """The text with everything that a terminal would obey written as its code, on one line."""
    return _UNSAFE.sub(_code, text)


def safe_lines(text: str) -> str:
    """The same for text of several lines, such as a traceback."""
    return "\n".join(safe(line.replace("\t", "    ")) for line in text.split("\n"))


def _code(match: re.Match[str]) -> str:
    character = match[0]
    return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character) or (
        f"\\x{ord(character):02x}" if ord(character) <= 0xFF else f"\\u{ord(character):04x}"  # noqa: PLR2004 - one byte
    )


def shown(value: Any, *, full: bool = False) -> str:
    """A stored value as its JSON, cut short unless `full`."""
    return cut(_json(value), full=full)


def cut(text: str, *, full: bool = False, limit: int = VALUE_CHARS_SHOWN) -> str:
    """Safe text of one line, cut short unless `full`; what was cut says how much there is."""
    if full or len(text) <= limit:
        return safe(text)
    return f"{safe(text[:limit])}... ({len(text):,} characters)"


def as_json(document: Any) -> str:
    """The document as indented JSON whose strings hold nothing that a terminal would obey."""
    return _json(plain(document), indent=2)


def _json(value: Any, *, indent: int | None = None) -> str:
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    # Outside of strings JSON has nothing unsafe but the ends of its own lines.
    return "\n".join(_UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", line) for line in text.split("\n"))


def plain(value: Any) -> Any:
    """A record of the client as JSON data: instants as ISO 8601 in UTC, durations as seconds."""
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat()
        case timedelta():
            return value.total_seconds()
        case dict():
            return {key: plain(each) for key, each in value.items()}
        case list() | tuple():
            return [plain(each) for each in value]
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        case _:
            return value


def shell_word(text: str) -> str:
    """The text as one word of a shell's command line."""
    return shlex.quote(safe(text))


def now() -> datetime:
    """The present, in UTC."""
    return datetime.fromtimestamp(_CLOCK.now_us() / 1e6, UTC)


def moment(instant: datetime) -> str:
    """Date and time in the local zone, to the second: "2026-03-01 14:05:09"."""
    return f"{instant.astimezone():%Y-%m-%d %H:%M:%S}"


def time_of_day(instant: datetime) -> str:
    """The time in the local zone, to the millisecond."""
    local = instant.astimezone()
    return f"{local:%H:%M:%S}.{local.microsecond // 1000:03d}"


def zone(instant: datetime) -> str:
    """The local zone at an instant: "CET", "UTC"."""
    return f"{instant.astimezone():%Z}"


def span(duration: timedelta) -> str:
    """A duration in one or two units: "12 ms", "3.2 s", "4 min 10 s", "2 h 5 min", "3 d 1 h"."""
    seconds = max(duration.total_seconds(), 0.0)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < _MINUTE_S:
        return f"{seconds:.3g} s"
    unit, name, smaller, smaller_name = next(each for each in _UNITS if seconds >= each[0])
    whole, rest = divmod(int(seconds), unit)
    return f"{whole} {name}" + (f" {rest // smaller} {smaller_name}" if rest >= smaller else "")


def ago(instant: datetime, at: datetime) -> str:
    """How long an instant is past, or how far ahead: "3 min 2 s ago", "in 2 h"."""
    return f"in {span(instant - at)}" if instant > at else f"{span(at - instant)} ago"
