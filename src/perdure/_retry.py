"""When a failed activity is tried again, and after how long.

Two forms of one policy. `RetryPolicy` is what users write; every value is checked when it is made. `WirePolicy` is what
history and task rows carry: integers in microseconds and qualified type names, so that a worker without the classes
can still decide. Deciding is a pure function: chance and time are passed in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, assert_never

import msgspec

from perdure._types import Duration, duration_us
from perdure.errors import HistoryCorruptError, UsageError, qualified_name

ATTEMPTS_MAX = 1_000_000
"""The largest `max_attempts`."""

MULTIPLIER_MAX = 1_000_000.0
"""The largest `multiplier` of an exponential backoff."""

BackoffKind: TypeAlias = Literal["none", "fixed", "linear", "exponential"]

_KINDS = ("none", "fixed", "linear", "exponential")


def _check_number(value: object, what: str, least: float, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise UsageError(f"{what} is {value!r}: it must be a number from {least:g} to {most:g}")


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before each further attempt. Make one with `none`, `fixed`, `linear` or `exponential`.

    Durations are seconds or timedeltas. `jitter` is a fraction from 0 to 1: each delay is shortened by a random part
    of up to that fraction, so it never exceeds the computed delay or its cap; 1 is what others call full jitter.

    Example:
        >>> Backoff.exponential(2, multiplier=2.0, max=30).delay_us(attempt=2)
        4000000
    """

    kind: BackoffKind
    base: Duration = 0
    multiplier: float = 1.0
    max: Duration | None = None
    jitter: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise UsageError(f"Backoff kind is {self.kind!r}: use none(), fixed(), linear() or exponential()")
        base_us = duration_us(self.base, "Backoff base")
        if self.max is not None and duration_us(self.max, "Backoff max") < base_us:
            raise UsageError(f"Backoff max is {self.max!r}, less than the first delay {self.base!r}: raise max")
        if self.max is None and self.kind in ("linear", "exponential"):
            raise UsageError(f"Backoff {self.kind} has no max: say how long a delay may get at most")
        _check_number(self.multiplier, "Backoff multiplier", 1, MULTIPLIER_MAX)
        _check_number(self.jitter, "Backoff jitter", 0, 1)

    @classmethod
    def none(cls) -> Backoff:
        """Try again at once."""
        return cls("none")

    @classmethod
    def fixed(cls, delay: Duration, *, jitter: float = 0.0) -> Backoff:
        """Wait `delay` before every further attempt.

        Raises:
            UsageError: A negative delay, or a jitter outside 0 to 1.
        """
        return cls("fixed", delay, jitter=jitter)

    @classmethod
    def linear(cls, base: Duration, *, max: Duration, jitter: float = 0.0) -> Backoff:
        """Wait `base`, 2 x `base`, 3 x `base` and so on, at most `max`.

        Raises:
            UsageError: A negative duration, a `max` below `base`, or a jitter outside 0 to 1.
        """
        return cls("linear", base, max=max, jitter=jitter)

    @classmethod
    def exponential(cls, base: Duration, *, multiplier: float = 2.0, max: Duration, jitter: float = 0.0) -> Backoff:
        """Wait `base`, then `multiplier` times longer after each failure, at most `max`.

        Raises:
            UsageError: A negative duration, a `max` below `base`, a multiplier below 1, or a jitter outside 0 to 1.
        """
        return cls("exponential", base, multiplier, max, jitter)

    def delay_us(self, attempt: int, random_fraction: float = 0.0) -> int:
        """The delay in microseconds after the failure of attempt number `attempt` (from 1).

        `random_fraction`, a number in [0, 1), decides how much of the jitter is taken off.
        """
        return RetryPolicy(backoff=self).wire.delay_us(attempt, random_fraction)


