"""What people read is safe for a terminal, short, and says when in their own zone."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from perdure import Status
from perdure.cli.output import STYLES
from perdure.cli.text import ago, as_json, cut, moment, plain, safe, safe_lines, shown, span, zone

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain [bold]text[/] :smile:", "plain [bold]text[/] :smile:"),
        ("naïve 😀 漢字", "naïve 😀 漢字"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x9b31mred", "\\x9b31mred"),
        ("a\nb\tc\rd\x00\x7f", "a\\nb\\tc\\rd\\x00\\x7f"),
        ("user\u202etxt.exe\u2066\u200f", "user\\u202etxt.exe\\u2066\\u200f"),
        ("one\u2028two\u2029", "one\\u2028two\\u2029"),
        ("half \ud800", "half \\ud800"),
    ],
)
def test_nothing_that_a_terminal_would_obey_is_left(text, expected):
    assert safe(text) == expected


def test_lines_stay_lines():
    assert safe_lines("one\n\ttwo\x1b") == "one\n    two\\x1b"


def test_json_stays_json_and_is_safe():
    value = {"k\x1b": ["\x7f\x9b\u202e\ud800", "é", 1.5, None]}

    text = as_json(value)

    assert not set("\x1b\x7f\x9b\u202e\ud800") & set(text)
    assert "é" in text
    import json  # noqa: PLC0415 - beside what uses it

    assert json.loads(text) == value


def test_records_become_plain_json():
    assert plain({"at": NOON, "for": timedelta(seconds=90), "each": (1, "x")}) == {
        "at": "2026-03-01T12:00:00+00:00",
        "for": 90.0,
        "each": [1, "x"],
    }


def test_long_values_are_cut_and_say_how_long_they_are():
    assert cut("x" * 100) == "x" * 100
    assert cut("x" * 1234) == "x" * 100 + "... (1,234 characters)"
    assert cut("x" * 1234, full=True) == "x" * 1234
    assert shown({"a": "é"}) == '{"a": "é"}'
    assert shown("\x9b") == '"\\u009b"'


def test_cutting_never_lets_half_of_a_code_through():
    assert "\x1b" not in cut("\x1b" * 1234)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-3, "0 ms"),
        (0.0124, "12 ms"),
        (1, "1 s"),
        (2.345, "2.35 s"),
        (59.9, "59.9 s"),
        (60, "1 min"),
        (250, "4 min 10 s"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (90_000, "1 d 1 h"),
        (10_000_000, "115 d 17 h"),
    ],
)
def test_durations_have_one_or_two_units(seconds, expected):
    assert span(timedelta(seconds=seconds)) == expected


def test_moments_are_past_or_ahead():
    assert ago(NOON - timedelta(hours=2), NOON) == "2 h ago"
    assert ago(NOON + timedelta(minutes=5), NOON) == "in 5 min"


def test_moments_are_told_in_the_local_zone(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()

    assert (moment(NOON), zone(NOON)) == ("2026-03-01 21:00:00", "JST")


def test_every_status_has_its_look():
    assert STYLES.keys() == {status.value for status in Status}
