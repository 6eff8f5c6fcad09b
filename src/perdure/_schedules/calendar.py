"""When a schedule is due: intervals, and cron expressions in a time zone.

Laws kept here: slots are instants in UTC, in order, each once. A local time that a clock change skips, or shows twice,
is treated as Debian's cron treats it:

- An expression with a fixed minute and hour means "once on such a day": a skipped time is due at the moment of the
  change, a doubled one at its first showing.
- One with `*` (or `*/n`) as its minute or hour means "whenever the clock shows it": a skipped time is never due, a
  doubled one is due both times.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Final, NamedTuple
from zoneinfo import ZoneInfo

from perdure._types import INSTANT_US_MAX, Duration, duration_us, from_us
from perdure.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

INTERVAL_US_MIN: Final = 1_000_000
"""The shortest interval of a schedule, in microseconds."""

_MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_LAST_DAY = "l"
_PART = re.compile(r"(?P<first>\*|[a-z0-9]+)(?:-(?P<last>[a-z0-9]+))?(?:/(?P<step>[0-9]{1,4}))?")
_MINUTE_US = 60_000_000
_HOUR_US = 3_600_000_000
_DAY = timedelta(days=1)
# Two leap days are at most eight years apart, as around 2100.
_DAYS_LOOKED_THROUGH_MAX = 8 * 366 + 1


@dataclass(frozen=True, slots=True)
class Every:
    """Slots at an even distance, counted from 1970 in UTC: with `Every(3600)` every full hour.

    Args:
        interval: Seconds or a timedelta; one second or more.
        offset: Moves all slots, by less than the interval: `Every(3600, offset=300)` is five minutes past each hour.

    Raises:
        UsageError: One of them is no such duration.
    """

    interval: Duration
    offset: Duration = 0

    def __post_init__(self) -> None:
        interval_us = duration_us(self.interval, "interval")
        if interval_us < INTERVAL_US_MIN:
            raise UsageError(f"interval is {self.interval!r}: the shortest is one second")
        if duration_us(self.offset, "offset") >= interval_us:
            raise UsageError(f"offset is {self.offset!r}: it must be less than the interval, {self.interval!r}")
        # So that equal ones are, however they were written.
        object.__setattr__(self, "interval", timedelta(microseconds=interval_us))
        object.__setattr__(self, "offset", timedelta(microseconds=duration_us(self.offset)))

    def slots(self, after_us: int, until_us: int) -> Sequence[int]:
        """The slots behind one instant, up to and with another, in order."""
        interval_us, offset_us = duration_us(self.interval), duration_us(self.offset)
        first = after_us + interval_us - (after_us - offset_us) % interval_us
        return range(first, until_us + 1, interval_us)

    def next_slot(self, after_us: int) -> int | None:
        """The first slot behind an instant; None if there is none before the year 9999."""
        first = self.slots(after_us, INSTANT_US_MAX)
        return first[0] if first else None

    def __str__(self) -> str:
        offset = f" + {_seconds(self.offset)}" if self.offset else ""
        return f"every {_seconds(self.interval)}{offset}"


@dataclass(frozen=True, slots=True)
class Cron:
    """Slots by a cron expression, in the local time of a zone.

    Five fields: minute, hour, day of month, month, day of week (0 to 7, both ends Sunday). Each is `*`, a number, a
    range `1-5`, a step `*/15` or `8-18/2`, or several of these with commas; months and days of the week have their
    English names of three letters too, and the day of month `L`, the last one. When both kinds of day are restricted,
    either makes a day match. `@hourly`, `@daily`, `@weekly`, `@monthly` and `@yearly` are short forms.

    When clocks change, a time of a fixed hour and minute is due once on its day: at the moment of the change if it is
    skipped, at its first showing if it is doubled. An expression with `*` as its minute or hour follows the clock.

    Args:
        expression: `"30 2 * * mon-fri"`.
        zone: An IANA name; "UTC" by default.

    Raises:
        UsageError: The expression can't be read or never matches, or the zone is unknown here.
    """

    expression: str
    zone: str = "UTC"
    _fields: _Fields = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.expression, str):
            raise UsageError(f"a cron expression is text such as '30 2 * * mon-fri', not {self.expression!r}")
        object.__setattr__(self, "_fields", _read(self.expression))
        zone_of(self.zone)

    def slots(self, after_us: int, until_us: int) -> Sequence[int]:
        """The slots behind one instant, up to and with another, in order."""
        found: list[int] = []
        for slot in self._from(after_us):
            if slot > until_us:
                break
            found.append(slot)
        return found

    def next_slot(self, after_us: int) -> int | None:
        """The first slot behind an instant; None if there is none before the year 9999."""
        return next(self._from(after_us), None)

    def _from(self, after_us: int) -> Iterator[int]:
        zone = zone_of(self.zone)
        day = from_us(after_us).astimezone(zone).date() - _DAY
        for day_us in self._by_days(day, zone, after_us):
            yield from (slot for slot in day_us if slot > after_us)

    def _by_days(self, day: date, zone: ZoneInfo, after_us: int) -> Iterator[Iterable[int]]:
        """The slots of each day that matches; of days around a clock change together, since their order may mix.

        Of the hours that end before `after_us` some are left out.
        """
        mixed: set[int] = set()
        idle = 0
        while idle < _DAYS_LOOKED_THROUGH_MAX and day < date.max - 3 * _DAY:
            offset = _even_offset(day, zone)
            if offset is None:
                mixed.update(self._uneven(day, zone))
            elif mixed:
                yield sorted(mixed)
                mixed.clear()
            if self._fields.match(day):
                idle = 0
                if offset is not None:
                    yield self._even(day, offset, after_us)
            else:
                idle += 1
            day += _DAY

    def _even(self, day: date, offset: timedelta, after_us: int) -> Iterator[int]:
        midnight = _us(datetime.combine(day, time(), UTC) - offset)
        hours = [hour for hour in self._fields.hours if midnight + (hour + 1) * _HOUR_US > after_us]
        return (midnight + hour * _HOUR_US + minute * _MINUTE_US for hour in hours for minute in self._fields.minutes)

    def _uneven(self, day: date, zone: ZoneInfo) -> Iterator[int]:
        if not self._fields.match(day):
            return
        for hour, minute in product(self._fields.hours, self._fields.minutes):
            first = datetime.combine(day, time(hour, minute), zone)
            second = first.replace(fold=1)
            before, behind = _offset(first), _offset(second)
            if before < behind:
                # Skipped: between the two lies the change.
                if not self._fields.follows_clock:
                    yield _us(_change(first.replace(tzinfo=UTC) - behind, first.replace(tzinfo=UTC) - before, zone))
                continue
            yield _us(first)
            if before > behind and self._fields.follows_clock:
                yield _us(second)

    def __str__(self) -> str:
        return f"cron {self.expression} {self.zone}"


class _Fields(NamedTuple):
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    last_day: bool
    either_day: bool
    follows_clock: bool

    def match(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        of_month = day.day in self.days or (self.last_day and (day + _DAY).day == 1)
        of_week = day.isoweekday() % 7 in self.weekdays
        return (of_month or of_week) if self.either_day else (of_month and of_week)


class _Kind(NamedTuple):
    """One of the five fields: what it is called, its least and largest number, and the names of these in order."""

    what: str
    least: int
    most: int
    names: tuple[str, ...] = ()

    def number(self, text: str) -> int:
        """The number that is written or named; one that is too small if there is none."""
        if text.isdecimal():
            return int(text)
        return self.least + self.names.index(text) if text in self.names else self.least - 1


_KINDS = (
    _Kind("minute", 0, 59),
    _Kind("hour", 0, 23),
    _Kind("day of the month", 1, 31),
    _Kind("month", 1, 12, ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")),
    # Sunday is at both ends, so that ranges may end with it.
    _Kind("day of the week", 0, 7, ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),
)


@lru_cache(maxsize=1_000)
def _read(expression: str) -> _Fields:
    text = expression.strip().lower()
    fields = _MACROS.get(text, text).split()
    if len(fields) != len(_KINDS):
        raise UsageError(
            f"cron expression {expression!r} has {len(fields)} fields: it takes minute, hour, day of month, month and "
            f"day of week, or one of {', '.join(_MACROS)}"
        )
    of_month = fields[2].split(",")
    last_day = _LAST_DAY in of_month
    fields[2] = ",".join(part for part in of_month if part != _LAST_DAY)
    minutes, hours, days, months, weekdays = (
        _numbers(field, kind, expression) if field or kind.what != "day of the month" else frozenset[int]()
        for field, kind in zip(fields, _KINDS, strict=True)
    )
    read = _Fields(
        minutes=tuple(sorted(minutes)),
        hours=tuple(sorted(hours)),
        days=days,
        months=months,
        weekdays=frozenset(day % 7 for day in weekdays),
        last_day=last_day,
        either_day=not fields[2].startswith("*") and not fields[4].startswith("*"),
        follows_clock=fields[0].startswith("*") or fields[1].startswith("*"),
    )
    # The year 2000 has all the days that there are.
    a_year = (date(2000, 1, 1) + index * _DAY for index in range(366))
    if not (last_day or read.either_day or any(day.month in months and day.day in days for day in a_year)):
        raise UsageError(f"cron expression {expression!r} never matches: no such month has such a day")
    return read


def _numbers(field: str, kind: _Kind, expression: str) -> frozenset[int]:
    found: set[int] = set()
    for part in field.split(","):
        numbers = _range(part, kind)
        if not numbers:
            raise UsageError(
                f"cron expression {expression!r}: {part!r} is no {kind.what}; use {kind.least} to {kind.most}, a range "
                f"such as {kind.least}-{kind.most}, a step such as */2, or several with commas"
            )
        found.update(numbers)
    return frozenset(found)


def _range(part: str, kind: _Kind) -> range:
    """The numbers that a part of a field means; none if it can't be meant."""
    match = _PART.fullmatch(part)
    if match is None or match["step"] == "0" or (match["first"] == "*" and match["last"]):
        return range(0)
    first, last, step = match["first"], match["last"], match["step"]
    if first == "*":
        begin, end = kind.least, kind.most
    else:
        begin = kind.number(first)
        end = kind.most if (last,) == kind.names[:1] or (step and not last) else kind.number(last or first)
    return range(begin, end + 1, int(step or 1)) if kind.least <= begin <= end <= kind.most else range(0)


