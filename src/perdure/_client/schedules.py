"""Schedules: what starts orchestrations when the calendar says so."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Required, TypeAlias, TypedDict, TypeVar, overload
from uuid import UUID

import msgspec

from perdure import _work as work
from perdure._client.attributes import checked_version
from perdure._client.handle import Page
from perdure._definitions import Orchestration
from perdure._schedules.calendar import Cron, Every
from perdure._schedules.spec import (
    ORDERS,
    SCHEDULE,
    SCHEDULE_ID_BYTES_MAX,
    SLOT,
    CatchUp,
    Order,
    OverlapPolicy,
    Spec,
    State,
    View,
    check_choice,
)
from perdure._types import Duration, Status, check_instance_id, check_name, duration_us, from_us
from perdure.codec import codec_for, decode_any, encode_any
from perdure.errors import InstanceClosedError, InstanceExistsError, InstanceNotFoundError, LimitError, UsageError

if TYPE_CHECKING:
    from typing import Unpack

    from perdure._client.client import Client
    from perdure._client.handle import OrchestrationHandle
    from perdure._client.requests import Gateway
    from perdure._context.signatures import Orchestration0, Orchestration1, Orchestration2, Orchestration3

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")

OnScheduleConflict: TypeAlias = Literal["fail", "update"]

_SPEC = "perdure.schedule"
_UUID7_TIME_BITS = 80  # below the milliseconds since 1970
_KEEP: Any = object()
_spec_codec = codec_for(Spec)
_state_codec = codec_for(State)
_view_codec = codec_for(View)


class ScheduleOptions(TypedDict, total=False):
    """What can be said of a schedule that is made; `Schedules.create` tells what each means."""

    when: Required[Cron | Every]
    version: str | None
    overlap: OverlapPolicy
    catch_up: CatchUp
    late_max: Duration | None
    jitter: Duration
    paused: bool
    note: str
    on_conflict: OnScheduleConflict


@dataclass(frozen=True, slots=True)
class ScheduleStatus:
    """Where a schedule stands.

    Attributes:
        schedule_id: Its id, which is that of the instance that keeps it.
        status: The status of that instance: running, pending while no worker has taken it, held, or closed.
        orchestration: The durable name of what it starts.
        when: Its timing, a `Cron` or an `Every`.
        overlap: What it does when a run is still open.
        catch_up: Which of the slots it starts that fell due while no worker was there.
        late_max: How late a run may be started at most, in seconds; None for no limit.
        jitter: Up to how many seconds a run is started after its slot.
        paused: Whether it starts nothing.
        note: Why it was paused or resumed.
        next_slot: The next instant for which it starts a run; None while it is paused or unknown.
        last_run: The instance id of the run that it started last.
        open_runs: Runs that were open when it looked last; with "allow" only those that were triggered.
        buffered: How many slots wait for the end of these.
        started: How many runs it has started.
        skipped: How many slots were due and not started.
    """

    schedule_id: str
    status: Status
    orchestration: str
    when: Cron | Every
    overlap: str
    catch_up: str
    late_max: float | None
    jitter: float
    paused: bool
    note: str
    next_slot: datetime | None
    last_run: str | None
    open_runs: tuple[str, ...]
    buffered: int
    started: int
    skipped: int


class ScheduleHandle:
    """One schedule: look at it and steer it. What is asked for is durable when a call returns."""

    def __init__(self, client: Client, gateway: Gateway, schedule_id: str) -> None:
        self._client = client
        self._gateway = gateway
        self._schedule_id = schedule_id

    @property
    def schedule_id(self) -> str:
        """The schedule's id."""
        return self._schedule_id

    def __repr__(self) -> str:
        return f"<ScheduleHandle {self._schedule_id!r}>"

    async def status(self) -> ScheduleStatus:
        """Where it stands now.

        Raises:
            InstanceNotFoundError: There is no such schedule.
        """
        return status_of(await self._record())

    async def pause(self, note: str = "") -> None:
        """Start nothing until `resume`; slots of that time are skipped. Runs that are open go on.

        Raises:
            InstanceNotFoundError: There is no such schedule.
        """
        await self._order(Order("pause", note))

    async def resume(self, note: str = "") -> None:
        """Start runs again, from the next slot on.

        Raises:
            InstanceNotFoundError: There is no such schedule.
        """
        await self._order(Order("resume", note))

    async def trigger(self) -> OrchestrationHandle[Any]:
        """Start a run now, whatever the schedule's timing, pause and overlap policy say; returns its handle.

        `SLOT` among its inputs is the present. While it is open, the overlap policy counts it.

        Raises:
            InstanceNotFoundError: There is no such schedule.
        """
        spec = _view_of(await self._record()).spec
        key = self._gateway.draw_id()
        handle = await self._client.start_orchestration(
            spec.orchestration,
            *spec.inputs_at((UUID(key).int >> _UUID7_TIME_BITS) * 1_000),
            returns=object,
            instance_id=f"{self._schedule_id}@{key}",
            version=spec.version,
        )
        await self._order(Order("triggered", run=handle.instance_id))
        return handle

    async def update(
        self,
        *,
        when: Cron | Every = _KEEP,
        inputs: tuple[Any, ...] = _KEEP,
        version: str | None = _KEEP,
        overlap: OverlapPolicy = _KEEP,
        catch_up: CatchUp = _KEEP,
        late_max: Duration | None = _KEEP,
        jitter: Duration = _KEEP,
    ) -> None:
        """Change what is given; the rest stays. A new timing counts from the moment at which the schedule hears of it.

        Raises:
            InstanceNotFoundError: There is no such schedule.
            UsageError: An option has a value that can't be used.
        """
        given = {
            "when": when,
            "version": version,
            "overlap": overlap,
            "catch_up": catch_up,
            "late_max": late_max,
            "jitter": jitter,
        }
        changes = _options({name: value for name, value in given.items() if value is not _KEEP})
        if inputs is not _KEEP:
            changes |= _inputs(_view_of(await self._record()).spec.orchestration, inputs)
        await self._order(Order("update", changes=changes))

    async def delete(self) -> None:
        """Remove the schedule and its history at once. Runs that it has started go on.

        Raises:
            InstanceNotFoundError: There is no such schedule.
        """
        await self._record()
        await self._client.delete(self._schedule_id, force=True)

    async def _record(self) -> work.InstanceRecord:
        record = await self._gateway.read(self._gateway.inspector.get, self._schedule_id)
        if record is None or record.name != SCHEDULE:
            raise InstanceNotFoundError(self._schedule_id, "schedule")
        return record

    async def _order(self, order: Order) -> None:
        await self._record()
        await self._client.raise_event(self._schedule_id, ORDERS, order)


