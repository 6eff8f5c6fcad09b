"""The durable names, in one place."""

CREATE_INSTANCE = "toygres::orchestration::create-instance"
INSTANCE_ACTOR = "toygres::orchestration::instance-actor"
DEPLOY = "toygres::activity::deploy"
TEST_CONNECTION = "toygres::activity::test-connection"
INSTANCE_DELETED = "InstanceDeleted"
