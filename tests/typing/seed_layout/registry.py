"""The central registration: modules, for what they define."""

from tests.typing.seed_layout.activities import connection, deploy
from tests.typing.seed_layout.orchestrations import create_instance, instance_actor
from tests.typing.surface import Registry

activities = Registry(connection, deploy)
registry = Registry(activities, create_instance, instance_actor)