class Schedules:
    """The schedules of a store; made by `client.schedules`."""

    def __init__(self, client: Client, gateway: Gateway) -> None:
        self._client = client
        self._gateway = gateway

    @overload
    async def create(
        self,
        schedule_id: str,
        orchestration: Orchestration0[Any],
        /,
        **options: Unpack[ScheduleOptions],
    ) -> ScheduleHandle: ...
    @overload
    async def create(
        self,
        schedule_id: str,
        orchestration: Orchestration1[A, Any],
        a: A,
        /,
        **options: Unpack[ScheduleOptions],
    ) -> ScheduleHandle: ...
    @overload
    async def create(
        self,
        schedule_id: str,
        orchestration: Orchestration2[A, B, Any],
        a: A,
        b: B,
        /,
        **options: Unpack[ScheduleOptions],
    ) -> ScheduleHandle: ...
    @overload
    async def create(
        self,
        schedule_id: str,
        orchestration: Orchestration3[A, B, C, Any],
        a: A,
        b: B,
        c: C,
        /,
        **options: Unpack[ScheduleOptions],
    ) -> ScheduleHandle: ...
    @overload
    async def create(
        self,
        schedule_id: str,
        orchestration: str,
        /,
        *inputs: object,
        **options: Unpack[ScheduleOptions],
    ) -> ScheduleHandle: ...
    async def create(
        self,
        schedule_id: str,
        orchestration: Any,
        /,
        *inputs: Any,
        when: Cron | Every,
        version: str | None = None,
        overlap: OverlapPolicy = "skip",
        catch_up: CatchUp = "latest",
        late_max: Duration | None = None,
        jitter: Duration = 0,
        paused: bool = False,
        note: str = "",
        on_conflict: OnScheduleConflict = "fail",
    ) -> ScheduleHandle:
        """Make a schedule; it is durable when this returns, and runs while any worker does.

        The run for a slot has the id `{schedule_id}@{slot}`, such as `nightly@2026-11-22T03:00:00Z`; it is started
        once, also if the schedule is deleted and made again.

        Args:
            schedule_id: 1 to 200 bytes; instance ids and schedule ids are one namespace.
            orchestration: A definition, which stands for its name, or a durable name.
            *inputs: The inputs of each run, 0 to 3; `SLOT` stands for the instant for which the run is started.
            when: `Cron("30 2 * * *", zone="Europe/Berlin")` or `Every(timedelta(hours=1))`.
            version: An exact version; default the latest at each start.
            overlap: When a run is still open: "skip" (default) the slot; "buffer_one" or "buffer_all" slots until it
                ends; "allow" both; "cancel_other" or "terminate_other" and start when it has ended.
            catch_up: Of the slots that fell due while no worker was there start the "latest" (default) or "all".
            late_max: Skip a slot that can only be started later than this (seconds or a timedelta); None: never.
            jitter: Start each run up to this much later, always the same for the same slot.
            paused: Start nothing before `resume`.
            note: Why it is paused, or what it is for.
            on_conflict: When there is such a schedule: "fail" (default), or "update" it to this, unless it is like
                this already; its pause stays as it is, and one that has ended begins anew.

        Raises:
            InstanceExistsError: The id is taken; with "update", by an instance that is no schedule.
            PayloadError: An input does not fit its annotation.
            UsageError: An option has a value that can't be used.

        Example:
            await client.schedules.create("nightly", report, SLOT, when=Cron("30 2 * * *", zone="Europe/Berlin"))
        """
        check_choice("on_conflict", on_conflict, OnScheduleConflict)
        _check_id(schedule_id)
        spec = Spec(
            **_target(orchestration, inputs),
            **_options(
                {
                    "when": when,
                    "version": version,
                    "overlap": overlap,
                    "catch_up": catch_up,
                    "late_max": late_max,
                    "jitter": jitter,
                }
            ),
        )
        stored = _spec_codec.encode(spec, what=f"schedule {schedule_id!r}")
        begin = State(0, paused=paused, note=note)
        # What does not fit would fail the schedule when it begins.
        _state_codec.encode(begin, what=f"schedule {schedule_id!r}")
        handle = ScheduleHandle(self._client, self._gateway, schedule_id)
        state = msgspec.to_builtins(begin)
        while not await self._made(schedule_id, spec, stored.decode(), state, on_conflict):
            # There was one, and somebody deleted it before it could be told.
            pass
        return handle

    async def _made(
        self, schedule_id: str, spec: Spec, stored: str, state: object, on_conflict: OnScheduleConflict
    ) -> bool:
        """Whether there is such a schedule now."""
        try:
            await self._client.start_orchestration(
                SCHEDULE,
                msgspec.to_builtins(spec),
                state,
                returns=object,
                instance_id=schedule_id,
                on_conflict="fail" if on_conflict == "fail" else "restart_if_closed",
                attributes={_SPEC: stored},
            )
        except InstanceExistsError:
            if on_conflict == "fail":
                raise
            record = await self._gateway.read(self._gateway.inspector.get, schedule_id)
            if record is not None and record.name != SCHEDULE:
                raise
            if record is None or record.status.is_closed:
                return False
            if _view_of(record).spec != spec:
                changes = msgspec.to_builtins(spec)
                try:
                    await self._client.raise_event(schedule_id, ORDERS, Order("update", changes=changes))
                except (InstanceNotFoundError, InstanceClosedError):
                    return False
        return True

    def get(self, schedule_id: str, /) -> ScheduleHandle:
        """A handle for a schedule, which need not exist yet."""
        return ScheduleHandle(self._client, self._gateway, check_name("schedule id", schedule_id))

    async def list(self, *, limit: int = 100, after: str | None = None) -> Page[ScheduleStatus]:
        """One page of the schedules that have not ended, the newest first.

        Raises:
            UsageError: `limit` is not within 1 to 1,000, or `after` is no page key.
        """
        page = await self._client.list_instances(
            status=[each for each in Status if not each.is_closed], name=SCHEDULE, limit=limit, after=after
        )
        ids = [each.instance_id for each in page.items]
        found = await self._gateway.read(self._gateway.inspector.get_many, ids)
        return Page([status_of(found[each]) for each in ids if each in found], page.next)


