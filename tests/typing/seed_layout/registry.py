"""The central registration: modules, for what they define."""

from perdure import Registry
from tests.typing.seed_layout.activities import connection, deploy
from tests.typing.seed_layout.orchestrations import create_instance, instance_actor

activities = Registry(connection, deploy)
registry = Registry(activities, create_instance, instance_actor)
