"""The options of the context's verbs, checked at the call: a mistaken one must not become part of an event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Raw

from perdure._context import Limit
from perdure._core.limits import recorded
from perdure._definitions import Activity, Orchestration, version_key
from perdure._events import ABSENT
from perdure._retry import RetryPolicy, polling
from perdure._types import check_name, duration_us
from perdure.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PRIORITY_MAX = 1_000_000
"""The largest priority of an activity, and with a minus the smallest."""

CLOSE_POLICIES = ("cancel", "terminate", "abandon")

CANCEL_POLICIES = ("leave", "wait")

ACTIVITY_OPTIONS = ("retry", "tag", "session", "priority", "schedule_to_start", "limit", "on_cancel", "returns")
POLL_OPTIONS = (*ACTIVITY_OPTIONS, "every", "timeout")
MAP_OPTIONS = ("max_concurrency", "retry", "policy")
DETACHED_OPTIONS = ("instance_id", "version")
CHILD_OPTIONS = (*DETACHED_OPTIONS, "on_close", "returns")
NEXT_OPTIONS = ("version",)


def check_known(verb: str, options: Mapping[str, Any], known: tuple[str, ...], target: object) -> None:
    """Refuse an option that the verb does not have for this target, and say what was probably meant.

    Raises:
        UsageError: There is such an option.
    """
    for option in options:
        if option not in known or (option == "returns" and not isinstance(target, str)):
            usable = known if isinstance(target, str) else tuple(name for name in known if name != "returns")
            raise UsageError(f"ctx.{verb} has no option {option}= here: {_cure(option, usable, target)}")


def _cure(option: str, usable: tuple[str, ...], target: object) -> str:
    if option == "returns":
        return f"it is for calls by name, and {target!r} says itself what it returns"
    if isinstance(target, Activity | Orchestration) and option in target.input_names:
        return f"{option} is an input of {target!r}, and inputs are positional"
    from perdure._definitions.mistakes import cure_of  # noqa: PLC0415 - only mistakes need it

    return cure_of(option, usable)


def _with_defaults(activity: object, inputs: Sequence[Any]) -> Sequence[Any]:
    """All that the activity will be called with: inputs that the call leaves out take their defaults."""
    if not isinstance(activity, Activity):
        return inputs
    missing = len(activity.input_names) - len(inputs)
    return (*inputs, *activity.defaults[-missing:]) if missing > 0 else inputs


def scheduling(options: Mapping[str, Any], activity: object, inputs: Sequence[Any]) -> dict[str, Any]:
    """The fields of an activity's event that its options decide, or where they say nothing its definition.

    Raises:
        UsageError: An option has a value that can't be used.
    """
    policy = _chosen("retry", options, activity)
    if policy is not None and not isinstance(policy, RetryPolicy):
        raise UsageError(f"retry is {policy!r}: use a RetryPolicy, such as RetryPolicy(3)")
    priority = options.get("priority", 0)
    if type(priority) is not int or not -PRIORITY_MAX <= priority <= PRIORITY_MAX:
        raise UsageError(f"priority is {priority!r}: use a whole number from {-PRIORITY_MAX:,} to {PRIORITY_MAX:,}")
    tag, limit = _chosen("tag", options, activity), _chosen("limit", options, activity)
    if limit is not None and not isinstance(limit, Limit):
        raise UsageError(f"limit is {limit!r}: use a Limit, such as Limit('smtp', concurrency=5)")
    session, patience = options.get("session"), options.get("schedule_to_start")
    return {
        "retry": ABSENT if policy is None else Raw(policy.wire_json),
        "tag": None if tag is None else check_name("tag", tag),
        "session": None if session is None else check_name("session", session),
        "priority": priority,
        "schedule_to_start_us": None if patience is None else duration_us(patience, what="schedule_to_start"),
        "limit": None if limit is None else recorded(limit, _with_defaults(activity, inputs)),
    }


def _chosen(option: str, options: Mapping[str, Any], activity: object) -> Any:
    """What was asked for, or else what the definition says."""
    chosen = options.get(option)
    return getattr(activity, option) if chosen is None and isinstance(activity, Activity) else chosen


def polling_of(options: Mapping[str, Any], activity: object, inputs: Sequence[Any]) -> dict[str, Any]:
    """The fields of the event of an activity that is asked until it has an answer.

    Raises:
        UsageError: An option has a value that can't be used, or there is no interval.
    """
    if "every" not in options:
        raise UsageError("ctx.poll_until needs every=, the time between one try and the next")
    fields = scheduling(options, activity, inputs)
    chosen = _chosen("retry", options, activity)
    fields["retry"] = Raw(polling(chosen, options["every"], options.get("timeout")))
    return fields


def waits_for_the_end(options: Mapping[str, Any]) -> bool:
    """Whether an activity that is cancelled is waited for.

    Raises:
        UsageError: The option is none of the two.
    """
    on_cancel = options.get("on_cancel", "leave")
    if on_cancel not in CANCEL_POLICIES:
        raise UsageError(f"on_cancel is {on_cancel!r}: use one of {', '.join(CANCEL_POLICIES)}")
    return bool(on_cancel == "wait")


def close_policy(options: Mapping[str, Any]) -> str:
    """What becomes of a child when its parent ends.

    Raises:
        UsageError: It is none of the three.
    """
    on_close = options.get("on_close", "cancel")
    if on_close not in CLOSE_POLICIES:
        raise UsageError(f"on_close is {on_close!r}: use one of {', '.join(CLOSE_POLICIES)}")
    return str(on_close)


def exact_version(options: Mapping[str, Any]) -> str | None:
    """The exact version that was asked for, or None.

    Raises:
        RegistrationError: It is no semantic version.
    """
    exact: str | None = options.get("version")
    if exact is not None:
        version_key(exact)
    return exact