def status_of(record: work.InstanceRecord) -> ScheduleStatus:
    """The status that a stored record says."""
    view = _view_of(record)
    spec, state = view.spec, view.state
    return ScheduleStatus(
        schedule_id=record.id,
        status=record.status,
        orchestration=spec.orchestration,
        when=spec.timing,
        overlap=spec.overlap,
        catch_up=spec.catch_up,
        late_max=None if spec.late_max_us is None else spec.late_max_us / 1e6,
        jitter=spec.jitter_us / 1e6,
        paused=state.paused,
        note=state.note,
        next_slot=None if state.next_us is None or record.status.is_closed else from_us(state.next_us),
        last_run=state.last_run,
        open_runs=tuple(state.open),
        buffered=len(state.buffered),
        started=state.started,
        skipped=state.skipped,
    )


def _view_of(record: work.InstanceRecord) -> View:
    what = f"status of schedule {record.id}"
    if record.custom_status is not None:
        view: View = _view_codec.decode(
            work.unsealed(record.custom_status, "the custom status of %s", record.id), what=what
        )
        return view
    # No worker has taken it yet: what it was created with.
    stored = decode_any(record.attributes or b"{}")[_SPEC]
    return View(_spec_codec.decode(stored.encode(), what=what), State(0))


def _check_id(schedule_id: str) -> None:
    size_bytes = len(check_instance_id(schedule_id).encode())
    if size_bytes > SCHEDULE_ID_BYTES_MAX:
        raise LimitError(
            f"schedule id {schedule_id!r} has {size_bytes} bytes; at most {SCHEDULE_ID_BYTES_MAX} are allowed"
        )


