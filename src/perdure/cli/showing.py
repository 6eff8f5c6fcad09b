"""The commands about one instance that only look: show and history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from perdure import HeldError
from perdure.cli.exits import DONE, Refusal
from perdure.cli.output import Line, json_option, note, write_json, write_lines, write_table
from perdure.cli.page import View, advice, lines_of
from perdure.cli.records import event_document, instance_document, step_document
from perdure.cli.store import Store, store_option
from perdure.cli.text import moment, now, plain, safe, shown, time_of_day
from perdure.cli.timeline import timeline_of

if TYPE_CHECKING:
    from perdure import Client, Event, InstanceStatus

STEPS_SHOWN = 50
CHILDREN_ASKED = 20
HELD_SHOWN = 5
ACTIVITIES_SHOWN = 100

_execution_option = click.option(
    "--execution",
    "execution_id",
    type=click.IntRange(1),
    metavar="N",
    help="Which execution; default the current one.",
)
_full_option = click.option("--full", is_flag=True, help="Show everything, and long values whole.")


@click.command()
@click.argument("instance_id", metavar="ID")
@store_option
@json_option
@_execution_option
@_full_option
def show(*, instance_id: str, store: Store, as_json: bool, execution_id: int | None, full: bool) -> int:
    """Show where an instance stands, what it waits for, what to do about it, and what happened."""
    view = store.ask(lambda client: _look(client, store, instance_id, execution_id))
    if as_json:
        write_json(
            {
                "instance": instance_document(view.status),
                "kv": view.values,
                "execution_id": view.execution_id,
                "sizes": plain(view.sizes),
                "waits_for": [step_document(step) for step in view.waits_for],
                "unread_events": [step_document(step) for step in view.timeline.unread.values()],
                "activities": [plain(each) for each in view.activities],
                "advice": advice(view),
                "steps": [step_document(step) for step in view.timeline.steps],
                "history_problem": view.trouble,
            }
        )
    else:
        write_lines(lines_of(view, full=full, limit=None if full else STEPS_SHOWN))
    return DONE


async def _look(client: Client, store: Store, instance_id: str, execution_id: int | None) -> View:
    status = await client.get_status(instance_id)
    execution = execution_id or status.execution_id
    events, trouble = await _readable_history(client, status, execution)
    timeline = timeline_of(events)
    at = now()
    return View(
        status=status,
        timeline=timeline,
        workers=[worker for worker in await client.list_workers() if worker.lease_until > at],
        at=at,
        execution_id=execution,
        children=await _children(client, [step.instance_id for step in timeline.waits_for if step.kind == "child"]),
        trouble=trouble,
        values=await client.get_handle(instance_id).kv_all(),
        held=[] if status.is_closed else await client.list_held_activities(instance_id=instance_id, limit=HELD_SHOWN),
        activities=[] if status.is_closed else await client.list_open_activities(instance_id, limit=ACTIVITIES_SHOWN),
        sizes=await client.get_sizes(instance_id),
        flag=store.flag,
    )


async def _readable_history(
    client: Client, status: InstanceStatus[Any], execution: int
) -> tuple[list[Event], str | None]:
    """The events as far as they can be read, and why not further."""
    events: list[Event] = []
    try:
        events.extend([event async for event in client.history(status.instance_id, execution_id=execution)])
    except HeldError as error:
        return events, f"it can't be read: {error}"
    _refuse_unknown(status, execution, events)
    return events, None


def _refuse_unknown(status: InstanceStatus[Any], execution: int, events: list[Event]) -> None:
    if not events and execution != status.execution_id:
        raise Refusal(
            f"instance {status.instance_id!r} has no execution {execution}: it is in execution {status.execution_id}"
        )


async def _children(client: Client, ids: list[str | None]) -> dict[str, InstanceStatus[Any]]:
    found: dict[str, InstanceStatus[Any]] = {}
    for instance_id in [each for each in ids if each][:CHILDREN_ASKED]:
        try:
            found[instance_id] = await client.get_status(instance_id)
        except LookupError:
            continue  # it will be there when the parent's start of it has been taken in
    return found


@click.command()
@click.argument("instance_id", metavar="ID")
@store_option
@json_option
@_execution_option
@_full_option
def history(*, instance_id: str, store: Store, as_json: bool, execution_id: int | None, full: bool) -> int:
    """Show the events of an instance as they are stored."""

    async def collect(client: Client) -> tuple[int, list[Event]]:
        status = await client.get_status(instance_id)
        execution = execution_id or status.execution_id
        events = [event async for event in client.history(instance_id, execution_id=execution)]
        _refuse_unknown(status, execution, events)
        return execution, events

    execution, events = store.ask(collect)
    if as_json:
        write_json(
            {
                "instance_id": instance_id,
                "execution_id": execution,
                "events": [event_document(event) for event in events],
            }
        )
    elif events:
        columns = ["#", "TIME", "EVENT", "OF", "ASKED FOR AT", "DATA"]
        write_table(columns, [_event_row(each, full=full) for each in events], cut_last=not full)
    else:
        note(f"{instance_id!r} has no history yet: no worker has taken it.")
    return DONE


def _event_row(event: Event, *, full: bool) -> Line:
    return [
        (str(event.id), "dim"),
        (f"{moment(event.at)[:10]} {time_of_day(event.at)}", "dim"),
        (event.kind, ""),
        ("" if event.source is None else f"#{event.source}", "dim"),
        (safe(event.where or ""), "dim"),
        (shown(plain(dict(event.data)), full=full), ""),
    ]
