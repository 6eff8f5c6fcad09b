"""Schedules for synchronous code: the same verbs, which block."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure._client.sync import SyncHandle

if TYPE_CHECKING:
    from perdure._client.handle import Page
    from perdure._client.schedules import ScheduleHandle, Schedules, ScheduleStatus
    from perdure._client.sync import SyncClient


class SyncScheduleHandle:
    """A handle whose methods block; see `ScheduleHandle`."""

    def __init__(self, portal: SyncClient, handle: ScheduleHandle) -> None:
        self._portal = portal
        self._handle = handle

    @property
    def schedule_id(self) -> str:
        """The schedule's id."""
        return self._handle.schedule_id

    def __repr__(self) -> str:
        return f"<SyncScheduleHandle {self.schedule_id!r}>"

    def status(self) -> ScheduleStatus:
        """Where it stands now."""
        return self._portal.call(self._handle.status())

    def pause(self, note: str = "") -> None:
        """Start nothing until `resume`."""
        self._portal.call(self._handle.pause(note))

    def resume(self, note: str = "") -> None:
        """Start runs again, from the next slot on."""
        self._portal.call(self._handle.resume(note))

    def trigger(self) -> SyncHandle[Any]:
        """Start a run now; its handle."""
        return SyncHandle(self._portal, self._portal.call(self._handle.trigger()))

    def update(self, **changes: Any) -> None:
        """Change what is given; see `ScheduleHandle.update`."""
        self._portal.call(self._handle.update(**changes))

    def delete(self) -> None:
        """Remove the schedule; its runs go on."""
        self._portal.call(self._handle.delete())


class SyncSchedules:
    """The schedules of a store; see `Schedules`."""

    def __init__(self, portal: SyncClient, schedules: Schedules) -> None:
        self._portal = portal
        self._schedules = schedules

    def create(self, schedule_id: str, orchestration: Any, /, *inputs: Any, **options: Any) -> SyncScheduleHandle:
        """Make a schedule; see `Schedules.create`."""
        created = self._schedules.create(schedule_id, orchestration, *inputs, **options)
        return SyncScheduleHandle(self._portal, self._portal.call(created))

    def get(self, schedule_id: str, /) -> SyncScheduleHandle:
        """A handle for a schedule."""
        return SyncScheduleHandle(self._portal, self._schedules.get(schedule_id))

    def list(self, **filters: Any) -> Page[ScheduleStatus]:
        """One page of the schedules that have not ended."""
        return self._portal.call(self._schedules.list(**filters))
