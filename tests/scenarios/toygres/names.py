"""The naming constants: {package}::{kind}::{name}."""

MY_WORKFLOW = "toygres-orchestrations::orchestration::my-workflow"
CHILD_WORKFLOW = "toygres-orchestrations::orchestration::child-workflow"
BACKGROUND_WORKFLOW = "toygres-orchestrations::orchestration::background-workflow"
INSTANCE_WATCH = "toygres-orchestrations::orchestration::instance-watch"
LONG_RUNNING = "toygres-orchestrations::orchestration::long-running"
BEST_EFFORT = "toygres-orchestrations::orchestration::best-effort"

MY_ACTIVITY = "toygres-orchestrations::activity::my-activity"
MY_CMS_ACTIVITY = "toygres-orchestrations::activity::my-cms-activity"
