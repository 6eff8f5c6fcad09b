"""A fake that nothing could call is refused where it is made, and not as a failed activity later."""

import pytest

from perdure import ActivityContext, OrchestrationContext, Registry, UsageError, activity, orchestration
from perdure.testing import Environment


@activity
async def charge(ctx: ActivityContext, order: str, cents: int = 1) -> str:
    return f"{order} {cents}"


@activity
async def other() -> None: ...


@orchestration
async def checkout(ctx: OrchestrationContext, order: str) -> str:
    return await ctx.schedule_activity(charge, order)


def takes_ctx(ctx, order, cents): ...


def takes_order(order): ...


@pytest.mark.parametrize(
    ("target", "fake", "words"),
    [
        (charge, takes_order, r"takes \(order\), and would be called with \(order, cents\): the activity's inputs, wi"),
        (charge, takes_ctx, r"takes \(ctx, order, cents\), and would be called"),
        (charge, "receipt", "the fake of .*charge is 'receipt', which can't be called"),
        (checkout, takes_order, "stands in for an activity made with @activity, not for <orchestration"),
        ("charge", takes_order, "not for 'charge'"),
        (other, lambda: None, "other is not in this environment's registry"),
    ],
)
async def test_it_is_refused_at_once(target, fake, words):
    async with Environment(Registry(charge, checkout)) as env:
        with pytest.raises(UsageError, match=words):
            env.fake(target, fake)


class Receipts(list[str]):
    def take(self, order: str, cents: int) -> str:
        self.append(order)
        return f"{order} for {cents}"


@pytest.mark.parametrize("fake", [Receipts().take, lambda order, cents: f"{order} for {cents}", "{} for {}".format])
async def test_whatever_takes_the_inputs_will_do_and_defaults_are_filled_in(fake):
    async with Environment(Registry(charge, checkout)) as env:
        env.fake(charge, fake)
        assert await env.run(checkout, "o-1") == "o-1 for 1"
