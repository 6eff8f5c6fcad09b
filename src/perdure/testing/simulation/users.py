"""The people of a simulated world: clients that start, send, wait and cancel, and an operator. They repeat what failed.

What they were told is kept, and compared with what is so: an acknowledged call is found, a result is the one stored.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from perdure.errors import (
    InstanceClosedError,
    InstanceExistsError,
    InstanceNotFoundError,
    OrchestrationError,
    RequestError,
    UnknownRequestError,
)
from perdure.testing._dice import Dice
from perdure.testing.simulation.errands import FINAL, Errand, check_told
from perdure.testing.simulation.ledger import Violation
from perdure.testing.simulation.letters import Letters
from perdure.testing.simulation.programs import LAST, MAILBOXES, NAME, TOUCH

if TYPE_CHECKING:
    from perdure._client import Client
    from perdure.testing.simulation.programs import Program
    from perdure.testing.simulation.world import World

BURST = 5
_STRIDE = 0x9E3779B97F4A7C15


class Root:
    """One instance that users care for: its program, and what they do to it."""

    RESTARTED, DELETED = 6, 6
    """How many of a hundred are."""

    def __init__(self, world: World, number: int, program: Program) -> None:
        self.world = world
        self.instance_id = f"root-{number}"
        # The operator's: what users do does not depend on it.
        self._dice = Dice(world.seed + (number + 1) * _STRIDE)
        self.program = program
        self.is_started = False
        self.is_restarted = False
        self.is_cancelled = False
        self.events = 0
        self._letters = Letters(world, self.instance_id, self._dice)

    def plan(self) -> None:
        """Announce what happens to it, and when."""
        dice, timeline = self.world.dice, self.world.timeline
        begin = dice.below(3_000_000)
        timeline.at(begin, self._start, "use_existing")
        for _ in range(dice.below(4)):
            timeline.at(begin + dice.below(8_000_000), self.send)
        if dice.chance(20):
            # All at once, so that many of them meet in one turn.
            burst = begin + dice.below(8_000_000)
            for _ in range(BURST):
                timeline.at(burst, self.send)
        if dice.chance(15):
            cancel = begin + dice.below(10_000_000)
            timeline.at(cancel, self._cancel)
            if dice.chance(50):
                timeline.at(cancel + dice.below(500_000), self._cancel)
        if dice.chance(6):
            timeline.at(begin + dice.below(10_000_000), self._terminate)
        if dice.chance(self.RESTARTED):
            timeline.at(begin + dice.below(20_000_000), self._restart)
        if dice.chance(self.DELETED):
            timeline.at(begin + dice.below(20_000_000), self._delete)
        if self._dice.chance(15):
            timeline.at(begin + self._dice.below(10_000_000), self._suspend)
        self._letters.plan(begin, self._restart)

    # -- starting and waiting --------------------------------------------------------------------------------------

    def _start(self, on_conflict: Any) -> None:
        async def start(client: Client) -> Any:
            handle: Any = await client.start_orchestration(
                NAME, self.program, [], instance_id=self.instance_id, on_conflict=on_conflict
            )
            return handle

        before, asked = self._incarnation, self.world.timeline.now

        def started(handle: Any, error: BaseException | None) -> None:
            self._started(handle, error)
            # Asked for twice, it may have replaced itself.
            if error is None and errand.tries == 1:
                self.world.was_replaced(before, asked)

        errand = Errand(self.world, f"start {self.instance_id} ({on_conflict})", start, started)
        errand.run()

    @property
    def _incarnation(self) -> int:
        return self.world.checks.by_id.get(self.instance_id, 0)

    def _started(self, handle: Any, error: BaseException | None) -> None:
        if isinstance(error, InstanceExistsError) and self.is_restarted:
            return
        if error is not None:
            raise Violation(f"the start of {self.instance_id} ended with {error!r}")
        checks = self.world.checks
        if self.instance_id not in checks.by_id and self.instance_id not in checks.gone:
            raise Violation(f"the start of {self.instance_id} was acknowledged, and it is not there")
        self._letters.started(handle)
        self.is_started = True
        self._wait(None)

    def _restart(self, _: Any) -> None:
        if self.instance_id in self.world.checks.by_id:
            self.is_restarted = True
            self._start("terminate_and_restart" if self.world.dice.chance(50) else "restart_if_closed")

    def _wait(self, _: Any) -> None:
        async def wait(client: Client) -> Any:
            return await client.get_handle(self.instance_id).result()

        Errand(self.world, f"await {self.instance_id}", wait, self._ended).run()

    def _ended(self, result: Any, error: BaseException | None) -> None:
        checks = self.world.checks
        if isinstance(error, InstanceNotFoundError):
            if self.instance_id not in checks.gone:
                raise Violation(f"{self.instance_id} was said not to be there, and nobody deleted it")
            return
        if error is not None and not isinstance(error, OrchestrationError):
            raise Violation(f"the result of {self.instance_id} was {error!r}")
        if self.instance_id not in checks.gone:
            change = checks.endings.get(checks.by_id.get(self.instance_id, 0))
            check_told(self.world, self.instance_id, change, result, error)

    # -- steering --------------------------------------------------------------------------------------------------

    def send(self, _: Any = None) -> None:
        """Send an external event."""
        dice = self.world.dice
        self.events += 1
        data = f"{self.instance_id}#{self.events}"
        mailbox = dice.pick(MAILBOXES)
        key = data if dice.chance(50) else None

        async def send(client: Client) -> None:
            await client.raise_event(self.instance_id, mailbox, data, dedup_key=key)
            if key is not None and self.events % 2:
                self._touch(data)

        told = partial(self._sent, data, self.is_started)
        Errand(self.world, f"send {data} to {mailbox}", send, told, may_repeat=key is not None).run()

    def _touch(self, word: str) -> None:
        """Send an update, and ask what the last one was."""

        async def touch(client: Client) -> tuple[str, str]:
            handle = client.get_handle(self.instance_id)
            answer = await handle.update(TOUCH, word, dedup_key=word, timeout=None)
            return answer, await handle.query(LAST, timeout=None)

        Errand(self.world, f"touch {self.instance_id} by {word}", touch, partial(self._touched, word)).run()

    def _touched(self, word: str, answers: tuple[str, str] | None, error: BaseException | None) -> None:
        if answers is not None:
            wanted = f"{self.instance_id} touched by {word}"
            if answers[0] != wanted or not isinstance(answers[1], str):
                raise Violation(f"the update {wanted} was answered {answers}")
        # What has ended before it answered may say so.
        if error is not None and not isinstance(error, RequestError | UnknownRequestError):
            self._check_refusal(error)

    def _sent(self, data: str, was_there: bool, _: None, error: BaseException | None) -> None:  # noqa: FBT001 - a fact
        checks = self.world.checks
        # What reaches an instance together with its end leaves no trace.
        has_ended = self.instance_id in checks.gone or checks.by_id.get(self.instance_id) in checks.closed
        if error is None and not has_ended and f'"{data}"' not in checks.stored_mail:
            raise Violation(f"the event {data} was acknowledged, and nowhere stored")
        if was_there and isinstance(error, InstanceNotFoundError) and self.instance_id not in checks.gone:
            raise Violation(f"{self.instance_id} was said not to be there, and nobody deleted it")
        self._check_refusal(error)

    def _check_refusal(self, error: BaseException | None) -> None:
        checks = self.world.checks
        if error is None:
            return
        is_closed = checks.by_id.get(self.instance_id) in checks.closed or self.instance_id in checks.gone
        is_right = is_closed if isinstance(error, InstanceClosedError) else isinstance(error, InstanceNotFoundError)
        if not is_right:
            raise Violation(f"a message to {self.instance_id} was refused: {error!r}")

    def _cancel(self, _: Any) -> None:
        self.is_cancelled = True

        async def cancel(client: Client) -> None:
            await client.cancel(self.instance_id, "simulated")

        Errand(self.world, f"cancel {self.instance_id}", cancel, self._steered).run()

    def _terminate(self, _: Any) -> None:
        async def terminate(client: Client) -> None:
            await client.terminate(self.instance_id, "simulated")

        Errand(self.world, f"terminate {self.instance_id}", terminate, self._steered).run()

    def _steered(self, _: None, error: BaseException | None) -> None:
        self._check_refusal(error)

    def _suspend(self, _: Any) -> None:
        async def suspend(client: Client) -> None:
            await client.suspend(self.instance_id, "simulated")

        Errand(self.world, f"suspend {self.instance_id}", suspend, self._suspended).run()

    def _suspended(self, _: None, error: BaseException | None) -> None:
        self._check_refusal(error)
        if error is None:
            self.world.timeline.after(1 + self._dice.below(6_000_000), self._resume)

    def _resume(self, _: Any) -> None:
        async def resume(client: Client) -> None:
            await client.resume(self.instance_id)

        Errand(self.world, f"resume {self.instance_id}", resume, self._steered).run()

    def _delete(self, _: Any) -> None:
        force = self.world.dice.chance(50)

        async def delete(client: Client) -> int:
            return await client.delete(self.instance_id, force=force)

        before, asked = self._incarnation, self.world.timeline.now
        Errand(self.world, f"delete {self.instance_id}", delete, partial(self._deleted, before, asked)).run()

    def _deleted(self, before: int, asked: int, _: int | None, error: BaseException | None) -> None:
        if error is None:
            self.world.was_deleted(before, asked)
        if error is not None and not isinstance(error, FINAL):
            raise Violation(f"the delete of {self.instance_id} ended with {error!r}")
