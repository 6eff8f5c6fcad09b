"""The commands of schedules: make, list, show and steer them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import click

from perdure import SLOT, Cron, Every, InstanceExistsError
from perdure._schedules.spec import CatchUp, OverlapPolicy
from perdure._types import INPUTS_MAX
from perdure.cli.exits import DONE, Refusal
from perdure.cli.output import Line, is_drawn, json_option, note, write_json, write_lines, write_table
from perdure.cli.records import instance_document, schedule_document
from perdure.cli.store import Store, orchestration_name, short_name, store_option
from perdure.cli.text import ago, moment, now, plain, safe
from perdure.cli.values import Json, Seconds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from perdure import Client, ScheduleHandle, ScheduleStatus

PAGE = 1_000


@click.group(invoke_without_command=True)
@click.pass_context
def schedule(context: click.Context) -> int:
    """Start orchestrations by the calendar: make, list and steer schedules."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
    return DONE


class _Input(Json):
    """An input: JSON, or SLOT for the instant for which a run is started."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the value."""
        return SLOT if value == "SLOT" else super().convert(value, param, ctx)


def _policies(command: Any) -> Any:
    for option in (
        click.option("--cron", metavar="EXPRESSION", help="Five fields: minute, hour, day, month, day of the week."),
        click.option("--zone", metavar="ZONE", help="The time zone of --cron; UTC by default."),
        click.option("--every", type=Seconds(1), help="At even distances, from 1970 on."),
        click.option("--offset", type=Seconds(), help="Moves what --every says."),
        click.option("--overlap", type=click.Choice(get_args(OverlapPolicy)), help="When a run is still open."),
        click.option("--catch-up", type=click.Choice(get_args(CatchUp)), help="Of slots that no worker saw."),
        click.option("--late-max", type=Seconds(), help="Skip what would be later."),
        click.option("--jitter", type=Seconds(), help="Start up to so much later."),
        click.option("--version", metavar="VERSION", help="An exact version; the latest by default."),
    ):
        command = option(command)
    return command


def _options(given: dict[str, Any]) -> dict[str, Any]:
    """What was given, as the client takes it."""
    cron, zone, every, offset = (given.pop(name) for name in ("cron", "zone", "every", "offset"))
    options = {name: value for name, value in given.items() if value is not None}
    if cron is not None and every is not None:
        raise click.UsageError("--cron and --every were given: a schedule has one timing")
    if (zone is not None and cron is None) or (offset is not None and every is None):
        raise click.UsageError("--zone is for --cron, and --offset for --every")
    if cron is not None:
        options["when"] = Cron(cron, zone or "UTC")
    elif every is not None:
        options["when"] = Every(every, offset or 0)
    return options


@schedule.command()
@click.argument("schedule_id", metavar="ID")
@click.argument("orchestration")
@click.argument("inputs", metavar="[INPUT]...", nargs=-1, type=_Input())
@store_option
@json_option
@_policies
@click.option("--paused", is_flag=True, help="Start nothing before `resume`.")
@click.option("--note", "remark", default="", metavar="TEXT", help="What it is for, or why it is paused.")
@click.option("--update", "updates", is_flag=True, help="If there is such a schedule, change it to this.")
@click.option("--unchecked", is_flag=True, help="Make it even if no living worker has such an orchestration.")
def create(
    *,
    schedule_id: str,
    orchestration: str,
    inputs: tuple[Any, ...],
    store: Store,
    as_json: bool,
    paused: bool,
    remark: str,
    updates: bool,
    unchecked: bool,
    **given: Any,
) -> int:
    """Make a schedule; it is durable when this returns.

    ORCHESTRATION and INPUT are as for `perdure start`; the input SLOT stands for the instant for which a run is
    started. Either --cron or --every is needed.
    """
    if len(inputs) > INPUTS_MAX:
        raise click.UsageError(f"{len(inputs)} inputs were given: an orchestration takes at most {INPUTS_MAX}")
    options = _options(given)
    if "when" not in options:
        raise click.UsageError("say when: --cron '30 2 * * *' --zone Europe/Berlin, or --every 3600")

    async def make(client: Client) -> int:
        name = await orchestration_name(
            client, store, orchestration, unchecked=unchecked, version=options.get("version")
        )
        try:
            made = await client.schedules.create(
                schedule_id,
                name,
                *inputs,
                paused=paused,
                note=remark,
                on_conflict="update" if updates else "fail",
                **options,
            )
        except InstanceExistsError as error:
            raise Refusal(
                f"there is already {error.instance_id!r}: choose another ID; if it is a schedule, --update changes "
                "it to this"
            ) from error
        status = await made.status()
        if as_json:
            write_json(schedule_document(status))
        else:
            write_lines([[(safe(schedule_id), "")]])
        return DONE

    return store.ask(make)


