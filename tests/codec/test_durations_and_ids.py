"""Durations, instants, names and ids: what is refused, and values that no release may ever change."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure._types import (
    COUNT_MAX,
    DURATION_US_MAX,
    INSTANT_US_MAX,
    Status,
    check_count,
    check_instance_id,
    check_name,
    child_id,
    duration_us,
    from_us,
    idempotency_key,
    instant_us,
    slot_of,
)
from perdure.errors import LimitError, UsageError


class Event(StrEnum):
    APPROVED = "approved"


class Unprintable:
    def __repr__(self):
        raise ValueError


@pytest.mark.parametrize(
    ("duration", "us"),
    [
        (0, 0),
        (0.0, 0),
        (1, 1_000_000),
        (0.1, 100_000),
        (1e-7, 0),
        (timedelta(days=3), 259_200_000_000),
        (timedelta(microseconds=1), 1),
        (timedelta(microseconds=DURATION_US_MAX), DURATION_US_MAX),
    ],
)
def test_a_duration_is_seconds_or_a_timedelta(duration, us):
    assert duration_us(duration) == us


@pytest.mark.parametrize("duration", [float("nan"), float("inf"), float("-inf"), -1, -0.5, timedelta(microseconds=-1)])
def test_a_duration_is_finite_and_not_negative(duration):
    with pytest.raises(UsageError, match="^timer must .*(negative|0 or more)"):
        duration_us(duration, "timer")


@pytest.mark.parametrize("duration", [True, "1", None, 1j, Unprintable(), datetime.now(UTC)])
def test_a_duration_is_a_number(duration):
    with pytest.raises(UsageError, match="^duration must be seconds or a timedelta, not "):
        duration_us(duration)


@pytest.mark.parametrize("duration", [1e300, 10**400, timedelta.max, pytest.param(10**5000, id="endless")])
def test_a_duration_has_a_limit(duration):
    with pytest.raises(LimitError, match="the longest is 253402300799 s, 8029 years"):
        duration_us(duration)


@given(st.integers(0, INSTANT_US_MAX))
def test_instants_are_exact_in_both_directions(us):
    assert instant_us(from_us(us)) == us
    assert from_us(us).tzinfo is UTC


def test_what_is_later_than_any_datetime_is_shown_as_the_last_one():
    assert from_us(INSTANT_US_MAX + DURATION_US_MAX) == from_us(INSTANT_US_MAX) == datetime.max.replace(tzinfo=UTC)


@pytest.mark.parametrize("count", [0, True, 1.0, "1", None, float("nan"), float("inf"), Unprintable()])
def test_a_count_is_a_whole_number(count):
    with pytest.raises(UsageError, match="^keep is .*: use a whole number, 1 or more; the newest stays$"):
        check_count("keep", count, hint="; the newest stays")


def test_a_count_has_a_limit():
    assert check_count("keep", COUNT_MAX) == COUNT_MAX
    assert check_count("sessions", 0, least=0) == 0
    with pytest.raises(LimitError, match="^keep is 1000000000001: use a whole number from 1 to 1,000,000,000,000$"):
        check_count("keep", COUNT_MAX + 1)
    with pytest.raises(LimitError, match="^keep is an integer of very many digits: use a whole number from 1 to "):
        check_count("keep", 10**5000)


def test_instants_may_be_of_any_zone():
    assert instant_us(datetime(1970, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))) == 0


@pytest.mark.parametrize("instant", [datetime.fromisoformat("2024-01-01"), "2024-01-01", 0])
def test_an_instant_is_an_aware_datetime(instant):
    with pytest.raises(UsageError, match="^start_at must be an aware datetime"):
        instant_us(instant, "start_at")


@pytest.mark.parametrize(
    "instant",
    [
        datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone(-timedelta(hours=1))),
    ],
)
def test_an_instant_is_in_the_years_1970_to_9999(instant):
    with pytest.raises(LimitError, match="must be in the years 1970 to 9999 of UTC"):
        instant_us(instant)


@pytest.mark.parametrize(
    ("status", "closed"),
    [(status, status in {"completed", "failed", "cancelled", "terminated", "moved"}) for status in Status],
)
def test_a_status_knows_whether_it_is_the_end(status, closed):
    assert status.is_closed is closed


@pytest.mark.parametrize(
    "name", ["a", "order-1", "shop::activity::charge", " ", "Größe", "訂單", "👩‍👩‍👧", "x" * 256, "ä" * 128]
)
def test_names_are_text_of_up_to_256_bytes(name):
    assert check_name("event", name) == name


def test_a_name_becomes_a_plain_string():
    assert type(check_name("event", Event.APPROVED)) is str


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "event must not be empty"),
        (b"x", "event must be a string, not b'x'"),
        (None, "event must be a string, not None"),
        (Unprintable(), "event must be a string, not a Unprintable"),
        ("a\0", r"the character U\+0000 at position 1"),
        ("a\nb", r"U\+000A at position 1"),
        ("\x7f", r"U\+007F"),
        ("\x85", r"U\+0085"),
        ("a\u2028", r"U\+2028"),
        ("\u202eabc", r"U\+202E at position 0"),
        ("\ud800", r"U\+D800"),
        ("e\u0301", "not in Unicode's normal form NFC"),
    ],
)
def test_names_with_traps_are_refused(name, words):
    with pytest.raises(UsageError, match=words):
        check_name("event", name)


@pytest.mark.parametrize("name", ["x" * 257, "ä" * 129, "\ud800" * 100])
def test_long_names_are_refused(name):
    with pytest.raises(LimitError, match=r"event .* has \d+ bytes of UTF-8; at most 256 are allowed"):
        check_name("event", name)


def test_derived_ids_are_short_unique_and_recognised():
    ids = {
        child_id(root, incarnation, execution, seq)
        for root in ("order-1", "x" * 256, "ä" * 128)
        for incarnation in (1, 2**63 - 1)
        for execution in (1, 2)
        for seq in (1, 2)
    }

    assert len(ids) == 24
    assert all(len(each.encode()) <= 214 for each in ids)
    for each in ids:
        assert check_name("instance id", each) == each
        with pytest.raises(UsageError, match="marks the derived ids of children"):
            check_instance_id(each)


@pytest.mark.parametrize(
    "instance_id", ["order-1", "~abcdefghijkl", "a~abcdefghijkl1", "a~ABCDEFGHIJKLM", "aabcdefghijklmn"]
)
def test_other_ids_are_free(instance_id):
    assert check_instance_id(instance_id) == instance_id


def test_a_root_id_is_cut_at_a_character():
    assert child_id("x" + "ä" * 120, 1, 1, 1).startswith("x" + "ä" * 99 + "~")


def test_ids_of_a_release_are_ids_for_ever():
    assert child_id("order-1", 5, 1, 2) == "order-1~x4bjquzyxar5z"
    assert idempotency_key(5, 1, 2) == "ald5oladdtf25efdan53lleb5w"
    assert (slot_of("order-1"), slot_of("ä")) == (573, 57)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_slots_are_0_to_1023(instance_id):
    assert 0 <= slot_of(instance_id) < 1024


def test_a_tree_of_derived_ids_has_one_slot():
    child = child_id("order-1", 5, 1, 2)
    assert slot_of(child) == slot_of(child_id("order-1", 6, 1, 1)) == slot_of("order-1")
    for root in ("x" * 250, "x" + "ä" * 120):
        assert slot_of(child_id(root, 1, 1, 1)) == slot_of(root)


def test_what_only_looks_like_a_derived_id_has_a_slot_of_its_own():
    assert slot_of("order-1~ABCDEFGHIJKLM") != slot_of("order-1")


def test_the_module_brings_nothing_heavy():
    code = "import asyncio, sys, perdure._types; print({'msgspec', 'hashlib', 'unicodedata', 'apsw'} & {*sys.modules})"
    package = (
        "import sys, types; sys.modules['perdure'] = p = types.ModuleType('perdure'); p.__path__ = ['src/perdure'];"
    )

    result = subprocess.run([sys.executable, "-c", package + code], capture_output=True, check=True, text=True)

    assert result.stdout == "set()\n"
