"""The line that asked: of the orchestration, relative to its package, not of asyncio or of this library."""

import asyncio

from perdure import OrchestrationContext, orchestration
from perdure._core.callsite import where_asked
from tests.core.harness import Conversation


def helper(ctx):
    return ctx.schedule_activity("a")


@orchestration
async def program(ctx: OrchestrationContext) -> None:
    helper(ctx)
    await asyncio.wait_for(ctx.schedule_wait("e"), 5)


def lines_of(events):
    return [event.where for event in events]


def test_each_action_has_the_line_that_asked():
    asked = Conversation(program).start()
    first = helper.__code__.co_firstlineno
    body = program.fn.__code__.co_firstlineno

    assert sorted(lines_of(asked)) == sorted(
        f"tests/core/engine/test_call_sites.py:{line}" for line in (first + 1, body + 3, body + 3)
    )


def test_what_asyncio_does_in_a_callback_of_its_own_has_no_line():
    @orchestration
    async def timed(ctx: OrchestrationContext) -> None:
        task = asyncio.create_task(asyncio.wait_for(ctx.schedule_wait("e"), 5))
        await asyncio.wait([task])

    talk = Conversation(timed)
    timer = max(talk.start(), key=lambda event: hasattr(event, "fire_at"))

    assert lines_of(talk.fire(timer.id)) == [None, None]


def test_a_package_is_named_by_its_folder():
    namespace = {"__name__": "shop", "where_asked": where_asked}
    source = "def verb():\n    return where_asked()\ndef line():\n    return verb()\n"
    exec(compile(source, "/srv/shop/__init__.py", "exec"), namespace)  # noqa: S102 - a package that is not there

    assert namespace["line"]() == "shop/__init__.py:4"
