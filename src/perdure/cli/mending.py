"""The commands that set instances aside and see to what is held: suspend, resume, held, retry, resolve, discard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from perdure import DidNotHappen, Failed, Happened, Status
from perdure.cli.exits import DONE
from perdure.cli.listing import REASON_CHARS_SHOWN
from perdure.cli.output import Line, is_drawn, json_option, note, write_json, write_table
from perdure.cli.records import instance_document
from perdure.cli.steering import act_on_each
from perdure.cli.store import Store, short_name, store_option
from perdure.cli.text import ago, cut, now, plain, safe
from perdure.cli.values import Json

if TYPE_CHECKING:
    from perdure import Client, Decision, HeldActivity, InstanceStatus

_event_option = click.option(
    "--event", "event_id", type=click.IntRange(1), metavar="N", help="Only the held activity that this event asked for."
)


@click.command()
@click.argument("instance_ids", metavar="ID...", nargs=-1, required=True)
@store_option
@json_option
@click.option("--reason", default="", metavar="TEXT", help="Shown as long as it is suspended.")
def suspend(*, instance_ids: tuple[str, ...], store: Store, as_json: bool, reason: str) -> int:
    """Set instances aside until they are resumed: they take no turns, their activities go on."""

    async def act(client: Client, instance_id: str) -> dict[str, Any]:
        await client.suspend(instance_id, reason)
        return {"request": "suspend"}

    return act_on_each(store, instance_ids, act, "suspended", as_json=as_json)


@click.command()
@click.argument("instance_ids", metavar="ID...", nargs=-1, required=True)
@store_option
@json_option
def resume(*, instance_ids: tuple[str, ...], store: Store, as_json: bool) -> int:
    """Let suspended or held instances go on with all that has come meanwhile."""

    async def act(client: Client, instance_id: str) -> dict[str, Any]:
        await client.resume(instance_id)
        return {"request": "resume"}

    return act_on_each(store, instance_ids, act, "resumed", as_json=as_json)


@click.command()
@click.argument("instance_ids", metavar="ID...", nargs=-1, required=True)
@store_option
@json_option
@_event_option
def retry(*, instance_ids: tuple[str, ...], store: Store, as_json: bool, event_id: int | None) -> int:
    """Try again what is held: instances and their held activities, or one activity."""

    async def act(client: Client, instance_id: str) -> dict[str, Any]:
        await client.retry(instance_id, event_id=event_id)
        return {"request": "retry"}

    return act_on_each(store, instance_ids, act, "to be tried again:", as_json=as_json)


@click.command()
@click.argument("instance_id", metavar="ID")
@store_option
@json_option
@_event_option
@click.option(
    "--result", "results", type=Json(), multiple=True, metavar="JSON", help="It happened, and this is its result."
)
@click.option("--error", default=None, metavar="TEXT", help="It failed for good, with this message.")
@click.option("--repeat", is_flag=True, help="It did not happen: run it again.")
def resolve(
    *,
    instance_id: str,
    store: Store,
    as_json: bool,
    event_id: int | None,
    results: tuple[Any, ...],
    error: str | None,
    repeat: bool,
) -> int:
    """Say what came of a held activity of which nobody knew."""
    # A result may be null, so none given is no value of its own: `multiple` tells it.
    said: list[Decision[Any]] = [Happened(result) for result in results]
    if error is not None:
        said.append(Failed(error))
    if repeat:
        said.append(DidNotHappen())
    if len(said) != 1:
        raise click.UsageError("say what came of it by one of --result, --error and --repeat")

    async def act(client: Client, instance_id: str) -> dict[str, Any]:
        await client.resolve(instance_id, said[0], event_id=event_id)
        return {"request": "resolve"}

    return act_on_each(store, (instance_id,), act, "resolved an activity of", as_json=as_json)


@click.command()
@click.argument("instance_ids", metavar="ID...", nargs=-1, required=True)
@store_option
@json_option
@_event_option
@click.option("--reason", default="", metavar="TEXT", help="Kept in the history; default what it was held for.")
def discard(*, instance_ids: tuple[str, ...], store: Store, as_json: bool, event_id: int | None, reason: str) -> int:
    """Give up what is held: instances are terminated, an activity fails; who waits for it hears of it."""

    async def act(client: Client, instance_id: str) -> dict[str, Any]:
        await client.discard(instance_id, event_id=event_id, reason=reason)
        return {"request": "discard"}

    return act_on_each(store, instance_ids, act, "discarded", as_json=as_json)


@click.command()
@click.argument("instance_ids", metavar="ID...", nargs=-1, required=True)
@store_option
@json_option
def rewind(*, instance_ids: tuple[str, ...], store: Store, as_json: bool) -> int:
    """Let failed instances go on from before the turn in which they failed, with the code that workers have now."""

    async def act(client: Client, instance_id: str) -> dict[str, Any]:
        await client.rewind(instance_id)
        return {"request": "rewind"}

    return act_on_each(store, instance_ids, act, "rewound", as_json=as_json)


@click.command()
@store_option
@json_option
@click.option("--limit", type=click.IntRange(1, 1_000), default=100, show_default=True, help="At most so many of each.")
def held(*, store: Store, as_json: bool, limit: int) -> int:
    """List held instances and held activities, with what they are held for."""

    async def collect(client: Client) -> tuple[list[InstanceStatus[Any]], list[HeldActivity]]:
        page = await client.list_instances(status=Status.HELD, limit=limit)
        return list(page.items), await client.list_held_activities(limit=limit)

    instances, activities = store.ask(collect)
    if as_json:
        write_json(
            {
                "instances": [instance_document(each) for each in instances],
                "activities": [plain(each) for each in activities],
            }
        )
        return DONE
    at = now()

    def row(instance_id: str, event: str, name: str, since: Any, reason: str) -> Line:
        return [
            (safe(instance_id), ""),
            (event, ""),
            (safe(short_name(name) if is_drawn() else name), ""),
            (ago(since, at) if is_drawn() else str(plain(since)), "dim"),
            (cut(reason.removeprefix("perdure.errors."), limit=REASON_CHARS_SHOWN), "yellow"),
        ]

    rows = [row(one.instance_id, "", one.name, one.updated_at, one.held_because or "") for one in instances]
    rows.extend(row(one.instance_id, f"#{one.event_id}", one.name, one.held_at, one.held_because) for one in activities)
    if rows:
        write_table(["ID", "EVENT", "NAME", "SINCE", "BECAUSE"], rows)
    else:
        note(f"Nothing is held in {store.label}.")
    return DONE
