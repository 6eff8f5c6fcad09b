"""Errors: one tree, messages in words, and a record of any exception that is bounded, printable and plain."""

import copy
import inspect
import json
import sys
from dataclasses import asdict
from datetime import timedelta
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest

from perdure import MapResult, errors
from perdure.errors import (
    ActivityError,
    ActivityTimeoutError,
    ErrorInfo,
    NonRetryableError,
    OrchestrationError,
    OutcomeError,
    PerdureError,
    RetryAfter,
    UsageError,
    error_info_from_exception,
    qualified_name,
)

INFO = ErrorInfo("shop.CardDeclined", "no funds", attempts=3, types=("shop.CardDeclined", "builtins.Exception"))


class CardDeclined(Exception):
    pass


class Stolen(CardDeclined):
    pass


class Detailed(Exception):
    def __init__(self, details):
        super().__init__()
        self.details = details


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001 -- to give it a traceback, whatever it is
        return caught


EVERY = [
    PerdureError("m"),
    OutcomeError(INFO),
    ActivityError(INFO, "shop::activity::charge"),
    ActivityTimeoutError(INFO, "shop::activity::charge"),
    errors.MapError(INFO, MapResult((1, ActivityError(INFO, "charge")))),
    OrchestrationError(INFO, "order-1"),
    errors.OrchestrationCancelledError(INFO, "order-1"),
    errors.OrchestrationTerminatedError(INFO, "order-1"),
    NonRetryableError("m"),
    RetryAfter(5),
    UsageError("m"),
    errors.RegistrationError("m"),
    errors.ForbiddenCallError("m"),
    errors.PayloadError("m"),
    errors.LimitError("m"),
    errors.PayloadTooLargeError("m", size_bytes=2, limit_bytes=1),
    errors.HeldError("m", event_id=7),
    errors.ReplayMismatchError(7, "timer 5 s", None, "shop/orders.py:41"),
    errors.HistoryCorruptError("m"),
    errors.UnknownDefinitionError("activity", "charge", "2.0.0", ["1.0.0"]),
    errors.UnknownFormatError("m"),
    errors.TurnLimitError("m"),
    errors.StuckError("m"),
    errors.PoisonedError("m"),
    errors.ClientError("m"),
    errors.InstanceNotFoundError("order-1"),
    errors.InstanceReplacedError("order-1"),
    errors.RequestError(INFO, "order-1", "add"),
    errors.RequestRejectedError(INFO, "order-1", "add"),
    errors.UnansweredError("add"),
    errors.UnknownRequestError("order-1", "no handler of update 'add'; it has none"),
    errors.InstanceHeldError("order-1", "why"),
    errors.InstanceExistsError("order-1"),
    errors.InstanceClosedError("order-1", "completed"),
    errors.InstanceOpenError("order-1", "running"),
    errors.NotHeldError("order-1"),
    errors.InstanceMovedError("order-1", "elsewhere"),
    errors.InstanceComingError("order-1"),
    errors.ExportFileError(3, "was cut"),
    errors.RewindError("order-1", "it is running"),
    errors.ResultTimeoutError("order-1", 2.5),
    errors.StorageError("m"),
    errors.StorageUnavailableError("m"),
    errors.StorageBusyError("m"),
    errors.StorageFullError("m"),
    errors.OutcomeUnknownError("m"),
    errors.SchemaVersionError("m"),
    errors.ForeignDatabaseError("m"),
    errors.DatabaseCorruptError("m"),
    errors.FencedError("m"),
    errors.ForkedError("m"),
]


@pytest.mark.parametrize("error", EVERY, ids=[type(error).__name__ for error in EVERY])
def test_every_error_can_be_copied_printed_and_recorded(error):
    copied = copy.copy(error)

    assert type(copied) is type(error)
    assert str(copied) == str(error)
    assert vars(copied) == vars(error)
    assert str(error)
    assert repr(error).startswith(type(error).__name__)
    assert error_info_from_exception(error).message == str(error)