class WirePolicy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A retry policy as history and task rows carry it. Fields are only ever added; `WirePolicy()` is one attempt."""

    max_attempts: int = 1
    backoff: BackoffKind = "none"
    base_us: int = 0
    multiplier: float = 1.0
    max_us: int = 0
    jitter: float = 0.0
    attempt_timeout_us: int | None = None
    total_timeout_us: int | None = None
    retry_on: tuple[str, ...] = ("builtins.Exception",)
    never_retry: tuple[str, ...] = ()
    attempts_for: tuple[tuple[str, int], ...] = ()
    poll_us: int | None = None
    """How long after an attempt without an answer the next one is due; None: any result is the answer."""

    def delay_us(self, attempt: int, random_fraction: float) -> int:
        """The delay in microseconds after attempt `attempt`; saturates, however many attempts there were."""
        match self.backoff:
            case "none":
                return 0
            case "fixed":
                delay_us = self.base_us
            case "linear":
                delay_us = min(self.base_us * attempt, self.max_us)
            case "exponential":
                delay_us = self._grown_us(attempt - 1)
            case _:
                assert_never(self.backoff)
        return delay_us - int(delay_us * self.jitter * random_fraction)

    def _grown_us(self, times: int) -> int:
        if self.base_us == 0:
            return 0
        # The power itself overflows a float after some hundred attempts; its logarithm does not.
        if times * math.log(self.multiplier) >= math.log(self.max_us / self.base_us):
            return self.max_us
        return int(self.base_us * self.multiplier**times)

    def decide(
        self,
        error_types: tuple[str, ...],
        *,
        attempt: int,
        elapsed_us: int,
        random_fraction: float,
        retry_after_us: int | None = None,
        retryable: bool = True,
    ) -> int | None:
        """What to do after a failed attempt: the delay in microseconds before the next one, or None to give up.

        Args:
            error_types: Qualified names of the error's class and its bases, as `ErrorInfo.types` has them.
            attempt: The number of the attempt that failed, from 1.
            elapsed_us: Time since the activity was scheduled.
            random_fraction: A number in [0, 1) for the jitter.
            retry_after_us: The delay that a `RetryAfter` asked for; it overrides the backoff and the lists of types,
                but neither the number of attempts nor `total_timeout`.
            retryable: False for a `NonRetryableError`.
        """
        if not retryable or attempt >= self._most(error_types):
            return None
        if retry_after_us is None:
            if not self._wants(error_types):
                return None
            delay = self.delay_us(attempt, random_fraction)
        else:
            delay = retry_after_us
        # An attempt that could only start after the total timeout would be wasted.
        if self.total_timeout_us is not None and elapsed_us + delay >= self.total_timeout_us:
            return None
        return delay

    def _most(self, error_types: tuple[str, ...]) -> int:
        """How many attempts there are for an error of these types, the most special of which decides."""
        most = dict(self.attempts_for)
        for name in (*error_types, "builtins.BaseException"):
            if name in most:
                return most[name]
        return self.max_attempts

    def _wants(self, error_types: tuple[str, ...]) -> bool:
        if any(_covers(name, error_types) for name in self.never_retry):
            return False
        return any(_covers(name, error_types) for name in self.retry_on)


def _covers(name: str, error_types: tuple[str, ...]) -> bool:
    # What is recorded of an error leaves out the base of all errors.
    return name in error_types or name == "builtins.BaseException"


ONE_ATTEMPT = WirePolicy()
"""What holds where no policy was given."""

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(WirePolicy)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often, when and for which errors an activity is tried again.

    Durations are seconds or timedeltas. A worker's death is a delivery, not an attempt. A `NonRetryableError` is never
    retried, a `RetryAfter` sets the next delay itself. Without any policy there is one attempt.

    Attributes:
        max_attempts: Counts the first try; from 1 to 1,000,000.
        backoff: The delays between attempts; 0.1 s, doubled each time, at most 30 s.
        attempt_timeout: The time limit of one attempt. An attempt that exceeds it has failed, and is retried.
        total_timeout: The time limit from scheduling to outcome, waits included.
        retry_on: Only errors of these types, or of types derived from them, are retried.
        never_retry: Errors of these types are not, even if `retry_on` has them.
        attempts_for: `max_attempts` for errors of a type and of those derived from it; the nearest type decides. All
            attempts count, whatever the ones before failed with.

    Raises:
        UsageError: A value is out of range; the message names it.

    Example:
        RetryPolicy(5, backoff=Backoff.fixed(2), attempt_timeout=60, never_retry=(CardDeclined,))
        RetryPolicy(3, attempts_for={ConnectionError: 20})
    """

    max_attempts: int = 3
    backoff: Backoff = Backoff.exponential(0.1, max=30)  # noqa: RUF009 - frozen, so it may be shared
    attempt_timeout: Duration | None = None
    total_timeout: Duration | None = None
    retry_on: tuple[type[BaseException], ...] = (Exception,)
    never_retry: tuple[type[BaseException], ...] = ()
    attempts_for: Mapping[type[BaseException], int] = field(default_factory=dict, hash=False)
    wire: WirePolicy = field(init=False, repr=False, compare=False)
    wire_json: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_attempts(self.max_attempts, "max_attempts")
        if not isinstance(self.backoff, Backoff):
            raise UsageError(f"RetryPolicy backoff is {self.backoff!r}: use one of Backoff's class methods")
        _check_types(self.retry_on, "retry_on")
        _check_types(self.never_retry, "never_retry")
        _check_attempts_for(self.attempts_for)
        if not self.retry_on:
            raise UsageError("RetryPolicy retry_on is empty, so nothing would be retried: give no policy instead")
        wire = self._to_struct()
        # Policies are constants that are used for every activity: what history stores is made once.
        object.__setattr__(self, "wire", wire)
        object.__setattr__(self, "wire_json", _encoder.encode(wire))

    def _to_struct(self) -> WirePolicy:
        backoff = self.backoff
        values: dict[str, Any] = {
            "max_attempts": self.max_attempts,
            "backoff": backoff.kind,
            "base_us": duration_us(backoff.base),
            "multiplier": float(backoff.multiplier),
            "max_us": 0 if backoff.max is None else duration_us(backoff.max),
            "jitter": float(backoff.jitter),
            "attempt_timeout_us": _timeout_us(self.attempt_timeout, "RetryPolicy attempt_timeout"),
            "total_timeout_us": _timeout_us(self.total_timeout, "RetryPolicy total_timeout"),
            "retry_on": tuple(qualified_name(each) for each in self.retry_on),
            "never_retry": tuple(qualified_name(each) for each in self.never_retry),
            "attempts_for": tuple((qualified_name(each), most) for each, most in self.attempts_for.items()),
        }
        # Only the very object of a default is left out of the JSON, so what equals it is not passed at all.
        return WirePolicy(**{name: value for name, value in values.items() if value != getattr(ONE_ATTEMPT, name)})


