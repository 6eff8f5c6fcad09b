"""How annotations become types: late, from where the function was written, and with an error that names the cure."""

from __future__ import annotations

import gc
import typing
import weakref
from collections.abc import Awaitable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Generic, NoReturn, TypeVar

import msgspec
import pytest

from perdure._context import ActivityContext, OrchestrationContext
from perdure._definitions import activity, orchestration
from perdure.errors import RegistrationError

if TYPE_CHECKING:
    from decimal import Decimal

    from elsewhere import Ctx

T = TypeVar("T")


@dataclass
class Order:
    id: str


@activity
async def uses_what_is_defined_below(later: Later) -> list[Later]: ...


@dataclass
class Later:
    id: str


@activity
async def pay(order: Order, amount: Decimal) -> None: ...


@activity
async def weigh(order: Order) -> Decimal: ...


def test_strings_are_evaluated_where_the_function_was_written():
    @activity
    async def charge(ctx: ActivityContext, order: Order, note: str | None = None) -> dict[str, Order]: ...

    assert charge.input_types == (Order, str | None)
    assert charge.return_type == dict[str, Order]


def test_a_type_may_be_defined_below():
    assert uses_what_is_defined_below.input_types == (Later,)
    assert uses_what_is_defined_below.return_type == list[Later]


def test_types_local_to_a_function_are_found():
    @dataclass
    class Local:
        id: str

    @activity
    async def charge(local: Local) -> list[Local]: ...

    @activity(name="again")
    async def again(local: Local) -> list[Local]: ...

    @orchestration
    async def checkout(ctx: OrchestrationContext, local: Local) -> Local: ...

    assert charge.input_types == again.input_types == checkout.input_types == (Local,)
    assert charge.return_type == list[Local]


def test_types_local_to_a_class_and_to_the_function_around_it_are_found():
    @dataclass
    class Outer:
        id: str

    class Payments:
        @dataclass
        class Inner:
            id: str

        @activity
        async def charge(self, ctx: ActivityContext, outer: Outer, inner: Inner) -> None: ...

    assert Payments.charge.input_types == (Outer, Payments.Inner)


def test_the_innermost_local_name_wins():
    class Order:
        pass

    local = Order

    @activity
    async def charge(order: Order) -> None: ...

    assert charge.input_types == (local,)


def test_a_function_returned_by_a_decorator_elsewhere_still_sees_its_locals():
    def audited(function):
        return activity(function)

    @dataclass
    class Local:
        id: str

    @audited
    async def charge(local: Local) -> None: ...

    assert charge.input_types == (Local,)


def test_an_import_for_type_checkers_only_is_named_with_its_cure():
    with pytest.raises(RegistrationError) as caught:
        pay.resolve()
    message = str(caught.value)
    assert "the type Decimal of parameter 'amount' can't be found" in message
    assert "activity pay (" in message
    assert "if TYPE_CHECKING" in message
    assert 'runtime-evaluated-decorators = ["perdure.activity", "perdure.orchestration"]' in message


def test_so_is_one_of_the_result():
    with pytest.raises(RegistrationError, match="the type Decimal of the result can't be found"):
        weigh.resolve()


def test_a_context_that_only_type_checkers_know_by_that_name_is_an_input():
    @activity
    async def charge(c: Ctx) -> None: ...

    assert not charge.takes_ctx
    with pytest.raises(RegistrationError, match="the type Ctx of parameter 'c'"):
        charge.resolve()


def test_an_annotation_that_can_not_be_evaluated_is_named():
    @activity
    async def charge(order: Order.missing) -> None: ...

    with pytest.raises(RegistrationError, match=r"annotation 'Order.missing' of parameter 'order' .* AttributeError"):
        charge.resolve()


def test_an_annotation_that_can_not_be_json_is_refused_at_registration():
    class Socket:
        pass

    @activity
    async def send(socket: Socket) -> None: ...

    @activity
    async def connect() -> Socket: ...

    with pytest.raises(RegistrationError, match="activity .*send .*Socket"):
        send.resolve()
    with pytest.raises(RegistrationError, match="activity .*connect .*Socket"):
        connect.resolve()


def test_extras_of_annotated_are_kept():
    @activity
    async def charge(cents: Annotated[int, msgspec.Meta(ge=0)]) -> None: ...

    assert typing.get_args(charge.input_types[0]) == (int, msgspec.Meta(ge=0))


def test_generics_of_the_users_own_are_found():
    @dataclass
    class Page(Generic[T]):
        items: list[T]

    @activity
    async def fetch() -> Page[Order]: ...

    assert fetch.return_type == Page[Order]


@pytest.mark.parametrize("wrong", [Awaitable[int], Coroutine[Any, Any, int], Coroutine])
def test_a_plain_def_that_says_it_returns_a_coroutine_is_refused(wrong):
    def charge():
        raise NotImplementedError

    charge.__annotations__["return"] = wrong
    with pytest.raises(RegistrationError, match="write `async def`, and annotate what awaiting it gives"):
        activity(charge).resolve()


def test_one_that_never_returns_returns_nothing():
    @orchestration
    async def actor(ctx: OrchestrationContext) -> NoReturn: ...

    assert actor.return_type is type(None)


def test_the_codecs_follow_the_types():
    @activity
    async def charge(order: Order, cents: int = 5) -> list[Order]: ...

    encoded = charge.inputs_codec.encode((Order("o-1"),))
    assert charge.inputs_codec.decode(encoded) == (Order("o-1"), 5)
    assert charge.result_codec.decode(b'[{"id":"o-2"}]', what="result") == [Order("o-2")]


def test_locals_are_let_go_once_the_types_are_known():
    class Costly:
        pass

    def make():
        costly = Costly()

        @activity
        async def charge(order: Order) -> None: ...

        return charge, weakref.ref(costly)

    charge, costly = make()
    assert costly() is not None
    charge.resolve()
    gc.collect()
    assert costly() is None
