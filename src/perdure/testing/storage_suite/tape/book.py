"""The book in which the author of a tape keeps what it was told."""

from collections import defaultdict
from typing import TypeAlias

from perdure._work import InstanceRecord, Work
from perdure.testing._dice import Dice

TaskName: TypeAlias = tuple[int, int, int]
"""Incarnation, execution and event."""


class Book:
    """What the author knows of the world."""

    def __init__(self, dice: Dice) -> None:
        self._dice = dice
        self.now = 0
        self.records: dict[str, InstanceRecord] = {}
        self.incarnations = [4_711]
        self.tasks: dict[TaskName, int | None] = {}
        """Tasks that were ever heard of, and the worker that had each last."""
        self.timers: defaultdict[int, set[int]] = defaultdict(set)
        self.bodies: dict[int, tuple[bytes, ...]] = {}
        self._sent = 0

    def learn(self, work: Work, label: int | None) -> None:
        """Remember what was handed out."""
        for claimed in work.instances:
            incarnation = claimed.record.incarnation
            self.bodies[incarnation] = tuple(each.body for each in claimed.messages if each.timer is None)
            self.timers[incarnation] |= {each.timer.source for each in claimed.messages if each.timer}
        self.tasks |= {(each.incarnation, each.execution, each.event): label for each in work.tasks}

    def body(self) -> bytes:
        """A message that was never sent before."""
        self._sent += 1
        return b"message %d" % self._sent

    def incarnation(self) -> int:
        """A new incarnation, seldom one that was used before."""
        if self._dice.chance(4):
            return self._dice.pick(self.incarnations)
        self.incarnations.append(10_000 + len(self.incarnations))
        return self.incarnations[-1]

    def record(self, owner: int | None = None) -> InstanceRecord | None:
        """An instance, of this owner if there is one; None while there is none at all."""
        records = list(self.records.values())
        owned = [each for each in records if each.owner == owner]
        return self._dice.pick(owned or records) if records else None
