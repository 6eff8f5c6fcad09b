"""The storage contract as tests that any backend runs.

A backend's test file says how to make an empty store, and inherits the rest:

    from perdure.testing.storage_suite import StorageSuite

    class TestMine(StorageSuite):
        def make(self, clock):
            return MyStorage(clock=clock)

        def connect(self, storage):  # another handle on the same store, as another process would have
            return MyStorage(storage.path, clock=storage.clock)

The tests use pytest and no sleep; time is the `ManualClock` that `make` receives.
"""

from perdure.testing.storage_suite.aside import HeldTasks, Suspending, Trying
from perdure.testing.storage_suite.atomicity import Atomicity
from perdure.testing.storage_suite.beginnings import Beginnings
from perdure.testing.storage_suite.children import Children, RestartedParents
from perdure.testing.storage_suite.copies import Copies
from perdure.testing.storage_suite.creation import Conflicts, Creation
from perdure.testing.storage_suite.deletion import Deletion, Lapsing, Pruning
from perdure.testing.storage_suite.delivery import Delivery
from perdure.testing.storage_suite.engines import Engines
from perdure.testing.storage_suite.entries import Entries
from perdure.testing.storage_suite.executions import ContinueAsNew
from perdure.testing.storage_suite.holds import Holds
from perdure.testing.storage_suite.images import Images, MovingOut
from perdure.testing.storage_suite.inspection import CustomStatus, Figures, Finding, Reading
from perdure.testing.storage_suite.last_changes import LastChanges
from perdure.testing.storage_suite.limits import Concurrency, Places, Rates
from perdure.testing.storage_suite.messages import Control, Messages
from perdure.testing.storage_suite.moments import Moments
from perdure.testing.storage_suite.ownership import Fencing, Ownership
from perdure.testing.storage_suite.progress import Progress, Stopping
from perdure.testing.storage_suite.sent_again import SentAgain
from perdure.testing.storage_suite.sessions import SessionRoom, Sessions
from perdure.testing.storage_suite.shards import Receiving, Sending, Stamping
from perdure.testing.storage_suite.steps import Steps
from perdure.testing.storage_suite.suite import Topic
from perdure.testing.storage_suite.tags import Tags
from perdure.testing.storage_suite.takeover import Takeover, Workers
from perdure.testing.storage_suite.tasks import Deadlines, Outcomes, Tasks
from perdure.testing.storage_suite.timers import Timers
from perdure.testing.storage_suite.tokens import Changes, Tokens
from perdure.testing.storage_suite.unknown_code import UnknownActivities, UnknownOrchestrations
from perdure.testing.storage_suite.world import StorageUnderTest, Worker, World

__all__ = ["StorageSuite", "StorageUnderTest", "Topic", "Worker", "World"]


class StorageSuite(
    Atomicity,
    Beginnings,
    Changes,
    Children,
    Concurrency,
    Conflicts,
    ContinueAsNew,
    Control,
    Copies,
    Creation,
    CustomStatus,
    Deadlines,
    Deletion,
    Delivery,
    Engines,
    Entries,
    Fencing,
    Figures,
    Finding,
    HeldTasks,
    Holds,
    Images,
    Lapsing,
    LastChanges,
    Messages,
    Moments,
    MovingOut,
    Outcomes,
    Ownership,
    Places,
    Progress,
    Pruning,
    Rates,
    Reading,
    Receiving,
    RestartedParents,
    SessionRoom,
    Sessions,
    Sending,
    SentAgain,
    Stamping,
    Steps,
    Stopping,
    Suspending,
    Tags,
    Takeover,
    Tasks,
    Timers,
    Tokens,
    Trying,
    UnknownActivities,
    UnknownOrchestrations,
    Workers,
):
    """The whole contract."""
