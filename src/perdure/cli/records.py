"""The fields of the JSON that the command writes. They are documented and stay: fields are only added."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.cli.text import plain

if TYPE_CHECKING:
    from perdure import Event, InstanceStatus, ScheduleStatus, WorkerStatus
    from perdure.cli.timeline import Step


def instance_document(status: InstanceStatus[Any]) -> dict[str, Any]:
    """An instance: the fields of `InstanceStatus`."""
    document: dict[str, Any] = plain(status)
    return {**document, "is_closed": status.is_closed}


def worker_document(worker: WorkerStatus, *, alive: bool) -> dict[str, Any]:
    """A worker: the fields of `WorkerStatus`."""
    document: dict[str, Any] = plain(worker)
    return {**document, "is_alive": alive}


def schedule_document(status: ScheduleStatus) -> dict[str, Any]:
    """A schedule: the fields of `ScheduleStatus`, `when` in words."""
    document: dict[str, Any] = plain(status)
    return {**document, "when": str(status.when)}


def event_document(event: Event) -> dict[str, Any]:
    """An event of a history: the fields of `Event`."""
    document: dict[str, Any] = plain(event)
    return document


def step_document(step: Step) -> dict[str, Any]:
    """A step of a timeline: the fields of `Step`, and how long it took."""
    document: dict[str, Any] = plain(step)
    taken = None if step.ended_at is None else (step.ended_at - step.at).total_seconds()
    return {**document, "duration_s": taken}
