"""Finding definitions by former names and by version, and the names that come near."""

import pytest

from perdure._context import OrchestrationContext
from perdure._definitions import activity, orchestration
from perdure._registry import Registry
from perdure.errors import RegistrationError


def checkout(version: str, name: str = "checkout", aliases: tuple[str, ...] = ()):
    @orchestration(name=name, version=version, aliases=aliases)
    async def checkout(ctx: OrchestrationContext) -> None: ...

    return checkout


def charge(name: str = "charge", aliases: tuple[str, ...] = ()):
    @activity(name=name, aliases=aliases)
    def charge() -> None: ...

    return charge


V1, V2, V10, V11_RC = checkout("1.0.0"), checkout("1.2.0"), checkout("1.10.0"), checkout("1.11.0-rc.1")


def test_versions_stand_side_by_side_in_semver_order():
    registry = Registry(V10, V1, V2)
    assert list(registry.orchestrations["checkout"]) == ["1.0.0", "1.2.0", "1.10.0"]


def test_without_a_version_the_latest_is_meant():
    assert Registry(V10, V1, V2).orchestration("checkout") is V10
    assert Registry(V10, V11_RC).orchestration("checkout") is V11_RC


def test_an_exact_version_is_that_one_or_none():
    registry = Registry(V1, V2)
    assert registry.orchestration("checkout", "1.0.0") is V1
    assert registry.orchestration("checkout", "1.0.1") is None
    assert registry.orchestration("nothing", "1.0.0") is None


def test_a_name_can_be_pinned_to_a_version():
    registry = Registry(V1, V2, version_policy={"checkout": "1.0.0"})
    assert registry.orchestration("checkout") is V1
    assert registry.orchestration("checkout", "1.2.0") is V2
    assert registry.version_policy == {"checkout": "1.0.0"}


def test_a_pin_comes_along_and_can_be_lifted():
    pinned = Registry(V1, V2, version_policy={"checkout": "1.0.0"})
    assert Registry(pinned, V10).orchestration("checkout") is V1
    assert Registry(pinned, V10, version_policy={"checkout": "latest"}).orchestration("checkout") is V10


@pytest.mark.parametrize(
    ("policy", "complaint"),
    [
        ({"chekout": "1.0.0"}, "pins 'chekout', which is not registered; did you mean 'checkout'"),
        ({"wash": "1.0.0"}, "pins 'wash', which is not registered$"),
        ({"checkout": "3.0.0"}, "pins 'checkout' to '3.0.0'; registered are 1.0.0, 1.2.0, or 'latest'"),
    ],
)
def test_a_pin_to_what_is_not_there_is_refused(policy, complaint):
    with pytest.raises(RegistrationError, match=complaint):
        Registry(V1, V2, version_policy=policy)


def test_former_names_are_found():
    moved, renamed = charge("shop::charge", ("charge", "pay")), checkout("1.0.0", "shop::checkout", ("checkout",))
    registry = Registry(moved, renamed)
    assert registry.activity("pay") is registry.activity("shop::charge") is moved
    assert registry.orchestration("checkout") is registry.orchestration("checkout", "1.0.0") is renamed
    assert registry.activity_aliases == {"charge": "shop::charge", "pay": "shop::charge"}
    assert registry.orchestration_aliases == {"checkout": "shop::checkout"}


def test_versions_may_share_a_former_name():
    registry = Registry(checkout("1.0.0", "new", ("old",)), checkout("2.0.0", "new", ("old", "new")))
    assert registry.orchestration("old").version == "2.0.0"
    assert registry.orchestration("old", "1.0.0").version == "1.0.0"


@pytest.mark.parametrize(
    "items",
    [
        (charge("a", ("b",)), charge("b")),
        (charge("a", ("x",)), charge("b", ("x",))),
        (checkout("1.0.0", "a", ("b",)), checkout("1.0.0", "b")),
    ],
)
def test_a_former_name_that_is_taken_is_refused(items):
    with pytest.raises(RegistrationError, match=r"is an alias of \w+ '\w', and belongs to '\w' too: remove one"):
        Registry(*items)
