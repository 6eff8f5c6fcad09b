"""The commands that only look: list, show, history, workers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from perdure import HeldError, Status
from perdure.cli.exits import DONE, Refusal
from perdure.cli.output import STYLES, Line, is_drawn, note, write_json, write_lines, write_table
from perdure.cli.page import View, advice, lines_of
from perdure.cli.records import event_document, instance_document, step_document, worker_document
from perdure.cli.store import Store, full_name, json_option, short_name, store_option
from perdure.cli.text import ago, cut, moment, now, plain, safe, shown, time_of_day
from perdure.cli.timeline import timeline_of
from perdure.cli.values import Attribute

if TYPE_CHECKING:
    from datetime import datetime

    from perdure import Client, Event, InstanceStatus

PAGE = 1_000
STEPS_SHOWN = 50
CHILDREN_ASKED = 20
REASON_CHARS_SHOWN = 200


@click.command("list", short_help="List instances, the newest first.")
@store_option
@json_option
@click.option(
    "--status",
    "statuses",
    type=click.Choice([status.value for status in Status]),
    multiple=True,
    help="Only instances of this status; may be repeated.",
)
@click.option("--name", metavar="NAME", help="Only those of this orchestration.")
@click.option("--version", metavar="VERSION", help="Only those of this version.")
@click.option(
    "--attribute", "attributes", type=Attribute(), multiple=True, help="Only those with this value; may be repeated."
)
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most this many.")
@click.option("--after", metavar="KEY", help="The page behind the one that gave this key.")
def list_(
    *,
    store: Store,
    as_json: bool,
    statuses: tuple[str, ...],
    name: str | None,
    version: str | None,
    attributes: tuple[tuple[str, Any], ...],
    limit: int,
    after: str | None,
) -> int:
    """List instances, the newest first."""

    async def collect() -> tuple[list[InstanceStatus[Any]], str | None]:
        found: list[InstanceStatus[Any]] = []
        key = after
        async with store.opened() as client:
            wanted = None if name is None else await full_name(client, name)
            while True:
                page = await client.list_instances(
                    status=[Status(each) for each in statuses] or None,
                    name=wanted,
                    version=version,
                    attributes=dict(attributes),
                    limit=min(limit - len(found), PAGE),
                    after=key,
                )
                found += page.items
                key = page.next
                if key is None or len(found) >= limit:
                    return found, key

    found, key = asyncio.run(collect())
    if as_json:
        write_json({"items": [instance_document(each) for each in found], "next": key})
        return DONE
    if found:
        at = now()
        write_table(["ID", "ORCHESTRATION", "STATUS", "CHANGED", ""], [_row(each, at) for each in found])
    else:
        only = " that matches" if name or statuses or version or attributes else ""
        note(f"There is no instance{only} in {store.label}.")
    if key is not None:
        note(f"There are more: --after {key}, or a higher --limit.")
    return DONE


def _row(status: InstanceStatus[Any], at: datetime) -> Line:
    if status.held_because is not None:
        remark = _brief(status.held_because)
    elif status.error is not None:
        remark = _brief(status.error.summary if status.status is Status.FAILED else status.error.message)
    elif status.custom_status is not None and not status.is_closed:
        remark = shown(status.custom_status)
    else:
        remark = ""
    return [
        (safe(status.instance_id), ""),
        (safe(short_name(status.name) if is_drawn() else status.name), ""),
        (status.status.value, STYLES[status.status.value]),
        (ago(status.updated_at, at) if is_drawn() else plain(status.updated_at), ""),
        (remark, "dim"),
    ]


def _brief(reason: str) -> str:
    return cut(reason.removeprefix("perdure.errors."), limit=REASON_CHARS_SHOWN)


@click.command(short_help="List the workers and what they can run.")
@store_option
@json_option
def workers(*, store: Store, as_json: bool) -> int:
    """List the workers of the store and what they can run."""

    async def collect() -> Any:
        async with store.opened() as client:
            return await client.list_workers()

    found, at = asyncio.run(collect()), now()
    if as_json:
        write_json({"items": [worker_document(each, alive=each.lease_until > at) for each in found]})
        return DONE
    rows: list[Line] = [
        [
            (safe(each.name), ""),
            ("alive", "green") if each.lease_until > at else ("silent", "bold red"),
            (moment(each.started_at) if is_drawn() else plain(each.started_at), ""),
            (safe(", ".join(each.orchestrations)), ""),
        ]
        for each in found
    ]
    if rows:
        write_table(["WORKER", "", "SINCE", "ORCHESTRATIONS"], rows, cut_last=False)
    else:
        note(f"No worker is running on {store.label}: perdure worker MODULE:REGISTRY{store.flag}")
    return DONE


_execution_option = click.option(
    "--execution",
    "execution_id",
    type=click.IntRange(1),
    metavar="N",
    help="Which execution; default the current one.",
)
_full_option = click.option("--full", is_flag=True, help="Show everything, and long values whole.")


@click.command(short_help="Where an instance stands, and what happened.")
@click.argument("instance_id", metavar="ID")
@store_option
@json_option
@_execution_option
@_full_option
def show(*, instance_id: str, store: Store, as_json: bool, execution_id: int | None, full: bool) -> int:
    """Show where an instance stands, what it waits for, what to do about it, and what happened."""
    view = asyncio.run(_look(store, instance_id, execution_id))
    if as_json:
        write_json(
            {
                "instance": instance_document(view.status),
                "execution_id": view.execution_id,
                "waits_for": [step_document(step) for step in view.waits_for],
                "unread_events": [step_document(step) for step in view.timeline.unread.values()],
                "advice": advice(view),
                "steps": [step_document(step) for step in view.timeline.steps],
                "history_problem": view.trouble,
            }
        )
    else:
        write_lines(lines_of(view, full=full, limit=None if full else STEPS_SHOWN))
    return DONE


async def _look(store: Store, instance_id: str, execution_id: int | None) -> View:
    async with store.opened() as client:
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


@click.command(short_help="The events of an instance as they are stored.")
@click.argument("instance_id", metavar="ID")
@store_option
@json_option
@_execution_option
@_full_option
def history(*, instance_id: str, store: Store, as_json: bool, execution_id: int | None, full: bool) -> int:
    """Show the events of an instance as they are stored."""

    async def collect() -> tuple[int, list[Event]]:
        async with store.opened() as client:
            status = await client.get_status(instance_id)
            execution = execution_id or status.execution_id
            events = [event async for event in client.history(instance_id, execution_id=execution)]
            _refuse_unknown(status, execution, events)
            return execution, events

    execution, events = asyncio.run(collect())
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
