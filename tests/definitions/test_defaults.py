"""Defaults of inputs: one that does not fit its annotation is refused at registration, and no call spoils one."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from perdure import ActivityContext, OrchestrationContext, Registry, activity, orchestration
from perdure.errors import RegistrationError
from perdure.testing import Environment


@dataclass
class Order:
    id: str


@activity
async def of_another_type(order: Order, cents: int = "5") -> None: ...  # type: ignore[assignment]  # the mistake


@activity
async def none_for_a_number(cents: int = None) -> None: ...  # type: ignore[assignment]  # noqa: RUF013 - the mistake


@orchestration
async def no_json(ctx: OrchestrationContext, share: float = float("nan")) -> None: ...


class Payments:
    @activity
    async def wrong_inside(self, ctx: ActivityContext, cents: list[int] = [1, "2"]) -> None: ...  # type: ignore[list-item]  # noqa: B006 - the mistake


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (
            of_another_type,
            r"of_another_type .*: the default of parameter 'cents' does not fit int: expected int, not str",
        ),
        (none_for_a_number, r"expected int, not None.*give a default that fits.* write `cents: int \| None = None`"),
        (no_json, "orchestration no_json .*: the default of parameter 'share' does not fit float: NaN"),
        (Payments(), r"wrong_inside .*: the default of parameter 'cents' .* not str, at \[1\]"),
    ],
)
def test_a_default_that_does_not_fit_is_refused_when_it_is_registered(item, words):
    with pytest.raises(RegistrationError, match=words):
        Registry(item)


async def test_without_an_annotation_a_default_may_be_anything():
    shared = asyncio.Lock()

    @activity(name="use")
    async def use(first: Any = shared, second=shared) -> bool:  # type: ignore[no-untyped-def]  # what is tested
        return first is second is shared

    @orchestration(name="use-it")
    async def use_it(ctx: OrchestrationContext) -> bool:
        return await ctx.schedule_activity(use)

    async with Environment(Registry(use, use_it)) as env:
        assert await env.run(use_it)


async def test_a_default_that_one_call_changes_is_as_it_was_at_the_next():
    @orchestration(name="collect")
    async def collect(ctx: OrchestrationContext, found: list[int] = []) -> list[int]:  # noqa: B006 - what is tested
        found.append(1)
        return found

    async with Environment(Registry(collect)) as env:
        assert await env.run(collect) == [1]
        assert await env.run(collect) == [1]
