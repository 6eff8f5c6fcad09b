"""The records that cross the storage boundary: messages, tasks, turns and what became of them.

Storage never looks inside `body`, `data`, `output` or `error`: they are bytes to it. All times are microseconds UTC.
"""

from perdure._work.answers import APPLIED as APPLIED
from perdure._work.answers import Applied as Applied
from perdure._work.answers import ClaimedInstance as ClaimedInstance
from perdure._work.answers import ClaimedMessage as ClaimedMessage
from perdure._work.answers import ClaimedTask as ClaimedTask
from perdure._work.answers import Committed as Committed
from perdure._work.answers import InstanceRecord as InstanceRecord
from perdure._work.answers import Outcome as Outcome
from perdure._work.answers import Query as Query
from perdure._work.answers import Reaped as Reaped
from perdure._work.answers import Refusal as Refusal
from perdure._work.answers import Refused as Refused
from perdure._work.answers import Standing as Standing
from perdure._work.answers import Work as Work
from perdure._work.answers import WorkerRecord as WorkerRecord
from perdure._work.items import Batch as Batch
from perdure._work.items import ChildStart as ChildStart
from perdure._work.items import Claim as Claim
from perdure._work.items import Delete as Delete
from perdure._work.items import Deliver as Deliver
from perdure._work.items import HistoryRow as HistoryRow
from perdure._work.items import Hold as Hold
from perdure._work.items import InstanceChange as InstanceChange
from perdure._work.items import InstanceRelease as InstanceRelease
from perdure._work.items import Item as Item
from perdure._work.items import NewInstance as NewInstance
from perdure._work.items import NewTask as NewTask
from perdure._work.items import OutMessage as OutMessage
from perdure._work.items import StartInstance as StartInstance
from perdure._work.items import TaskBeat as TaskBeat
from perdure._work.items import TaskDone as TaskDone
from perdure._work.items import TaskItem as TaskItem
from perdure._work.items import TaskRelease as TaskRelease
from perdure._work.items import TaskRetry as TaskRetry
from perdure._work.items import Turn as Turn
from perdure._work.messages import ActivityOutcome as ActivityOutcome
from perdure._work.messages import AnyMessage as AnyMessage
from perdure._work.messages import Cancel as Cancel
from perdure._work.messages import ChildOutcome as ChildOutcome
from perdure._work.messages import Message as Message
from perdure._work.messages import Raised as Raised
from perdure._work.messages import Start as Start
from perdure._work.messages import Terminate as Terminate
from perdure._work.messages import TimerDue as TimerDue
from perdure._work.messages import decode_message as decode_message
from perdure._work.messages import encode_message as encode_message
