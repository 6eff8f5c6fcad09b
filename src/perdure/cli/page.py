"""What `perdure show` says of an instance: where it stands, what it waits for, what to do, and what happened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from perdure import HeldActivity, InstanceSizes, InstanceStatus, OpenActivity, Status, WorkerStatus
from perdure.cli.output import STYLES, Line
from perdure.cli.store import did_you_mean, near_names
from perdure.cli.text import ago, cut, moment, safe, safe_lines, shell_word, shown, span, time_of_day, zone
from perdure.cli.timeline import Step, Timeline

WAITS_SHOWN = 20
UNREAD_SHOWN = 5
EVENTS_ADVISED = 3
INPUT_CHARS_SHOWN = 60

_KINDS = {"event": "external event", "send": "raise", "status": "custom status"}
_NOT_BEGUN = (
    "It has not begun: a worker takes it at once, or when the time that its start was given (start_at) has come."
)
_GOOD = {"completed", "fired", "received", "started", "sent", "set"}
_POISONED = "perdure.errors.PoisonedError"
_BUILT_IN = "perdure::"

VALUES_SHOWN = 10
"""Keys of the KV store, unless everything is wanted."""


@dataclass(frozen=True, slots=True)
class View:
    """An instance and all that is said of it, at one moment."""

    status: InstanceStatus[Any]
    timeline: Timeline
    workers: Sequence[WorkerStatus]
    at: datetime
    execution_id: int
    children: Mapping[str, InstanceStatus[Any]] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    """The KV store."""
    held: Sequence[HeldActivity] = ()
    """Its activities that were set aside."""
    activities: Sequence[OpenActivity] = ()
    """Its activities that have not ended."""
    sizes: InstanceSizes | None = None
    """How large its history and its KV store are."""
    trouble: str | None = None
    """Why the history could not be read."""
    flag: str = ""
    """What the commands that are suggested need to mean the same store."""

    @property
    def waits_for(self) -> list[Step]:
        """What an open instance waits for."""
        is_over = self.status.is_closed or self.execution_id != self.status.execution_id
        return [] if is_over else self.timeline.waits_for


def advice(view: View) -> list[str]:
    """What would move the instance on, as sentences; none when it has ended or simply takes its time."""
    status = view.status
    if status.is_closed:
        return []
    me, flag = shell_word(status.instance_id), view.flag
    if status.status is Status.HELD:
        return [_of_held(view), *_of_held_activities(view)]
    said = list(_of_held_activities(view))
    if status.status is Status.SUSPENDED:
        said.insert(0, f"It takes no turns until it is resumed: perdure resume {me}{flag}")
    if not view.workers:
        said.append(f"No worker is running on this store, so nothing moves: perdure worker MODULE:REGISTRY{flag}")
    if said and (status.status is Status.SUSPENDED or not view.workers):
        return said
    return [
        *said,
        *_missing_code(view),
        *([_NOT_BEGUN] if status.status is Status.PENDING else []),
        *_children_that_need_help(view),
        *_events_to_raise(view),
    ]


def _of_held(view: View) -> str:
    me, flag = shell_word(view.status.instance_id), view.flag
    if (view.status.held_because or "").startswith(_POISONED):
        return f"When the cause is mended: perdure retry {me}{flag}. Or give it up: perdure discard {me}{flag}"
    return (
        "It goes on by itself: every worker that starts after it was held tries it once, so deploy mended code and "
        f"start one. Or end it: perdure terminate {me}{flag}"
    )


def _of_held_activities(view: View) -> Iterator[str]:
    me = f"{shell_word(view.status.instance_id)} --event"
    for held in view.held:
        this = f"{me} {held.event_id}{view.flag}"
        what = f"activity {held.name} (#{held.event_id})"
        if held.began_at is None:
            why = held.held_because.removeprefix("perdure.errors.")
            yield (
                f"The {what} is held: {why}. To run it again: perdure retry {this}. To let it fail: perdure discard "
                f"{this}"
            )
        else:
            began = f"{what}, called {_when(held.began_at, view.at)}"
            ways = f"perdure resolve {this} --result JSON, or --error TEXT, or --repeat"
            yield f"Nobody knows whether {began}, has happened: find out, then {ways}"


def _missing_code(view: View) -> Iterator[str]:
    status = view.status
    # What every worker has is not in the lists of what they have.
    is_built_in = status.name.startswith(_BUILT_IN)
    orchestrations = {each for worker in view.workers for each in worker.orchestrations}
    names = {each.rpartition("@")[0] for each in orchestrations}
    if status.version is None and status.name not in names and not is_built_in:
        yield f"No living worker has {status.name}{did_you_mean(status.name, names)}: start one that has it."
    elif status.version is not None and f"{status.name}@{status.version}" not in orchestrations and not is_built_in:
        yield f"No living worker has {status.name} in version {status.version}: start one that has it."
    activities = {each for worker in view.workers for each in worker.activities}
    wanted = {step.name or "" for step in view.waits_for if step.kind == "activity"}
    for name in sorted(each for each in wanted - activities if not each.startswith(_BUILT_IN)):
        yield f"No living worker has the activity {name}{did_you_mean(name, activities)}: start one that has it."


def _children_that_need_help(view: View) -> Iterator[str]:
    for child in view.children.values():
        if not child.is_closed:
            what = f"Its child {child.instance_id} is {child.status}"
            yield f"{what}: perdure show {shell_word(child.instance_id)}{view.flag}"


def _events_to_raise(view: View) -> Iterator[str]:
    names = sorted({step.name or "" for step in view.waits_for if step.kind == "event"})[:EVENTS_ADVISED]
    unread = {step.name or "" for step in view.timeline.unread.values()}
    me = shell_word(view.status.instance_id)
    for name in names:
        if all(step.kind == "event" for step in view.waits_for):
            yield f"Only an external event moves it: perdure raise {me} {shell_word(name)} JSON{view.flag}"
        for near in near_names(name, unread):
            yield f"An event {near!r} is there, and nobody has asked for that name; {name!r} may have been meant."


def lines_of(view: View, *, full: bool, limit: int | None) -> Iterator[Line]:
    """The whole page."""
    yield from _head(view, full=full)
    yield from _waits(view)
    for sentence in advice(view):
        yield []
        yield [("What to do  ", "bold"), (safe(sentence), "")]
    yield from _unread(view, full=full)
    yield from _timeline(view, full=full, limit=limit)


def _head(view: View, *, full: bool) -> Iterator[Line]:
    status = view.status
    yield [(safe(status.instance_id), "bold"), (" is ", ""), (status.status.value, STYLES[status.status.value])]
    version = f" {status.version}" if status.version else ""
    yield _row("orchestration", f"{safe(status.name)}{version}")
    if status.execution_id > 1:
        before = f"; those before it: perdure show {shell_word(status.instance_id)} --execution N{view.flag}"
        yield _row("execution", f"{status.execution_id}{before}")
    if status.parent_id is not None:
        yield _row("parent", safe(status.parent_id))
    yield _row("created", _when(status.created_at, view.at))
    yield _row("last change", _when(status.updated_at, view.at))
    if view.timeline.cancel is not None and not status.is_closed:
        yield _row("cancel", f"asked for {_when(view.timeline.cancel.at, view.at)}; it may be cleaning up")
    yield from _outcome(view, full=full)


def _outcome(view: View, *, full: bool) -> Iterator[Line]:
    status = view.status
    if status.custom_status is not None:
        yield _row("custom status", shown(status.custom_status, full=full))
    for place, (key, value) in enumerate(view.values.items()):
        if place == VALUES_SHOWN and not full:
            yield _row("", f"and {len(view.values) - place} more keys; --full shows them", "dim")
            break
        yield _row("" if place else "kv", f"{safe(key)} = {shown(value, full=full)}")
    if status.status is Status.COMPLETED:
        yield _row("result", shown(status.output, full=full))
    if status.error is not None:
        yield _row("error", cut(status.error.summary, full=full, limit=500), "red")
        if status.error.traceback and full:
            yield [(safe_lines(status.error.traceback.rstrip()), "dim")]
        elif status.error.traceback:
            yield _row("", "--full shows its traceback", "dim")
    if status.held_because:
        label = {Status.SUSPENDED: "reason", Status.MOVED: "moved to"}.get(status.status, "held because")
        yield _row(label, safe_lines(status.held_because), STYLES["held"])
    if view.trouble is not None:
        yield _row("history", safe(view.trouble), "red")


def _row(label: str, text: str, style: str = "") -> Line:
    return [(f"  {label:<15}", "dim"), (text, style)]


def _when(instant: datetime, at: datetime) -> str:
    return f"{moment(instant)} {zone(instant)}, {ago(instant, at)}"


def _waits(view: View) -> Iterator[Line]:
    waits = view.waits_for
    if not waits:
        return
    yield []
    yield [("Waits for", "bold")]
    held = {each.event_id for each in view.held}
    attempts = {each.event_id: each for each in view.activities}
    for step in waits[:WAITS_SHOWN]:
        for_how_long = f", since {time_of_day(step.at)}, {ago(step.at, view.at)}"
        due = "until" if step.until is None or step.until > view.at else "that was due"
        until = "" if step.until is None else f" {due} {moment(step.until)}, {ago(step.until, view.at)}"
        where = "" if step.where is None else f", at {safe(step.where)}"
        child = view.children.get(step.instance_id or "")
        state = (" (held)" if step.event in held else "") if child is None else f" ({child.status})"
        yield [(f"  #{step.event} ", "dim"), (f"{_subject(step)}{state}{until}", ""), (for_how_long + where, "dim")]
        activity = attempts.get(step.event)
        if activity is not None:
            yield [(f"     {_attempt(activity, view.at)}", "dim")]
    if len(waits) > WAITS_SHOWN:
        yield [(f"  and {len(waits) - WAITS_SHOWN:,} more", "dim")]


def _attempt(activity: OpenActivity, at: datetime) -> str:
    """How an activity stands that has not ended."""
    number = f"attempt {activity.attempt}"
    if activity.due_at is None:
        where = f" runs on {safe(activity.worker)}" if activity.worker else f" is {activity.state}"
    elif activity.due_at > at:
        where = f" is due at {moment(activity.due_at)}, {ago(activity.due_at, at)}"
    else:
        where = f" waits for a worker, {ago(activity.due_at, at)}"
    error = activity.last_error
    return number + where + ("" if error is None else f"; the last failed: {cut(error.summary)}")


def _subject(step: Step, *, full: bool = False) -> str:
    kind = _KINDS.get(step.kind, step.kind)
    inputs = ""
    if step.inputs is not None:
        # One more JSON array, without its brackets.
        inputs = f"({cut(shown(list(step.inputs), full=True)[1:-1], full=full, limit=INPUT_CHARS_SHOWN)})"
    name = "" if step.name is None else f" {safe(step.name)}{inputs}"
    instance = "" if step.instance_id is None else f" {safe(step.instance_id)}"
    if step.kind == "timer" and step.until is not None:
        return f"timer of {span(step.until - step.at)}"
    return f"{kind}{instance}{name}" + (inputs if step.name is None else "")


def _unread(view: View, *, full: bool) -> Iterator[Line]:
    unread = list(view.timeline.unread.values())
    if not unread or view.status.is_closed:
        return
    yield []
    yield [("Unread events", "bold"), (" (they wait until the orchestration asks for them)", "dim")]
    for step in unread[:UNREAD_SHOWN]:
        yield [(f"  {safe(step.name or '')} ", ""), (shown(step.value, full=full), "dim")]
    if len(unread) > UNREAD_SHOWN:
        yield [(f"  and {len(unread) - UNREAD_SHOWN:,} more", "dim")]


def _timeline(view: View, *, full: bool, limit: int | None) -> Iterator[Line]:
    steps = view.timeline.steps
    if not steps:
        return
    skipped = 0 if limit is None else max(len(steps) - limit, 0)
    yield []
    heading = f" of execution {view.execution_id} ({zone(steps[0].at)})"
    yield [("Timeline", "bold"), (heading, "dim")]
    if skipped:
        yield [(f"  {skipped:,} earlier steps are left out; --full shows them", "dim")]
    shown_steps = steps[skipped:]
    width = len(str(shown_steps[-1].event)) + 1
    day = None
    for step in shown_steps:
        date = moment(step.at)[:10]
        if date != day:
            day = date
            yield [(f"  {date}", "dim")]
        yield _step(view, step, width, full=full)


def _step(view: View, step: Step, width: int, *, full: bool) -> Line:
    number = f"#{step.event}".rjust(width)
    took = "" if step.ended_at is None else span(step.ended_at - step.at)
    line: Line = [(f"  {number}  ", "dim"), (f"{time_of_day(step.at)}  ", "dim"), (f"{took:>10}  ", "")]
    line.append((_subject(step, full=full), ""))
    if step.is_open:
        line.append(("  open" if view.waits_for else "  left open", "yellow"))
        return line
    if step.kind not in {"start", "status", "cancel"}:
        style = "green" if step.outcome in _GOOD else STYLES.get(step.outcome or "", "red")
        line.append((f"  {step.outcome}", style))
    line.append((_brought(step, full=full), ""))
    return line


def _brought(step: Step, *, full: bool) -> str:
    attempts = f" after {step.attempts} attempts" if step.attempts > 1 else ""
    if step.error is not None:
        kind = str(step.error["type"]).removeprefix("builtins.")
        message = step.error.get("message")
        return f"{attempts}: {cut(f'{kind}: {message}' if message else kind, full=full)}"
    if step.value is None or step.value == "":
        return attempts
    return f"{attempts}: {shown(step.value, full=full)}"
