"""What a definition reads off its function, and the functions that it refuses."""

import functools
from collections.abc import AsyncIterator, Iterator
from functools import partial

import pytest

import perdure._context as contexts
from perdure._context import ActivityContext, Limit, OrchestrationContext
from perdure._context import ActivityContext as Ctx
from perdure._definitions import activity, orchestration
from perdure._retry import RetryPolicy
from perdure.errors import RegistrationError


def test_an_async_activity_with_a_context():
    @activity
    async def charge(ctx: ActivityContext, order: str, cents: int = 5) -> bytes: ...

    assert charge.is_async
    assert charge.takes_ctx
    assert charge.input_names == ("order", "cents")
    assert charge.input_types == (str, int)
    assert charge.defaults == (5,)
    assert charge.return_type is bytes


def test_a_plain_activity_without_a_context_and_without_annotations():
    @activity()
    def ping(a, b):
        return a + b

    assert not ping.is_async
    assert not ping.takes_ctx
    assert ping.input_names == ("a", "b")
    assert [repr(each) for each in (*ping.input_types, ping.return_type)] == ["typing.Any"] * 3
    assert ping.defaults == ()


def test_options_are_kept():
    policy = RetryPolicy(5)

    @activity(retry=policy, on_unknown="repeat", tag="gpu")
    def render() -> None: ...

    assert (render.retry, render.on_unknown, render.heartbeat_timeout, render.tag) == (policy, "repeat", None, "gpu")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"retry": 5}, "retry is 5: use a RetryPolicy, such as"),
        ({"retries": 5}, r"charge .*: @activity has no option retries=: did you mean retry=\?"),
        ({"timeout": 5}, r"has no option timeout=: write retry=RetryPolicy\(attempt_timeout=...\)"),
        ({"queue": "a"}, "has no option queue=: its options are name, aliases, retry, on_unknown, probe, "),
        ({"on_unknown": "skip"}, "on_unknown is 'skip': use 'repeat' or 'hold'"),
        ({"heartbeat_timeout": 10}, "heartbeat_timeout and takes no ctx"),
        ({"heartbeat_timeout": 0}, "heartbeat_timeout is 0: leave it out for no limit"),
        ({"heartbeat_timeout": -1}, "heartbeat_timeout"),
        ({"probe": lambda _: None}, "it has a probe and on_unknown='repeat', which repeats without asking anybody"),
        ({"on_unknown": "hold", "probe": lambda: None}, r"use a function of \(ctx\), which returns a Verdict"),
        ({"on_unknown": "hold", "probe": "find"}, "its probe is 'find'"),
        (
            {"limit": Limit(lambda order: order, 5)},
            r"the key of its limit is .*: use a function of \(\), which returns a",
        ),
        ({"cancel_grace": -1}, "cancel_grace"),
        ({"on_unknown": "hold", "transactional": True}, "leave on_unknown out"),
    ],
)
def test_a_bad_option_is_refused(options, complaint):
    with pytest.raises(RegistrationError, match=complaint):

        @activity(**options)
        def charge() -> None: ...


def test_the_context_is_recognised_by_its_annotation_however_it_is_written():
    @activity
    def by_class(c: ActivityContext) -> None: ...
    @activity
    def by_alias(c: Ctx) -> None: ...
    @activity
    def by_text(c: "ActivityContext") -> None: ...
    @activity
    def by_text_of_an_alias(c: "Ctx") -> None: ...
    @activity
    def by_dotted_text(c: "contexts.ActivityContext") -> None: ...
    @activity
    def by_a_name_for_type_checkers_only(c: "perdure.ActivityContext") -> None: ...  # noqa: F821 - the point of it

    for each in (by_class, by_alias, by_text, by_text_of_an_alias, by_dotted_text, by_a_name_for_type_checkers_only):
        assert each.takes_ctx, each
        assert each.input_names == ()


def test_the_name_ctx_alone_is_refused_as_it_would_be_an_input():
    with pytest.raises(RegistrationError, match="annotate the context, or it would be an input"):

        @activity
        def charge(ctx, order): ...


def test_the_context_of_an_activity_comes_first():
    with pytest.raises(RegistrationError, match=r"ctx must come first: \(ctx: ActivityContext, ...\)"):

        @activity
        def charge(order: str, ctx: ActivityContext) -> None: ...