def _target(orchestration: Any, inputs: tuple[Any, ...]) -> dict[str, Any]:
    if isinstance(orchestration, Orchestration):
        return {"orchestration": orchestration.name, **_inputs(orchestration, inputs)}
    if not isinstance(orchestration, str):
        raise UsageError(f"a schedule takes a definition made with @orchestration, or its name, not {orchestration!r}")
    return {"orchestration": check_name("orchestration", orchestration), **_inputs(orchestration, inputs)}


def _inputs(orchestration: Any, inputs: tuple[Any, ...]) -> dict[str, Any]:
    slots = [index for index, each in enumerate(inputs) if each is SLOT]
    filled = tuple(from_us(0) if each is SLOT else each for each in inputs)
    if isinstance(orchestration, Orchestration):
        data = orchestration.inputs_codec.encode(filled)
    else:
        data = encode_any(filled, what=f"inputs of orchestration {orchestration}")
    return {"inputs": decode_any(data), "slot_inputs": slots}


def _options(given: dict[str, Any]) -> dict[str, Any]:
    """The fields of a spec that these options decide, checked."""
    fields: dict[str, Any] = {}
    for name, value in given.items():
        match name:
            case "when":
                fields |= _timing(value)
            case "version":
                fields["version"] = checked_version(value)
            case "overlap":
                fields["overlap"] = check_choice("overlap", value, OverlapPolicy)
            case "catch_up":
                fields["catch_up"] = check_choice("catch_up", value, CatchUp)
            case "late_max":
                fields["late_max_us"] = None if value is None else duration_us(value, "late_max")
            case _:
                fields["jitter_us"] = duration_us(value, "jitter")
    return fields


def _timing(when: Any) -> dict[str, Any]:
    if isinstance(when, Cron):
        return {"cron": when.expression, "zone": when.zone, "every_us": 0, "offset_us": 0}
    if isinstance(when, Every):
        interval_us, offset_us = duration_us(when.interval), duration_us(when.offset)
        return {"cron": None, "zone": "UTC", "every_us": interval_us, "offset_us": offset_us}
    raise UsageError(f"when is {when!r}: use Cron('30 2 * * *', zone='Europe/Berlin') or Every(3600)")
