"""The commands that list: instances and workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from perdure import Status
from perdure.cli.exits import DONE
from perdure.cli.filters import filter_of, filter_options, is_filter
from perdure.cli.output import STYLES, Line, is_drawn, json_option, note, write_json, write_table
from perdure.cli.records import instance_document, worker_document
from perdure.cli.store import Store, short_name, store_option
from perdure.cli.text import ago, cut, moment, now, plain, safe, shown

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from perdure import Client, InstanceStatus, WorkerStatus

PAGE = 1_000
REASON_CHARS_SHOWN = 200


@click.command("list")
@store_option
@json_option
@filter_options
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most this many.")
@click.option("--after", metavar="KEY", help="The page behind the one that gave this key.")
def list_(*, store: Store, as_json: bool, limit: int, after: str | None, **options: Any) -> int:
    """List instances, the newest first."""

    async def collect(client: Client) -> tuple[list[InstanceStatus[Any]], str | None]:
        found: list[InstanceStatus[Any]] = []
        key = after
        filters = await filter_of(client, options)
        while True:
            page = await client.list_instances(limit=min(limit - len(found), PAGE), after=key, **filters)
            found += page.items
            key = page.next
            if key is None or len(found) >= limit:
                return found, key

    found, key = store.ask(collect)
    if as_json:
        write_json({"items": [instance_document(each) for each in found], "next": key})
        return DONE
    if found:
        at = now()
        write_table(["ID", "ORCHESTRATION", "STATUS", "CHANGED", ""], [_row(each, at) for each in found])
    else:
        only = " that matches" if is_filter(options) else ""
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


@click.command()
@store_option
@json_option
def workers(*, store: Store, as_json: bool) -> int:
    """List the workers of the store and what they can run."""
    found, at = store.ask(lambda client: client.list_workers()), now()
    if as_json:
        write_json({"items": [worker_document(each, alive=each.lease_until > at) for each in found]})
        return DONE
    rows: list[Line] = [
        [
            (safe(each.name), ""),
            ("alive", "green") if each.lease_until > at else ("silent", "bold red"),
            (moment(each.started_at) if is_drawn() else plain(each.started_at), ""),
            (safe(str(each.tags)), ""),
            *[(safe(", ".join(names)), "") for names in _names_of(each)],
        ]
        for each in found
    ]
    if rows:
        write_table(["WORKER", "", "SINCE", "TAGS", "RUNS"], rows, cut_last=False)
    else:
        note(f"No worker is running on {store.label}: perdure worker MODULE:REGISTRY{store.flag}")
    return DONE


def _names_of(worker: WorkerStatus) -> Sequence[Sequence[str]]:
    """What it runs: on a terminal in one cell, as a column has the width of its longest."""
    if is_drawn():
        return [(*worker.orchestrations, *worker.activities)]
    return [worker.orchestrations, worker.activities]
