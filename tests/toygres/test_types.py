"""Everything that Toygres stores comes back as it was."""

import inspect
from dataclasses import is_dataclass

from examples.toygres import activity_types, types
from examples.toygres.registry import make_registry
from examples.toygres.resources import Site
from perdure import ExternalEvent
from perdure.testing import assert_round_trip


def _of(module):
    """The types and events that a module defines."""
    return [
        each
        for each in vars(module).values()
        if isinstance(each, ExternalEvent) or (inspect.isclass(each) and each.__module__ == module.__name__)
    ]


def test_every_type_makes_the_round_trip(tmp_path):
    stored = [*_of(types), *_of(activity_types)]

    assert len([each for each in stored if is_dataclass(each) or isinstance(each, ExternalEvent)]) > 30
    assert_round_trip(make_registry(Site(tmp_path).lifespan), *stored)


def test_what_an_older_actor_hands_over_is_read_by_the_latest():
    def fields(type_):
        return list(inspect.signature(type_).parameters.values())

    names = [each.name for each in fields(types.InstanceActorInput)]
    assert names == ["server_id", "every", "iteration", "failures_in_a_row"]
    assert fields(types.InstanceActorInput)[-1].default == 0
