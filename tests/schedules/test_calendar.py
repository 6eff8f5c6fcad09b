"""When a schedule is due: cron expressions against their definition, intervals, and what clock changes do."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from perdure import Cron, Every, UsageError
from perdure._types import INSTANT_US_MAX, from_us, instant_us

BERLIN = "Europe/Berlin"


def slots(timing: Cron | Every, begin: str, end: str, zone: str = "UTC") -> list[str]:
    """The slots behind one local time up to another, in local time with the offset."""
    after, until = (instant_us(datetime.fromisoformat(each).replace(tzinfo=ZoneInfo(zone))) for each in (begin, end))
    found = [from_us(each).astimezone(ZoneInfo(zone)).strftime("%d %H:%M%z") for each in timing.slots(after, until)]
    step_by_step = []
    while (after := timing.next_slot(after) or until + 1) <= until:
        step_by_step.append(from_us(after).astimezone(ZoneInfo(zone)).strftime("%d %H:%M%z"))
    assert found == step_by_step
    return found


def shown_by_clock(expression: str, zone: str, begin: datetime, minutes: int) -> list[datetime]:
    """Slow and plain: every minute whose local time the five fields name, as `*` fields, numbers and steps."""
    minute, hour, day, month, weekday = expression.split()

    def has(field: str, value: int, least: int) -> bool:
        first, _, step = field.partition("/")
        return first == "*" and (value - least) % int(step or 1) == 0 if first == "*" else value == int(first)

    found = []
    for index in range(1, minutes + 1):
        at = begin + timedelta(minutes=index)
        local = at.astimezone(ZoneInfo(zone))
        of_month, of_week = has(day, local.day, 1), has(weekday, local.isoweekday() % 7, 0)
        of_day = (of_month or of_week) if "*" not in day[0] + weekday[0] else (of_month and of_week)
        if has(minute, local.minute, 0) and has(hour, local.hour, 0) and has(month, local.month, 1) and of_day:
            found.append(at)
    return found


@settings(max_examples=20, deadline=None)
@given(
    expression=st.builds(
        "{} {} {} * {}".format,
        st.sampled_from(["*", "*/7", "*/30"]),
        st.sampled_from(["*", "*/5", "2", "0", "23"]),
        st.sampled_from(["*", "*/2", "29"]),
        st.sampled_from(["*", "0", "3"]),
    ),
    zone=st.sampled_from([BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Africa/Casablanca"]),
    begin=st.datetimes(datetime(2025, 1, 1), datetime(2026, 12, 1)),  # noqa: DTZ001 - hypothesis wants them naive
)
# Both changes of Berlin, and the half hour of Lord Howe.
@example(expression="*/30 * * * *", zone=BERLIN, begin=datetime(2026, 3, 28))  # noqa: DTZ001 - the same
@example(expression="*/30 2 * * *", zone=BERLIN, begin=datetime(2026, 10, 24))  # noqa: DTZ001 - the same
@example(expression="* * * * 0", zone="Australia/Lord_Howe", begin=datetime(2026, 4, 4))  # noqa: DTZ001 - the same
def test_an_expression_that_follows_the_clock_is_due_whenever_the_clock_shows_it(expression, zone, begin):
    begin = begin.replace(second=0, microsecond=0, tzinfo=UTC)
    until = begin + timedelta(days=3)
    found = Cron(expression, zone).slots(instant_us(begin), instant_us(until))
    assert [from_us(each) for each in found] == shown_by_clock(expression, zone, begin, 3 * 24 * 60)


def test_a_time_that_a_change_skips_is_due_once_at_the_change():
    daily = Cron("30 2 * * *", BERLIN)
    found = slots(daily, "2026-03-28", "2026-03-31", BERLIN)
    assert found == ["28 02:30+0100", "29 03:00+0200", "30 02:30+0200"]


def test_several_times_that_a_change_skips_are_due_together_once():
    found = slots(Cron("0,30 2,3 * * *", BERLIN), "2026-03-29", "2026-03-30", BERLIN)
    assert found == ["29 03:00+0200", "29 03:30+0200"]


def test_a_time_that_a_change_doubles_is_due_once_at_its_first_showing():
    daily = Cron("30 2 * * *", BERLIN)
    found = slots(daily, "2026-10-24", "2026-10-27", BERLIN)
    assert found == ["24 02:30+0200", "25 02:30+0200", "26 02:30+0100"]


def test_an_hourly_time_follows_the_clock_through_both_changes():
    hourly = Cron("30 * * * *", BERLIN)
    assert slots(hourly, "2026-03-29T01:00", "2026-03-29T04:00", BERLIN) == ["29 01:30+0100", "29 03:30+0200"]
    found = slots(hourly, "2026-10-25T01:00", "2026-10-25T04:00", BERLIN)
    assert found == ["25 01:30+0200", "25 02:30+0200", "25 02:30+0100", "25 03:30+0100"]


def test_a_whole_day_that_a_country_left_out_is_due_at_its_end():
    # Samoa went from 29 to 31 December 2011.
    daily = Cron("0 12 * * *", "Pacific/Apia")
    found = slots(daily, "2011-12-29", "2012-01-01", "Pacific/Apia")
    assert found == ["29 12:00-1000", "31 00:00+1400", "31 12:00+1400"]


def test_slots_are_in_order_where_a_change_doubles_what_lies_around_midnight():
    # At one past midnight the clocks of Newfoundland went back to 23:01 of the day before.
    zone = "America/St_Johns"
    found = Cron("*/30 * * * *", zone).slots(
        *(instant_us(datetime(2010, 11, day, 12, tzinfo=ZoneInfo(zone))) for day in (6, 7))
    )
    assert list(found) == sorted(set(found))
    assert len(found) == 50


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 0 l * *", ["31 00:00+0000", "28 00:00+0000", "31 00:00+0000"]),
        ("@monthly", ["01 00:00+0000", "01 00:00+0000", "01 00:00+0000"]),
        ("0 0 1,15 * *", [f"{day} 00:00+0000" for day in ("15", "01", "15", "01", "15", "01")]),
        ("0 9-17/4 2 jan *", ["02 09:00+0000", "02 13:00+0000", "02 17:00+0000"]),
        ("0 0 2 1 fri-sun", ["02 00:00+0000", *(f"{day:02} 00:00+0000" for day in (3, 4, 9, 10, 11, 16, 17, 18, 23))]
         + [f"{day:02} 00:00+0000" for day in (24, 25, 30, 31)]),
        ("5/20 6 3 2 7", ["01 06:05+0000", "01 06:25+0000", "01 06:45+0000", "03 06:05+0000", "03 06:25+0000"]
         + ["03 06:45+0000"] + [f"{day:02} 06:{minute:02}+0000" for day in (8, 15, 22) for minute in (5, 25, 45)]),
    ],
)  # fmt: skip
def test_each_form_of_a_field_means_what_it_means_to_cron(expression, expected):
    assert slots(Cron(expression), "2026-01-01", "2026-04-01") == expected


def test_a_leap_day_is_found_across_a_century_without_one():
    slot = Cron("0 0 29 2 *").next_slot(instant_us(datetime(2096, 3, 1, tzinfo=UTC)))
    assert slot == instant_us(datetime(2104, 2, 29, tzinfo=UTC))


def test_time_ends_with_the_year_9999():
    assert Cron("@yearly").next_slot(INSTANT_US_MAX) is None
    assert Every(86_400).next_slot(INSTANT_US_MAX) is None


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("* * * *", "has 4 fields"),
        ("60 * * * *", "'60' is no minute; use 0 to 59"),
        ("* 24 * * *", "'24' is no hour"),
        ("* * 0 * *", "'0' is no day of the month; use 1 to 31"),
        ("* * * 13 *", "'13' is no month"),
        ("* * * foo *", "'foo' is no month"),
        ("* * * * 8", "'8' is no day of the week"),
        ("5-1 * * * *", "'5-1' is no minute"),
        ("*/0 * * * *", r"'\*/0' is no minute"),
        ("*-5 * * * *", r"'\*-5' is no minute"),
        ("1,,2 * * * *", "'' is no minute"),
        ("@often", "has 1 fields"),
        ("0 0 30 2 *", "never matches"),
        ("0 0 31 4,6,9,11 *", "never matches"),
    ],
)
def test_an_expression_that_cannot_be_meant_is_refused(expression, words):
    with pytest.raises(UsageError, match=words):
        Cron(expression)


@pytest.mark.parametrize("zone", ["Europe/Nowhere", "", "../etc/passwd", None])
def test_a_zone_that_is_not_known_is_refused(zone):
    with pytest.raises(UsageError, match="is unknown here: use an IANA name"):
        Cron("@daily", zone)


def test_an_expression_that_is_no_text_is_refused():
    with pytest.raises(UsageError, match="a cron expression is text"):
        Cron(5)


@given(
    interval_s=st.integers(1, 100_000),
    offset=st.floats(0, 0.999),
    after=st.integers(1, 10**16),
    length=st.integers(0, 10**12),
)
def test_an_interval_is_counted_from_1970(interval_s, offset, after, length):
    every = Every(interval_s, interval_s * offset)
    found = every.slots(after, after + length)
    offset_us = round(interval_s * offset * 1e6)
    assert all(after < each <= after + length and (each - offset_us) % (interval_s * 10**6) == 0 for each in found[:50])
    assert abs(len(found) - length / (interval_s * 10**6)) <= 1
    assert every.next_slot(after) == every.slots(after, after + interval_s * 10**6)[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [((0.5,), "the shortest is one second"), ((60, 60), "less than the interval"), ((-1,), "interval must be")],
)
def test_an_interval_that_is_none_is_refused(arguments, words):
    with pytest.raises(UsageError, match=words):
        Every(*arguments)


def test_a_timing_says_in_words_what_it_is():
    assert str(Every(timedelta(hours=1), 300)) == "every 3600 s + 300 s"
    assert str(Every(90)) == "every 90 s"
    assert str(Cron("@daily", BERLIN)) == "cron @daily Europe/Berlin"
