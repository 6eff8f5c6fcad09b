"""The commands about more than one instance at a glance: tree, executions, count, queues."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from perdure.cli.exits import DONE
from perdure.cli.filters import filter_of, filter_options
from perdure.cli.output import STYLES, Line, is_drawn, json_option, note, write_json, write_table
from perdure.cli.records import instance_document
from perdure.cli.store import Store, short_name, store_option
from perdure.cli.text import ago, moment, now, plain, safe, span

if TYPE_CHECKING:
    from datetime import timedelta

    from perdure import Client, InstanceCount

_LEVEL = "  "


@click.command()
@click.argument("instance_id", metavar="ID")
@store_option
@json_option
def tree(*, instance_id: str, store: Store, as_json: bool) -> int:
    """Show an instance and everything below it: its children, their children, and so on."""
    found, at = store.ask(lambda client: client.get_tree(instance_id)), now()
    if as_json:
        items = [{"depth": depth, **instance_document(each)} for depth, each in found.walk()]
        write_json({"items": items})
        return DONE
    rows: list[Line] = [
        [
            (_LEVEL * depth + safe(each.instance_id), ""),
            (safe(short_name(each.name) if is_drawn() else each.name), ""),
            (each.status.value, STYLES[each.status.value]),
            (ago(each.updated_at, at) if is_drawn() else plain(each.updated_at), "dim"),
        ]
        for depth, each in found.walk()
    ]
    write_table(["ID", "ORCHESTRATION", "STATUS", "CHANGED"], rows)
    return DONE


@click.command()
@click.argument("instance_id", metavar="ID")
@store_option
@json_option
def executions(*, instance_id: str, store: Store, as_json: bool) -> int:
    """List the executions of an instance whose histories are in the store; the last is the current one."""
    found = store.ask(lambda client: client.list_executions(instance_id))
    if as_json:
        write_json({"instance_id": instance_id, "items": [plain(each) for each in found]})
        return DONE
    rows: list[Line] = [
        [
            (str(each.execution_id), ""),
            ("continued" if each.status is None else each.status.value, STYLES.get(each.status or "", "dim")),
            (_instant(each.started_at), "dim"),
            (_instant(each.updated_at), "dim"),
            (f"{each.events}", ""),
            (f"{each.size_bytes}", ""),
        ]
        for each in found
    ]
    write_table(["EXECUTION", "STATUS", "BEGAN", "CHANGED", "EVENTS", "BYTES"], rows)
    return DONE


def _instant(at: Any) -> str:
    if at is None:
        return ""
    return moment(at) if is_drawn() else str(plain(at))


@click.command()
@store_option
@json_option
@filter_options
def count(*, store: Store, as_json: bool, **options: Any) -> int:
    """Count instances by orchestration and status."""

    async def collect(client: Client) -> list[InstanceCount]:
        return await client.count_instances(**await filter_of(client, options))

    found = store.ask(collect)
    if as_json:
        write_json({"items": [plain(each) for each in found], "total": sum(each.count for each in found)})
        return DONE
    rows: list[Line] = [
        [
            (safe(short_name(each.name) if is_drawn() else each.name), ""),
            (each.status.value, STYLES[each.status.value]),
            (str(each.count), ""),
        ]
        for each in found
    ]
    if rows:
        write_table(["ORCHESTRATION", "STATUS", "INSTANCES"], rows)
    else:
        note(f"There is no such instance in {store.label}.")
    return DONE


@click.command()
@store_option
@json_option
def queues(*, store: Store, as_json: bool) -> int:
    """Show what waits in the store, and for how long: instances, activities by name and tag, timers, what is held."""
    found = store.ask(lambda client: client.get_queues())
    if as_json:
        write_json(found)
        return DONE
    waiting: list[Line] = [
        [(what, ""), (str(many), ""), (_age(age), "dim")]
        for what, many, age in (
            ("ready instances", found.ready_instances, found.ready_age),
            ("held instances", found.held_instances, found.held_age),
            ("messages", found.messages, None),
            ("timers", found.timers, None),
            ("for other shards", found.undelivered, found.undelivered_age),
        )
        if many or what != "for other shards"
    ]
    write_table(["", "WAITING", "OLDEST"], waiting)
    rows: list[Line] = [
        [
            (safe(each.name), ""),
            (safe(each.tag or ""), ""),
            (str(each.waiting), ""),
            (str(each.delayed), ""),
            (str(each.running), ""),
            (_age(each.oldest_age), "dim"),
        ]
        for each in found.activities
    ]
    if rows:
        write_table(["ACTIVITY", "TAG", "WAITING", "DELAYED", "RUNNING", "OLDEST"], rows)
    for each in found.activities:
        if not each.served:
            tagged = "" if each.tag is None else f" with the tag {safe(each.tag)}"
            note(f"No worker takes {safe(each.name)}{tagged}.")
    return DONE


@click.command()
@click.argument("key", required=False, metavar="[KEY]")
@store_option
@json_option
def limits(*, key: str | None, store: Store, as_json: bool) -> int:
    """Show the limits that are in use; with a KEY who has its places, and who waits for one."""
    return _limit_users(key, store, as_json=as_json) if key is not None else _limits(store, as_json=as_json)


def _limits(store: Store, *, as_json: bool) -> int:
    found = store.ask(lambda client: client.list_limits())
    if as_json:
        write_json({"items": [plain(each) for each in found]})
        return DONE
    rows: list[Line] = [
        [
            (safe(each.key), ""),
            ("any" if each.concurrency is None else str(each.concurrency), ""),
            ("any" if each.rate is None else f"{each.rate} in {each.per.total_seconds():g} s", ""),
            (str(each.running), ""),
            (str(each.waiting), ""),
            (_age(each.oldest_age), "dim"),
        ]
        for each in found
    ]
    if rows:
        write_table(["LIMIT", "AT A TIME", "RATE", "RUNNING", "WAITING", "OLDEST"], rows)
    else:
        note(f"No limit is in use in {store.label}.")
    return DONE


def _limit_users(key: str, store: Store, *, as_json: bool) -> int:
    found = store.ask(lambda client: client.list_limit_users(key))
    if as_json:
        write_json({"key": key, "items": [plain(each) for each in found]})
        return DONE
    rows: list[Line] = [
        [
            (safe(each.instance_id), ""),
            (str(each.event_id), ""),
            ("a section" if each.activity is None else safe(each.activity), ""),
            ("running" if each.running else "waiting", STYLES["running" if each.running else "pending"]),
            (_instant(each.since), "dim"),
        ]
        for each in found
    ]
    if rows:
        write_table(["ID", "EVENT", "WHAT", "PLACE", "ASKED"], rows)
    else:
        note(f"Nobody has or wants a place of {safe(key)} in {store.label}.")
    return DONE


def _age(age: timedelta | None) -> str:
    if age is None:
        return ""
    return span(age) if is_drawn() else str(plain(age))
