"""Which lifespan's state an activity sees."""

from contextlib import asynccontextmanager

import pytest

from perdure._definitions import activity
from perdure._registry import Registry
from perdure.errors import RegistrationError


@activity(name="charge", aliases=("pay",))
def charge() -> None: ...


@activity(name="ship")
def ship() -> None: ...


@asynccontextmanager
async def pool():
    yield "pool"


@asynccontextmanager
async def settings():
    yield "settings"


def lifespan(registry: Registry, name: str):
    scope = registry.lifespan_of(name)
    return scope and scope.lifespan


def test_without_a_lifespan_there_is_none():
    assert lifespan(Registry(charge), "charge") is None


def test_an_activity_sees_the_lifespan_of_its_registry_under_each_of_its_names():
    registry = Registry(charge, lifespan=pool)
    assert lifespan(registry, "charge") is pool
    assert lifespan(registry, "pay") is pool
    assert lifespan(registry, "unknown") is None
    assert repr(registry.lifespan_of("charge")) == "<lifespan pool>"


def test_composition_keeps_each_registrys_own():
    registry = Registry(Registry(charge, lifespan=pool), Registry(ship, lifespan=settings))
    assert lifespan(registry, "charge") is pool
    assert lifespan(registry, "ship") is settings
    assert [scope.lifespan for scope in registry.lifespans] == [pool, settings]


def test_a_registry_without_one_uses_that_around_it():
    registry = Registry(Registry(Registry(charge)), Registry(ship, lifespan=settings), lifespan=pool)
    assert lifespan(registry, "charge") is pool
    assert lifespan(registry, "ship") is settings
    assert [scope.lifespan for scope in registry.lifespans] == [settings, pool]


def test_a_registry_that_is_met_twice_has_its_lifespan_once():
    inner = Registry(charge, lifespan=pool)
    registry = Registry(inner, Registry(inner))
    assert len(registry.lifespans) == 1
    assert registry.lifespan_of("charge") is inner.lifespan_of("charge")


def test_two_registries_with_the_same_function_have_two_lifespans():
    registry = Registry(Registry(charge, lifespan=pool), Registry(ship, lifespan=pool))
    assert len(registry.lifespans) == 2


def test_an_activity_registered_with_and_without_one_sees_it():
    inner = Registry(charge, lifespan=pool)
    assert lifespan(Registry(charge, inner), "charge") is pool
    assert lifespan(Registry(inner, charge), "charge") is pool


def test_an_activity_under_two_lifespans_is_refused():
    with pytest.raises(
        RegistrationError, match="charge is registered under two lifespans, <lifespan pool> and <lifesp"
    ):
        Registry(Registry(charge, lifespan=pool), charge, lifespan=settings)


def test_a_lifespan_that_was_called_already_is_refused():
    with pytest.raises(RegistrationError, match="pass the function that @asynccontextmanager decorates"):
        Registry(charge, lifespan="pool")


@asynccontextmanager
async def called():
    yield


async def undecorated():
    yield


@pytest.mark.parametrize("lifespan", [called(), undecorated])
def test_one_that_a_worker_could_not_enter_anew_is_refused(lifespan):
    with pytest.raises(
        RegistrationError, match="decorate a function with @asynccontextmanager, and pass it without call"
    ):
        Registry(charge, lifespan=lifespan)
