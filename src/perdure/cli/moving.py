"""The commands by which instances go from one store to another: export, import and move."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from perdure import Client, InstanceExistsError, StorageError
from perdure.cli.exits import DONE, Refusal
from perdure.cli.filters import filter_of, filter_options, is_filter
from perdure.cli.output import json_option, note, write_json
from perdure.cli.store import Store, store_option
from perdure.cli.text import plain
from perdure.cli.values import grace_option

if TYPE_CHECKING:
    from typing import BinaryIO

    from perdure import Transfer


def _told(what: str, transfer: Transfer, *, as_json: bool) -> int:
    if as_json:
        write_json({"request": what, **plain(transfer)})
        return DONE
    why = "have moved elsewhere" if what == "exported" else "were there already"
    skipped = f"; {transfer.skipped} trees {why}" if transfer.skipped else ""
    note(f"{what}: {transfer.trees} trees, {transfer.instances} instances{skipped}.")
    return DONE


def _refuse_both(instance_ids: tuple[str, ...], options: dict[str, Any]) -> None:
    if instance_ids and is_filter(options):
        raise click.UsageError("name instances or give filters, not both: ids say already which instances are meant")


async def _meant(client: Client, instance_ids: tuple[str, ...], options: dict[str, Any]) -> dict[str, Any]:
    if instance_ids:
        return {"instance_ids": instance_ids}
    filters: dict[str, Any] = {**await filter_of(client, options)}
    return filters


@click.command()
@click.argument("file", metavar="FILE", type=click.Path(dir_okay=False, allow_dash=True))
@click.argument("instance_ids", metavar="[ID]...", nargs=-1)
@store_option
@json_option
@filter_options
def export(*, file: str, instance_ids: tuple[str, ...], store: Store, as_json: bool, **options: Any) -> int:
    """Write root instances, with all that belongs to them and everything below them, to FILE.

    Those with the given ids, or all that match the filters, or all there are. FILE must not exist yet; - is standard
    output. Nothing changes in the store, and what runs goes on: `perdure move` is for what shall run elsewhere.
    """
    _refuse_both(instance_ids, options)

    async def write(client: Client) -> int:
        target: str | BinaryIO = sys.stdout.buffer if file == "-" else file
        try:
            transfer = await client.export_instances(target, **await _meant(client, instance_ids, options))
        except FileExistsError as error:
            raise Refusal(f"{file} is there already: name another file, or remove it first") from error
        except OSError as error:
            raise Refusal(f"{file} can't be written: {error.strerror}") from error
        # What is written to the standard output is the export itself.
        return DONE if file == "-" else _told("exported", transfer, as_json=as_json)

    return store.ask(write)


@click.command(name="import")
@click.argument("file", metavar="FILE", type=click.Path(dir_okay=False, allow_dash=True))
@store_option
@json_option
@click.option("--run", "runs", is_flag=True, help="Let them go on at once; otherwise they wait for `perdure resume`.")
@click.option(
    "--on-conflict",
    type=click.Choice(["fail", "skip", "replace"]),
    default="fail",
    show_default=True,
    help="What to do when an id is taken.",
)
def import_(*, file: str, store: Store, as_json: bool, runs: bool, on_conflict: Any) -> int:
    """Take in the instances of FILE, which `perdure export` has written; - is standard input.

    The whole file is checked before anything of it is written. What is open comes suspended, and nothing of it runs,
    unless --run is given: only for files that you trust, whose instances run nowhere else.
    """

    async def take_in(client: Client) -> int:
        source: str | BinaryIO = sys.stdin.buffer if file == "-" else file
        try:
            transfer = await client.import_instances(source, run=runs, on_conflict=on_conflict)
        except InstanceExistsError as error:
            raise Refusal(
                f"there is already an instance {error.instance_id!r} in {store.label}: --on-conflict skip leaves "
                "such trees out, --on-conflict replace takes the place of what has ended"
            ) from error
        except OSError as error:
            raise Refusal(f"{file} can't be read: {error.strerror}") from error
        return _told("imported", transfer, as_json=as_json)

    return store.ask(take_in)


@click.command()
@click.argument("target", metavar="URL")
@click.argument("instance_ids", metavar="[ID]...", nargs=-1)
@store_option
@json_option
@filter_options
@click.option("--no-run", "waits", is_flag=True, help="Leave them suspended there, until `perdure resume`.")
@grace_option
@click.option("--yes", is_flag=True, help="Do it, where no ids and no filters say which instances are meant.")
def move(
    *,
    target: str,
    instance_ids: tuple[str, ...],
    store: Store,
    as_json: bool,
    waits: bool,
    grace: float,
    yes: bool,
    **options: Any,
) -> int:
    """Move root instances, with everything below them, to the store at URL, where they go on.

    They run in one place at any time: suspended here, copied, marked here as moved, and only then resumed there. If it
    breaks off, give the same command again.
    """
    _refuse_both(instance_ids, options)
    if not (instance_ids or is_filter(options) or yes):
        raise click.UsageError("without ids and filters this moves everything: add --yes if you mean that")

    async def carry(client: Client) -> int:
        there = Client(target, create=False)
        try:
            await there.__aenter__()
        except StorageError as error:
            raise Refusal(f"{error} (where they shall go)") from error
        try:
            meant = await _meant(client, instance_ids, options)
            transfer = await client.move_instances(there, run=not waits, grace=grace, **meant)
        except InstanceExistsError as error:
            what = f"there is another instance {error.instance_id!r} where it should go"
            raise Refusal(f"{what}: it stays here, all others have moved") from error
        finally:
            await there.__aexit__(None, None, None)
        return _told("moved", transfer, as_json=as_json)

    return store.ask(carry)
