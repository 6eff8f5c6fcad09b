"""How long to wait before the next attempt."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure._retry import Backoff
from perdure.errors import UsageError

SECOND = 1_000_000


def delays(backoff: Backoff, attempts: int = 5) -> list[float]:
    return [backoff.delay_us(attempt) / SECOND for attempt in range(1, attempts + 1)]


def test_none_tries_again_at_once():
    assert delays(Backoff.none()) == [0, 0, 0, 0, 0]


def test_fixed_waits_the_same_each_time():
    assert delays(Backoff.fixed(2)) == [2, 2, 2, 2, 2]


def test_linear_grows_by_its_base_up_to_its_cap():
    assert delays(Backoff.linear(2, max=7)) == [2, 4, 6, 7, 7]


def test_exponential_grows_by_its_multiplier_up_to_its_cap():
    assert delays(Backoff.exponential(2, multiplier=3, max=60)) == [2, 6, 18, 54, 60]


def test_exponential_doubles_unless_told_otherwise():
    assert delays(Backoff.exponential(0.1, max=1)) == [0.1, 0.2, 0.4, 0.8, 1]


def test_timedeltas_and_seconds_mean_the_same():
    assert Backoff.fixed(timedelta(milliseconds=1500)).delay_us(1) == Backoff.fixed(1.5).delay_us(1) == 1_500_000


def test_a_base_of_zero_stays_zero():
    assert delays(Backoff.exponential(0, max=30)) == [0, 0, 0, 0, 0]
    assert delays(Backoff.linear(0, max=0)) == [0, 0, 0, 0, 0]


@pytest.mark.parametrize("attempt", [1_100, 1_000_000, 10**30])
def test_a_huge_attempt_number_waits_for_the_cap_and_never_overflows(attempt):
    assert Backoff.exponential(0.1, multiplier=1_000_000, max=30).delay_us(attempt) == 30 * SECOND
    assert Backoff.linear(0.1, max=30).delay_us(attempt) == 30 * SECOND


def test_a_multiplier_of_one_never_grows():
    assert Backoff.exponential(2, multiplier=1, max=30).delay_us(10**30) == 2 * SECOND


def test_jitter_only_shortens():
    backoff = Backoff.fixed(10, jitter=0.5)
    assert backoff.delay_us(1, random_fraction=0.0) == 10 * SECOND
    assert backoff.delay_us(1, random_fraction=0.5) == 7_500_000
    assert backoff.delay_us(1, random_fraction=0.999_999) == pytest.approx(5 * SECOND, abs=10)


@given(
    base=st.floats(0, 100),
    more=st.floats(0, 1000),
    multiplier=st.floats(1, 1_000_000),
    attempt=st.integers(1, 10**9),
    fraction=st.floats(0, 1, exclude_max=True),
)
def test_every_delay_is_between_zero_and_the_cap(base, more, multiplier, attempt, fraction):
    cap = base + more
    for backoff in (
        Backoff.exponential(base, multiplier=multiplier, max=cap, jitter=1.0),
        Backoff.linear(base, max=cap, jitter=0.5),
    ):
        assert 0 <= backoff.delay_us(attempt, fraction) <= round(cap * SECOND)


@given(base=st.floats(0.001, 100), multiplier=st.floats(1, 100), attempt=st.integers(1, 10_000))
def test_a_later_attempt_never_waits_less(base, multiplier, attempt):
    backoff = Backoff.exponential(base, multiplier=multiplier, max=1000)
    assert backoff.delay_us(attempt) <= backoff.delay_us(attempt + 1)


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Backoff.fixed(-1), "Backoff base must be .* not -1"),
        (lambda: Backoff.fixed(timedelta(seconds=-1)), "Backoff base must not be negative"),
        (lambda: Backoff.fixed("2"), "Backoff base must be seconds or a timedelta, not '2'"),
        (lambda: Backoff.fixed(float("nan")), "Backoff base must be .* not nan"),
        (lambda: Backoff.fixed(1, jitter=1.5), "Backoff jitter is 1.5: it must be a number from 0 to 1"),
        (lambda: Backoff.fixed(1, jitter=float("nan")), "Backoff jitter is nan"),
        (lambda: Backoff.fixed(1, jitter=True), "Backoff jitter is True"),
        (lambda: Backoff.linear(5, max=2), "Backoff max is 2, less than the first delay 5"),
        (lambda: Backoff.exponential(1, multiplier=0.5, max=2), "Backoff multiplier is 0.5: .* from 1 to 1e"),
        (lambda: Backoff.exponential(1, multiplier="2", max=2), "Backoff multiplier is '2'"),
        (lambda: Backoff.exponential(1, multiplier=float("inf"), max=2), "Backoff multiplier is inf"),
        (lambda: Backoff.exponential(1, max="9"), "Backoff max must be seconds or a timedelta"),
        (lambda: Backoff("exponential", 1), "Backoff exponential has no max"),
        (lambda: Backoff("random"), "Backoff kind is 'random'"),
    ],
)
def test_a_wrong_value_is_refused_where_the_backoff_is_made(make, complaint):
    with pytest.raises(UsageError, match=complaint):
        make()


def test_it_is_a_value():
    assert Backoff.fixed(2) == Backoff.fixed(2) != Backoff.fixed(3)
    assert hash(Backoff.fixed(2)) == hash(Backoff.fixed(2))
