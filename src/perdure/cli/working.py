"""The command `perdure worker`: a worker process, with its log on the error stream."""

from __future__ import annotations

import asyncio
import logging
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Self

import click

from perdure import Runtime, StorageError, Tags, UsageError
from perdure.cli.exits import DONE, MISUSED, Refusal
from perdure.cli.logs import log_to_stderr
from perdure.cli.store import Store, store_option
from perdure.cli.target import load_registry
from perdure.cli.values import Seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perdure import Registry

LEVELS = ("debug", "info", "warning", "error")

_log = logging.getLogger("perdure.worker")


@click.command()
@click.argument("target", metavar="MODULE[:REGISTRY]")
@store_option
@click.option("--json", "as_json", is_flag=True, help="Write the log as JSON, one object a line.")
@click.option("--max-activities", type=click.IntRange(1), metavar="N", help="Activities that run at once; default 100.")
@click.option(
    "--activity-threads", type=click.IntRange(1), metavar="N", help="Threads for plain `def` activities; default 32."
)
@click.option("--grace", type=Seconds(), help="How long activities may go on at the end; default 10.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="Take activities with this tag, too; any number.")
@click.option("--only-tags", is_flag=True, help="Take no activities without a tag.")
@click.option("--all-but", multiple=True, metavar="TAG", help="Take all activities but those with this tag.")
@click.option("--max-sessions", type=click.IntRange(0), metavar="N", help="Sessions that it has at once; default 100.")
@click.option("--session-idle", type=Seconds(2), help="How long it has an unused one; default 300.")
@click.option("--name", "worker_name", metavar="NAME", help="Shown by `perdure workers`; default host and process id.")
@click.option(
    "--metrics-port", type=click.IntRange(0, 65_535), metavar="PORT", help="Serve metrics for Prometheus here."
)
@click.option(
    "--metrics-host", default="127.0.0.1", show_default=True, metavar="HOST", help="The address of that port."
)
@click.option("--log-level", type=click.Choice(LEVELS), default="info", show_default=True, help="What the log tells.")
def worker(
    *,
    target: str,
    store: Store,
    as_json: bool,
    log_level: str,
    tags: tuple[str, ...],
    only_tags: bool,
    all_but: tuple[str, ...],
    metrics_port: int | None,
    metrics_host: str,
    **options: Any,
) -> int:
    """Run a worker until Ctrl-C or SIGTERM.

    TARGET is a module and the name of its Registry, as in shop.registry:registry; the current folder is on the import
    path. The store's file is made if it is not there. At the end running activities have the grace time, and what is
    left goes to other workers, or waits for the next one; a second Ctrl-C leaves at once, which loses nothing either.
    """
    if all_but and (tags or only_tags):
        raise Refusal("--all-but stands alone: it takes everything else, with or without a tag", MISUSED)
    options["tags"] = Tags.all_but(*all_but) if all_but else Tags(*tags, untagged=not only_tags)
    registry = load_registry(target)
    log_to_stderr(log_level, as_json=as_json)
    runtime = _Worker(store, registry, **{name: value for name, value in options.items() if value is not None})
    try:
        with _metrics_at(runtime, metrics_host, metrics_port):
            asyncio.run(runtime.serve())
    except StorageError as error:
        raise Refusal(f"{error} ({store.origin})") from error
    _log.info("ended; what was under way goes on with the next worker")
    return DONE


class _Worker(Runtime):
    """Says that it works as soon as it does.

    Not opened before it is to serve: a signal that came in between would end it as a crash does, which counts.
    """

    def __init__(self, store: Store, registry: Registry, **options: Any) -> None:
        super().__init__(store.url, registry, **options)
        versions = sum(map(len, registry.orchestrations.values()))
        able = _counted(versions, "orchestration", "orchestrations")
        self._working = f"{store.label}: {able}, {_counted(len(registry.activities), 'activity', 'activities')}"

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        _log.info("working on %s; Ctrl-C ends it", self._working)
        return self


@contextmanager
def _metrics_at(runtime: Runtime, host: str, port: int | None) -> Iterator[None]:
    if port is None:
        yield
        return
    try:
        from perdure.observability.prometheus import WorkerCollector, served  # noqa: PLC0415 - few workers serve it
    except UsageError as error:
        raise Refusal(str(error)) from None
    with ExitStack() as stack:
        try:
            url = stack.enter_context(served(WorkerCollector(runtime), host, port))
        except OSError as error:
            raise Refusal(
                f"metrics can't be served at {host}:{port} ({error}): choose another --metrics-port"
            ) from None
        _log.info("metrics at %s", url)
        yield


def _counted(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"
