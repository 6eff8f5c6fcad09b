"""Which failures are tried again, how often, and until when."""

import json

import pytest

from perdure._retry import ONE_ATTEMPT, Backoff, RetryPolicy, from_wire
from perdure.errors import HistoryCorruptError, NonRetryableError, UsageError, error_info_from_exception

SECOND = 1_000_000


class PaymentError(Exception):
    pass


class CardDeclinedError(PaymentError):
    pass


def decide(policy, error, *, attempt=1, elapsed=0.0, **given):
    """What the policy says about a failed attempt: the delay in seconds, or None to give up."""
    wire = ONE_ATTEMPT if policy is None else policy.wire
    info = error_info_from_exception(error)
    delay_us = wire.decide(
        info.types,
        attempt=attempt,
        elapsed_us=round(elapsed * SECOND),
        random_fraction=0.0,
        retryable=info.retryable,
        **given,
    )
    return None if delay_us is None else delay_us / SECOND


def test_without_a_policy_there_is_one_attempt():
    assert decide(None, ValueError()) is None


def test_the_default_policy_is_three_attempts_with_doubled_delays():
    policy = RetryPolicy()
    assert decide(policy, ValueError(), attempt=1) == 0.1
    assert decide(policy, ValueError(), attempt=2) == 0.2
    assert decide(policy, ValueError(), attempt=3) is None


def test_the_first_positional_argument_is_the_number_of_attempts():
    policy = RetryPolicy(5, backoff=Backoff.none())
    assert [decide(policy, ValueError(), attempt=n) for n in range(1, 6)] == [0, 0, 0, 0, None]


def test_retry_on_takes_the_type_and_those_derived_from_it():
    policy = RetryPolicy(backoff=Backoff.none(), retry_on=(PaymentError, OSError))
    assert decide(policy, CardDeclinedError()) == 0
    assert decide(policy, ConnectionResetError()) == 0
    assert decide(policy, ValueError()) is None


def test_never_retry_wins_over_retry_on():
    policy = RetryPolicy(backoff=Backoff.none(), retry_on=(PaymentError,), never_retry=(CardDeclinedError,))
    assert decide(policy, PaymentError()) == 0
    assert decide(policy, CardDeclinedError()) is None


def test_a_system_exit_is_retried_only_when_asked_for():
    assert decide(RetryPolicy(), SystemExit(1)) is None
    assert decide(RetryPolicy(retry_on=(BaseException,), backoff=Backoff.none()), SystemExit(1)) == 0


def test_a_non_retryable_error_is_never_retried():
    assert decide(RetryPolicy(retry_on=(BaseException,)), NonRetryableError("stolen")) is None


def test_retry_after_sets_the_delay():
    assert decide(RetryPolicy(backoff=Backoff.fixed(1)), ValueError(), retry_after_us=7 * SECOND) == 7


def test_retry_after_overrides_the_lists_of_types_but_not_the_number_of_attempts():
    policy = RetryPolicy(2, retry_on=(OSError,))
    assert decide(policy, ValueError(), attempt=1, retry_after_us=0) == 0
    assert decide(policy, ValueError(), attempt=2, retry_after_us=0) is None


def test_no_attempt_is_begun_that_the_total_timeout_would_end_at_once():
    policy = RetryPolicy(100, backoff=Backoff.fixed(4), total_timeout=10)
    assert decide(policy, ValueError(), elapsed=5.9) == 4
    assert decide(policy, ValueError(), elapsed=6.0) is None
    assert decide(policy, ValueError(), elapsed=1.0, retry_after_us=9 * SECOND) is None


def test_a_timed_out_attempt_is_a_failed_attempt():
    assert decide(RetryPolicy(attempt_timeout=1, backoff=Backoff.none()), TimeoutError()) == 0


def test_a_timed_out_attempt_is_the_last_one_where_the_policy_says_so():
    assert decide(RetryPolicy(attempt_timeout=1, never_retry=(TimeoutError,)), TimeoutError()) is None


def test_what_is_stored_is_whole_microseconds_and_qualified_names():
    policy = RetryPolicy(
        5,
        backoff=Backoff.exponential(2, max=30, jitter=0.1),
        attempt_timeout=60,
        total_timeout=0.5,
        retry_on=(PaymentError,),
        never_retry=(CardDeclinedError, ValueError),
    )
    assert json.loads(policy.wire_json) == {
        "max_attempts": 5,
        "backoff": "exponential",
        "base_us": 2_000_000,
        "multiplier": 2.0,
        "max_us": 30_000_000,
        "jitter": 0.1,
        "attempt_timeout_us": 60_000_000,
        "total_timeout_us": 500_000,
        "retry_on": [f"{__name__}.PaymentError"],
        "never_retry": [f"{__name__}.CardDeclinedError", "builtins.ValueError"],
    }


