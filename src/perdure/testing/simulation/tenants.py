"""The people of a world that is two: they ask where they believe an instance to be, then where it is said to be."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from perdure import _work as work
from perdure._types import Status
from perdure.errors import (
    InstanceClosedError,
    InstanceComingError,
    InstanceMovedError,
    InstanceNotFoundError,
    OrchestrationError,
)
from perdure.testing.simulation.errands import AGAIN_US, Errand, check_told
from perdure.testing.simulation.ledger import Violation
from perdure.testing.simulation.programs import MAILBOXES, NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from perdure._client import Client
    from perdure.testing.simulation.programs import Program
    from perdure.testing.simulation.towns import Town

_SENDS_MAX = 6
_EARLY = 50
"""How many of a hundred tell an instance something where it is about to come."""


class Tenant:
    """One instance that users care for, wherever it lives."""

    def __init__(self, town: Town, number: int, program: Program) -> None:
        self._first = town
        self.instance_id = f"root-{number}"
        self.program = program
        self.is_started = False
        self.is_cancelled = False
        self._sent = 0
        self._is_second = False
        """Whether it is believed to be in the second of the two."""

    def _whom(self, *, tells: bool) -> Town:
        """Whom they ask: nobody waits for it where it is said to come; some tell it something there too early."""
        town = self._first.towns[self._is_second]
        if tells:
            return town.beside if self._comes_to(town.beside) and self._first.dice.chance(_EARLY) else town
        if self._comes_to(town):
            self._is_second = not self._is_second
            return town.beside
        return town

    def _comes_to(self, town: Town) -> bool:
        row = town.rows.by_id.get(self.instance_id)
        return row is not None and work.is_copy(row.record.status, row.record.held_because)

    def plan(self) -> None:
        """Announce what happens to it, and when."""
        dice, timeline = self._first.dice, self._first.timeline
        begin = dice.below(3_000_000)
        timeline.at(begin, self._start)
        for _ in range(1 + dice.below(_SENDS_MAX)):
            timeline.at(begin + dice.below(10_000_000), self._send)
        if dice.chance(10):
            timeline.at(begin + dice.below(10_000_000), self._cancel)
        if dice.chance(6):
            timeline.at(begin + dice.below(10_000_000), self._terminate)
        if dice.chance(20):
            timeline.at(begin + dice.below(10_000_000), self._suspend)

    def _ask(
        self,
        what: str,
        make: Callable[[Client], Coroutine[Any, Any, Any]],
        told: Callable[[Any, BaseException | None], None],
        *,
        may_repeat: bool = True,
        tells: bool = True,
    ) -> None:
        town = self._whom(tells=tells)

        def over(result: Any, error: BaseException | None) -> None:
            is_elsewhere = isinstance(error, InstanceClosedError) and not self._has_ended()
            if is_elsewhere or isinstance(error, InstanceMovedError | InstanceComingError):
                row = town.rows.by_id[self.instance_id]
                if row.record.status is Status.MOVED or isinstance(error, InstanceComingError):
                    self._is_second = town is self._first
                town.timeline.after(AGAIN_US, again)
            else:
                told(result, error)

        def again(_: Any) -> None:
            self._ask(what, make, told, may_repeat=may_repeat, tells=tells)

        Errand(town, what, make, over, may_repeat=may_repeat).run()

    def _has_ended(self) -> bool:
        """Whether it has ended where it lives."""
        checks = self._first.checks
        number = checks.by_id.get(self.instance_id, 0)
        home = checks.lives.get(number)
        return home is not None and number in home.closed

    # -- what they want --------------------------------------------------------------------------------------------

    def _start(self, _: Any) -> None:
        async def start(client: Client) -> Any:
            return await client.start_orchestration(
                NAME, self.program, [], instance_id=self.instance_id, on_conflict="use_existing"
            )

        self._ask(f"start {self.instance_id}", start, self._started, tells=False)

    def _started(self, _: Any, error: BaseException | None) -> None:
        if error is not None:
            raise Violation(f"the start of {self.instance_id} ended with {error!r}")
        self.is_started = True
        self._wait()

    def _wait(self) -> None:
        async def wait(client: Client) -> Any:
            return await client.get_handle(self.instance_id).result()

        self._ask(f"await {self.instance_id}", wait, self._ended, tells=False)

    def _ended(self, result: Any, error: BaseException | None) -> None:
        if error is not None and not isinstance(error, OrchestrationError):
            raise Violation(f"the result of {self.instance_id} was {error!r}")
        number = self._first.checks.by_id[self.instance_id]
        change = self._first.checks.lives[number].endings.get(number)
        check_told(self._first, self.instance_id, change, result, error)

    def _send(self, _: Any) -> None:
        dice = self._first.dice
        self._sent += 1
        data = f"{self.instance_id}#{self._sent}"
        mailbox = dice.pick(MAILBOXES)
        key = data if dice.chance(50) else None

        async def send(client: Client) -> None:
            await client.raise_event(self.instance_id, mailbox, data, dedup_key=key)

        told = partial(self._arrived, data, self.is_started)
        self._ask(f"send {data} to {mailbox}", send, told, may_repeat=key is not None)

    def _arrived(self, data: str, was_there: bool, _: None, error: BaseException | None) -> None:  # noqa: FBT001 - a fact
        if error is None and not self._has_ended():
            # What was taken in arrives with it: the books of both stores are compared when it moves.
            checks = self._first.checks
            number = checks.by_id[self.instance_id]
            home = checks.lives[number]
            text = f'"{data}"'
            if text not in home.chronicles[number].raised and not home.mail.get(number, {}).get(text):
                raise Violation(f"the event {data} was acknowledged, and is nowhere")
        self._check_refusal(error, was_there=was_there)

    def _check_refusal(self, error: BaseException | None, *, was_there: bool) -> None:
        if error is None or (isinstance(error, InstanceNotFoundError) and not was_there):
            return
        if not isinstance(error, InstanceClosedError) or not self._has_ended():
            raise Violation(f"a message to {self.instance_id} was refused: {error!r}")

    def _cancel(self, _: Any) -> None:
        self.is_cancelled = True

        async def cancel(client: Client) -> None:
            await client.cancel(self.instance_id, "simulated")

        self._ask(f"cancel {self.instance_id}", cancel, partial(self._steered, self.is_started))

    def _terminate(self, _: Any) -> None:
        async def terminate(client: Client) -> None:
            await client.terminate(self.instance_id, "simulated")

        self._ask(f"terminate {self.instance_id}", terminate, partial(self._steered, self.is_started))

    def _steered(self, was_there: bool, _: None, error: BaseException | None) -> None:  # noqa: FBT001 - a fact
        self._check_refusal(error, was_there=was_there)

    def _suspend(self, _: Any) -> None:
        # It is resumed when nothing is moved any more: a copy that somebody resumes would run beside what it is of.
        async def suspend(client: Client) -> None:
            await client.suspend(self.instance_id, "simulated")

        self._ask(f"suspend {self.instance_id}", suspend, partial(self._steered, self.is_started))