def zone_of(name: str) -> ZoneInfo:
    """The time zone of this name.

    Raises:
        UsageError: This machine knows none.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError, TypeError) as error:
        raise UsageError(
            f"time zone {name!r} is unknown here: use an IANA name such as 'Europe/Berlin'; where the system has no "
            "time zones, install the package tzdata"
        ) from error


def _even_offset(day: date, zone: ZoneInfo) -> timedelta | None:
    """The offset of a day that has no clock change near it, else None."""
    midnights = (datetime.combine(day + index * _DAY, time(), zone) for index in (-1, 0, 1, 2))
    offsets = {_offset(each.replace(fold=fold)) for each in midnights for fold in (0, 1)}
    return offsets.pop() if len(offsets) == 1 else None


def _change(low: datetime, high: datetime, zone: ZoneInfo) -> datetime:
    """The instant between two at which the zone's offset changes, to the second."""
    before = _offset(low.astimezone(zone))
    while high - low > timedelta(seconds=1):
        middle = low + timedelta(seconds=int((high - low).total_seconds()) // 2)
        if _offset(middle.astimezone(zone)) == before:
            low = middle
        else:
            high = middle
    return high


def _offset(moment: datetime) -> timedelta:
    offset = moment.utcoffset()
    assert offset is not None  # noqa: S101 - all moments here have a zone
    return offset


def _us(moment: datetime) -> int:
    since = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _seconds(duration: Duration) -> str:
    return f"{duration_us(duration) / 1e6:g} s"
