"""What lives on a simulated event loop: it may end, or stand still for a while, and then all that it does waits."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from perdure.testing.simulation.port import Dead

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from perdure.testing.simulation.loop import ProcessLoop
    from perdure.testing.simulation.world import World

    Asked: TypeAlias = tuple[asyncio.Future[Any], Callable[[], Any]]


class Process:
    """A process of a world, as far as its loop and its threads go."""

    world: World
    loop: ProcessLoop
    alive: bool
    paused_until: int

    def loop_round(self, _: Any) -> None:
        """Run the loop once, when the process may."""
        timeline = self.world.timeline
        if not self.alive:
            return
        if timeline.now < self.paused_until:
            timeline.at(self.paused_until, self.loop_round)
            return
        self.loop.run()
        if self.loop.errors:
            self.world.fail(RuntimeError(self.loop.errors[0]))

    def answer(self, asked: Asked) -> None:
        """Call something as a thread would, and tell the future what came of it."""
        future, call = asked
        timeline = self.world.timeline
        if timeline.now < self.paused_until:
            timeline.at(self.paused_until, self.answer, asked)
            return
        if not self.alive or future.done():
            return
        try:
            settle = partial(future.set_result, call())
        except Dead:
            return
        except Exception as error:  # noqa: BLE001 - whatever the store says
            settle = partial(future.set_exception, error)
        if not future.done():
            settle()
