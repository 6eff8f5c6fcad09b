"""The commands that remove in bulk: purge and prune."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from perdure import Status
from perdure.cli.exits import DONE
from perdure.cli.filters import Moment, filter_of, filter_options, is_filter
from perdure.cli.output import json_option, note, write_json, write_lines
from perdure.cli.steering import act_on_each
from perdure.cli.store import Store, store_option
from perdure.cli.text import plain

if TYPE_CHECKING:
    from datetime import datetime

    from perdure import Client


@click.command()
@store_option
@json_option
@filter_options
@click.option("--force", is_flag=True, help="Delete open ones too.")
@click.option("--yes", is_flag=True, help="Do it; without this the command only tells how many match.")
def purge(*, store: Store, as_json: bool, force: bool, yes: bool, **options: Any) -> int:
    """Delete all root instances that match, each with its descendants and histories, for good.

    Trees of which anything is open stay, unless --force. Without --yes nothing is deleted.
    """
    if not is_filter(options):
        raise click.UsageError("without a filter this would delete everything: write --roots if you mean that")

    async def remove(client: Client) -> int:
        filters = await filter_of(client, options)
        if not yes:
            return await _preview(client, filters, force=force, as_json=as_json)
        deletion = await client.delete_instances(force=force, **filters)
        if as_json:
            write_json({"request": "purge", **plain(deletion)})
        else:
            write_lines([[(f"deleted {deletion.roots} trees, {deletion.instances} instances", "")]])
            if deletion.skipped:
                note(f"{deletion.skipped} stayed: something below them is open.")
        return DONE

    return store.ask(remove)


async def _preview(client: Client, filters: Any, *, force: bool, as_json: bool) -> int:
    """Tell how many roots would go at most."""
    roots_only: dict[str, Any] = {**filters, "roots_only": True}
    counts = await client.count_instances(**roots_only)
    roots = sum(each.count for each in counts if force or Status(each.status).is_closed)
    if as_json:
        write_json({"request": "preview", "roots": roots})
    else:
        note(f"{roots} trees match; nothing was deleted. Add --yes to delete them.")
    return DONE


@click.command()
@click.argument("instance_ids", metavar="ID...", nargs=-1, required=True)
@store_option
@json_option
@click.option("--keep", type=click.IntRange(1), metavar="N", help="How many executions stay; the current one counts.")
@click.option("--before", type=Moment(), help="Only those whose last turn was before; 7d is seven days ago.")
def prune(
    *, instance_ids: tuple[str, ...], store: Store, as_json: bool, keep: int | None, before: datetime | None
) -> int:
    """Delete the histories of past executions of instances, open or closed; the current execution stays."""
    if keep is None and before is None:
        raise click.UsageError("say what to prune: --keep N, --before WHEN, or both")

    async def remove(client: Client, instance_id: str) -> dict[str, Any]:
        return {"request": "prune", "pruned": await client.prune(instance_id, keep=keep, before=before)}

    return act_on_each(store, instance_ids, remove, "pruned", as_json=as_json)