def polling(policy: RetryPolicy | None, every: Duration, timeout: Duration | None) -> bytes:
    """What is stored for an activity that is repeated until it has an answer; `policy` says what its failures mean.

    Raises:
        UsageError: An interval or a timeout that is none.
    """
    every_us = duration_us(every, "poll_until every")
    if every_us == 0:
        raise UsageError(f"poll_until every is {every!r}: say how long to wait before it is asked again")
    wire = msgspec.structs.replace(ONE_ATTEMPT if policy is None else policy.wire, poll_us=every_us)
    limit_us = _timeout_us(timeout, "poll_until timeout")
    if limit_us is not None:
        wire = msgspec.structs.replace(wire, total_timeout_us=limit_us)
    return _encoder.encode(wire)


def from_wire(stored: bytes | None) -> WirePolicy:
    """The policy that was stored; one attempt where none was.

    Raises:
        HistoryCorruptError: What is stored is no retry policy.
    """
    if stored is None:
        return ONE_ATTEMPT
    try:
        return _decoder.decode(stored)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise HistoryCorruptError(f"the stored retry policy {stored!r} can't be read: {error}") from error


def _timeout_us(value: Duration | None, what: str) -> int | None:
    if value is None:
        return None
    limit_us = duration_us(value, what)
    if limit_us == 0:
        raise UsageError(f"{what} is {value!r}: nothing ends in no time; leave it out for no limit")
    return limit_us


def _check_attempts(attempts: object, what: str) -> None:
    if not isinstance(attempts, int) or isinstance(attempts, bool) or not 1 <= attempts <= ATTEMPTS_MAX:
        raise UsageError(f"RetryPolicy {what} is {attempts!r}: use 1 to {ATTEMPTS_MAX:,}; the first try counts")


def _check_attempts_for(attempts_for: object) -> None:
    if not isinstance(attempts_for, Mapping):
        raise UsageError(f"RetryPolicy attempts_for is {attempts_for!r}: write a dict, attempts_for={{ValueError: 2}}")
    _check_types(tuple(attempts_for), "attempts_for")
    for each, attempts in attempts_for.items():
        _check_attempts(attempts, f"attempts_for {each.__name__}")


def _check_types(types: object, what: str) -> None:
    if not isinstance(types, tuple):
        raise UsageError(f"RetryPolicy {what} is {types!r}: write a tuple, even for one type: {what}=(ValueError,)")
    for each in types:
        if not (isinstance(each, type) and issubclass(each, BaseException)):
            raise UsageError(f"RetryPolicy {what} has {each!r} in it, which is no exception type")
