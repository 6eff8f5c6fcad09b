"""The options that say which instances are meant, and what they come to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from perdure import InstanceFilter, Status
from perdure.cli.store import full_name
from perdure.cli.text import now, safe
from perdure.cli.values import Attribute, span_s

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure import Client

F = TypeVar("F", bound="Callable[..., Any]")


class Moment(click.ParamType[datetime]):
    """An instant: in the form of ISO 8601, in UTC unless it says otherwise, or an age as in 90s, 30min, 12h, 7d."""

    name = "WHEN"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Read the instant."""
        age_s = span_s(value)
        if age_s is not None:
            try:
                return now() - timedelta(seconds=age_s)
            except OverflowError:
                self.fail(f"{safe(value)} is before the year 1: write a shorter age", param, ctx)
        try:
            instant = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{safe(value)} is no instant: write 2026-03-01, 2026-03-01T12:00Z, 12h or 7d", param, ctx)
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant


_OPTIONS = (
    click.option(
        "--status",
        type=click.Choice([status.value for status in Status]),
        multiple=True,
        help="Only instances of this status; may be repeated.",
    ),
    click.option("--name", metavar="NAME", help="Only those of this orchestration."),
    click.option("--version", metavar="VERSION", help="Only those of this version."),
    click.option(
        "--attribute",
        "attributes",
        type=Attribute(),
        multiple=True,
        help="Only with this value; may be repeated.",
    ),
    click.option("--created-after", type=Moment(), help="Only those created then or later; 7d is seven days ago."),
    click.option("--created-before", type=Moment(), help="Only those created before."),
    click.option("--updated-after", type=Moment(), help="Only those that changed then or later."),
    click.option("--updated-before", type=Moment(), help="Only those that have not changed since."),
    click.option("--parent", metavar="ID", help="Only the children of this instance."),
    click.option("--root", metavar="ID", help="Only the tree of this root."),
    click.option("--roots", "roots_only", is_flag=True, help="No children."),
)


def filter_options(command: F) -> F:
    """The options of a filter, which give the command its `**options`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def is_filter(options: dict[str, Any]) -> bool:
    """Whether the options leave anything out."""
    return any(options.values())


async def filter_of(client: Client, options: dict[str, Any]) -> InstanceFilter:
    """The filter that the options come to; a short name stands for what living workers have."""
    given: Any = {key: value for key, value in options.items() if value}
    if "name" in given:
        given["name"] = await full_name(client, given["name"])
    if "attributes" in given:
        given["attributes"] = dict(given["attributes"])
    filters: InstanceFilter = given
    return filters
