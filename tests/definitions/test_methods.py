"""Activities that are methods: named by their class, bound to the instance that is registered."""

import pytest

from perdure._context import ActivityContext
from perdure._definitions import activity
from perdure._retry import RetryPolicy
from perdure.errors import RegistrationError, UsageError


class Payments:
    def __init__(self, account):
        self.account = account

    @activity(retry=RetryPolicy(2), tag="bank", aliases=("old",))
    async def charge(self, ctx: ActivityContext, cents: int) -> str:
        return f"{self.account}: {cents}, attempt {ctx.attempt}"

    @activity(name="balance")
    def look(self, ctx: ActivityContext) -> str:  # noqa: ARG002 - what makes it a method activity
        return self.account


async def in_the_module(ctx: ActivityContext, cents: int) -> int:
    return cents


class Desk:
    charge = activity(in_the_module)


def test_the_class_gives_the_activity_without_self_and_ctx():
    assert Payments.charge.name == "tests::activity::Payments-charge" or Payments.charge.name.endswith(
        "Payments-charge"
    )
    assert Payments.charge.input_names == ("cents",)
    assert Payments.charge.needs_instance


def test_an_instance_gives_the_activity_bound_to_it():
    bank = Payments("bank")
    assert bank.charge.is_same(bank.charge)
    assert not bank.charge.is_same(Payments("other").charge)
    assert not bank.charge.is_same(bank.look)
    assert bank.charge.fn.__self__ is bank
    assert not bank.charge.needs_instance
    same = ("name", "aliases", "retry", "tag", "input_types", "on_unknown", "heartbeat_timeout")
    assert all(getattr(bank.charge, each) == getattr(Payments.charge, each) for each in same)


async def test_a_bound_activity_can_be_called():
    assert await Payments("bank").charge(5) == "bank: 5, attempt 1"
    assert await Payments("bank").look() == "bank"


async def test_one_that_was_taken_from_its_class_can_not():
    with pytest.raises(UsageError, match=r"is a method of a class: call it on an instance"):
        await Payments.charge(5)


async def test_a_function_of_the_module_that_a_class_only_mentions_is_no_method():
    assert not Desk.charge.needs_instance
    assert await Desk().charge(5) == 5


def test_a_method_takes_a_context():
    with pytest.raises(RegistrationError, match=r"Shop.charge .* write \(self, ctx: ActivityContext, ...\)"):

        class Shop:
            @activity
            async def charge(self, cents: int) -> None: ...


def test_a_static_method_is_told_to_move_to_the_module():
    with pytest.raises(RegistrationError, match="A static method belongs into the module"):

        class Shop:
            @staticmethod
            @activity
            async def charge(cents: int) -> None: ...


def test_a_method_without_self_is_told_what_to_write():
    with pytest.raises(RegistrationError, match=r"write \(self, ctx: ActivityContext, ...\)"):

        class Shop:
            @activity
            async def charge() -> None: ...
