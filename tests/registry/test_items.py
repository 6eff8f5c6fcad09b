"""What may be registered, and what is refused in words."""

import types
from collections.abc import Callable
from functools import wraps

import pytest

from perdure._context import ActivityContext, OrchestrationContext
from perdure._definitions import Activity, activity, orchestration
from perdure._registry import Registry
from perdure.errors import RegistrationError


@activity(name="charge", aliases=("pay",))
async def charge(ctx: ActivityContext, cents: int) -> str: ...


@orchestration(name="checkout", aliases=("buy",))
async def checkout(ctx: OrchestrationContext, cents: int) -> str: ...


@activity(name="charge")
async def another_charge() -> None: ...


@orchestration(name="checkout")
async def another_checkout(ctx: OrchestrationContext) -> None: ...


class Payments:
    kind = "bank"

    @activity(name="refund")
    async def refund(self, ctx: ActivityContext, cents: int) -> None: ...

    @activity(name="balance")
    def balance(self, ctx: ActivityContext) -> int: ...


def a_module(name: str, **content: object) -> types.ModuleType:
    module = types.ModuleType(name)
    vars(module).update(content)
    return module


def defined_in(module: str, **options: str) -> Activity:
    async def function() -> None: ...

    function.__module__ = module
    return activity(**options)(function)


def test_definitions_are_found_by_name():
    registry = Registry(charge, checkout)
    assert registry.activity("charge") is charge
    assert registry.orchestration("checkout") is checkout
    assert registry.activity("checkout") is None
    assert registry.orchestration("charge") is None
    assert dict(registry.activities) == {"charge": charge}
    assert registry.orchestrations == {"checkout": {"1.0.0": checkout}}
    assert repr(registry) == "<Registry of 1 activities and 1 orchestrations>"


def test_an_empty_registry_knows_nothing():
    registry = Registry()
    assert registry.activity("charge") is registry.orchestration("checkout") is None
    assert not registry.activities
    assert not registry.lifespans


def test_a_registry_does_not_change():
    with pytest.raises(TypeError):
        Registry(charge).activities["refund"] = charge


def test_a_module_gives_what_is_defined_in_it_and_not_what_it_imports():
    own = defined_in("shop.activities", name="own")
    module = a_module("shop.activities", own=own, again=own, charge=charge, checkout=checkout, number=5)
    registry = Registry(module)
    assert list(registry.activities) == ["own"]
    assert not registry.orchestrations


def test_a_module_with_a_decorator_above_ours_is_refused():
    own = defined_in("shop.activities", name="own")
    hiding = wraps(own)(lambda: None)
    with pytest.raises(RegistrationError, match="made of <activity own>: write @activity or @orchestration above it"):
        Registry(a_module("shop.activities", own=hiding))
    assert list(Registry(a_module("shop.activities", also=hiding, own=own)).activities) == ["own"]


def test_a_module_that_defines_nothing_is_refused():
    with pytest.raises(RegistrationError, match="no activity or orchestration in module shop. What it only imports"):
        Registry(a_module("shop", charge=charge))


def test_an_instance_gives_its_methods_bound():
    bank = Payments()
    registry = Registry(bank)
    assert sorted(registry.activities) == ["balance", "refund"]
    assert registry.activity("refund").fn.__self__ is bank


def test_one_method_of_an_instance_can_be_registered_alone():
    assert list(Registry(Payments().refund).activities) == ["refund"]


def test_methods_of_a_base_class_count():
    class Bank(Payments):
        pass

    assert sorted(Registry(Bank()).activities) == ["balance", "refund"]


def test_a_registry_gives_all_it_has():
    registry = Registry(Registry(charge), Registry(Registry(checkout)))
    assert registry.activity("pay") is charge
    assert registry.orchestration("buy") is checkout


@pytest.mark.parametrize("items", [(charge, charge), (charge, Registry(charge)), (Registry(charge), Registry(charge))])
def test_the_same_activity_twice_is_one(items):
    assert dict(Registry(*items).activities) == {"charge": charge}


def test_the_same_orchestration_and_the_same_instance_twice_are_one():
    bank = Payments()
    registry = Registry(checkout, Registry(checkout), bank, bank)
    assert len(registry.activities) == 2
    assert len(registry.orchestrations) == 1


@pytest.mark.parametrize(
    ("items", "complaint"),
    [
        ((charge, another_charge), "two activities are named 'charge': .*charge and .*another_charge. Rename"),
        ((charge, Registry(another_charge)), "two activities are named 'charge'"),
        ((checkout, another_checkout), "two orchestrations are named 'checkout' in version 1.0.0: .*another_checkout"),
        ((charge, activity(name="charge")(charge.fn)), "two activities are named 'charge'"),
        ((Payments(), Payments()), "two activities are named 'balance'"),
    ],
)
def test_two_of_one_name_are_refused_with_both_places(items, complaint):
    with pytest.raises(RegistrationError, match=complaint):
        Registry(*items)


async def bare() -> None: ...


@wraps(charge)
async def timed(order: str) -> str:
    return await charge(order)


@pytest.mark.parametrize(
    ("item", "complaint"),
    [
        (bare, "is a bare function: decorate it with @activity or @orchestration"),
        (lambda: 1, "is a bare function"),
        (print, "is a bare function"),
        (timed, "is what a decorator made of <activity charge>: write @activity or @orchestration above it"),
        (Payments, r"Payments is a class, .* register Payments\(...\)"),
        (Payments.refund, "activity refund is a method that was taken from its class: register an instance"),
        ([charge], r"a list was given as one item: write Registry\(\*items\)"),
        ({"charge": charge}, "no activity or orchestration in an instance of dict. Register .* each by itself"),
        ("charge", "in an instance of str"),
        (None, "in an instance of NoneType"),
    ],
)
def test_anything_else_is_refused(item, complaint):
    with pytest.raises(RegistrationError, match=complaint):
        Registry(item)


def test_annotations_that_can_not_be_json_are_found_when_registered():
    @activity
    async def call_back(function: Callable[[], None]) -> None: ...

    @orchestration
    async def endless(ctx: OrchestrationContext) -> Callable[[], None]: ...

    with pytest.raises(RegistrationError, match="call_back"):
        Registry(call_back)
    with pytest.raises(RegistrationError, match="endless"):
        Registry(endless)