@schedule.command("list")
@store_option
@json_option
def list_(*, store: Store, as_json: bool) -> int:
    """List the schedules that have not ended, the newest first."""

    async def collect(client: Client) -> list[ScheduleStatus]:
        found: list[ScheduleStatus] = []
        key = None
        while True:
            page = await client.schedules.list(limit=PAGE, after=key)
            found += page.items
            key = page.next
            if key is None:
                return found

    found, at = store.ask(collect), now()
    if as_json:
        write_json({"items": [schedule_document(each) for each in found]})
    elif found:
        write_table(["ID", "ORCHESTRATION", "WHEN", "NEXT", ""], [_row(each, at) for each in found])
    else:
        note(f"There is no schedule in {store.label}.")
    return DONE


def _row(status: ScheduleStatus, at: datetime) -> Line:
    if status.paused:
        upcoming = "paused"
    elif status.next_slot is None:
        upcoming = "" if status.status == "running" else status.status.value
    else:
        upcoming = ago(status.next_slot, at) if is_drawn() else plain(status.next_slot)
    return [
        (safe(status.schedule_id), ""),
        (safe(short_name(status.orchestration) if is_drawn() else status.orchestration), ""),
        (safe(str(status.when)), ""),
        (upcoming, "yellow" if status.paused else "cyan"),
        (safe(status.note), "dim"),
    ]


@schedule.command()
@click.argument("schedule_id", metavar="ID")
@store_option
@json_option
def show(*, schedule_id: str, store: Store, as_json: bool) -> int:
    """Where a schedule stands."""
    status = store.ask(lambda client: client.schedules.get(schedule_id).status())
    if as_json:
        write_json(schedule_document(status))
        return DONE
    lines = {
        "schedule": status.schedule_id,
        "starts": status.orchestration,
        "when": str(status.when),
        "status": f"paused: {status.note}" if status.paused else status.status.value,
        "next": "" if status.next_slot is None else moment(status.next_slot),
        "last run": status.last_run or "",
        "open": ", ".join(status.open_runs),
        "policies": f"overlap {status.overlap}, catch up {status.catch_up}, jitter {status.jitter:g} s",
        "counts": f"{status.started} started, {status.skipped} skipped, {status.buffered} buffered",
    }
    write_lines([[(f"{name:<10}", "bold"), (safe(value), "")] for name, value in lines.items() if value])
    return DONE


def _ask(
    store: Store, schedule_id: str, act: Callable[[ScheduleHandle], Awaitable[Any]], request: str, *, as_json: bool
) -> int:
    store.ask(lambda client: act(client.schedules.get(schedule_id)))
    if as_json:
        write_json({"items": [{"schedule_id": schedule_id, "request": request}]})
    else:
        done = "deleted" if request == "delete" else f"asked to {request}:"
        write_lines([[(f"{done} {safe(schedule_id)}", "")]])
    return DONE


@schedule.command()
@click.argument("schedule_id", metavar="ID")
@store_option
@json_option
@click.option("--note", "remark", default="", metavar="TEXT", help="Why.")
def pause(*, schedule_id: str, store: Store, as_json: bool, remark: str) -> int:
    """Start no runs until `resume`; those that are open go on."""
    return _ask(store, schedule_id, lambda handle: handle.pause(remark), "pause", as_json=as_json)


@schedule.command()
@click.argument("schedule_id", metavar="ID")
@store_option
@json_option
@click.option("--note", "remark", default="", metavar="TEXT", help="Why.")
def resume(*, schedule_id: str, store: Store, as_json: bool, remark: str) -> int:
    """Start runs again, from the next slot on."""
    return _ask(store, schedule_id, lambda handle: handle.resume(remark), "resume", as_json=as_json)


@schedule.command()
@click.argument("schedule_id", metavar="ID")
@store_option
@json_option
def trigger(*, schedule_id: str, store: Store, as_json: bool) -> int:
    """Start a run now, whatever the schedule says; writes its instance id."""

    async def begin(client: Client) -> Any:
        run = await client.schedules.get(schedule_id).trigger()
        return await run.status()

    status = store.ask(begin)
    if as_json:
        write_json(instance_document(status))
    else:
        write_lines([[(safe(status.instance_id), "")]])
    return DONE


@schedule.command()
@click.argument("schedule_id", metavar="ID")
@click.argument("inputs", metavar="[INPUT]...", nargs=-1, type=_Input())
@store_option
@json_option
@_policies
def update(*, schedule_id: str, inputs: tuple[Any, ...], store: Store, as_json: bool, **given: Any) -> int:
    """Change what is given; the rest stays. With any INPUT, all inputs are replaced."""
    options = _options(given)
    if inputs:
        options["inputs"] = inputs
    if not options:
        raise click.UsageError("say what to change")
    return _ask(store, schedule_id, lambda handle: handle.update(**options), "update", as_json=as_json)


@schedule.command()
@click.argument("schedule_id", metavar="ID")
@store_option
@json_option
def delete(*, schedule_id: str, store: Store, as_json: bool) -> int:
    """Remove a schedule and its history; runs that it has started go on."""
    return _ask(store, schedule_id, lambda handle: handle.delete(), "delete", as_json=as_json)
