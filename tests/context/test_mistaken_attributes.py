"""An attribute that a context does not have is an error that says what was probably meant."""

import pytest

from perdure import OrchestrationContext, Registry, orchestration
from perdure.testing import Environment, activity_context


@orchestration
async def ask(ctx: OrchestrationContext, name: str) -> str:
    try:
        getattr(ctx, name)
    except AttributeError as error:
        return str(error)
    return "there is one"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("now", "an orchestration's ctx has no attribute 'now': ctx.utc_now() is the orchestration's time"),
        ("sleep", "`await asyncio.sleep(...)` is a durable timer"),
        ("call_activity", "`await ctx.schedule_activity(activity, ...)` runs one"),
        ("wait_for_external_event", "`await ctx.schedule_wait(event)` waits for an external event"),
        ("when_all", "`await asyncio.gather(...)` waits for several"),
        ("schedule_timers", "did you mean ctx.schedule_timer"),
        ("zzz", "it has continue_as_new, custom_status, "),
    ],
)
async def test_an_orchestration_hears_what_to_write(name, words):
    async with Environment(Registry(ask)) as env:
        assert words in await env.run(ask, name)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("schedule_activity", "that is for orchestrations: an activity awaits what it needs"),
        ("is_cancelled", "ask ctx.cancelled, or call ctx.raise_if_cancelled()"),
        ("attempts", "an activity's ctx has no attribute 'attempts': did you mean ctx.attempt?"),
        ("zzz", "it has activity_name, attempt, "),
    ],
)
def test_an_activity_hears_what_to_write(name, words):
    with pytest.raises(AttributeError) as caught:
        getattr(activity_context(), name)
    assert words in str(caught.value)


def test_what_looks_for_a_private_name_hears_no_more_than_that_there_is_none():
    with pytest.raises(AttributeError, match="^_private$"):
        _ = activity_context()._private  # type: ignore[attr-defined]  # noqa: SLF001 - what is tested