def test_every_public_error_is_in_the_tree_of_the_docstring():
    public = {
        name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, PerdureError)
    } - {"_InstanceError"}

    assert public == {type(error).__name__ for error in EVERY}
    assert all(f" {name}\n" in errors.__doc__ or f" {name} " in errors.__doc__ for name in public)


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (ActivityTimeoutError, TimeoutError),
        (errors.ResultTimeoutError, TimeoutError),
        (errors.InstanceNotFoundError, LookupError),
        (errors.PayloadError, ValueError),
        (errors.PayloadTooLargeError, errors.PayloadError),
        (errors.StorageBusyError, errors.StorageUnavailableError),
    ],
)
def test_errors_can_be_caught_by_their_builtins(error, builtin):
    assert issubclass(error, builtin)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OutcomeError(INFO), "shop.CardDeclined: no funds"),
        (OutcomeError(ErrorInfo("builtins.KeyError", "")), "KeyError"),
        (ActivityError(INFO, "charge"), "activity charge failed after 3 attempts: shop.CardDeclined: no funds"),
        (
            ActivityTimeoutError(ErrorInfo("builtins.TimeoutError", "no answer in 5 s"), "charge"),
            "activity charge timed out: no answer in 5 s",
        ),
        (OrchestrationError(INFO, "o"), "orchestration instance 'o' failed: shop.CardDeclined: no funds"),
        (
            errors.OrchestrationCancelledError(ErrorInfo("x", "too late"), "o"),
            "orchestration instance 'o' was cancelled: too late",
        ),
        (errors.OrchestrationTerminatedError(ErrorInfo("x", ""), "o"), "orchestration instance 'o' was terminated"),
        (RetryAfter(5), "retry after 5 s"),
        (RetryAfter(timedelta(hours=1)), "retry after 1:00:00"),
        (
            errors.ReplayMismatchError(7, "timer 5 s", "activity charge", "a.py:1", "a.py:2"),
            (
                "code and history differ at event 7: history records timer 5 s (a.py:1), the code asked for "
                "activity charge (a.py:2). Bring the old code back, or register the changed code under a new version"
            ),
        ),
        (
            errors.UnknownDefinitionError("orchestration", "checkout", "2.0.0", ["1.0.0"]),
            (
                "no orchestration named 'checkout' in version 2.0.0 is registered here (registered: 1.0.0). Register "
                "it, or give the definition that replaces it this name in aliases=(...)"
            ),
        ),
        (errors.InstanceClosedError("o", "failed"), "instance 'o' has ended (failed) and takes no more messages"),
        (
            errors.InstanceClosedError("o", "moved"),
            "instance 'o' has moved to another store, which its held_because names: ask there",
        ),
        (errors.ResultTimeoutError("o", 2.0), "instance 'o' did not end within 2 s; it goes on, ask again"),
    ],
)
def test_messages_say_what_is_wrong_and_who_must_act(error, text):
    assert str(error) == text


def test_a_mismatch_without_an_event_says_nothing():
    assert "differ: history records nothing, the code asked for nothing." in str(
        errors.ReplayMismatchError(None, None, None)
    )
    assert "named 'charge' is registered here. Register it" in str(errors.UnknownDefinitionError("activity", "charge"))


def test_a_timeout_of_ours_has_no_errno():
    assert ActivityTimeoutError(INFO, "charge").errno is None
    assert errors.ResultTimeoutError("o", 1.0).strerror is None


@pytest.mark.parametrize("delay", [-1, float("nan"), float("inf"), True, "5", None, timedelta(-1)])
def test_retry_after_wants_a_delay(delay):
    with pytest.raises(UsageError, match="RetryAfter takes seconds"):
        RetryAfter(delay)


def test_caused_by_matches_the_recorded_classes_by_name():
    error = ActivityError(error_info_from_exception(Stolen("x")), "charge")

    assert error.caused_by(Stolen)
    assert error.caused_by(CardDeclined)
    assert error.caused_by(Exception)
    assert error.caused_by(BaseException)
    assert not error.caused_by(ValueError)
    assert OutcomeError(ErrorInfo("builtins.ValueError", "")).caused_by(ValueError)


def test_caused_by_sees_through_what_wraps():
    activity = ActivityError(error_info_from_exception(Stolen("x")), "charge")
    child = OrchestrationError(error_info_from_exception(activity), "o")
    final, again = NonRetryableError("stop"), RetryAfter(5)
    final.__cause__ = again.__cause__ = Stolen("x")

    assert child.caused_by(ActivityError)
    assert child.caused_by(CardDeclined)
    assert OutcomeError(error_info_from_exception(final)).caused_by(CardDeclined)
    assert OutcomeError(error_info_from_exception(again)).caused_by(CardDeclined)
    assert (
        OutcomeError(error_info_from_exception(OutcomeError(ErrorInfo("shop.Odd", "")))).error.types[-1] == "shop.Odd"
    )


def test_the_recorded_traceback_is_shown_below_the_local_one():
    info = error_info_from_exception(raised(CardDeclined("no funds")))
    error = ActivityError(info, "charge")

    assert "Traceback (most recent call last)" in info.traceback
    assert "in raised" in info.traceback
    assert error.__notes__ == [f"Recorded traceback:\n{info.traceback.rstrip()}"]


def test_an_exception_becomes_plain_data():
    info = error_info_from_exception(Stolen("gone"), attempts=4)

    assert info == ErrorInfo(
        type=f"{__name__}.Stolen",
        message="gone",
        traceback=None,
        attempts=4,
        types=(f"{__name__}.Stolen", f"{__name__}.CardDeclined", "builtins.Exception"),
        details=None,
        retryable=True,
    )
    assert json.dumps(asdict(info))


