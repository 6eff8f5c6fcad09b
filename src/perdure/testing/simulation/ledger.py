"""An independent book of who was granted what: workers, instances and tasks, from the answers of the store alone.

It knows the rules of the contract and nothing of how a store keeps them, so a store that forgets a rule is found even
where later layers would hide it. Every method is told what a call has answered, and raises `Violation` when the rules
don't allow it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from perdure import _work as work

if TYPE_CHECKING:
    from collections.abc import Iterable

TaskKey = tuple[int, int, int]


class Violation(Exception):  # noqa: N818 - it is a finding, not an error of ours
    """A promise that was broken."""


@dataclass
class Grants:
    """A worker that has a row, and what it owns."""

    number: int
    lease_us: int
    lease_until: int
    names: frozenset[str]
    activities: frozenset[str]
    serves: work.Serves
    instances: set[int] = field(default_factory=set)
    tasks: set[TaskKey] = field(default_factory=set)


class Ledger:
    """Who owns what, and who ever owned which task."""

    def __init__(self) -> None:
        self.workers: dict[int, Grants] = {}
        self.owner: dict[int, int] = {}
        self.task_owner: dict[TaskKey, int] = {}
        self.granted: dict[TaskKey, list[int]] = {}
        """Every grant of a task, in order."""
        self.sessions: dict[TaskKey, str] = {}
        """Those of tasks that somebody runs."""

    # -- workers ---------------------------------------------------------------------------------------------------

    def registered(self, record: work.WorkerRecord, now: int) -> None:
        """A worker has a row now, and those whose lease is over have none."""
        self._bury(now, spared=None)
        if record.worker in self.workers:
            raise Violation(f"worker {record.worker} was registered twice")
        self.workers[record.worker] = Grants(
            number=record.worker,
            lease_us=record.lease_until - record.started_at,
            lease_until=record.lease_until,
            names=frozenset(record.orchestrations),
            activities=frozenset(record.activities),
            serves=record.serves,
        )

    def beaten(self, worker: int, now: int, answer: bool) -> None:  # noqa: FBT001 - what the call answered
        """A worker has shown that it lives."""
        grants = self.workers.get(worker)
        if (grants is not None) != answer:
            raise Violation(f"heartbeat of worker {worker} was answered {answer}")
        if grants is not None:
            grants.lease_until = now + grants.lease_us

    def unregistered(self, worker: int) -> None:
        """A worker has gone."""
        self._remove(worker)

    def reaped(self, worker: int, now: int, count: int) -> None:
        """A worker has buried those whose lease is over."""
        buried = self._bury(now, spared=worker) if worker in self.workers else 0
        if buried != count:
            raise Violation(f"{count} workers were buried where the lease of {buried} was over")

    def _bury(self, now: int, *, spared: int | None) -> int:
        dead = [each.number for each in self.workers.values() if each.lease_until <= now and each.number != spared]
        for number in dead:
            self._remove(number)
        return len(dead)

    def _remove(self, worker: int) -> None:
        grants = self.workers.pop(worker, None)
        if grants is not None:
            for incarnation in grants.instances:
                del self.owner[incarnation]
            for key in grants.tasks:
                del self.task_owner[key]

    def expire(self, worker: int) -> None:
        """A worker's process is proven dead: its lease counts as over."""
        grants = self.workers.get(worker)
        if grants is not None:
            grants.lease_until = 0

    # -- instances -------------------------------------------------------------------------------------------------

    def check_owner(self, worker: int | None, incarnation: int, what: str) -> None:
        """A worker has written to an instance: it must have a row, and the instance."""
        if worker is None or worker not in self.workers:
            raise Violation(f"{what} of instance {incarnation} was taken from worker {worker}, which has no row")
        if self.owner.get(incarnation) != worker:
            raise Violation(
                f"{what} of instance {incarnation} was taken from worker {worker}; "
                f"the latest grant is that of {self.owner.get(incarnation)}"
            )

    def grant(self, worker: int, incarnation: int) -> None:
        """A worker owns an instance now, which must have been free, or its own."""
        present = self.owner.get(incarnation)
        if present not in (None, worker):
            raise Violation(f"instance {incarnation} was granted to worker {worker} while {present} has it")
        self.owner[incarnation] = worker
        self.workers[worker].instances.add(incarnation)

    def release(self, incarnation: int) -> None:
        """Nobody owns an instance any more."""
        worker = self.owner.pop(incarnation, None)
        if worker is not None:
            self.workers[worker].instances.discard(incarnation)

    # -- tasks -----------------------------------------------------------------------------------------------------

    def grant_task(self, worker: int, key: TaskKey) -> None:
        """A worker owns a task now, which must have been free."""
        present = self.task_owner.get(key)
        if present is not None:
            raise Violation(f"task {key} was granted to worker {worker} while {present} has it")
        self.task_owner[key] = worker
        self.sessions.pop(key, None)
        self.workers[worker].tasks.add(key)
        self.granted.setdefault(key, []).append(worker)

    def check_tag(self, worker: int, tag: str | None, key: TaskKey) -> None:
        """A worker has been granted a task, which must be one that it serves."""
        serves = self.workers[worker].serves
        if not serves.takes(tag):
            raise Violation(f"task {key} with the tag {tag} was granted to worker {worker}, which serves {serves}")

    def check_session(self, worker: int, session: str | None, key: TaskKey) -> None:
        """A worker has been granted a task, of whose session nobody else runs one."""
        self.sessions = {task: each for task, each in self.sessions.items() if task in self.task_owner}
        if session is None:
            return
        others = {self.task_owner[task] for task, each in self.sessions.items() if each == session} - {worker}
        if others:
            raise Violation(f"task {key} of {session} was granted to worker {worker}, and {others} runs another of it")
        self.sessions[key] = session

    def check_task(self, worker: int | None, key: TaskKey, what: str) -> None:
        """A worker has ended or handed back a task, which must be its own."""
        if worker is None or self.task_owner.get(key) != worker:
            raise Violation(f"{what} of task {key} was taken from worker {worker}, not {self.task_owner.get(key)}")

    def release_tasks(self, keys: Iterable[TaskKey]) -> None:
        """Nobody owns these any more."""
        for key in keys:
            worker = self.task_owner.pop(key, None)
            if worker is not None:
                self.workers[worker].tasks.discard(key)
