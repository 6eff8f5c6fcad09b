"""What a schedule is told and what it remembers: plain records, part of its input, its events and its custom status."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

from msgspec import Struct, field

from perdure._context import ExternalEvent
from perdure._types import from_us
from perdure.errors import UsageError

if TYPE_CHECKING:
    from perdure._schedules.calendar import Cron, Every

SCHEDULE: Final = "perdure::orchestration::schedule"
"""The durable name of the orchestration that keeps a schedule."""

SCHEDULE_ID_BYTES_MAX: Final = 200
"""The longest id of a schedule, in bytes: the ids of its runs are made from it."""

BUFFERED_SLOTS_MAX: Final = 1_000
"""How many slots a schedule buffers; further ones are skipped until there is room."""

RUNS_WATCHED_MAX: Final = 100
"""How many open runs a schedule watches, the latest ones."""

OverlapPolicy: TypeAlias = Literal["skip", "buffer_one", "buffer_all", "allow", "cancel_other", "terminate_other"]
"""What a schedule does when a slot is due and a run of it is still open."""

CatchUp: TypeAlias = Literal["latest", "all"]
"""Which of the slots that fell due while no worker was there are started."""


class _Slot:
    """See `SLOT`."""

    def __repr__(self) -> str:
        return "perdure.SLOT"


SLOT: Any = _Slot()
"""As an input of a schedule: each run gets the instant (aware, UTC) for which it was started in its place."""


class Spec(Struct, frozen=True):
    """What to start and when. Only JSON's own types: it is compared, merged and shown as it is stored."""

    orchestration: str
    inputs: list[Any]
    slot_inputs: list[int]
    version: str | None = None
    cron: str | None = None
    zone: str = "UTC"
    every_us: int = 0
    offset_us: int = 0
    overlap: str = "skip"
    catch_up: str = "latest"
    late_max_us: int | None = None
    jitter_us: int = 0

    @property
    def timing(self) -> Cron | Every:
        """When it is due."""
        from perdure._schedules.calendar import Cron, Every  # noqa: PLC0415 - a worker without schedules needs none

        if self.cron is not None:
            return Cron(self.cron, self.zone)
        return Every(timedelta(microseconds=self.every_us), timedelta(microseconds=self.offset_us))

    @property
    def due(self) -> tuple[object, ...]:
        """What decides when it is due, to compare: an orchestration may not read time zones."""
        return self.cron, self.zone, self.every_us, self.offset_us

    def inputs_at(self, slot_us: int) -> list[Any]:
        """The inputs of the run for a slot."""
        return [instant(slot_us) if index in self.slot_inputs else each for index, each in enumerate(self.inputs)]


class State(Struct):
    """What a schedule remembers from one execution to the next.

    Attributes:
        handled_us: All slots up to and with this instant are done with.
        paused: Whether it starts nothing.
        note: Why it is paused, or was resumed.
        open: Runs that were open when they were looked at last.
        buffered: Slots that wait for the end of these.
        started: How many runs it has started.
        skipped: How many slots were due and not started.
        last_run: The run that was started last.
        next_us: The next slot; None while it is paused, or when there is none.
    """

    handled_us: int
    paused: bool = False
    note: str = ""
    open: list[str] = field(default_factory=list)
    buffered: list[int] = field(default_factory=list)
    started: int = 0
    skipped: int = 0
    last_run: str | None = None
    next_us: int | None = None


class View(Struct, frozen=True):
    """The custom status of a schedule."""

    spec: Spec
    state: State


class Order(Struct, frozen=True):
    """What the client asks of a schedule: pause, resume, update; or tells it: that it has triggered a run."""

    kind: str
    note: str = ""
    run: str = ""
    changes: dict[str, Any] = field(default_factory=dict)


ORDERS = ExternalEvent[Order]("perdure.schedule")


def instant(us: int) -> str:
    """The instant as JSON has it."""
    return from_us(us).isoformat().replace("+00:00", "Z")


def run_id(schedule_id: str, slot_us: int) -> str:
    """The id of the run for a slot: the key by which a slot is started once, whoever tries."""
    return f"{schedule_id}@{instant(slot_us)}"


def start_us(schedule_id: str, slot_us: int, jitter_us: int) -> int:
    """When the run of a slot is to start: up to the jitter later, always the same for this schedule and slot."""
    if not jitter_us:
        return slot_us
    from hashlib import blake2b  # noqa: PLC0415 - the same

    digest = blake2b(f"{schedule_id} {slot_us}".encode(), digest_size=8, person=b"perdure-jitter").digest()
    return slot_us + int.from_bytes(digest, "big") % (jitter_us + 1)


def check_choice(what: str, value: object, choices: Any) -> str:
    """The value, if it is one of the choices of a Literal.

    Raises:
        UsageError: It is none.
    """
    known = get_args(choices)
    if value not in known:
        raise UsageError(f"{what} is {value!r}: use one of {', '.join(known)}")
    return str(value)
