"""The commands that change something: start, wait, raise, cancel, terminate, delete."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, get_args

import click

from perdure import (
    InstanceExistsError,
    InstanceOpenError,
    OnConflict,
    OrchestrationHandle,
    PerdureError,
    Status,
)
from perdure._types import INPUTS_MAX
from perdure.cli.exits import DONE, FAILED, NO_RESULT, NOT_ENDED, Refusal
from perdure.cli.output import json_option, note, write_json, write_lines
from perdure.cli.records import instance_document
from perdure.cli.store import Store, orchestration_name, store_option
from perdure.cli.text import safe, shell_word, shown
from perdure.cli.values import Attribute, Json, Seconds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from perdure import Client, InstanceStatus


def _timeout_option(command: Any) -> Any:
    return click.option("--timeout", type=Seconds(), help="How long to wait; the default is for ever.")(command)


@click.command()
@click.argument("orchestration")
@click.argument("inputs", metavar="[INPUT]...", nargs=-1, type=Json())
@store_option
@json_option
@click.option("--id", "instance_id", metavar="ID", help="The instance's id; a new UUID by default.")
@click.option("--version", metavar="VERSION", help="An exact version; the worker's latest by default.")
@click.option(
    "--on-conflict",
    type=click.Choice(get_args(OnConflict)),
    default="fail",
    show_default=True,
    help="What to do when the id is taken.",
)
@click.option(
    "--attribute",
    "attributes",
    type=Attribute(),
    multiple=True,
    help="A value to find the instance by; may be repeated.",
)
@click.option(
    "--unchecked", is_flag=True, help="Start it even if no living worker has an orchestration of this name and version."
)
@click.option("--wait", "waits", is_flag=True, help="Wait for its end and write its result.")
@_timeout_option
def start(
    *,
    orchestration: str,
    inputs: tuple[Any, ...],
    store: Store,
    as_json: bool,
    instance_id: str | None,
    version: str | None,
    on_conflict: OnConflict,
    attributes: tuple[tuple[str, Any], ...],
    unchecked: bool,
    waits: bool,
    timeout: float | None,
) -> int:
    """Start an orchestration; it is durable when this returns.

    ORCHESTRATION is its full name (shop::orchestration::ship-order), or the last part of it while a worker runs. Each
    INPUT, up to three, is JSON: '"order-1"', 4200, '{"id": "order-1"}'; @FILE reads it from a file, - from standard
    input. A negative number comes after --.
    """
    if len(inputs) > INPUTS_MAX:
        raise click.UsageError(f"{len(inputs)} inputs were given: an orchestration takes at most {INPUTS_MAX}")
    if timeout is not None and not waits:
        raise click.UsageError("--timeout is about --wait, which was not given")

    async def begin(client: Client) -> int:
        name = await orchestration_name(client, store, orchestration, unchecked=unchecked, version=version)
        try:
            handle = await client.start_orchestration(
                name,
                *inputs,
                returns=object,
                instance_id=instance_id,
                version=version,
                on_conflict=on_conflict,
                attributes=dict(attributes),
            )
        except InstanceExistsError as error:
            raise Refusal(
                f"there is already an instance {error.instance_id!r}: choose another --id, or say with "
                "--on-conflict what to do with it"
            ) from error
        if waits:
            return await _end_of(handle, timeout, as_json=as_json)
        if as_json:
            write_json(instance_document(await handle.status()))
        else:
            write_lines([[(safe(handle.instance_id), "")]])
            note(f"Started {name}: perdure show {shell_word(handle.instance_id)}{store.flag}")
        return DONE

    return store.ask(begin)


@click.command()
@click.argument("instance_id", metavar="ID")
@store_option
@json_option
@_timeout_option
def wait(*, instance_id: str, store: Store, as_json: bool, timeout: float | None) -> int:
    """Wait for the end of an instance and write its result as JSON."""
    return store.ask(lambda client: _end_of(client.get_handle(instance_id), timeout, as_json=as_json))


async def _end_of(handle: OrchestrationHandle[Any], timeout: float | None, *, as_json: bool) -> int:
    last = await _last_status(handle, timeout)
    if as_json:
        write_json(instance_document(last))
    match last.status:
        case Status.COMPLETED:
            if not as_json:
                write_lines([[(shown(last.output, full=True), "")]])
            return DONE
        case Status.HELD:
            note(f"{last.instance_id!r} is held, and goes on when that is mended: {last.held_because}")
            return NOT_ENDED
        case Status.MOVED:
            note(f"{last.instance_id!r} has moved to {last.held_because}, and goes on there")
            return NOT_ENDED
        case _ if last.is_closed:
            note(f"{last.instance_id!r} ended as {last.status}{_because(last)}")
            return NO_RESULT
        case _:
            return NOT_ENDED


async def _last_status(handle: OrchestrationHandle[Any], timeout: float | None) -> InstanceStatus[Any]:
    try:
        async with asyncio.timeout(timeout), aclosing(handle.watch()) as statuses:
            async for status in statuses:
                if status.is_closed or status.status is Status.HELD:
                    return status
    except TimeoutError:
        note(f"{handle.instance_id!r} has not ended within {timeout:g} s; it goes on.")
    return await handle.status()


def _because(status: InstanceStatus[Any]) -> str:
    if status.error is None or not status.error.message:
        return ""
    return f": {status.error.summary if status.status is Status.FAILED else status.error.message}"


@click.command("raise")
@click.argument("instance_id", metavar="ID")
@click.argument("event")
@click.argument("data", type=Json(), default="null")
@store_option
@json_option
@click.option("--dedup-key", metavar="KEY", help="Raising it again with the same key is harmless.")
def raise_(*, instance_id: str, event: str, data: Any, store: Store, as_json: bool, dedup_key: str | None) -> int:
    """Raise an external event in an instance; it waits in the mailbox until it is read.

    DATA is JSON, null by default; @FILE reads it from a file, - from standard input.
    """

    async def send(client: Client) -> int:
        await client.raise_event(instance_id, event, data, dedup_key=dedup_key)
        if as_json:
            write_json({"items": [{"instance_id": instance_id, "request": "raise", "event": event}]})
        else:
            write_lines([[(f"raised {safe(event)} in {safe(instance_id)}", "")]])
        return DONE

    return store.ask(send)


@click.command()
@click.argument("instance_ids", metavar="ID...", nargs=-1, required=True)
@store_option
@json_option
@click.option("--reason", default="", metavar="TEXT", help="Kept in the history.")
def cancel(*, instance_ids: tuple[str, ...], store: Store, as_json: bool, reason: str) -> int:
    """Ask instances to cancel: they may clean up, and end as cancelled."""

    async def ask(client: Client, instance_id: str) -> dict[str, Any]:
        await client.cancel(instance_id, reason)
        return {"request": "cancel"}

    return act_on_each(store, instance_ids, ask, "asked to cancel:", as_json=as_json)


@click.command()
@click.argument("instance_ids", metavar="ID...", nargs=-1, required=True)
@store_option
@json_option
@click.option("--reason", default="", metavar="TEXT", help="Kept in the history.")
def terminate(*, instance_ids: tuple[str, ...], store: Store, as_json: bool, reason: str) -> int:
    """End instances at once, without running their code; their children too."""

    async def end(client: Client, instance_id: str) -> dict[str, Any]:
        await client.terminate(instance_id, reason)
        return {"request": "terminate"}

    return act_on_each(store, instance_ids, end, "asked to terminate:", as_json=as_json)


@click.command()
@click.argument("instance_ids", metavar="ID...", nargs=-1, required=True)
@store_option
@json_option
@click.option("--force", is_flag=True, help="Delete it even if it, or a descendant of it, has not ended.")
def delete(*, instance_ids: tuple[str, ...], store: Store, as_json: bool, force: bool) -> int:
    """Delete instances that have ended, with all their descendants and histories, for good."""

    async def remove(client: Client, instance_id: str) -> dict[str, Any]:
        try:
            return {"request": "delete", "deleted": await client.delete(instance_id, force=force)}
        except InstanceOpenError as error:
            raise Refusal(
                f"instance {instance_id!r} has not ended ({error.status}): cancel or terminate it first, or delete it "
                "with --force"
            ) from error

    return act_on_each(store, instance_ids, remove, "deleted", as_json=as_json)


def act_on_each(
    store: Store,
    instance_ids: tuple[str, ...],
    act: Callable[[Client, str], Awaitable[dict[str, Any]]],
    done: str,
    *,
    as_json: bool,
) -> int:
    """Do it to each instance; one that can't be done does not keep the others from it."""

    async def act_on_all(client: Client) -> int:
        outcome = DONE
        documents: list[dict[str, Any]] = []
        for instance_id in instance_ids:
            document = {"instance_id": instance_id}
            try:
                async with store.naming(client):
                    documents.append(document | await act(client, instance_id))
            except (PerdureError, Refusal) as error:
                if len(instance_ids) == 1:
                    raise
                note(f"perdure: {error}")
                documents.append(document | {"error": str(error)})
                outcome = FAILED
            else:
                if not as_json:
                    write_lines([[(f"{done} {safe(instance_id)}", "")]])
        if as_json:
            write_json({"items": documents})
        return outcome

    return store.ask(act_on_all)
