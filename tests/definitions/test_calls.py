"""Calling an activity runs it here, once, not durably; inside an orchestration that is refused."""

import asyncio
import inspect

import pytest

from perdure._context import ActivityContext, OrchestrationContext, activity_context, current_activity_context
from perdure._definitions import activity, orchestration
from perdure.errors import ForbiddenCallError, UsageError


@activity
async def greet(ctx: ActivityContext, name: str, greeting: str = "Hello") -> str:
    return f"{greeting}, {name}, from {ctx.instance_id}, attempt {ctx.attempt}"


@activity
def add(a: int, b: int = 1) -> int:
    return a + b


@activity
def told(ctx: ActivityContext) -> str:
    return ctx.activity_name


@activity
async def greet_twice(ctx: ActivityContext, name: str) -> list[str]:
    return [await greet(name), await greet(name, "Bye")]


class OrchestrationLoop(asyncio.SelectorEventLoop):
    """As far as a definition can tell, the event loop of an orchestration."""

    __perdure_orchestration_loop__ = True

    def refuse(self, what):
        raise ForbiddenCallError(what)


def in_an_orchestration(coroutine):
    with asyncio.Runner(loop_factory=OrchestrationLoop) as runner:
        return runner.run(coroutine)


async def test_a_call_runs_the_function_with_a_stand_in_context():
    assert await greet("Ada") == "Hello, Ada, from test, attempt 1"
    assert await greet("Ada", greeting="Bye") == "Bye, Ada, from test, attempt 1"


async def test_a_plain_function_is_awaited_all_the_same():
    assert await add(1) == 2
    assert await add(1, b=2) == 3


async def test_the_stand_in_knows_the_activity():
    assert await told() == told.name


async def test_an_activity_that_calls_another_hands_its_context_on():
    token = current_activity_context.set(activity_context(attempt=7))
    try:
        assert await greet_twice("Ada") == ["Hello, Ada, from test, attempt 7", "Bye, Ada, from test, attempt 7"]
    finally:
        current_activity_context.reset(token)


async def test_errors_are_the_functions_own():
    @activity
    def fail() -> None:
        raise KeyError("gone")

    with pytest.raises(KeyError, match="gone"):
        await fail()
    with pytest.raises(TypeError, match="positional argument"):
        await add(1, 2, 3)


@pytest.mark.parametrize("definition", [greet, add])
def test_a_call_inside_an_orchestration_is_refused_and_says_what_to_write(definition):
    with pytest.raises(ForbiddenCallError, match=rf"ctx.schedule_activity\({definition.__name__}, \.\.\.\)"):
        in_an_orchestration(definition(1))


@pytest.mark.parametrize("definition", [greet, add])
def test_it_is_refused_at_the_call_itself_as_nobody_may_await_it(definition):
    async def careless():
        with pytest.raises(ForbiddenCallError, match=r"write `await ctx.schedule_activity"):
            definition(1)

    in_an_orchestration(careless())


async def test_a_forgotten_call_is_warned_of_by_the_name_of_the_activity():
    with pytest.warns(RuntimeWarning, match=f"coroutine '{add.name}' was never awaited"):
        add(1)


def test_a_call_needs_no_asyncio_loop():
    call = add(1)
    with pytest.raises(StopIteration) as stopped:
        call.send(None)
    assert stopped.value.value == 2


async def test_a_plain_function_that_returns_a_coroutine_is_told_to_be_async():
    @activity
    def sneaky():
        return greet("Ada")

    with pytest.raises(UsageError, match="sneaky is a plain `def` and returned a coroutine, .* make it an `async def`"):
        await sneaky()


async def test_nor_may_it_return_another_awaitable():
    @activity
    def sneaky():
        return asyncio.get_running_loop().create_future()

    with pytest.raises(UsageError, match="returned a Future"):
        await sneaky()


def test_frameworks_see_that_a_call_is_awaitable():
    assert inspect.iscoroutinefunction(greet.__call__)


def test_an_orchestration_is_not_called():
    @orchestration
    async def checkout(ctx: OrchestrationContext) -> int: ...

    with pytest.raises(UsageError, match=r"checkout is an orchestration and can't be called.*\.fn"):
        checkout()
    assert inspect.iscoroutinefunction(checkout.fn)


async def test_invoke_takes_the_context_that_a_worker_makes():
    context = activity_context(attempt=3)
    assert await greet.invoke((context, "Ada")) == "Hello, Ada, from test, attempt 3"
    assert add.invoke((1, 2)) == 3