@pytest.mark.parametrize("error", [NonRetryableError("m"), UsageError("m"), errors.PayloadError("m")])
def test_some_errors_end_the_same_on_every_attempt(error):
    assert not error_info_from_exception(error).retryable


@pytest.mark.parametrize(
    ("details", "recorded"),
    [
        ({"code": 5, "list": [1, None]}, {"code": 5, "list": [1, None]}),
        ("text", "text"),
        (object(), None),
        (print, None),
        (None, None),
        ("x" * 9000, None),
        ({"a": "\0"}, None),
        ("\ud800", None),
    ],
)
def test_details_that_are_json_are_kept(details, recorded):
    assert error_info_from_exception(Detailed(details)).details == recorded


def test_details_that_raise_are_left_out():
    class Angry(Exception):
        @property
        def details(self):
            raise RuntimeError

    assert error_info_from_exception(Angry()).details is None


@pytest.mark.parametrize("failure", [ValueError, SystemExit, RecursionError])
def test_an_exception_that_can_not_be_printed_is_recorded(failure):
    class Mute(Exception):
        def __str__(self):
            raise failure

        __repr__ = __str__

    info = error_info_from_exception(raised(Mute()))

    assert info.message == f"<no message: str() of the exception raised {failure.__name__}>"
    assert "Mute" in info.traceback


def test_notes_that_raise_do_not_stop_the_record():
    class Note:
        def __str__(self):
            raise KeyboardInterrupt

        __repr__ = __str__

    class Noted(Exception):
        @property
        def __notes__(self):
            raise SystemExit

    error = ValueError("x")
    error.__notes__ = [Note()]

    assert error_info_from_exception(raised(error)).message == "x"
    assert error_info_from_exception(raised(Noted("y"))).message == "y"


def test_causes_in_a_circle_are_recorded():
    first, second = CardDeclined("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first

    assert "second" in error_info_from_exception(raised(first)).traceback


def test_a_huge_message_is_cut_and_says_so():
    info = error_info_from_exception(raised(ValueError("ä" * 5_000_000)))

    assert info.message.endswith(" ... [cut, 10000000 bytes in all]")
    assert 8000 < len(info.message.encode()) <= 8192
    assert 32_000 < len(info.traceback.encode()) <= 32_768
    assert "[cut, " in info.traceback
    assert "Traceback" in info.traceback


def test_endless_recursion_is_recorded():
    def recurse():
        recurse()

    try:
        recurse()
    except RecursionError as error:
        info = error_info_from_exception(error)

    assert "in recurse" in info.traceback
    assert len(info.traceback) < 32_768


LEAVES = (
    "it asks the whole process to end, and a worker doesn't do that for what it runs: return, or raise an Exception"
)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (SystemExit(3), f"3: {LEAVES}"),
        (SystemExit(), LEAVES),
        (KeyboardInterrupt(), LEAVES),
        (
            GeneratorExit(),
            "Python raises it to end a coroutine that nobody wants any more: return, or raise an Exception",
        ),
    ],
    ids=repr,
)
def test_what_ends_programs_is_recorded_with_what_it_means_and_what_to_do(error, message):
    info = error_info_from_exception(raised(error))

    assert (info.message, info.type) == (message, f"builtins.{type(error).__name__}")
    assert info.summary == f"{type(error).__name__}: {message}"


def test_a_group_tells_of_its_members():
    group = ExceptionGroup("two failed", [ValueError("a"), CardDeclined("b")])
    many = BaseExceptionGroup("many", [KeyboardInterrupt()] * 9)

    assert error_info_from_exception(group).message == ("two failed (2 sub-exceptions): ValueError: a; CardDeclined: b")
    assert error_info_from_exception(many).message.endswith("KeyboardInterrupt: ; ...")


def test_text_that_can_not_be_stored_is_replaced():
    info = error_info_from_exception(ValueError("a\0b\ud800c\ud83d\ude00"))

    assert info.message == "a\ufffdb\ufffdc\U0001f600"


def test_a_deep_family_is_bounded():
    family = Exception
    for generation in range(100):
        family = type(f"Error{generation}", (family,), {})

    assert len(error_info_from_exception(family()).types) == 64


@pytest.mark.parametrize(
    ("main", "name"),
    [
        ({"__file__": "/srv/shop.py", "__spec__": None}, "shop.Declined"),
        ({"__spec__": ModuleSpec("shop.orders", None)}, "shop.orders.Declined"),
        ({"__spec__": None}, "main.Declined"),
    ],
    ids=["python shop.py", "python -m shop.orders", "python -c or a notebook"],
)
def test_a_class_of_the_running_script_is_named_as_if_imported(monkeypatch, main, name):
    module = ModuleType("__main__")
    vars(module).update(main)
    monkeypatch.setitem(sys.modules, "__main__", module)

    assert qualified_name(type("Declined", (Exception,), {"__module__": "__main__"})) == name
    assert qualified_name(ValueError) == "builtins.ValueError"