def test_the_contexts_are_not_mixed_up():
    with pytest.raises(RegistrationError, match="ctx is annotated OrchestrationContext, but an activity is given an"):

        @activity
        async def charge(ctx: OrchestrationContext) -> None: ...

    with pytest.raises(RegistrationError, match="ctx is annotated ActivityContext, but an orchestration is given an"):

        @orchestration
        async def checkout(ctx: ActivityContext) -> None: ...


def test_an_orchestration():
    @orchestration(name="checkout", version="1.2.3", aliases=["buy"])
    async def checkout(ctx: OrchestrationContext, order: str) -> int: ...

    assert (checkout.name, checkout.version, checkout.aliases) == ("checkout", "1.2.3", ("buy",))
    assert checkout.input_names == ("order",)
    assert checkout.return_type is int


def test_the_context_of_an_orchestration_needs_no_annotation():
    @orchestration
    async def checkout(context, order): ...

    assert checkout.input_names == ("order",)


@pytest.mark.parametrize(
    "make",
    [
        lambda: orchestration(no_context),
        lambda: orchestration(other_first),
        lambda: orchestration(only_varargs),
    ],
)
def test_an_orchestration_without_a_context_is_refused(make):
    with pytest.raises(RegistrationError, match=r"takes no context: .* \(ctx: OrchestrationContext, ...\)"):
        make()


async def no_context() -> None: ...
async def other_first(order: str) -> None: ...
async def only_varargs(*args) -> None: ...


def test_an_orchestration_is_async():
    with pytest.raises(RegistrationError, match="checkout .* is a plain `def`: orchestrations are `async def`"):

        @orchestration
        def checkout(ctx: OrchestrationContext) -> None: ...


def test_an_orchestration_is_no_method():
    with pytest.raises(RegistrationError, match="Shop.checkout .* is defined in a class: an orchestration has no self"):

        class Shop:
            @orchestration
            async def checkout(self, ctx: OrchestrationContext) -> None: ...


async def many(a, b, c, d): ...
async def keyword_only(a, *, b=1): ...
async def varargs(*a): ...
async def keywords(**a): ...
async def streaming(a) -> AsyncIterator[int]:
    yield a


def counting(a) -> Iterator[int]:
    yield a


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (many, r"takes 4 inputs \(a, b, c, d\): at most 3 are allowed; put them into one dataclass"),
        (keyword_only, "b=1 can't be an input: inputs are positional"),
        (varargs, r"\*a can't be an input"),
        (keywords, r"\*\*a can't be an input"),
        (streaming, "is a generator, whose values nobody would read: return a list"),
        (counting, "is a generator"),
    ],
)
def test_a_function_that_history_could_not_call_again_is_refused(function, complaint):
    with pytest.raises(RegistrationError, match=complaint):
        activity(function)


def test_positional_only_inputs_are_fine():
    @activity
    def charge(order: str, /) -> None: ...

    assert charge.input_names == ("order",)


@pytest.mark.parametrize(
    ("thing", "complaint"),
    [
        ("charge", r"@activity\('charge'\): write @activity\(name='charge'\)"),
        (partial(print, 1), "it takes a function; wrap the call in a `def`"),
        (print, "it takes a function"),
        (staticmethod(counting), "@activity on a staticmethod: define counting in the module instead"),
        (classmethod(counting), "@activity on a classmethod: define counting in the module instead"),
        (5, "@activity on 5"),
    ],
)
def test_only_functions_are_decorated(thing, complaint):
    with pytest.raises(RegistrationError, match=complaint):
        activity(thing)


def test_a_definition_is_not_decorated_twice():
    @activity
    def charge() -> None: ...

    with pytest.raises(RegistrationError, match="which is a definition already"):
        activity(charge)


def test_a_decorated_function_keeps_its_signature_if_its_decorator_does():
    def logged(function):
        @functools.wraps(function)
        async def wrapper(*args, **kwargs):
            return await function(*args, **kwargs)

        return wrapper

    @activity
    @logged
    async def charge(ctx: ActivityContext, order: str) -> int: ...

    assert charge.takes_ctx
    assert charge.input_types == (str,)
    assert charge.name.endswith("::charge")