def test_defaults_are_not_stored():
    assert RetryPolicy(1, backoff=Backoff.none()).wire_json == b"{}"


def test_what_was_stored_decides_as_the_policy_does():
    policy = RetryPolicy(4, backoff=Backoff.linear(1, max=9), retry_on=(PaymentError,))
    assert from_wire(policy.wire_json) == policy.wire


def test_nothing_stored_means_one_attempt():
    assert from_wire(None) is ONE_ATTEMPT


@pytest.mark.parametrize("stored", [b"[]", b"{", b'{"max_attempts":"many"}', b'{"backoff":"quadratic"}', b"\xff"])
def test_a_stored_policy_that_is_none_is_never_guessed(stored):
    with pytest.raises(HistoryCorruptError, match=r"the stored retry policy .* can't be read"):
        from_wire(stored)


def test_fields_of_a_later_release_are_skipped():
    assert from_wire(b'{"max_attempts":2,"hedge_us":5}').max_attempts == 2


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: RetryPolicy(0), "max_attempts is 0: use 1 to 1,000,000"),
        (lambda: RetryPolicy(-1), "max_attempts is -1"),
        (lambda: RetryPolicy(2.0), "max_attempts is 2.0"),
        (lambda: RetryPolicy(max_attempts=True), "max_attempts is True"),
        (lambda: RetryPolicy(1_000_001), "max_attempts is 1000001"),
        (lambda: RetryPolicy(backoff=2), "backoff is 2: use one of Backoff's class methods"),
        (lambda: RetryPolicy(attempt_timeout=0), "attempt_timeout is 0: nothing ends in no time"),
        (lambda: RetryPolicy(attempt_timeout=-5), "attempt_timeout must be"),
        (lambda: RetryPolicy(total_timeout="1h"), "total_timeout must be seconds or a timedelta, not '1h'"),
        (lambda: RetryPolicy(retry_on=ValueError), "retry_on is <class 'ValueError'>: write a tuple"),
        (lambda: RetryPolicy(retry_on=()), "retry_on is empty, so nothing would be retried"),
        (lambda: RetryPolicy(retry_on=("ValueError",)), "retry_on has 'ValueError' in it, which is no exception type"),
        (lambda: RetryPolicy(never_retry=(int,)), "never_retry has <class 'int'> in it, which is no exception type"),
    ],
)
def test_a_wrong_value_is_refused_where_the_policy_is_made(make, complaint):
    with pytest.raises(UsageError, match=complaint):
        make()


def test_it_is_a_value_that_shows_what_was_written():
    assert RetryPolicy(5) == RetryPolicy(5) != RetryPolicy(4)
    assert hash(RetryPolicy(5)) == hash(RetryPolicy(5))
    assert "wire" not in repr(RetryPolicy(5))


class TestAttemptsPerError:
    """`attempts_for`: how often depends on what it failed with."""

    def _decides(self, attempt: int, error: BaseException, **options: object) -> bool:
        policy = RetryPolicy(3, backoff=Backoff.none(), attempts_for={OSError: 10, TimeoutError: 1}, **options)
        stored = from_wire(policy.wire_json)
        info = error_info_from_exception(error)
        return stored.decide(info.types, attempt=attempt, elapsed_us=0, random_fraction=0) is not None

    def test_the_type_decides(self) -> None:
        assert self._decides(9, ConnectionError())
        assert not self._decides(10, ConnectionError())

    def test_the_nearest_type_decides(self) -> None:
        assert not self._decides(1, TimeoutError())

    def test_others_have_the_usual_number(self) -> None:
        assert self._decides(2, ValueError())
        assert not self._decides(3, ValueError())

    def test_base_exception_is_every_error(self) -> None:
        policy = RetryPolicy(3, attempts_for={BaseException: 1}, retry_on=(BaseException,))
        assert from_wire(policy.wire_json).decide(("x",), attempt=1, elapsed_us=0, random_fraction=0) is None

    @pytest.mark.parametrize(
        ("attempts_for", "complaint"),
        [
            ([OSError], "write a dict"),
            ({"OSError": 3}, "'OSError' in it, which is no exception type"),
            ({OSError: 0}, "attempts_for OSError is 0: use 1 to"),
        ],
    )
    def test_a_mistake_is_told(self, attempts_for: object, complaint: str) -> None:
        with pytest.raises(UsageError, match=complaint):
            RetryPolicy(attempts_for=attempts_for)

    def test_policies_are_compared_and_may_be_keys(self) -> None:
        assert RetryPolicy(attempts_for={OSError: 2}) != RetryPolicy()
        assert len({RetryPolicy(attempts_for={OSError: 2}), RetryPolicy(attempts_for={OSError: 2})}) == 1
