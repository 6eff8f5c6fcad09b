"""Central registration."""

from perdure import Registry
from tests.scenarios.toygres.activities import my_activity
from tests.scenarios.toygres.activities.cms import my_cms_activity
from tests.scenarios.toygres.orchestrations import my_orchestration


def create_activity_registry() -> Registry:
    """All activities."""
    return Registry(my_activity, my_cms_activity)


def create_orchestration_registry() -> Registry:
    """All orchestrations."""
    return Registry(my_orchestration)


registry = Registry(create_activity_registry(), create_orchestration_registry())
