"""The store that a command works on: which one it is, and what to say when it is not there."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from perdure import Client, InstanceNotFoundError, StorageError
from perdure.cli.exits import Refusal
from perdure.cli.output import note
from perdure.cli.text import now, shell_word

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

    from perdure import WorkerStatus

F = TypeVar("F", bound="Callable[..., Any]")
T = TypeVar("T")

DEFAULT_URL = "sqlite:///perdure.db"
URL_VARIABLE = "PERDURE_URL"
NEAR_IDS_AMONG = 1_000
NEAR_NAMES_SHOWN = 3

_PASSWORD = re.compile(r"(://[^:/@]*):[^@/]*@")


@dataclass(frozen=True, slots=True)
class Store:
    """A URL and where it came from."""

    url: str
    source: ParameterSource | None

    @property
    def label(self) -> str:
        """The URL as it may be shown: without a password."""
        return _PASSWORD.sub(r"\1:***@", self.url)

    @property
    def flag(self) -> str:
        """What a command that is suggested needs, to mean the same store."""
        return f" --url {shell_word(self.label)}" if self.source is ParameterSource.COMMANDLINE else ""

    @property
    def origin(self) -> str:
        """Why it is this store."""
        match self.source:
            case ParameterSource.COMMANDLINE:
                return f"--url is {self.label}"
            case ParameterSource.ENVIRONMENT:
                return f"{URL_VARIABLE} is {self.label}"
            case _:
                return f"the URL is the default, {self.label}; --url or {URL_VARIABLE} names another"

    def ask(self, question: Callable[[Client], Awaitable[T]]) -> T:
        """What a client on the store, which must be there, has for an answer.

        Raises:
            Refusal: It is not there, or it has no instance of an id that was asked for.
        """

        async def asked() -> T:
            client = Client(self.url, create=False)
            try:
                await client.__aenter__()
            except StorageError as error:
                raise Refusal(f"{error} ({self.origin})") from error
            try:
                async with self.naming(client):
                    return await question(client)
            finally:
                await client.__aexit__(None, None, None)

        return asyncio.run(asked())

    @asynccontextmanager
    async def naming(self, client: Client) -> AsyncGenerator[None]:
        """Says of an id that is not there which near ones are.

        Raises:
            Refusal: There is no such instance.
        """
        try:
            yield
        except InstanceNotFoundError as error:
            nobody = self._no_schedule if error.what == "schedule" else self._nobody
            raise Refusal(await nobody(client, error.instance_id)) from error

    async def _no_schedule(self, client: Client, schedule_id: str) -> str:
        known = await client.schedules.list(limit=NEAR_IDS_AMONG)
        hint = did_you_mean(schedule_id, (each.schedule_id for each in known.items))
        return (
            f"there is no schedule {schedule_id!r} in {self.label}{hint}: `perdure schedule list{self.flag}` shows "
            "which it has"
        )

    async def _nobody(self, client: Client, instance_id: str) -> str:
        known = await client.list_instances(limit=NEAR_IDS_AMONG)
        hint = did_you_mean(instance_id, (each.instance_id for each in known.items))
        return (
            f"there is no instance {instance_id!r} in {self.label}{hint}: `perdure list{self.flag}` shows which it has"
        )


def _make_store(context: click.Context, parameter: click.Parameter, value: str) -> Store:
    if value.startswith("memory:"):
        raise click.BadParameter(
            "a store in memory is gone with its process: name a file, as in sqlite:///app.db", context, parameter
        )
    return Store(value, context.get_parameter_source(str(parameter.name)))


def store_option(command: F) -> F:
    """The option --url, which gives the command its `store`."""
    return click.option(
        "--url",
        "store",
        envvar=URL_VARIABLE,
        default=DEFAULT_URL,
        show_default=True,
        show_envvar=True,
        metavar="URL",
        callback=_make_store,
        help="The store: sqlite:///relative.db, sqlite:////absolute.db, or a path.",
    )(command)


def near_names(wanted: str, known: Iterable[str]) -> list[str]:
    """Up to three of what is known that resemble what is wanted, the nearest first."""
    from difflib import get_close_matches  # noqa: PLC0415 - few commands need it

    return get_close_matches(wanted, sorted(set(known)), NEAR_NAMES_SHOWN)


def did_you_mean(wanted: str, known: Iterable[str]) -> str:
    """The near ones among what is known, in brackets; empty without any."""
    near = near_names(wanted, known)
    return f" (did you mean {' or '.join(map(repr, near))}?)" if near else ""


async def living_workers(client: Client) -> list[WorkerStatus]:
    """The workers that are believed alive."""
    at = now()
    return [worker for worker in await client.list_workers() if worker.lease_until > at]


def short_name(name: str) -> str:
    """The last part of a name of the usual form, package::orchestration::name; another name as it is."""
    return name.rpartition("::orchestration::")[2]


async def full_name(client: Client, wanted: str) -> str:
    """The durable name that a person means: the one that ends so among what living workers have, else as it is."""
    known = _orchestrations(await living_workers(client))
    matching = _matching(wanted, known)
    return matching[0] if wanted not in known and len(matching) == 1 else wanted


def _orchestrations(workers: Iterable[WorkerStatus]) -> set[str]:
    return {each.rpartition("@")[0] for worker in workers for each in worker.orchestrations}


def _matching(wanted: str, known: Iterable[str]) -> list[str]:
    return sorted(name for name in known if short_name(name) == wanted.replace("_", "-"))


def _check_version(workers: Iterable[WorkerStatus], name: str, version: str | None) -> None:
    """Refuse a version that no worker has; what is no version at all is refused elsewhere, in other words."""
    known = {each.rpartition("@") for worker in workers for each in worker.orchestrations}
    versions = sorted(number for each, _, number in known if each == name)
    if version is None or version in versions or not version[:1].isdigit():
        return
    raise Refusal(
        f"no living worker has version {version} of {name!r} (they have {', '.join(versions)}). Nothing was started; "
        "--unchecked would start it all the same"
    )


async def orchestration_name(
    client: Client, store: Store, wanted: str, *, unchecked: bool, version: str | None = None
) -> str:
    """The durable name that a start means: as it is, or the only one that ends so.

    Raises:
        Refusal: No living worker has it, or not in this version, or nobody can say what a short name means.
    """
    if unchecked:
        return wanted
    workers = await living_workers(client)
    known = _orchestrations(workers)
    matching = [wanted] if wanted in known else _matching(wanted, known)
    if len(matching) == 1:
        _check_version(workers, matching[0], version)
        return matching[0]
    if matching:
        raise Refusal(f"{wanted!r} is short for several orchestrations: write one of {', '.join(matching)}")
    if workers:
        hint = did_you_mean(wanted, [*known, *map(short_name, known)]) or (
            f" (they have {', '.join(sorted(known)) or 'none at all'})"
        )
        raise Refusal(
            f"no living worker has an orchestration {wanted!r}{hint}. Nothing was started; --unchecked would start it "
            "all the same"
        )
    if "::" not in wanted:
        raise Refusal(
            f"no worker is running on {store.label}, so nobody can say what {wanted!r} is short for: start one, or "
            f"write the full name, package::orchestration::{wanted}"
        )
    note(
        f"No worker is running on {store.label}; {wanted} begins when one comes that has it: "
        f"perdure worker MODULE:REGISTRY{store.flag}"
    )
    return wanted
