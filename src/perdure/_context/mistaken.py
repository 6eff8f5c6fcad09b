"""What was probably meant by an attribute that a context does not have, by the words of other engines too."""

from __future__ import annotations

from difflib import get_close_matches

_TIMER = "`await asyncio.sleep(...)` is a durable timer, so is ctx.schedule_timer(...)"
_ACTIVITY = "`await ctx.schedule_activity(activity, ...)` runs one"
_CHILD = "`await ctx.schedule_sub_orchestration(orchestration, ...)` runs one"
_EVENT = "`await ctx.schedule_wait(event)` waits for an external event"
_ALL = "`await asyncio.gather(...)` waits for several, ctx.select for the first of them"
_INPUT = "inputs are parameters of the orchestration, behind ctx"

_OF_ORCHESTRATIONS = {
    "now": "ctx.utc_now() is the orchestration's time",
    "current_utc_datetime": "ctx.utc_now() is the orchestration's time",
    "time": "ctx.utc_now() is the orchestration's time",
    "uuid4": "ctx.new_guid() draws one that a replay draws again",
    "new_uuid": "ctx.new_guid() draws one that a replay draws again",
    "state": "activities have ctx.state(Type); an orchestration has its inputs, its variables and ctx.kv",
    "input": _INPUT,
    "get_input": _INPUT,
    "log": "ctx.trace_info(...) writes to the log, not again on replay",
    "heartbeat": "that is for activities, whose context has it",
    **dict.fromkeys(("sleep", "create_timer", "timer", "delay"), _TIMER),
    **dict.fromkeys(("call_activity", "execute_activity", "start_activity", "activity", "run", "step"), _ACTIVITY),
    **dict.fromkeys(("call_sub_orchestrator", "execute_child_workflow", "start_child_workflow", "start_child"), _CHILD),
    **dict.fromkeys(("wait_for_external_event", "wait_for_event", "wait_for", "wait_condition", "recv"), _EVENT),
    **dict.fromkeys(("gather", "all", "join", "task_all", "when_all", "when_any", "task_any", "race"), _ALL),
}

_OF_ACTIVITIES = {
    "id": "ctx.idempotency_key is the same on every attempt, ctx.instance_id is who asked",
    "is_cancelled": "ask ctx.cancelled, or call ctx.raise_if_cancelled()",
    "log": "ctx.trace_info(...) writes to the log",
    "utc_now": "an activity may read any clock: datetime.now(UTC)",
    "kv": "an activity returns what its orchestration shall keep",
    **dict.fromkeys(
        ("schedule_activity", "schedule_timer", "schedule_wait", "schedule_sub_orchestration"),
        "that is for orchestrations: an activity awaits what it needs, and starts instances by ctx.client",
    ),
}


def no_attribute(context: object, name: str, *, is_activity: bool) -> AttributeError:
    """That a context has no such attribute, with what was probably meant."""
    known = [each for each in dir(context) if not each.startswith("_")]
    cure = (_OF_ACTIVITIES if is_activity else _OF_ORCHESTRATIONS).get(name)
    if cure is None:
        near = get_close_matches(name, known, n=2)
        cure = f"did you mean {' or '.join(f'ctx.{each}' for each in near)}?" if near else f"it has {', '.join(known)}"
    whose = "an activity's" if is_activity else "an orchestration's"
    return AttributeError(f"{whose} ctx has no attribute {name!r}: {cure}")
