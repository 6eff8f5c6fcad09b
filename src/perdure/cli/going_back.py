"""The commands by which an instance goes on from an earlier event, or another one begins there: reset and fork."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from perdure.cli.exits import DONE
from perdure.cli.output import json_option, write_json, write_lines
from perdure.cli.store import Store, store_option
from perdure.cli.text import plain, safe
from perdure.cli.values import grace_option

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from perdure import Client, Dropped


@click.command()
@click.argument("instance_id", metavar="ID")
@store_option
@json_option
@click.option("--to-event", type=click.IntRange(0), metavar="N", help="The last event that is kept; 0 begins anew.")
@click.option("--to", type=click.Choice(["start", "last"]), help="Begin anew, or take the last turn again.")
@grace_option
def reset(
    *,
    instance_id: str,
    store: Store,
    as_json: bool,
    to_event: int | None,
    to: Literal["start", "last"] | None,
    grace: float,
) -> int:
    """Let an instance go on from an earlier event, with the code that workers have now.

    What it was told later is told again, what it had asked for later was never asked for. `perdure history` has the
    numbers of the events.
    """
    if (to_event is None) == (to is None):
        raise click.UsageError("say where to by one of --to-event and --to")

    dropped = store.ask(lambda client: client.reset(instance_id, to_event=to_event, to=to, grace=grace))
    if as_json:
        write_json({"request": "reset", **plain(dropped)})
        return DONE
    write_lines([[(line, "")] for line in _said(dropped)])
    return DONE


def _said(dropped: Dropped) -> Iterator[str]:
    where = f"to event {dropped.to_event}" if dropped.to_event else "to its start"
    yield f"reset {safe(dropped.instance_id)} {where}; {dropped.events} events dropped"
    if dropped.activities:
        yield f"activities that may have happened: {_named(dropped.activities)}"
    if dropped.children:
        yield f"removed with all that belongs to them: {_named(dropped.children)}"
    if dropped.sent:
        yield f"events or starts that stay: to {_named(dropped.sent)}"


def _named(names: Sequence[str]) -> str:
    return ", ".join(safe(name) for name in dict.fromkeys(names))


@click.command()
@click.argument("instance_id", metavar="ID")
@click.argument("new_id", metavar="[NEW_ID]", required=False)
@store_option
@json_option
@click.option(
    "--from-event", type=click.IntRange(0), metavar="N", help="The last event that both have; default the latest."
)
@click.option("--run", "runs", is_flag=True, help="Let it go on at once; otherwise it waits for `perdure resume`.")
def fork(
    *, instance_id: str, new_id: str | None, store: Store, as_json: bool, from_event: int | None, runs: bool
) -> int:
    """Make an instance with the history of another one up to an event, that goes its own way from there."""

    async def act(client: Client) -> str:
        handle = await client.fork(instance_id, new_id, from_event=from_event, run=runs)
        return handle.instance_id

    made = store.ask(act)
    if as_json:
        write_json({"request": "fork", "instance_id": instance_id, "fork_id": made})
        return DONE
    waits = "" if runs else f"; it waits for `perdure resume {safe(made)}`"
    write_lines([[(f"forked {safe(instance_id)} as {safe(made)}{waits}", "")]])
    return DONE
